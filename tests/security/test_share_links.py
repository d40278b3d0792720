"""Share links: what they open for whom, for how long, and what of them can be seen elsewhere."""

from __future__ import annotations

import asyncio
import http.cookiejar
import json
import re
import urllib.error
import urllib.request
import uuid
from datetime import timedelta
from typing import Any

import pytest
import websockets
import websockets.exceptions
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from notebooks_app import services, sharing
from notebooks_app.errors import BadRequest, NotFound
from notebooks_app.models import Membership, Notebook, ShareLink
from tests.security.test_access_sockets import ask, ended
from tests.servers import LiveServer

PICTURE = """
from IPython.display import SVG
SVG('<svg xmlns="http://www.w3.org/2000/svg"><desc>' + 'x' * 100_000 + '</desc></svg>')
"""


@pytest.fixture
def notebook(owner: Any) -> Notebook:
    made = Notebook.objects.create(owner=owner, name="Sales")
    services.insert_cell(
        made.pk, uuid.uuid4(), after=None, cell_type="python", author=services.Author.of(owner),
        operation_id=uuid.uuid4(), source="revenue = 7",
    )  # fmt: skip
    return made


def page(notebook: Notebook) -> str:
    return f"/notebooks/{notebook.pk}/"


def come(browser: Client, text: str) -> Any:
    """Open a link as a person does: where it asks whether they want to, yes."""
    answer = browser.get(f"/share/{text}/")
    if answer.get("Location") != "/share/":
        return answer
    asked = re.search(r'name="link" value="([^"]+)"', browser.get("/share/").content.decode())
    return browser.post("/share/", {"link": asked[1] if asked else ""})


def signed_in(person: Any) -> Client:
    client = Client()
    client.force_login(person)
    return client


@pytest.mark.django_db
@pytest.mark.database
class TestOpening:
    def test_a_guests_link_opens_the_notebook_without_an_account_and_nothing_else(self, notebook, owner):
        other = Notebook.objects.create(owner=owner, name="Other")
        _, text = sharing.create(notebook, role="viewer", allows_guests=True)
        guest = Client()
        came = guest.get(f"/share/{text}/")
        assert (came.status_code, came["Location"]) == (302, page(notebook))
        assert guest.get(page(notebook)).status_code == 200
        assert guest.get(f"{page(notebook)}export/").status_code == 200
        assert guest.get(page(other)).status_code == 302  # to sign in, as for what there is not
        assert guest.post(f"{page(notebook)}rename/", {"name": "x"}).status_code == 302
        assert guest.get(f"/api/v1/notebooks/{notebook.pk}/").status_code == 401
        assert Client().get(page(notebook)).status_code == 302

    def test_nothing_on_the_page_and_in_the_answers_tells_the_link(self, notebook):
        _, text = sharing.create(notebook, role="viewer", allows_guests=True)
        guest = Client()
        came = guest.get(f"/share/{text}/")
        assert came["Referrer-Policy"] == "no-referrer"
        assert "no-store" in came["Cache-Control"]
        seen = guest.get(page(notebook))
        assert text not in seen.content.decode() + str(seen.headers)
        assert not ShareLink.objects.filter(digest=text).exists()
        assert len(text) * 6 >= 128

    def test_a_link_that_needs_an_account_remembers_itself_until_the_sign_in(self, notebook, viewer):
        _, text = sharing.create(notebook, role="runner")
        browser = Client()
        away = browser.get(f"/share/{text}/")
        assert away["Location"] == "/accounts/login/?next=/share/"
        assert browser.get(page(notebook)).status_code == 302
        back = browser.post(
            "/accounts/login/?next=/share/",
            {"login": "viewer", "password": "a long enough password", "next": "/share/"},
        )
        assert back["Location"] == "/share/"
        assert not Membership.objects.exists()
        assert come(browser, text)["Location"] == page(notebook)
        assert browser.get(page(notebook)).status_code == 200
        assert Membership.objects.get(user=viewer).role == "runner"

    def test_a_picture_joins_nobody_and_makes_no_guest(self, notebook, viewer):
        links = [sharing.create(notebook, role="viewer", allows_guests=True), sharing.create(notebook, role="editor")]
        for browser in (signed_in(viewer), Client()):
            for _, text in links:
                for dest in ("image", "iframe", "empty", "script"):
                    embedded = {"Sec-Fetch-Dest": dest}
                    assert browser.get(f"/share/{text}/", headers=embedded).status_code == 403
                    assert browser.get("/share/", headers=embedded).status_code == 403
            assert browser.get(page(notebook)).status_code in (302, 404)
        assert not Membership.objects.exists()

    def test_who_is_signed_in_is_asked_before_the_owner_learns_who_they_are(self, notebook, viewer):
        _, text = sharing.create(notebook, role="editor")
        browser = signed_in(viewer)
        assert browser.get(f"/share/{text}/", headers={"Sec-Fetch-Dest": "document"})["Location"] == "/share/"
        asked = browser.get("/share/").content.decode()
        assert "Sales" in asked and "editor" in asked and text not in asked
        assert not Membership.objects.exists()
        assert come(browser, text)["Location"] == page(notebook)
        assert browser.get(f"/share/{text}/")["Location"] == page(notebook)  # once a member, no more

    def test_yes_is_said_to_the_link_that_was_asked_about_and_by_the_page_itself(self, notebook, owner, viewer):
        other = Notebook.objects.create(owner=owner, name="Other")
        (asked, text), (_, swapped) = sharing.create(notebook, role="viewer"), sharing.create(other, role="editor")
        browser = signed_in(viewer)
        browser.get(f"/share/{text}/")
        browser.get(f"/share/{swapped}/")
        answer = browser.post("/share/", {"link": str(asked.pk)})
        assert "Other" in answer.content.decode() and not Membership.objects.exists()
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(viewer)
        strict.get(f"/share/{text}/")
        assert strict.post("/share/", {"link": str(asked.pk)}).status_code == 403

    def test_uses_are_counted(self, notebook, viewer):
        link, text = sharing.create(notebook, role="viewer", allows_guests=True)
        Client().get(f"/share/{text}/")
        come(signed_in(viewer), text)
        link.refresh_from_db()
        assert link.uses == 2
        assert link.last_used_at is not None

    def test_the_owner_stays_the_owner_and_who_is_named_keeps_their_role(self, notebook, owner, viewer):
        Membership.objects.create(notebook=notebook, user=viewer, role="viewer")
        _, text = sharing.create(notebook, role="editor")
        for person in (owner, viewer):
            assert come(signed_in(person), text)["Location"] == page(notebook)
        assert [(each.user, each.role) for each in Membership.objects.all()] == [(viewer, "viewer")]

    def test_of_two_links_the_one_that_gives_more_counts(self, notebook, viewer):
        for role, gives in (("runner", "runner"), ("viewer", "runner"), ("editor", "editor")):
            _, text = sharing.create(notebook, role=role)
            come(signed_in(viewer), text)
            assert Membership.objects.get(user=viewer).role == gives

    @pytest.mark.parametrize("text", ["x", "x" * 5000, "%00", "é", "..", "a b"])
    def test_what_is_no_link_is_not_found(self, text):
        answer = Client().get(f"/share/{text}/")
        assert answer.status_code == 404


@pytest.mark.django_db
@pytest.mark.database
class TestEnding:
    @pytest.mark.parametrize("how", ["revoked", "expired", "in the bin"])
    def test_with_the_link_ends_all_it_gave(self, notebook, viewer, how):
        link, text = sharing.create(notebook, role="viewer", allows_guests=True)
        guest, member = Client(), signed_in(viewer)
        for browser in (guest, member):
            come(browser, text)
            assert browser.get(page(notebook)).status_code == 200
        if how == "revoked":
            sharing.revoke(notebook.pk, link.pk)
        elif how == "expired":
            ShareLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        else:
            Notebook.objects.update(deleted_at=timezone.now())
        assert guest.get(page(notebook)).status_code == 302
        assert member.get(page(notebook)).status_code == (410 if how == "in the bin" else 404)
        assert APIClient_of(viewer).get(f"/api/v1/notebooks/{notebook.pk}/").status_code == 404
        assert APIClient_of(viewer).get("/api/v1/notebooks/").json()["results"] == []
        assert Client().get(f"/share/{text}/").status_code == 404

    def test_who_was_named_since_stays(self, notebook, viewer):
        from notebooks_app import members

        link, text = sharing.create(notebook, role="editor")
        come(signed_in(viewer), text)
        members.change(notebook.pk, viewer.pk, "runner")
        sharing.revoke(notebook.pk, link.pk)
        assert Membership.objects.get(user=viewer).role == "runner"

    def test_who_came_by_an_ended_link_can_be_named_and_can_come_by_another(self, notebook, viewer, editor):
        from notebooks_app import members

        link, text = sharing.create(notebook, role="editor")
        for person in (viewer, editor):
            come(signed_in(person), text)
        ShareLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert members.add(notebook, viewer, "runner").link is None
        _, other = sharing.create(notebook, role="viewer")
        come(signed_in(editor), other)
        assert dict(Membership.objects.live().values_list("user__username", "role")) == {
            "viewer": "runner",
            "editor": "viewer",
        }

    def test_twice_revoked_and_others_links_are_not_found(self, notebook, owner):
        link, _ = sharing.create(notebook, role="viewer")
        other = Notebook.objects.create(owner=owner, name="Other")
        with pytest.raises(NotFound):
            sharing.revoke(other.pk, link.pk)
        sharing.revoke(notebook.pk, link.pk)
        with pytest.raises(NotFound):
            sharing.revoke(notebook.pk, link.pk)

    def test_a_link_for_guests_only_views_and_ends_in_the_future(self, notebook):
        with pytest.raises(BadRequest, match="allows_guests"):
            sharing.create(notebook, role="editor", allows_guests=True)
        with pytest.raises(BadRequest, match="expires_at"):
            sharing.create(notebook, role="viewer", expires_at=timezone.now())


def APIClient_of(person: Any) -> APIClient:  # noqa: N802
    client = APIClient()
    client.force_login(person)
    return client


@pytest.mark.django_db
class TestApi:
    def test_a_link_is_made_listed_and_revoked(self, notebook, owner):
        client, at = APIClient_of(owner), f"/api/v1/notebooks/{notebook.pk}/links/"
        body = {"role": "viewer", "name": "board", "allows_guests": True, "expires_at": "2099-01-01T00:00:00Z"}
        made = client.post(at, body, format="json")
        assert made.status_code == 201
        url = made.json()["url"]
        assert Client().get(url).status_code == 302
        assert "no-store" in made["Cache-Control"]
        (listed,) = client.get(at).json()["links"]
        assert (listed["name"], listed["uses"], listed["is_expired"]) == ("board", 1, False)
        assert url.rsplit("/", 2)[1] not in json.dumps(listed)
        assert client.delete(f"{at}{listed['id']}/").status_code == 204
        assert client.get(at).json()["links"] == []
        assert client.delete(f"{at}{listed['id']}/").status_code == 404

    def test_members_who_came_by_a_link_are_told_apart(self, notebook, owner, viewer):
        link, text = sharing.create(notebook, role="viewer")
        come(signed_in(viewer), text)
        (member,) = APIClient_of(owner).get(f"/api/v1/notebooks/{notebook.pk}/members/").json()["members"]
        assert (member["username"], member["by_link"]) == ("viewer", str(link.pk))

    def test_a_guests_page_names_no_connection(self, notebook, owner):
        from notebooks_app.models import Connection

        shared = Connection(name="warehouse of all", owner=None)
        shared.set_dsn("postgresql://u:p@db.example.com/x")
        shared.save()
        _, text = sharing.create(notebook, role="viewer", allows_guests=True)
        guest = Client()
        guest.get(f"/share/{text}/")
        assert "warehouse of all" not in guest.get(page(notebook)).content.decode()
        assert "warehouse of all" in signed_in(owner).get(page(notebook)).content.decode()


class Visitor:
    """A browser without an account, at the real server."""

    def __init__(self) -> None:
        self.jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def get(self, url: str) -> tuple[str, str]:
        """Where it led, and what is there."""
        with self._opener.open(url, timeout=60) as answer:
            return answer.url, answer.read().decode(errors="replace")

    @property
    def cookie(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar)


@pytest.mark.asyncio
async def test_a_guest_watches_live_reads_files_and_is_cut_off_with_the_link(live_server: LiveServer):
    api = live_server.api()
    _, made = api("POST", "notebooks/", {"name": "Live"})
    at = f"notebooks/{made['id']}/"
    api("POST", f"{at}cells/", {"type": "python", "source": PICTURE})
    api("POST", f"{at}runs/", {"all": True, "wait": True})
    (cell,) = api("GET", at)[1]["cells"]
    file = cell["outputs"][0]["files"]["image/svg+xml"]["url"]
    _, link = api("POST", f"{at}links/", {"role": "viewer", "allows_guests": True})
    guest = Visitor()
    where, page_text = await asyncio.to_thread(guest.get, link["url"])
    assert where.endswith(f"/notebooks/{made['id']}/")
    assert "Guest" in page_text
    assert "<svg" in (await asyncio.to_thread(guest.get, live_server.url + file))[1]
    url = f"{live_server.url.replace('http', 'ws')}/ws/notebooks/{made['id']}/"
    headers = {"Cookie": guest.cookie}
    async with websockets.connect(url, origin=live_server.url, additional_headers=headers, max_size=None) as socket:
        assert (await ask(socket, "hello", {"cursor": None}))["ok"] is True
        assert (await ask(socket, "run_all", {}))["error"]["code"] == "forbidden"
        api("DELETE", f"{at}links/{link['id']}/")
        assert await ended(socket) == 4403
    with pytest.raises(websockets.exceptions.InvalidStatus):
        await websockets.connect(url, origin=live_server.url, additional_headers=headers)
    assert "/accounts/login/" in (await asyncio.to_thread(guest.get, live_server.url + file))[0]
    assert link["url"].rsplit("/", 2)[1] not in live_server.log()
