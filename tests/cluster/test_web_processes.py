"""Two web processes, any browser on any of them: what one accepts, browsers and programs of the other know."""

from __future__ import annotations

import asyncio
import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any

from benchmarks.browser import Browser, agree
from tests.cluster.conftest import ATTEMPTS, BASE, Team

GONE_S = 15.0


def append(text: str) -> Any:
    return lambda source: f"{source}\n{text}"


async def opened(browser: Browser) -> Browser:
    await browser.__aenter__()
    return browser


def run(work: Any) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(120):
            return await work

    return asyncio.run(bounded())


def test_edits_and_structure_of_one_process_reach_browsers_of_the_other(team: Team) -> None:
    notebook, cells = team.notebook("shared = 0", "second = 0")

    async def work() -> None:
        async with team.browser(notebook, 0) as here, team.browser(notebook, 1) as there:
            both = ((here, "a"), (there, "b"))
            edits = (one.edit(cells[0], append(f"# {name}{n}")) for one, name in both for n in range(5))
            await asyncio.gather(*edits)
            new = str(uuid.uuid4())
            await here.change("insert", cell=new, after=cells[0], cell_type="python", source="third = 0")
            await there.change("move", cells=[cells[1]], after=None)
            await there.change("rename", name="Renamed")
            await here.change("update", cell=cells[1], version=1, fields={"disabled": True})
            await there.until(lambda: new in there.cells)
            await there.change("delete", cells=[new])
            for one in (here, there):  # the answer may come before the news
                await one.until(lambda one=one: new not in one.cells)
            document = await agree([here, there])
            assert document["name"] == "Renamed" and [cell for cell, _ in document["cells"]] == [cells[1], cells[0]]
            marks = document["cells"][1][1].split("\n# ")[1:]
            assert sorted(marks) == sorted(f"{name}{n}" for name in "ab" for n in range(5))
        for process in (0, 1):
            status, told = team.api(process)("GET", f"notebooks/{notebook}/")
            assert status == 200 and [cell["source"] for cell in told["cells"]] == [s for _, s in document["cells"]]

    run(work())


def test_names_of_a_cell_that_is_edited_are_told_in_both_processes(team: Team) -> None:
    notebook, cells = team.notebook("x = 0", "y = x")

    async def work() -> None:
        async with team.browser(notebook, 0) as here, team.browser(notebook, 1) as there:
            await here.edit(cells[0], lambda _: "renamed = 0")
            for one in (here, there):
                await one.until(lambda one=one: one.analysed.get(cells[0], {}).get("definitions") == ["renamed"])

    run(work())


def test_named_versions_are_told_and_restored_in_either_process(team: Team) -> None:
    notebook, cells = team.notebook("first = 1")

    async def work() -> None:
        async with team.browser(notebook, 0) as here, team.browser(notebook, 1) as there:
            told: list[dict[str, Any]] = []
            here.listeners.append(lambda event: told.append(event) if event["type"] == "version.named" else None)
            at = f"notebooks/{notebook}/versions/"
            status, version = await asyncio.to_thread(team.api(1), "POST", at, {"name": "before"})
            assert status == 201
            await here.until(lambda: told)
            assert told[0]["version"]["id"] == version["id"]
            await there.edit(cells[0], lambda _: "first = 2")
            status, _ = await asyncio.to_thread(team.api(0), "POST", f"{at}{version['id']}/restore/", {})
            assert status == 200
            await there.until(lambda: there.cells[cells[0]].source == "first = 1")
            await agree([here, there])

    run(work())


def test_people_and_carets_of_the_other_process_are_seen_and_gone_when_they_leave(team: Team) -> None:
    notebook, cells = team.notebook("x = 0")
    team.join(notebook, "ana", "editor")

    async def work() -> None:
        async with team.browser(notebook, 0) as here:
            there = await opened(team.browser(notebook, 1, "ana"))
            both = {here.window, there.window}
            await here.until(lambda: here.windows() == both)
            await there.until(lambda: there.windows() == both)
            assert [person["name"] for person in here.people] == ["ana", "me"]
            place = {"anchor": 1, "head": 4, "version": 1}
            await there.ask("presence", cell=cells[0], selection=place)
            await here.until(lambda: place in [w["selection"] for person in here.people for w in person["windows"]])
            async with team.browser(notebook, 0) as newcomer:
                await newcomer.until(lambda: len(newcomer.windows()) == 3)
                windows = [window for person in newcomer.people for window in person["windows"]]
                assert (there.window, cells[0], place) in [(w["window"], w["cell"], w["selection"]) for w in windows]
            await there.__aexit__()
            await here.until(lambda: here.windows() == {here.window})

    run(work())


def test_people_of_a_process_that_was_killed_are_gone_soon(team: Team) -> None:
    notebook, _ = team.notebook("x = 0")
    killed = team.cluster.webs[1]

    async def work() -> None:
        async with team.browser(notebook, 0) as here, team.browser(notebook, 1) as there:
            await here.until(lambda: here.windows() == {here.window, there.window})
            await asyncio.to_thread(killed.kill)
            await here.until(lambda: here.windows() == {here.window}, GONE_S)

    try:
        run(work())
    finally:
        killed.start()


def test_a_link_that_is_revoked_and_a_logout_close_sockets_of_the_other_process(team: Team) -> None:
    notebook, _ = team.notebook("x = 0")
    _, link = team.api(0)("POST", f"notebooks/{notebook}/links/", {"role": "viewer", "allows_guests": True})
    guest = Person(team.urls[0])
    guest.open(urllib.parse.urlsplit(link["url"]).path.removeprefix(BASE))
    member = team.cookie("leaving")
    team.join(notebook, "leaving", "viewer")

    async def work() -> None:
        async with (
            team.browser(notebook, 1, cookie=guest.cookie()) as watching,
            team.browser(notebook, 1, cookie=member) as leaving,
            team.browser(notebook, 1) as owner,
        ):
            assert watching.is_online and leaving.is_online
            await asyncio.to_thread(team.api(0), "DELETE", f"notebooks/{notebook}/links/{link['id']}/")
            await watching.until(lambda: watching.code == 4403)
            assert leaving.is_online
            await asyncio.to_thread(Person(team.urls[0], member).sign_out)
            await leaving.until(lambda: leaving.code == 4403)
            assert owner.is_online

    run(work())


def test_wrong_passwords_are_counted_across_processes(team: Team) -> None:
    answers = [Person(team.urls[number % 2]).sign_in("nobody", "wrong") for number in range(ATTEMPTS + 2)]
    refused = ["Too many attempts" in answer for answer in answers]
    assert refused == [False] * ATTEMPTS + [True] * 2


def test_a_request_that_is_sent_again_to_the_other_process_is_carried_out_once(team: Team) -> None:
    notebook, _ = team.notebook()
    made = []
    for process in (0, 1, 0):
        api = team.api(process)
        api.headers |= {"Idempotency-Key": "the-same-request"}
        made.append(api("POST", f"notebooks/{notebook}/cells/", {"type": "python", "source": "x = 1"}))
    assert made[0][0] == 201 and made[0] == made[1] == made[2]
    assert len(team.api(1)("GET", f"notebooks/{notebook}/")[1]["cells"]) == 1


def test_nginx_spreads_browsers_over_both_processes_and_they_meet(team: Team) -> None:
    notebook, cells = team.notebook("x = 0")

    async def work() -> None:
        browsers = [await opened(team.browser(notebook)) for _ in range(6)]
        try:
            await browsers[0].until(lambda: len(browsers[0].windows()) == 6)
            assert sorted(sockets_of(url) for url in team.urls) == [3, 3]
            await asyncio.gather(*(each.edit(cells[0], append(f"# {n}")) for n, each in enumerate(browsers)))
            document = await agree(browsers)
            assert sorted(document["cells"][0][1].split("\n# ")[1:]) == list("012345")
        finally:
            for each in browsers:
                await each.__aexit__()

    run(work())


def sockets_of(url: str) -> int:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        return int(float(re.search(rb"^rillbook_sockets_open (\S+)", answer.read(), re.MULTILINE)[1]))  # type: ignore[index]


class Person:
    """A browser's pages without its sockets."""

    def __init__(self, url: str, cookie: str = "") -> None:
        self._url = url
        self._cookie = cookie
        self._jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))

    def open(self, path: str, form: dict[str, str] | None = None) -> str:
        request = urllib.request.Request(f"{self._url}{path}", headers={"Origin": self._origin()})
        if self._cookie:
            request.add_header("Cookie", self.cookie())
        if form is not None:
            token = next(cookie.value for cookie in self._jar if "csrf" in cookie.name)
            request.data = urllib.parse.urlencode({**form, "csrfmiddlewaretoken": token}).encode()
        try:
            with self._opener.open(request, timeout=30) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def cookie(self) -> str:
        own = [f"{cookie.name}={cookie.value}" for cookie in self._jar]
        return "; ".join([*own, *([self._cookie] if self._cookie else [])])

    def sign_in(self, name: str, password: str) -> str:
        self.open("/accounts/login/")
        return self.open("/accounts/login/", {"login": name, "password": password})

    def sign_out(self) -> None:
        self.open("/accounts/logout/")
        self.open("/accounts/logout/", {})

    def _origin(self) -> str:
        parts = urllib.parse.urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc}"

