"""Staff with a right or two in the admin: none of them is a way to more."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from notebooks_app.models import ApiToken

pytestmark = pytest.mark.django_db
PEOPLE = "/admin/auth/user/"


@pytest.fixture
def helper() -> Any:
    """May see and change people, as a help desk may."""
    made = get_user_model().objects.create_user("helper", password="x", is_staff=True)
    made.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user", "add_user"]))
    return made


@pytest.fixture
def root() -> Any:
    return get_user_model().objects.create_superuser("root", password="secret-of-root")


@pytest.fixture
def client(helper: Any) -> Client:
    made = Client()
    made.force_login(helper)
    return made


def form(person: Any, **fields: Any) -> dict[str, Any]:
    times = {"last_login_0": "", "last_login_1": "", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    return {"username": person.username, "email": "", "is_active": "on", **times, **fields}


def test_who_may_change_people_makes_no_operator_of_anybody(client: Client, helper: Any, owner: Any):
    rights = {"is_staff": "on", "is_superuser": "on", "user_permissions": [str(Permission.objects.all()[0].pk)]}
    for person in (helper, owner):
        before = list(person.user_permissions.values_list("pk", flat=True))
        answer = client.post(f"{PEOPLE}{person.pk}/change/", form(person, first_name="Ana", **rights))
        assert answer.status_code == 302
        was_staff = person.is_staff
        person.refresh_from_db()
        assert (person.first_name, person.is_staff, person.is_superuser) == ("Ana", was_staff, False)
        assert list(person.user_permissions.values_list("pk", flat=True)) == before


def test_who_may_change_people_changes_no_operator(client: Client, root: Any, owner: Any):
    for person in (root, get_user_model().objects.create_user("other", password="y", is_staff=True)):
        before = person.password
        new = {"password1": "another-2026-x", "password2": "another-2026-x", "usable_password": "true"}
        assert client.post(f"{PEOPLE}{person.pk}/password/", new).status_code == 403
        assert client.post(f"{PEOPLE}{person.pk}/change/", form(person, email="mine@example.com")).status_code == 403
        person.refresh_from_db()
        assert (person.password, person.email) == (before, "")
    token, _ = ApiToken.issue(root.pk, "t", "edit", None)
    chosen = {"_selected_action": [root.pk, owner.pk]}
    client.post(PEOPLE, {"action": "deactivate", **chosen})
    client.post(PEOPLE, {"action": "revoke_tokens", **chosen})
    root.refresh_from_db()
    owner.refresh_from_db()
    assert root.is_active and not owner.is_active
    assert ApiToken.objects.filter(pk=token.pk).exists()


def test_an_operators_second_factor_is_taken_away_by_superusers_alone(
    client: Client, helper: Any, root: Any, owner: Any
):
    helper.user_permissions.add(*Permission.objects.filter(codename__in=["view_authenticator", "delete_authenticator"]))
    theirs, ordinary = (Authenticator.objects.create(user=one, type="totp", data={}) for one in (root, owner))
    chosen = {"action": "delete_selected", "_selected_action": [theirs.pk], "post": "yes"}
    assert client.post(f"/admin/mfa/authenticator/{theirs.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post("/admin/mfa/authenticator/", chosen)
    assert client.post(f"/admin/mfa/authenticator/{ordinary.pk}/delete/", {"post": "yes"}).status_code == 302
    assert list(Authenticator.objects.all()) == [theirs]


def test_a_superuser_still_gives_rights(root: Any, owner: Any):
    made = Client()
    made.force_login(root)
    assert made.post(f"{PEOPLE}{owner.pk}/change/", form(owner, is_staff="on")).status_code == 302
    owner.refresh_from_db()
    assert owner.is_staff


def test_staff_without_a_right_see_nothing_of_anybody(owner: Any):
    bare = get_user_model().objects.create_user("bare", password="x", is_staff=True)
    made = Client()
    made.force_login(bare)
    for path in ("auth/user/", "notebooks_app/notebook/", "notebooks_app/connection/", "notebooks_app/sharelink/"):
        assert made.get(f"/admin/{path}").status_code == 403
