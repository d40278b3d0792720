"""Who may open a notebook's socket, what each may ask over it, and what ends it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import websockets
import websockets.exceptions

from kernels_app import commands
from kernels_app.consumers import ACCESS_ENDED
from tests.servers import LiveServer

pytestmark = pytest.mark.asyncio

RANK = {"viewer": 1, "runner": 2, "editor": 3, "owner": 4}
CLOSE_S = 20  # the product's promise is 5; this machine may be busy
CELL = str(uuid.UUID(int=7))
OPERATION = {"operation_id": str(uuid.UUID(int=9))}
# command: the least role, and fields that are well-formed and change nothing.
COMMANDS: dict[str, tuple[str, dict[str, Any]]] = {
    "hello": ("viewer", {"cursor": None}),
    "presence": ("viewer", {"cell": None}),
    "edit": ("editor", {"cell": CELL, "version": 1, "source": "", **OPERATION}),
    "insert": ("editor", {"cell": "x"}),
    "delete": ("editor", {"cells": [CELL], **OPERATION}),
    "move": ("editor", {"cells": [CELL], "after": None, **OPERATION}),
    "update": ("editor", {"cell": CELL, "version": 1, "fields": {}, **OPERATION}),
    "undo": ("editor", {"operation_id": CELL, "new_operation_id": CELL}),
    "rename": ("editor", {"name": "", **OPERATION}),
    "set_run_mode": ("editor", {"run_mode": "no", **OPERATION}),
    "run": ("runner", {"cells": []}),
    "run_all": ("runner", {}),
    "run_stale": ("runner", {}),
    "stop": ("runner", {}),
    "turn": ("runner", {"cell": CELL, "name": "x", "value": "1", "version": 1, **OPERATION}),
    "take_out": ("runner", {"cell": CELL}),
    "restart": ("runner", {"run_all": False}),
    "input_reply": ("runner", {"attempt": CELL, "value": ""}),
    "complete": ("runner", {"source": "", "cursor": 0}),
    "inspect": ("runner", {"source": "", "cursor": 0}),
    "table": ("viewer", {"handle": "x"}),
    "variables": ("runner", {}),
    "cells": ("viewer", {"cells": []}),
}


@pytest.fixture(scope="module")
def cookies(live_server: LiveServer) -> dict[str, str]:
    """The Cookie header of each of the cast; "me" is the owner. Staff has no part in the notebook."""
    names = ("me", "viewer", "runner", "editor", "stranger", "staff")
    made = live_server.sessions_of(*names)
    live_server.manage("shell", "-c", switch("staff", "is_staff=True, is_superuser=True"))
    return {name: "; ".join(f"{key}={value}" for key, value in each.items()) for name, each in made.items()}


@pytest.fixture
def notebook(live_server: LiveServer, cookies: dict[str, str]) -> Iterator[str]:
    api = live_server.api()
    _, made = api("POST", "notebooks/", {"name": "Shared"})
    for role in ("viewer", "runner", "editor"):
        assert api("POST", f"notebooks/{made['id']}/members/", {"user": role, "role": role})[0] == 201
    yield made["id"]
    assert api("DELETE", f"notebooks/{made['id']}/")[0] == 204


def switch(username: str, change: str) -> str:
    """A command that changes a person's row, in another process than the server's."""
    return f"from django.contrib.auth.models import User; User.objects.filter(username={username!r}).update({change})"


def connect(server: LiveServer, notebook: str, cookie: str) -> Any:
    url = f"{server.url.replace('http', 'ws')}/ws/notebooks/{notebook}/"
    return websockets.connect(url, origin=server.url, additional_headers={"Cookie": cookie}, max_size=None)


async def ask(socket: Any, command: str, fields: dict[str, Any]) -> dict[str, Any]:
    await socket.send(json.dumps({"type": command, "id": command, **fields}))
    async with asyncio.timeout(60):
        while True:
            frame = json.loads(await socket.recv())
            if frame["type"] == "reply" and frame["id"] == command:
                return frame


async def event(socket: Any, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(CLOSE_S):
        while True:
            for happened in json.loads(await socket.recv()).get("events", ()):
                if happened["type"] == kind:
                    return happened


async def ended(socket: Any) -> int:
    """The code that the socket was closed with."""
    with pytest.raises(websockets.exceptions.ConnectionClosed):
        async with asyncio.timeout(CLOSE_S):
            while True:
                await socket.recv()
    return socket.close_code


async def test_every_command_is_in_the_table():
    assert set(commands.COMMANDS) | {"hello", "presence"} == set(COMMANDS)
    assert {name: command.role.name.lower() for name, command in commands.COMMANDS.items()} == {
        name: least for name, (least, _) in COMMANDS.items() if name in commands.COMMANDS
    }


@pytest.mark.parametrize("role", RANK)
async def test_each_role_may_ask_what_it_is_for_and_no_more(
    live_server: LiveServer, cookies: dict[str, str], notebook: str, role: str
):
    async with connect(live_server, notebook, cookies["me" if role == "owner" else role]) as socket:
        for command, (least, fields) in COMMANDS.items():
            answer = await ask(socket, command, fields)
            is_refused = not answer["ok"] and answer["error"]["code"] == "forbidden"
            assert is_refused == (RANK[role] < RANK[least]), (command, answer)


@pytest.mark.parametrize("name", ["stranger", "staff", "nobody"])
async def test_who_has_no_part_in_it_opens_no_socket(
    live_server: LiveServer, cookies: dict[str, str], notebook: str, name: str
):
    cookie = cookies.get(name, "sessionid=none")
    for wanted in (notebook, str(uuid.uuid4())):
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await connect(live_server, wanted, cookie)
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize("name", ["me", "nobody"])
@pytest.mark.parametrize("path", ["", "ws/", "ws/x/", "ws/notebooks/", f"ws/notebooks/{CELL}", "api/"])
async def test_no_socket_opens_where_none_is(live_server: LiveServer, cookies: dict[str, str], path: str, name: str):
    url = f"{live_server.url.replace('http', 'ws')}/{path}"
    cookie = {"Cookie": cookies.get(name, "sessionid=none")}
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        await websockets.connect(url, origin=live_server.url, additional_headers=cookie)
    assert refused.value.response.status_code == 403
    assert "No route found" not in live_server.log()


async def test_another_role_is_told_at_once_and_binds_the_next_command(
    live_server: LiveServer, cookies: dict[str, str], notebook: str
):
    api = live_server.api()
    _, members = api("GET", f"notebooks/{notebook}/members/")
    editor = next(each for each in members["members"] if each["username"] == "editor")
    async with connect(live_server, notebook, cookies["editor"]) as socket:
        await ask(socket, "hello", {"cursor": None})
        api("PATCH", f"notebooks/{notebook}/members/{editor['user']}/", {"role": "viewer"})
        assert (await event(socket, "access.changed"))["role"] == "viewer"
        assert (await ask(socket, "run_all", {}))["error"]["code"] == "forbidden"
        api("PATCH", f"notebooks/{notebook}/members/{editor['user']}/", {"role": "editor"})
        assert (await event(socket, "access.changed"))["role"] == "editor"
        assert (await ask(socket, "complete", {"source": "", "cursor": 0}))["ok"] is True


async def test_a_page_that_shows_another_role_is_told_when_it_comes_back(
    live_server: LiveServer, cookies: dict[str, str], notebook: str
):
    async with connect(live_server, notebook, cookies["editor"]) as socket:
        told = []
        for shown in ("editor", "viewer"):
            await socket.send(json.dumps({"type": "hello", "id": shown, "cursor": None, "role": shown}))
            async with asyncio.timeout(30):
                while shown not in told:
                    frame = json.loads(await socket.recv())
                    told += [each["role"] for each in frame.get("events", ()) if each["type"] == "access.changed"]
                    told += [frame["id"]] if frame["type"] == "reply" else []
        assert told == ["editor", "editor", "viewer"]  # a reply, the role, a reply


async def test_a_removed_member_is_cut_off(live_server: LiveServer, cookies: dict[str, str], notebook: str):
    api = live_server.api()
    _, members = api("GET", f"notebooks/{notebook}/members/")
    async with (
        connect(live_server, notebook, cookies["viewer"]) as socket,
        connect(live_server, notebook, cookies["runner"]) as other,
    ):
        viewer = next(each["user"] for each in members["members"] if each["username"] == "viewer")
        api("DELETE", f"notebooks/{notebook}/members/{viewer}/")
        assert await ended(socket) == ACCESS_ENDED
        assert (await ask(other, "cells", {"cells": []}))["ok"] is True
    with pytest.raises(websockets.exceptions.InvalidStatus):
        await connect(live_server, notebook, cookies["viewer"])


@pytest.mark.parametrize("change", ["is_active=False", "password='!another'"], ids=["switched off", "another password"])
async def test_what_another_process_did_to_an_account_ends_its_sockets(
    live_server: LiveServer, cookies: dict[str, str], notebook: str, change: str
):
    name = f"guest{uuid.uuid4().hex[:6]}"
    cookie = "; ".join(f"{key}={value}" for key, value in live_server.session_cookies(name).items())
    live_server.api()("POST", f"notebooks/{notebook}/members/", {"user": name, "role": "viewer"})
    async with connect(live_server, notebook, cookie) as socket:
        assert (await ask(socket, "cells", {"cells": []}))["ok"] is True
        await asyncio.to_thread(live_server.manage, "shell", "-c", switch(name, change))
        assert await ended(socket) == ACCESS_ENDED


async def test_a_session_that_is_gone_ends_its_sockets_and_no_others(
    live_server: LiveServer, cookies: dict[str, str], notebook: str
):
    ((key, value),) = live_server.session_cookies("editor").items()
    gone = f"from django.contrib.sessions.models import Session; Session.objects.filter(pk={value!r}).delete()"
    async with (
        connect(live_server, notebook, f"{key}={value}") as socket,
        connect(live_server, notebook, cookies["editor"]) as other,
    ):
        assert (await ask(socket, "cells", {"cells": []}))["ok"] is True
        await asyncio.to_thread(live_server.manage, "shell", "-c", gone)
        assert await ended(socket) == ACCESS_ENDED
        assert (await ask(other, "cells", {"cells": []}))["ok"] is True
