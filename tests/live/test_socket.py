"""The socket of the real server: who may open it, what it answers to nonsense, one order for all."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
import uuid
from typing import Any

import pytest
import websockets
import websockets.exceptions

from benchmarks.client import sign_in
from tests.servers import LiveServer

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def cookie(live_server: LiveServer) -> str:
    return sign_in(live_server)


@pytest.fixture
def notebook(live_server: LiveServer) -> str:
    api = live_server.api()
    status, made = api("POST", "notebooks/", {"name": "Socket"})
    assert status == 201
    api("POST", f"notebooks/{made['id']}/cells/", {"type": "python", "source": ""})
    return made["id"]


def address(server: LiveServer, notebook: str) -> str:
    return f"{server.url.replace('http', 'ws')}/ws/notebooks/{notebook}/"


def connect(server: LiveServer, notebook: str, cookie: str | None, origin: str | None = None) -> Any:
    headers = {"Cookie": cookie} if cookie else {}
    return websockets.connect(
        address(server, notebook), origin=origin or server.url, additional_headers=headers, max_size=None
    )


async def answer(socket: Any, message: Any) -> dict[str, Any]:
    """Send, and return the reply to it."""
    await socket.send(message if isinstance(message, str) else json.dumps(message))
    wanted = message.get("id") if isinstance(message, dict) else None
    async with asyncio.timeout(20):
        while True:
            frame = json.loads(await socket.recv())
            if frame["type"] == "reply" and frame["id"] == wanted:
                return frame


async def until(socket: Any, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            frame = json.loads(await socket.recv())
            if frame["type"] == kind or any(event["type"] == kind for event in frame.get("events", ())):
                return frame


async def first_cell(socket: Any) -> dict[str, Any]:
    await socket.send(json.dumps({"type": "hello", "id": "h", "cursor": None}))
    return (await until(socket, "snapshot"))["cells"][0]


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:9", "https://127.0.0.1", "http://evil.example", "null", "http://["]
)
async def test_another_origin_is_refused(live_server: LiveServer, notebook: str, cookie: str, origin: str):
    with pytest.raises(websockets.exceptions.InvalidStatus):
        await connect(live_server, notebook, cookie, origin)


async def test_nobody_and_nothing_are_refused_alike(live_server: LiveServer, notebook: str, cookie: str):
    for wanted, who in ((notebook, None), (str(uuid.uuid4()), cookie)):
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await connect(live_server, wanted, who)
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "message",
    ["no json", "[]", "7", '{"type": 7}', '{"type": "run"}', '{"type": "x", "id": NaN}', "[" * 5000, '{"id": 1}'],
)
async def test_nonsense_is_answered_and_the_socket_lives(
    live_server: LiveServer, notebook: str, cookie: str, message: str
):
    async with connect(live_server, notebook, cookie) as socket:
        await socket.send(message)
        async with asyncio.timeout(10):
            while (frame := json.loads(await socket.recv()))["type"] != "reply":
                pass
        assert frame["ok"] is False
        assert frame["error"]["code"] == "bad_request"
        assert (await answer(socket, {"type": "variables", "id": 1}))["ok"] is True


async def test_unknown_commands_cells_and_fields_are_named(live_server: LiveServer, notebook: str, cookie: str):
    async with connect(live_server, notebook, cookie) as socket:
        unknown = await answer(socket, {"type": "explode", "id": 1})
        assert "explode" in unknown["error"]["message"]
        missing = await answer(socket, {"type": "run", "id": 2, "cells": [{"cell": str(uuid.uuid4())}]})
        assert missing["error"]["code"] == "not_found"
        wrong = await answer(socket, {"type": "edit", "id": 3, "cell": "x"})
        assert wrong["error"]["message"].startswith("cell:")


async def test_edits_are_numbered_and_a_stale_version_is_a_conflict_with_what_happened(
    live_server: LiveServer, notebook: str, cookie: str
):
    async with connect(live_server, notebook, cookie) as one, connect(live_server, notebook, cookie) as two:
        cell = await first_cell(one)
        await first_cell(two)
        edit = {"type": "edit", "cell": cell["id"], "version": cell["version"]}
        first = await answer(one, {**edit, "id": 1, "changes": [[0, "a = 1"]], "operation_id": str(uuid.uuid4())})
        assert first["ok"] is True
        seen = await until(two, "cell.edited")
        assert seen["seq"] == first["seq"]
        late = await answer(two, {**edit, "id": 2, "changes": [[0, "b = 2"]], "operation_id": str(uuid.uuid4())})
        assert late["error"]["code"] == "conflict"
        assert [event["changes"] for event in late["error"]["since"]] == [[[0, "a = 1"]]]


async def test_a_retry_gets_the_first_answer(live_server: LiveServer, notebook: str, cookie: str):
    async with connect(live_server, notebook, cookie) as socket:
        cell = await first_cell(socket)
        message = {
            "type": "edit", "id": 1, "cell": cell["id"], "version": cell["version"],
            "source": "a = 1", "operation_id": str(uuid.uuid4()),
        }  # fmt: skip
        first = await answer(socket, message)
        again = await answer(socket, {**message, "id": 2})
        assert (again["ok"], again["seq"], again["version"]) == (True, first["seq"], first["version"])


async def test_a_browser_that_was_away_catches_up(live_server: LiveServer, notebook: str, cookie: str):
    async with connect(live_server, notebook, cookie) as socket:
        cell = await first_cell(socket)
    api = live_server.api()
    api("PATCH", f"notebooks/{notebook}/cells/{cell['id']}/", {"source": "print('away')", "version": cell["version"]})
    api("POST", f"notebooks/{notebook}/runs/", {"all": True, "wait": True})
    async with connect(live_server, notebook, cookie) as socket:
        await socket.send(json.dumps({"type": "hello", "id": "h", "cursor": 0}))
        frame = await until(socket, "catch_up")
        assert [event["type"] for event in frame["events"]] == ["cell.inserted", "cell.edited"]
        assert frame["cells"][0]["outputs"][0]["text"] == "away\n"


async def test_a_result_reaches_the_runner_in_few_frames(live_server: LiveServer, notebook: str, cookie: str):
    async with connect(live_server, notebook, cookie) as socket:
        cell = await first_cell(socket)
        edit = {"source": "1 + 1", "operation_id": str(uuid.uuid4()), "version": cell["version"]}
        reply = await answer(socket, {"type": "edit", "id": 1, "cell": cell["id"], **edit})
        run = {"type": "run", "cells": [{"cell": cell["id"], "version": reply["version"]}]}
        await answer(socket, {**run, "id": 2})
        await until(socket, "run.finished")
        await asyncio.sleep(0.3)
        await socket.send(json.dumps({**run, "id": 3}))
        frames = 0
        async with asyncio.timeout(10):
            while True:
                frame = json.loads(await socket.recv())
                frames += frame["type"] == "events" and frame["seq"] is None
                if any(event["type"] == "output.ops" for event in frame.get("events", ())):
                    break
        assert frames <= 4


async def test_signing_out_ends_the_socket(live_server: LiveServer, notebook: str):
    own = sign_in(live_server)
    async with connect(live_server, notebook, own) as socket:
        await first_cell(socket)
        sign_out(live_server, own)
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            async with asyncio.timeout(12):
                while True:
                    await socket.recv()


def sign_out(server: LiveServer, cookie: str) -> None:
    page = urllib.request.Request(f"{server.url}/accounts/logout/", headers={"Cookie": cookie})
    text = urllib.request.urlopen(page).read().decode()
    token = text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    csrf = next(part for part in cookie.split("; ") if "csrf" in part)
    request = urllib.request.Request(
        f"{server.url}/accounts/logout/",
        data=f"csrfmiddlewaretoken={token}".encode(),
        headers={"Cookie": cookie, "Referer": server.url, "X-CSRFToken": csrf.partition("=")[2]},
        method="POST",
    )
    urllib.request.build_opener(NoRedirect).open(request)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        return fp


async def test_a_message_of_too_many_values_is_refused_and_the_socket_goes_on(
    live_server: LiveServer, notebook: str, cookie: str
):
    async with connect(live_server, notebook, cookie) as socket:
        await socket.send("," * 1_000_001)
        while (frame := json.loads(await asyncio.wait_for(socket.recv(), 20)))["type"] != "reply":
            pass
        assert (frame["ok"], frame["error"]["code"]) == (False, "too_large")
        assert await first_cell(socket)


async def test_a_command_under_the_operation_id_of_another_one_is_refused(
    live_server: LiveServer, notebook: str, cookie: str
):
    async with connect(live_server, notebook, cookie) as socket:
        cell = await first_cell(socket)
        edit = {"type": "edit", "cell": cell["id"], "version": cell["version"], "source": "a = 1"}
        edit |= {"operation_id": str(uuid.uuid4())}
        first = await answer(socket, edit | {"id": 1})
        assert first["ok"]
        other = {"type": "delete", "cells": [cell["id"]], "operation_id": edit["operation_id"], "id": 2}
        refused = await answer(socket, other)
        assert (refused["ok"], refused["error"]["code"]) == (False, "operation_id_reused")
        assert await answer(socket, edit | {"id": 3}) == first | {"id": 3}
