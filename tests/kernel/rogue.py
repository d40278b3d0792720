"""A kernel that does what a test tells it: the far side of the wire, for what a good kernel never does.

It speaks just enough of the Jupyter protocol and of docs/architecture.md, section 5. A cell's source is
Python that is executed with `frame(*entries)` (a well-numbered frame), `publish(kind, content)` and
`raw(*parts)` at hand; a plan whose cell sets `no_reply` or `no_idle` leaves those out. ROGUE_START makes it
misbehave from the start.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.session import Session

info = json.loads(Path(sys.argv[-1]).read_text())
session = Session(key=info["key"].encode())
context = zmq.Context()
lock = threading.Lock()
frames = 0


def bind(channel: str, kind: int) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.linger = 200
    socket.bind(f"ipc://{info['ip']}-{info[f'{channel}_port']}")
    return socket


def misbehave_at_start(how: str) -> None:
    if how == "die":
        print("a module is missing, says the kernel", file=sys.stderr, flush=True)
        sys.exit(7)
    if how == "mute":
        print("starting, and then silence", file=sys.stderr, flush=True)
        time.sleep(600)
    if how == "slow":
        time.sleep(1.0)


misbehave_at_start(os.environ.get("ROGUE_START", ""))
shell, control, stdin = bind("shell", zmq.ROUTER), bind("control", zmq.ROUTER), bind("stdin", zmq.ROUTER)
iopub = context.socket(zmq.XPUB)
iopub.setsockopt(zmq.XPUB_NODROP, 1)
iopub.bind(f"ipc://{info['ip']}-{info['iopub_port']}")


def publish(kind: str, content: dict[str, Any], parent: Any = None) -> None:
    with lock:
        session.send(iopub, kind, content, parent=parent)


def raw(*parts: bytes) -> None:
    with lock:
        iopub.send_multipart(parts)


def frame(*entries: dict[str, Any], number: int | None = None) -> None:
    global frames
    publish(
        "rill_frame", {"plan": "p", "frame": frames if number is None else number, "entries": list(entries)}
    )
    if number is None:
        frames += 1


def run(message: dict[str, Any], identity: Any) -> None:
    reply: dict[str, Any] = {"status": "ok", "plan": message["content"]["plan"], "finished": [], "left": []}
    scope: dict[str, Any] = {**globals(), "reply": reply, "message": message, "identity": identity}
    for cell in message["content"]["cells"]:
        scope["attempt"] = cell["attempt"]
        outcome = "ok"
        try:
            exec(cell["source"], scope)
        except KeyboardInterrupt:
            outcome = "interrupted"
        finished = {"t": "finished", "attempt": cell["attempt"], "outcome": outcome, "duration_ms": 1.0}
        reply["finished"].append(finished)
    if "no_reply" not in scope:
        session.send(shell, "rill_run_reply", scope.get("answer", reply), parent=message, ident=identity)
    if "no_idle" not in scope:
        publish("status", {"execution_state": "idle"}, message)


def answer_control() -> None:
    while True:
        identity, message = session.recv(control, mode=0)
        kind = message["header"]["msg_type"]
        if kind == "interrupt_request":
            os.kill(os.getpid(), signal.SIGINT)
        if kind == "shutdown_request" and not os.environ.get("ROGUE_STAYS"):
            os._exit(0)
        content = (
            {"status": "error"} if kind == "create_subshell_request" else {"status": "ok", "too_late": ["x"]}
        )
        session.send(control, kind.replace("_request", "_reply"), content, parent=message, ident=identity)


def serve() -> None:
    while True:
        try:
            identity, message = session.recv(shell, mode=0)
            if message["header"]["msg_type"] == "rill_run_request":
                run(message, identity)
                continue
            kind = message["header"]["msg_type"].replace("_request", "_reply")
            session.send(shell, kind, {"status": "ok"}, parent=message, ident=identity)
            publish("status", {"execution_state": "idle"}, message)
        except KeyboardInterrupt:
            continue


if os.environ.get("ROGUE_STAYS"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=answer_control, daemon=True).start()
serve()
