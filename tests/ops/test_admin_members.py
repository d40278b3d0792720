"""Members changed in the admin: in force at once, announced like any other change of a role."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from notebooks_app import events
from notebooks_app.models import Membership, Notebook, ShareLink

pytestmark = pytest.mark.django_db
LIST = "/admin/notebooks_app/membership/"


@pytest.fixture
def operator(client: Client, db: None) -> Client:
    client.force_login(get_user_model().objects.create_superuser("operator"))
    return client


@pytest.fixture
def notebook(owner: Any) -> Notebook:
    return Notebook.objects.create(owner=owner, name="Shared")


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any) -> Callable[..., list[Any]]:
    """Who is told to look anew while something is done: notebook and person."""
    told: list[tuple[uuid.UUID, int]] = []

    def post(message: dict[str, Any]) -> None:
        if message["type"] == "notebook.access":
            told.append((uuid.UUID(message["notebook"]), message["user"]))

    monkeypatch.setattr(events, "post", post)

    def during(work: Callable[[], Any]) -> list[Any]:
        with django_capture_on_commit_callbacks(execute=True):
            answer = work()
        assert answer.status_code == 302, answer.content.decode()[:3000]
        return told

    return during


def test_a_member_added_is_announced(operator: Client, notebook: Notebook, viewer: Any, announced: Any):
    form = {"notebook": str(notebook.pk), "user": viewer.pk, "role": "viewer"}
    assert announced(lambda: operator.post(f"{LIST}add/", form)) == [(notebook.pk, viewer.pk)]


def test_a_changed_role_is_announced_and_no_longer_bound_to_a_link(operator, notebook, viewer, announced):
    link, _ = ShareLink.issue(notebook=notebook, role="viewer", name="", allows_guests=False, expires_at=None)
    member = Membership.objects.create(notebook=notebook, user=viewer, role="viewer", link=link)
    path = f"{LIST}{member.pk}/change/"
    assert announced(lambda: operator.post(path, {"role": "editor"})) == [(notebook.pk, viewer.pk)]
    member.refresh_from_db()
    assert (member.role, member.link, member.user) == ("editor", None, viewer)


def test_whose_membership_it_is_stays(operator, notebook, viewer, stranger, announced):
    member = Membership.objects.create(notebook=notebook, user=viewer, role="viewer")
    form = {"role": "viewer", "user": stranger.pk}
    announced(lambda: operator.post(f"{LIST}{member.pk}/change/", form))
    member.refresh_from_db()
    assert member.user == viewer


def test_members_removed_one_by_one_and_together_are_announced(operator, notebook, viewer, stranger, announced):
    members = [Membership.objects.create(notebook=notebook, user=who, role="viewer") for who in (viewer, stranger)]
    path = f"{LIST}{members[0].pk}/delete/"
    assert announced(lambda: operator.post(path, {"post": "yes"})) == [(notebook.pk, viewer.pk)]
    form = {"action": "delete_selected", "_selected_action": [members[1].pk], "post": "yes"}
    assert announced(lambda: operator.post(LIST, form))[1:] == [(notebook.pk, stranger.pk)]
    assert not Membership.objects.exists()


def test_whose_membership_it_is_stays_in_line_with_its_notebook(operator, notebook, viewer, stranger, announced):
    member = Membership.objects.create(notebook=notebook, user=viewer, role="viewer")
    form = {
        "memberships-TOTAL_FORMS": 1, "memberships-INITIAL_FORMS": 1,
        "memberships-0-id": member.pk, "memberships-0-notebook": str(notebook.pk),
        "memberships-0-user": stranger.pk, "memberships-0-role": "editor",
    }  # fmt: skip
    told = announced(lambda: operator.post(f"/admin/notebooks_app/notebook/{notebook.pk}/change/", form))
    assert told == [(notebook.pk, viewer.pk)]
    assert [(one.user, one.role) for one in Membership.objects.all()] == [(viewer, "editor")]
    page = operator.get(f"/admin/notebooks_app/notebook/{notebook.pk}/change/")
    fields = [form.fields["user"].disabled for form in page.context["inline_admin_formsets"][0].formset.forms]
    assert fields == [True]


def test_members_in_line_with_their_notebook_are_announced(operator, notebook, viewer, stranger, announced):
    member = Membership.objects.create(notebook=notebook, user=viewer, role="viewer")
    form = {
        "memberships-TOTAL_FORMS": 2, "memberships-INITIAL_FORMS": 1,
        "memberships-0-id": member.pk, "memberships-0-notebook": str(notebook.pk), "memberships-0-user": viewer.pk,
        "memberships-0-role": "viewer", "memberships-0-DELETE": "on",
        "memberships-1-notebook": str(notebook.pk), "memberships-1-user": stranger.pk, "memberships-1-role": "runner",
    }  # fmt: skip
    told = announced(lambda: operator.post(f"/admin/notebooks_app/notebook/{notebook.pk}/change/", form))
    assert sorted(told) == sorted([(notebook.pk, viewer.pk), (notebook.pk, stranger.pk)])
    assert [(one.user, one.role) for one in Membership.objects.all()] == [(stranger, "runner")]
