"""The admin: every list and page opens, costs a fixed number of queries, and shows no source, output or secret."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from notebooks_app.models import ApiToken, Cell, Connection, KernelSession, Membership, Notebook, Output, Run

pytestmark = pytest.mark.django_db

SECRET = "s3cret-w0rd"
MODELS = ("notebook", "membership", "run", "connection", "apitoken", "kernelsession")


@pytest.fixture
def admin(db) -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("admin"))
    return client


def fill(owner, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        notebook = Notebook.objects.create(owner=owner, name=f"Notebook {number}")
        cell = Cell.objects.create(notebook=notebook, position=1, source="the_source = 1")
        Output.objects.create(cell=cell, index=0, kind="stream", data={"name": "stdout", "text": "the_output"})
        Membership.objects.create(
            notebook=notebook, user=get_user_model().objects.create_user(f"member {number}"), role="viewer"
        )
        Run.objects.create(notebook=notebook, started_by=owner, started_at=timezone.now())
        KernelSession.objects.create(notebook=notebook, expires=timezone.now(), state="stopped")
        database = Connection(owner=owner, name=f"db {number}")
        database.set_dsn(f"postgresql://reader:{SECRET}@db{number}.example.com/shop")
        database.save()
        Cell.objects.filter(pk=cell.pk).update(connection=database)
        ApiToken.issue(owner.pk, f"token {number}", "read")


def address(model: str) -> str:
    return reverse(f"admin:notebooks_app_{model}_changelist")


def cost(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return len(captured)


@pytest.mark.parametrize("model", MODELS)
def test_a_list_costs_the_same_for_two_rows_and_for_twenty(admin, owner, model):
    fill(owner, 2)
    cost(admin, address(model))  # content types are read once in a process
    few = cost(admin, address(model))
    fill(owner, 18, start=2)
    assert cost(admin, address(model)) == few
    assert few <= 12


@pytest.mark.parametrize("model", MODELS)
def test_lists_pages_and_searches_open_and_tell_no_secrets(admin, owner, model):
    fill(owner, 2)
    from django.apps import apps

    row = apps.get_model("notebooks_app", model).objects.first()
    pages = [
        address(model),
        address(model) + "?q=owner",
        reverse(f"admin:notebooks_app_{model}_change", args=[row.pk]),
    ]
    for page in pages:
        answer = admin.get(page)
        assert answer.status_code == 200
        text = answer.content.decode()
        for word in ("the_source", "the_output", SECRET):
            assert word not in text


@pytest.mark.parametrize("model", ["run", "apitoken", "kernelsession", "notebook"])
def test_what_only_the_server_makes_cannot_be_added(admin, model):
    assert admin.get(reverse(f"admin:notebooks_app_{model}_add")).status_code == 403


def test_the_lists_filters_open(admin, owner):
    fill(owner, 2)
    assert admin.get(address("kernelsession") + "?live=yes").status_code == 200
    assert admin.get(address("kernelsession") + "?live=no").status_code == 200
    assert admin.get(address("notebook") + "?deleted_at__isempty=0").status_code == 200


def test_a_connection_for_everyone_is_made_here_and_its_dsn_never_shown_again(admin):
    add = reverse("admin:notebooks_app_connection_add")
    dsn = f"postgresql://reader:{SECRET}@db.example.com/shop"
    assert admin.post(add, {"name": "warehouse", "owner": "", "dsn": dsn}).status_code == 302
    made = Connection.objects.get()
    assert (made.owner, made.driver, made.dsn()) == (None, "postgresql", dsn)
    page = reverse("admin:notebooks_app_connection_change", args=[made.pk])
    shown = admin.get(page).content.decode()
    assert "postgresql://reader:…@db.example.com/shop" in shown
    assert SECRET not in shown
    assert admin.post(page, {"name": "renamed", "owner": "", "dsn": ""}).status_code == 302
    made.refresh_from_db()
    assert (made.name, made.dsn()) == ("renamed", dsn)


@pytest.mark.parametrize("dsn", ["", f"mysql://u:{SECRET}@h/d"])
def test_a_bad_dsn_is_refused_in_the_form_and_not_repeated(admin, dsn):
    answer = admin.post(reverse("admin:notebooks_app_connection_add"), {"name": "x", "owner": "", "dsn": dsn})
    assert answer.status_code == 200
    assert SECRET not in answer.content.decode()
    assert not Connection.objects.exists()


def test_a_person_may_not_get_a_file_of_the_server_also_here(admin, owner):
    body = {"name": "x", "owner": str(owner.pk), "dsn": "sqlite:////srv/shop.db"}
    assert admin.post(reverse("admin:notebooks_app_connection_add"), body).status_code == 200
    assert not Connection.objects.exists()


def test_deleting_a_connection_here_edits_the_cells_that_used_it(admin, owner):
    fill(owner, 2)
    ids = [str(pk) for pk in Connection.objects.values_list("pk", flat=True)]
    body = {"action": "delete_selected", "_selected_action": ids, "post": "yes"}
    assert admin.post(address("connection"), body).status_code == 302
    assert not Connection.objects.exists()
    assert set(Cell.objects.values_list("connection", "version")) == {(None, 2)}


def test_notebooks_are_moved_to_the_bin(admin, owner):
    fill(owner, 2)
    chosen = Notebook.objects.first()
    assert chosen is not None
    admin.post(address("notebook"), {"action": "move_to_bin", "_selected_action": [str(chosen.pk)]})
    assert Notebook.objects.alive().count() == 1


def test_a_token_is_revoked_here(admin, owner):
    token, _ = ApiToken.issue(owner.pk, "t", "edit")
    page = reverse("admin:notebooks_app_apitoken_delete", args=[token.pk])
    assert admin.post(page, {"post": "yes"}).status_code == 302
    assert not ApiToken.objects.exists()


def test_a_person_who_is_no_operator_is_not_let_in(client_of, cast):
    assert client_of("owner").get(address("notebook")).status_code == 302
