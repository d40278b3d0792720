"""Members over the API: found by exact name alone, changed by the owner, in force at once."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from notebooks_app.models import ApiToken, Membership

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_the_owner_adds_a_person_who_then_sees_the_notebook_in_that_role(client, client_of, at, cast):
    answer = client.post(at + "members/", {"user": "stranger", "role": "runner"}, format="json")
    assert (answer.status_code, answer.json()["role"], answer.json()["user"]) == (201, "runner", cast["stranger"].pk)
    assert client_of("stranger").get(at).json()["role"] == "runner"
    listed = client.get(at + "members/").json()
    assert listed["owner"]["username"] == "owner"
    assert [member["username"] for member in listed["members"]] == ["editor", "runner", "viewer", "stranger"]


@pytest.mark.parametrize("name", ["strange", "stranger2", "STRANGER", "%", "no@example.com", "@"])
def test_who_is_not_named_exactly_is_not_found_in_the_same_words(client, at, name):
    answer = client.post(at + "members/", {"user": name, "role": "viewer"}, format="json")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].startswith("There is no such person here.")
    assert Membership.objects.count() == 3


def test_an_address_names_one_person_and_counts_verified_where_the_server_verifies(client, at, settings):
    people = get_user_model().objects
    ana = people.create_user("ana", email="ana@example.com")
    body = {"user": "Ana@example.com", "role": "viewer"}
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    assert client.post(at + "members/", body, format="json").status_code == 404
    EmailAddress.objects.create(user=ana, email="ana@example.com", verified=True, primary=True)
    assert client.post(at + "members/", body, format="json").json()["username"] == "ana"
    settings.ACCOUNT_EMAIL_VERIFICATION, settings.SIGNUP_OPEN = "none", False
    people.create_user("b", email="two@example.com"), people.create_user("c", email="two@example.com")
    body["user"] = "two@example.com"
    assert client.post(at + "members/", body, format="json").status_code == 404


def test_where_anybody_makes_an_account_an_address_that_is_only_claimed_names_nobody(client, at, settings):
    settings.ACCOUNT_EMAIL_VERIFICATION, settings.SIGNUP_OPEN = "none", True
    made = get_user_model().objects.create_user("claims", email="boss@example.com")
    EmailAddress.objects.create(user=made, email="boss@example.com", primary=True)
    body = {"user": "boss@example.com", "role": "viewer"}
    assert client.post(at + "members/", body, format="json").status_code == 404
    settings.SIGNUP_OPEN = False
    assert client.post(at + "members/", body, format="json").json()["username"] == "claims"


def test_a_member_is_not_added_twice_nor_the_owner_at_all(client, at):
    assert client.post(at + "members/", {"user": "viewer", "role": "editor"}, format="json").status_code == 409
    assert client.post(at + "members/", {"user": "owner", "role": "editor"}, format="json").status_code == 400
    assert client.post(at + "members/", {"user": "stranger", "role": "owner"}, format="json").status_code == 400


def test_a_role_changes_and_ends_at_once(client, client_of, at, cast):
    one = f"{at}members/{cast['viewer'].pk}/"
    viewer = client_of("viewer")
    assert viewer.patch(at, {"name": "Mine"}, format="json").status_code == 403
    assert client.patch(one, {"role": "editor"}, format="json").json()["role"] == "editor"
    assert viewer.patch(at, {"name": "Mine"}, format="json").status_code == 200
    assert client.delete(one).status_code == 204
    assert viewer.get(at).status_code == 404
    assert client.delete(one).status_code == 404
    assert client.patch(f"{at}members/{10**30}/", {"role": "editor"}, format="json").status_code == 404


def test_a_member_may_leave_and_remove_nobody_else(client_of, at, cast):
    viewer = client_of("viewer")
    assert viewer.delete(f"{at}members/{cast['editor'].pk}/").status_code == 403
    assert viewer.delete(f"{at}members/{cast['viewer'].pk}/").status_code == 204
    assert viewer.get(at).status_code == 404


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("run", 403), ("edit", 204)])
def test_a_token_leaves_a_notebook_only_if_it_may_edit(at, cast, scope, status):
    person = cast["viewer"]
    _, text = ApiToken.issue(person.pk, "t", scope)
    client = APIClient(headers={"Authorization": f"Bearer {text}"})
    assert client.delete(f"{at}members/{person.pk}/").status_code == status
    assert Membership.objects.filter(user=person).exists() == (status == 403)
