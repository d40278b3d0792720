"""Tests of kernels_app/channels.py: what is read of a message, and what that counts for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jupyter_client.session import DELIM, Session

from kernels_app.channels import FRAME_VALUES, HEADER_BYTES, Channels
from kernels_app.throttle import MESSAGE_BYTES, VALUE_BYTES

SESSION = Session(key=b"k")


def opened(read: list[Any], refused: list[str]) -> Channels:
    """Channels without connections: messages are given to them."""
    return Channels(
        SESSION, {}, on_iopub=read.append, on_stdin=print, on_broken=print, on_refused=refused.append, gate=lambda: None
    )


def frame(content: Any) -> list[bytes]:
    """A frame's parts; content is JSON, or bytes that are not."""
    data = content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
    signed = [json.dumps(SESSION.msg_header("rill_frame"), default=str).encode(), b"{}", b"{}", data]
    return [DELIM, SESSION.sign(signed), *signed]


def counted(content: Any, *more: bytes) -> int:
    """What a message counts beside its bytes, as often as it is read."""
    channels, parts = opened([], []), [*frame(content), *more]
    channels._take("iopub", parts)
    return channels.published_bytes - sum(map(len, parts))


def test_each_value_of_what_is_published_counts_beside_its_bytes():
    nothing = counted({"entries": []})
    assert MESSAGE_BYTES < nothing < 2 * MESSAGE_BYTES
    assert counted({"entries": [[1]] * 1000}) - nothing == 2000 * VALUE_BYTES
    assert counted({"entries": [{"a": 1}] * 1000}) - nothing == 2000 * VALUE_BYTES
    assert counted({"entries": [",[{" * 1000]}) - nothing == VALUE_BYTES, "text is one value, whatever is in it"


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


def test_a_long_message_that_nobody_wants_counts_for_many():
    def taken(header: dict[str, Any]) -> int:
        signed = [json.dumps(header).encode(), b"{}", b"{}", b"{}"]
        return opened([], [])._take("shell", [DELIM, SESSION.sign(signed), *signed])

    assert taken({"msg_type": "x"}) == 1
    assert taken({"msg_type": "x", "rubbish": [[]] * 900}) > 5


def test_a_header_longer_than_any_is_not_parsed():
    refused: list[str] = []
    parts = frame({"entries": []})
    parts[2] = json.dumps({"msg_type": "rill_frame", "rubbish": [[]] * HEADER_BYTES}).encode()
    opened([], refused)._take("iopub", parts)
    assert refused == ["unreadable"]
