"""The kernel: ipykernel's, with our messages, our handler of interrupts and our way to ask for input."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import zmq
from ipykernel.ipkernel import IPythonKernel
from IPython.core.error import StdinNotImplementedError
from traitlets import Type

from . import attempts, completion, interrupt
from .calls import Calls
from .cells import CellRunner
from .frames import FrameWriter, clean_name
from .journal import Journal
from .namespace import Namespace
from .plan import Plan, PlanRunner
from .shell import Shell
from .streams import DescriptorCapture

INPUT_POLL_MS = 50
PROMPT_LIMIT = 10_000  # characters that are asked; the output has all of them


class Kernel(IPythonKernel):
    """An IPython kernel that runs plans of cells. See docs/architecture.md, section 5."""

    shell_class = Type(Shell)
    shell: Any
    session: Any
    iopub_thread: Any

    def prepare(self, descriptors: DescriptorCapture, journal: Journal | None) -> None:
        """Set up what cells need, once sockets and shell exist."""
        self._plan_parent: dict[str, Any] = {}
        self._plan_ident: Any = []
        self._stdin_allowed = False
        self._stdin_lock = threading.Lock()
        attempts.start(FrameWriter(self._send_frame, journal))
        namespace = Namespace(self.shell.user_ns)
        self.runner = PlanRunner(CellRunner(self.shell, namespace, descriptors))
        self.calls = Calls(self.shell, namespace)
        self.shell.install_builtins(self)
        self.shell_handlers["rill_run_request"] = self.rill_run_request
        for handlers in (self.shell_handlers, self.control_handlers):
            handlers["rill_call_request"] = self.rill_call_request
        self.control_handlers["rill_amend_request"] = self.rill_amend_request
        interrupt.install(self.runner.stop)
        # tqdm.auto asks for widgets, which no page of ours has, and then draws its bar in text as it should.
        warnings.filterwarnings("ignore", message="IProgress not found")
        self._is_warm = False
        completion.preload(self._is_busy)

    def _is_busy(self) -> bool:
        return self.runner.active is not None

    def pre_handler_hook(self) -> None:
        """One SIGINT handler serves the kernel's whole life."""

    def post_handler_hook(self) -> None:
        """See pre_handler_hook."""

    async def rill_run_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        content = parent["content"]
        self._plan_parent, self._plan_ident = parent, ident
        self._stdin_allowed = bool(content.get("allow_stdin", False))
        reply = await self.runner.run(Plan(content["plan"], list(content["cells"])))
        self.session.send(stream, "rill_run_reply", reply, parent, ident)
        if not self._is_warm:
            self._is_warm = True
            completion.warm(self.shell.Completer, self._is_busy)

    async def rill_amend_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        content = parent["content"]
        changes = {key: list(content.get(key, ())) for key in ("drop", "replace", "append")}
        plan = self.runner.active
        if plan is None or plan.id != content["plan"]:
            plan = Plan(content["plan"], [])
            plan.take()
        late = plan.amend(**changes)
        self.session.send(stream, "rill_amend_reply", {"status": "ok", "too_late": late}, parent, ident)

    async def rill_call_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        self.session.send(stream, "rill_call_reply", self.calls.answer(parent["content"]), parent, ident)

    async def interrupt_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        interrupt.send_to_self()
        self.session.send(stream, "interrupt_reply", {"status": "ok"}, parent, ident=ident)

    def do_complete(self, code: str, cursor_pos: int | None) -> dict[str, Any]:  # type: ignore[override]
        cursor = len(code) if cursor_pos is None else cursor_pos
        return completion.reply(self.shell.Completer, code, cursor)

    def do_inspect(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """What is known of the name at the cursor; not found where looking fails (a property of user code,
        say).
        """
        try:
            reply = super().do_inspect(*args, **kwargs)
        except Exception:
            return {"status": "ok", "found": False, "data": {}, "metadata": {}}
        reply["data"] = completion.clean(reply["data"])
        return reply

    def raw_input(self, prompt: Any = "") -> str:
        return self._ask(str(prompt), password=False)

    def getpass(self, prompt: str = "Password: ", stream: Any = None, *, echo_char: str | None = None) -> str:
        return self._ask(str(prompt), password=True)

    def _ask(self, prompt: str, *, password: bool) -> str:
        """Ask the person who runs the cell. Raises EOFError for end of file, StdinNotImplementedError if
        nobody can.
        """
        if not self._stdin_allowed:
            raise StdinNotImplementedError("This run cannot ask for input: nobody is there to answer.")
        attempt = attempts.current()
        with self._stdin_lock:
            attempt.pump()
            attempts.writer().flush()
            while self.stdin_socket.poll(0):
                self.stdin_socket.recv_multipart(zmq.NOBLOCK)
            parent = dict(self._plan_parent)
            parent["header"] = {**parent["header"], "msg_id": attempt.id, "msg_type": "rill_run_request"}
            content = {"prompt": clean_name(prompt, PROMPT_LIMIT), "password": password}
            self.session.send(self.stdin_socket, "input_request", content, parent, ident=self._plan_ident)
            value = self._answer()
        if value == "\x04":
            raise EOFError
        # What was asked and answered is part of the output, as it is in a terminal.
        sys.stdout.write(f"{prompt}{'•' * 8 if password else value}\n")
        return value

    def _answer(self) -> str:
        while True:
            if not self.stdin_socket.poll(INPUT_POLL_MS):
                continue
            try:
                _ident, reply = self.session.recv(self.stdin_socket, zmq.NOBLOCK)
            except ValueError:
                continue  # not signed by the server
            if reply is not None:
                return str(reply["content"].get("value", ""))

    def _send_frame(self, content: bytes, sent: Callable[[], None]) -> None:
        """Hand a frame to the thread that owns the IOPub socket; called in frame order."""
        message = self.session.msg("rill_frame", content=content, parent=self._plan_parent or None)
        parts = self.session.serialize(message, ident=self._topic("rill_frame"))
        thread = self.iopub_thread

        def send() -> None:
            try:
                if not thread.closed:
                    thread.socket.send_multipart(parts)
            except zmq.ZMQError as error:
                print(f"A frame of output was not sent: {error}", file=sys.__stderr__)
            finally:
                sent()

        thread.schedule(send)
