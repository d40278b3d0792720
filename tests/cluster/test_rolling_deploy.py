"""A release that replaces one web process after the other while people work: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import urllib.error
from typing import Any

from benchmarks.browser import Browser, agree
from tests.cluster.conftest import Team
from tests.servers import Api, LiveServer

BACK_S = 10.0
PACE_S = 0.05


class Typist:
    """Somebody who appends marks to a cell until told to stop, and remembers which were acknowledged."""

    def __init__(self, browser: Browser, cell: str, name: str) -> None:
        self._browser, self._cell, self._name = browser, cell, name
        self.acknowledged: list[str] = []
        self.is_done = False

    async def work(self) -> None:
        while not self.is_done:
            mark = f"# {self._name}{len(self.acknowledged)};"
            await self._browser.edit(self._cell, lambda source, mark=mark: f"{source}\n{mark}")
            self.acknowledged.append(mark)
            await asyncio.sleep(PACE_S)


class Program:
    """A program that changes a cell through nginx, one request after the other."""

    def __init__(self, api: Api, notebook: str, cell: str) -> None:
        self._api, self._path = api, f"notebooks/{notebook}/cells/{cell}/"
        self.statuses: list[int] = []
        self.version = 1
        self.is_done = False

    async def work(self) -> None:
        while not self.is_done:
            body = {"version": self.version, "source": f"n = {self.version}"}
            try:
                status, answer = await asyncio.to_thread(self._api, "PATCH", self._path, body)
            except urllib.error.URLError as error:
                raise AssertionError(f"nginx did not answer: {error}") from error
            self.statuses.append(status)
            if status == 200:
                self.version = answer["version"]
            await asyncio.sleep(PACE_S)


def test_each_process_is_replaced_and_every_edit_is_there_once(team: Team) -> None:
    notebook, cells = team.notebook("shared = 0", "a = 0", "b = 0", "n = 0")
    running, (slow,) = team.notebook("import time; time.sleep(2); print('slept')")

    async def work() -> tuple[dict[str, Any], list[Typist], Program]:
        async with team.browser(notebook) as one, team.browser(notebook) as other:
            typists = [
                Typist(one, cells[1], "a"), Typist(other, cells[2], "b"),
                Typist(one, cells[0], "x"), Typist(other, cells[0], "y"),
            ]  # fmt: skip
            program = Program(team.api(), notebook, cells[3])
            async with asyncio.timeout(150), asyncio.TaskGroup() as group:
                for each in (*typists, program):
                    group.create_task(each.work())
                under_way = group.create_task(long_request(team, running, slow))
                await until_running(team, running)
                for web in team.cluster.webs:
                    await replaced(web, [one, other])
                status, answer = await under_way
                assert (status, answer["run"]["outcome"]) == (200, "ok")
                for each in (*typists, program):
                    each.is_done = True
            return await agree([one, other]), typists, program

    document, typists, program = asyncio.run(work())
    sources = dict(document["cells"])
    text = "".join(sources.values())
    for typist in typists:
        assert len(typist.acknowledged) > 20
        assert [mark for mark in typist.acknowledged if text.count(mark) != 1] == []
    assert text.count("#") == sum(len(typist.acknowledged) for typist in typists)
    assert set(program.statuses) == {200}
    assert sources[cells[3]] == f"n = {program.version - 1}"
    assert not {502, 503, 504} & set(team.cluster.nginx.statuses())


async def long_request(team: Team, notebook: str, cell: str) -> tuple[int, Any]:
    """Waits for a run in the process that is stopped first, past nginx."""
    wanted = {"cells": [cell], "wait": True, "timeout_s": 60}
    return await asyncio.to_thread(team.api(0), "POST", f"notebooks/{notebook}/runs/", wanted)


async def until_running(team: Team, notebook: str) -> None:
    api = team.api(1)
    while (await asyncio.to_thread(api, "GET", f"notebooks/{notebook}/"))[1]["cells"][0]["status"] != "running":
        await asyncio.sleep(0.05)


async def replaced(web: LiveServer, browsers: list[Browser]) -> None:
    """The process ends by SIGTERM and another comes in its place; whoever was on it is elsewhere soon."""
    await asyncio.to_thread(web.stop)
    for each in browsers:
        await each.until(lambda each=each: each.is_online, BACK_S)
    await asyncio.to_thread(web.start)
