"""Pages of the bin, by plain forms: what is in it, restoring, deleting for ever, and whose it is."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from notebooks_app import notebooks
from notebooks_app.models import Membership, Notebook
from tests.history.conftest import Workbench, queries

pytestmark = pytest.mark.django_db


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def client(owner: Any) -> Client:
    return signed_in(owner)


@pytest.fixture
def deleted(bench: Workbench) -> Notebook:
    notebooks.delete_notebook(bench.notebook)
    return bench.notebook


def test_the_list_leads_to_the_bin_and_the_bin_shows_what_was_deleted(client: Client, bench: Workbench):
    bench.add("a")
    assert b'href="/bin/"' in client.get("/").content
    assert "The bin is empty" in client.get("/bin/").content.decode()
    answer = client.post(f"/notebooks/{bench.pk}/delete/", follow=True)
    assert "“Sales” is in the bin now." in answer.content.decode()
    page = client.get("/bin/").content.decode()
    assert "Sales" in page
    assert "1 cell · deleted" in page


def test_a_notebook_is_restored_from_the_bin(client: Client, deleted: Notebook):
    answer = client.post(f"/bin/{deleted.pk}/restore/", {"next": "bin"}, follow=True)
    assert answer.redirect_chain == [("/bin/", 302)]
    assert "“Sales” is back." in answer.content.decode()
    assert client.get(f"/notebooks/{deleted.pk}/").status_code == 200


def test_the_page_of_a_deleted_notebook_offers_its_owner_to_restore_it(client: Client, deleted: Notebook):
    answer = client.get(f"/notebooks/{deleted.pk}/")
    assert answer.status_code == 410
    assert f'action="/bin/{deleted.pk}/restore/"' in answer.content.decode()
    assert client.post(f"/bin/{deleted.pk}/restore/").headers["Location"] == f"/notebooks/{deleted.pk}/"
    assert client.get(f"/notebooks/{deleted.pk}/").status_code == 200


def test_a_member_is_told_and_a_stranger_is_not(deleted: Notebook):
    member = get_user_model().objects.create_user("member")
    Membership.objects.create(notebook=deleted, user=member, role="editor")
    stranger = signed_in(get_user_model().objects.create_user("stranger"))
    told = signed_in(member).get(f"/notebooks/{deleted.pk}/")
    assert told.status_code == 410
    assert "restore/" not in told.content.decode()
    assert stranger.get(f"/notebooks/{deleted.pk}/").status_code == 404
    for one in (signed_in(member), stranger):
        assert "Sales" not in one.get("/bin/").content.decode()
        assert one.post(f"/bin/{deleted.pk}/restore/").status_code == 404
        assert one.post(f"/bin/{deleted.pk}/delete/").status_code == 404
    assert Notebook.objects.exclude(deleted_at=None).get() == deleted


def test_deleting_for_ever_needs_the_bin_first(client: Client, bench: Workbench):
    assert client.post(f"/bin/{bench.pk}/delete/").status_code == 404
    notebooks.delete_notebook(bench.notebook)
    answer = client.post(f"/bin/{bench.pk}/delete/", follow=True)
    assert "“Sales” was deleted for ever." in answer.content.decode()
    assert not Notebook.objects.filter(pk=bench.pk).exists()
    assert client.get(f"/notebooks/{bench.pk}/").status_code == 404


def test_nothing_is_changed_by_a_get_or_by_nobody(client: Client, deleted: Notebook):
    for path in ("restore", "delete"):
        assert client.get(f"/bin/{deleted.pk}/{path}/").status_code == 405
        assert Client().post(f"/bin/{deleted.pk}/{path}/").status_code == 302
    assert Client().get("/bin/").status_code == 302
    assert Notebook.objects.exclude(deleted_at=None).exists()


def test_the_bin_costs_the_same_however_full_it_is(client: Client, owner: Any, deleted: Notebook):
    client.get("/bin/")
    few = queries(lambda: client.get("/bin/"))
    for number in range(10):
        notebooks.delete_notebook(Notebook.objects.create(owner=owner, name=f"n{number}"))
    assert queries(lambda: client.get("/bin/")) == few
