"""A real kernel for tests: started through boot.py over IPC sockets, driven by the messages of the
contract.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import zmq
from jupyter_client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from kernels_app.journal import Journal

BOOT = Path(__file__).parents[2] / "kernels_app" / "inside" / "boot.py"
TIMEOUT_S = 20.0
CACHE = str(
    Path(tempfile.gettempdir()) / f"rill-test-cache-{os.getuid()}"
)  # parsed stubs, so that jedi is quick


def item(source: str, **fields: Any) -> dict[str, Any]:
    """One cell of a plan. `definitions` is what analysis would say; tests that care say it."""
    cell = {
        "attempt": str(uuid.uuid4()),
        "cell": str(uuid.uuid4()),
        "number": 1,
        "version": 1,
        "kind": "python",
        "source": source,
        "result_name": "",
        "definitions": [],
        "references": [],
        "needs": [],
        "unload": [],
        "count": 1,
    }
    return cell | fields


class Result:
    """What one plan sent: its reply and all entries of its frames."""

    def __init__(self, reply: dict[str, Any], entries: list[dict[str, Any]]) -> None:
        self.reply = reply
        self.entries = entries

    def of(self, cell: dict[str, Any], kind: str | None = None) -> list[dict[str, Any]]:
        mine = [entry for entry in self.entries if entry["attempt"] == cell["attempt"]]
        return [entry for entry in mine if kind is None or entry["t"] == kind]

    def text(self, cell: dict[str, Any], name: str = "stdout") -> str:
        return "".join(entry["text"] for entry in self.of(cell, "stream") if entry["name"] == name)

    def outcome(self, cell: dict[str, Any]) -> str:
        return self.finished(cell)["outcome"]

    def finished(self, cell: dict[str, Any]) -> dict[str, Any]:
        return next(entry for entry in self.reply["finished"] if entry["attempt"] == cell["attempt"])

    def error(self, cell: dict[str, Any]) -> dict[str, Any]:
        errors = self.of(cell, "error")
        assert len(errors) == 1, errors
        return errors[0]


class KernelUnderTest:
    """One kernel process and a client of all its channels."""

    def __init__(self, *, journal: bool = True, **environment: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rill-test-"))
        self.work = self.folder / "work"
        self.work.mkdir()
        self.file = self.folder / "connection.json"
        write_connection_file(
            str(self.file),
            transport="ipc",
            ip=str(self.folder / "k"),
            key=secrets.token_hex(16).encode(),
            kernel_name="",
        )
        self.journal = Journal.make(self.folder) if journal else Journal(None)
        env = {**os.environ, "HOME": str(self.work), "XDG_CACHE_HOME": CACHE, **environment}
        self.log = open(self.folder / "stderr", "wb")  # noqa: SIM115
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, str(BOOT), "-f", str(self.file)],
            cwd=self.work,
            env=env,
            stderr=self.log,
            stdout=self.log,
        )
        context = zmq.Context()
        context.rcvhwm = 4  # as the server's: what is not read waits in the kernel
        self.client = BlockingKernelClient(connection_file=str(self.file), context=context)
        self.client.load_connection_file()
        self.client.start_channels()
        self.entries: list[dict[str, Any]] = []
        self.frame_numbers: list[int] = []
        self.messages = 0
        self.idle: set[str | None] = set()
        self.replies: dict[str, dict[str, Any]] = {}
        self._ready()
        self.started_s = time.perf_counter() - started

    def _ready(self) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        self.client.kernel_info()
        replied = heard = False
        while not (replied and heard):
            assert self.process.poll() is None, self.stderr()
            assert time.monotonic() < deadline, "the kernel did not get ready"
            replied = (
                replied
                or bool(self.client.shell_channel.socket.poll(5))
                and bool(self.client.get_shell_msg())
            )
            heard = (
                heard or bool(self.client.iopub_channel.socket.poll(5)) and bool(self.client.get_iopub_msg())
            )

    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    def send(self, channel: str, kind: str, content: dict[str, Any], subshell: str | None = None) -> str:
        message = self.client.session.msg(kind, content)
        if subshell:
            message["header"]["subshell_id"] = subshell
        getattr(self.client, f"{channel}_channel").send(message)
        return str(message["header"]["msg_id"])

    def begin(self, cells: Iterable[dict[str, Any]], plan: str = "", *, allow_stdin: bool = True) -> str:
        """Send a plan; its reply is awaited by `end`."""
        content = {"plan": plan or str(uuid.uuid4()), "cells": list(cells), "allow_stdin": allow_stdin}
        return self.send("shell", "rill_run_request", content)

    def run(self, *cells: dict[str, Any], allow_stdin: bool = True) -> Result:
        return self.end(self.begin(cells, allow_stdin=allow_stdin))

    def run_source(self, source: str, **fields: Any) -> tuple[Result, dict[str, Any]]:
        cell = item(source, **fields)
        return self.run(cell), cell

    def pump(self, timeout_s: float = 0.05) -> None:
        """Read what has come on IOPub, waiting for the first message at most `timeout_s`."""
        socket = self.client.iopub_channel.socket
        while socket.poll(timeout_s * 1000):
            self._take(self.client.get_iopub_msg())
            timeout_s = 0

    def _take(self, message: dict[str, Any]) -> None:
        self.messages += 1
        if message["msg_type"] == "rill_frame":
            self.frame_numbers.append(message["content"]["frame"])
            self.entries += message["content"]["entries"]
        elif message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            self.idle.add(message["parent_header"].get("msg_id"))

    def wait_for(self, holds: Callable[[], Any], what: str, timeout_s: float = TIMEOUT_S) -> Any:
        deadline = time.monotonic() + timeout_s
        while not (value := holds()):
            assert time.monotonic() < deadline, (
                f"waited for {what}; entries: {self.entries[-5:]}; {self.stderr()}"
            )
            assert self.process.poll() is None, f"kernel ended: {self.stderr()}"
            self.pump(0.02)
        return value

    def wait_for_text(self, text: str) -> None:
        self.wait_for(lambda: text in "".join(e.get("text", "") for e in self.entries), repr(text))

    def end(self, message: str, timeout_s: float = TIMEOUT_S) -> Result:
        """Wait for a plan's reply and for its idle, and take the entries that came."""

        def over() -> bool:
            self._take_replies()
            return message in self.replies and message in self.idle

        self.wait_for(over, "the plan's reply", timeout_s)
        entries, self.entries = self.entries, []
        return Result(self.replies.pop(message), entries)

    def ask(
        self, channel: str, kind: str, content: dict[str, Any], subshell: str | None = None
    ) -> dict[str, Any]:
        """Send a request on control (or shell, to a subshell) and return its reply's content."""
        message = self.send(channel, kind, content, subshell)
        deadline = time.monotonic() + TIMEOUT_S
        while message not in self.replies:
            assert time.monotonic() < deadline, f"no reply to {kind}: {self.stderr()}"
            getattr(self.client, f"{channel}_channel").socket.poll(20)
            self._take_replies()
            self.pump(0)
        return self.replies.pop(message)

    def _take_replies(self) -> None:
        """Keep every reply that has come, by the id of its request."""
        for channel, get in (("shell", self.client.get_shell_msg), ("control", self.client.get_control_msg)):
            while getattr(self.client, f"{channel}_channel").socket.poll(0):
                got = get()
                self.replies[got["parent_header"].get("msg_id")] = dict(got["content"])

    def call(self, call: str, /, **content: Any) -> dict[str, Any]:
        return self.ask("control", "rill_call_request", {"call": call, **content})

    def interrupt(self) -> None:
        self.ask("control", "interrupt_request", {})

    def close(self) -> None:
        self.client.stop_channels()
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.journal.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def png(size: int = 10) -> bytes:
    """A PNG signature followed by `size` bytes: enough for what only carries images."""
    return b"\x89PNG\r\n\x1a\n" + base64.b85encode(os.urandom(size))[:size]
