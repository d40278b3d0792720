"""Staff with a right or two in the admin: none of them is a way to more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.core import mail
from django.test import Client

from notebooks_app.models import ApiToken, Connection, Membership, Notebook

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


# --- Staff who hold all rights of one model, and what is the superuser's ----------------------------------------------

EVIL = "evil@example.com"
DSN = "postgresql://u:p@evil.example.com/x"
# What such staff may do to a superuser's things all the same: to look after the server, and nothing is gained by it.
MAY = {
    "notebook": "to the bin and back, their kernels stopped",
    "sharelink": "revoked",
    "apitoken": "revoked",
    "kernelsession": "stopped",
    "kernellimits": "set",
    "run": "looked at",
}


def of_root(root: Any) -> dict[str, Any]:
    """Of each registered model a row that is the superuser's, or gives what they have."""
    notebook = Notebook.objects.create(owner=root, name="Plans")
    database = Connection(owner=root, name="vault")
    database.set_dsn("postgresql://root:secret@db.example.com/x")
    database.save()
    member = get_user_model().objects.create_user("member")
    return {
        "user": root,
        "group": Group.objects.create(name="operators"),
        "emailaddress": EmailAddress.objects.create(user=root, email="root@example.com"),
        "authenticator": Authenticator.objects.create(user=root, type="totp", data={}),
        "socialaccount": SocialAccount.objects.create(user=root, provider="login", uid="1"),
        "membership": Membership.objects.create(notebook=notebook, user=member, role="viewer"),
        "connection": database,
    }


def fields_of(model: str, row: Any, helper: Any) -> dict[str, Any]:
    """A form that would give the helper, or make the helper's, what the row is."""
    everything = [str(pk) for pk in Permission.objects.values_list("pk", flat=True)]
    return {
        "user": lambda: form(row, email=EVIL),
        "group": lambda: {"name": "operators", "permissions": everything},
        "emailaddress": lambda: {"user": row.user_id, "email": EVIL, "verified": "on", "primary": "on"},
        "authenticator": lambda: {"user": helper.pk, "type": "totp", "data": "{}"},
        "socialaccount": lambda: {"user": row.user_id, "provider": "login", "uid": "2", "extra_data": "{}"},
        "membership": lambda: {"notebook": str(row.notebook_id), "user": helper.pk, "role": "editor"},
        "connection": lambda: {"name": "vault", "owner": row.owner_id, "dsn": DSN},
    }[model]()


def rows_of(row: Any) -> list[dict[str, Any]]:
    return list(type(row).objects.order_by("pk").values())


@pytest.fixture
def with_all_of(root: Any) -> Callable[[str], tuple[Client, Any]]:
    """Staff who hold every right of one model and no other."""

    def made(model: str) -> tuple[Client, Any]:
        staff = get_user_model().objects.create_user(f"all of {model}", password="x", is_staff=True)
        staff.user_permissions.set(Permission.objects.filter(content_type__model=model))
        client = Client()
        client.force_login(staff)
        return client, staff

    return made


def registered() -> dict[str, Any]:
    return {model._meta.model_name: site for model, site in admin.site._registry.items()}


def test_every_registered_model_is_in_the_table(root: Any):
    assert set(of_root(root)) | set(MAY) == set(registered())


@pytest.mark.parametrize(
    "model", ["user", "group", "emailaddress", "authenticator", "socialaccount", "membership", "connection"]
)
def test_who_holds_all_rights_of_one_model_changes_nothing_of_a_superusers(model, root, with_all_of, rf):
    row = of_root(root)[model]
    client, helper = with_all_of(model)
    before, site = rows_of(row), registered()[model]
    at, fields = f"/admin/{row._meta.app_label}/{model}/", fields_of(model, row, helper)
    client.post(f"{at}add/", fields)
    client.post(f"{at}{row.pk}/change/", fields)
    client.post(f"{at}{row.pk}/delete/", {"post": "yes"})
    request = rf.get("/")
    request.user = root
    for action in site.get_actions(request):
        client.post(at, {"action": action, "_selected_action": [str(row.pk)], "post": "yes"})
    assert rows_of(row) == before
    client.logout()
    client.post("/accounts/password/reset/", {"email": EVIL})
    assert not any("reset/key" in message.body for message in mail.outbox)


def test_what_is_an_ordinary_persons_is_still_changed(owner: Any, with_all_of):
    notebook = Notebook.objects.create(owner=owner, name="Sales")
    member = Membership.objects.create(notebook=notebook, user=get_user_model().objects.create_user("m"), role="viewer")
    client, _ = with_all_of("membership")
    assert client.post(f"/admin/notebooks_app/membership/{member.pk}/change/", {"role": "runner"}).status_code == 302
    member.refresh_from_db()
    assert member.role == "runner"
    address = EmailAddress.objects.create(user=owner, email="owner@example.com")
    client, _ = with_all_of("emailaddress")
    assert client.post(f"/admin/account/emailaddress/{address.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not EmailAddress.objects.exists()


@pytest.mark.parametrize("whose", ["a person's", "an operator's"])
def test_a_connection_becomes_nobody_elses_in_the_admin(owner: Any, with_all_of, whose: str):
    database = Connection(owner=owner if whose == "a person's" else None, name="warehouse")
    database.set_dsn("postgresql://u:p@db.example.com/x")
    database.save()
    client, helper = with_all_of("connection")
    for new_owner in (helper.pk, ""):
        form = {"name": "renamed", "owner": new_owner, "dsn": ""}
        assert client.post(f"/admin/notebooks_app/connection/{database.pk}/change/", form).status_code == 302
        was = database.owner_id
        database.refresh_from_db()
        assert (database.owner_id, database.name) == (was, "renamed")
