"""Tests of kernels_app/channels.py: what is read of a message, and what that counts for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import pytest
from jupyter_client.session import DELIM, Session

from kernels_app import channels
from kernels_app.channels import _KINDS, ANSWER, HEADER_BYTES, LOOK, PUBLISHED, QUESTIONS, Bound, Channels
from kernels_app.throttle import MESSAGE_BYTES, VALUE_BYTES

SESSION = Session(key=b"k")
FRAME_VALUES = PUBLISHED["rill_frame"].values


def opened(read: list[Any], refused: list[str]) -> Channels:
    """Channels without connections: messages are given to them."""
    handlers = {"on_iopub": read.append, "on_stdin": read.append, "on_broken": print, "on_refused": refused.append}
    return Channels(SESSION, {}, **handlers, gate=lambda channel: None)


def frame(content: Any, kind: str = "rill_frame", parent: bytes = b"{}") -> list[bytes]:
    """A message's parts; content is JSON, or bytes that are not."""
    data = content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
    signed = [json.dumps(SESSION.msg_header(kind), default=str).encode(), parent, b"{}", data]
    return [DELIM, SESSION.sign(signed), *signed]


def counted(content: Any, *more: bytes) -> int:
    """What a message counts beside its bytes, as often as it is read."""
    channels, parts = opened([], []), [*frame(content), *more]
    channels._take("iopub", parts)
    return channels.read_bytes - sum(map(len, parts))


def test_each_value_of_what_is_published_counts_beside_its_bytes():
    nothing = counted({"entries": []})
    assert MESSAGE_BYTES < nothing < 2 * MESSAGE_BYTES
    assert counted({"entries": [[1]] * 1000}) - nothing == 1999 * VALUE_BYTES
    assert counted({"entries": [{"a": 1}] * 1000}) - nothing == 1999 * VALUE_BYTES
    for text in (",[{" * 1000, '",[{"' * 1000, "\\" * 1001, '\\",' * 1000):
        assert counted({"entries": [text, text]}) - nothing == VALUE_BYTES, "text is one value, whatever is in it"


def test_bytes_count_wherever_in_a_message_they_are():
    assert counted({"entries": ["x" * 50_000]}, b"") == counted({"entries": ["x"]}, b"") == counted({"entries": ["x"]})


def test_what_is_refused_when_it_was_looked_at_counts_too():
    broken = b"[" + b"[]," * 10_000
    assert counted(broken) > 10_000 * VALUE_BYTES


@pytest.mark.parametrize(("values", "is_read"), [(FRAME_VALUES - 10, True), (FRAME_VALUES + 10, False)])
def test_a_frame_of_more_values_than_any_output_has_is_not_read(values: int, is_read: bool):
    read: list[Any] = []
    refused: list[str] = []
    opened(read, refused)._take("iopub", frame({"entries": [1] * values}))
    assert (len(read), refused) == ((1, []) if is_read else (0, ["too large"]))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_only_utf_8_is_read_for_in_others_values_look_like_text(encoding: str):
    """The sign for "all", U+2200, holds the byte of a quote there."""
    read: list[Any] = []
    refused: list[str] = []
    content = f'{{"\u2200": 0, "entries": [{"[]," * FRAME_VALUES}[]]}}'
    opened(read, refused)._take("iopub", frame(content.encode(encoding)))
    parts = frame({"entries": []})
    parts[2] = parts[2].decode().encode(encoding)
    opened(read, refused)._take("iopub", parts)
    assert (read, refused) == ([], ["unreadable"] * 2)


def test_lone_surrogates_are_read_as_before():
    read: list[Any] = []
    opened(read, [])._take("iopub", frame('{"entries": ["\ud800"]}'.encode(errors="surrogatepass")))
    assert read[0]["content"] == {"entries": ["\ud800"]}


def test_a_long_message_that_nobody_wants_counts_for_many():
    def taken(header: dict[str, Any]) -> int:
        signed = [json.dumps(header).encode(), b"{}", b"{}", b"{}"]
        return opened([], [])._take("shell", [DELIM, SESSION.sign(signed), *signed])

    assert taken({"msg_type": "x"}) == 1
    assert taken({"msg_type": "x", "rubbish": [[]] * 900}) > 5


def test_a_message_of_many_frames_counts_for_many():
    nothing = {"entries": []}
    assert counted(nothing, *[b""] * 1_000) - counted(nothing) == 125 * MESSAGE_BYTES
    assert opened([], [])._take("stdin", [b""] * 1_024) > channels.UNWANTED_AT_ONCE


def test_a_header_longer_than_any_is_not_parsed():
    refused: list[str] = []
    parts = frame({"entries": []})
    parts[2] = json.dumps({"msg_type": "rill_frame", "rubbish": [[]] * HEADER_BYTES}).encode()
    opened([], refused)._take("iopub", parts)
    assert refused == ["unreadable"]


def replied(kind: str, asked: dict[str, Any], content: Any) -> tuple[Channels, bool, list[str]]:
    """The channels after this reply to a request, whether it was taken, and what was refused."""
    refused: list[str] = []
    channels = opened([], refused)
    future: asyncio.Future[Any]
    message_id, future = channels.request("shell", kind, asked)
    channels._take("shell", frame(content, "any_reply", json.dumps({"msg_id": message_id}).encode()))
    return channels, future.done(), refused


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "asked", "most"),
    [("complete_request", {}, LOOK), ("inspect_request", {}, LOOK), ("rill_call_request", {"call": "table"}, ANSWER)],
)
async def test_a_reply_has_as_many_values_as_its_kind_ever_has(kind: str, asked: dict[str, Any], most: Bound):
    assert replied(kind, asked, {"x": [0] * (most.values - 10)})[1:] == (True, [])
    assert replied(kind, asked, {"x": [0] * (most.values + 10)})[1:] == (False, ["too large"])
    assert replied(kind, asked, {"x": [","] * (most.values // 2)})[1:] == (True, []), "a comma in a text is no value"
    assert replied(kind, asked, {"x": "x" * most.size_bytes})[1:] == (False, ["too large"])
    assert replied(kind, asked, b'{"x": "' + b'"' * (5 * most.values))[1:] == (False, ["too large"])


@pytest.mark.asyncio
async def test_lists_of_sql_parameters_and_the_names_of_a_large_plan_are_read():
    assert replied("rill_call_request", {"call": "values"}, {"values": [[1] * 10_000] * 50})[1]
    assert replied("rill_run_request", {}, {"finished": [{"names": ["a"] * 20}] * 20_000})[1]


@pytest.mark.asyncio
async def test_replies_count_like_what_is_published_and_their_readers_wait_for_it():
    channels, _, _ = replied("rill_call_request", {"call": "table"}, {"table": [0] * 50_000})
    assert channels.read_bytes > 50_000 * VALUE_BYTES


@pytest.mark.asyncio
async def test_every_channel_is_read_no_faster_than_its_gate_lets_it():
    asked: list[str] = []

    async def never() -> None:
        await asyncio.Event().wait()

    def gate(channel: str) -> Awaitable[None]:
        asked.append(channel)
        return never()

    class Silent:
        async def connect(self) -> None: ...

    channels = Channels(SESSION, {}, on_iopub=print, on_stdin=print, on_broken=print, on_refused=print, gate=gate)
    for channel in _KINDS:
        channels._start(channels._read(channel, Silent()), channel)  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        while len(asked) < len(_KINDS):
            await asyncio.sleep(0)
    channels.close()
    assert asked == list(_KINDS)


def test_questions_are_short_and_count_however_they_are_signed():
    read: list[Any] = []
    refused: list[str] = []
    channels = opened(read, refused)
    question = {"prompt": "colours, please? \U0001f600" * 500, "password": False}
    taken = [channels._take("stdin", frame(question, "input_request")) for _ in range(10)]
    assert len(read) == 10 and refused == []
    assert min(taken) > 1 and channels.read_bytes > 10 * MESSAGE_BYTES
    bound = QUESTIONS["input_request"]
    for large in ({"prompt": "x" * bound.size_bytes}, {"prompt": "x", "z": [[]] * bound.values}):
        assert channels._take("stdin", frame(large, "input_request")) > 1
    assert len(read) == 10 and refused == ["too large"] * 2
