"""Starts the kernel's sockets, streams and shell, with only what a notebook needs (boot.py prepares the
process).

Left out of ipykernel's own start: profiles and their files, history, startup scripts, the debugger, the
connection file's rewriting, and its pipe for output of forked processes (descriptors are captured instead).
"""

from __future__ import annotations

import sys
from typing import Any

import zmq
from ipykernel.iostream import IOPubThread
from ipykernel.kernelapp import IPKernelApp
from IPython.core.profiledir import ProfileDir
from traitlets import Type
from traitlets.config import Config

from . import attempts, journal, streams
from .kernel import Kernel

SEND_QUEUE_FRAMES = 16


class NoProfile(ProfileDir):
    """A profile without a folder: nothing of it is read or written."""

    def _location_changed(self, change: Any) -> None:
        """No folders to make."""

    def check_dirs(self, change: Any = None) -> None:
        """No folders to make."""


class App(IPKernelApp):
    """One kernel process."""

    name = "rillbook-kernel"
    kernel_class = Type(Kernel)

    def init_profile_dir(self) -> None:
        self.profile_dir = NoProfile(parent=self)

    def init_config_files(self) -> None:
        """No configuration but ours."""

    def load_config_file(self, *args: Any, **kwargs: Any) -> None:
        """No configuration but ours."""

    def init_crash_handler(self) -> None:
        sys.excepthook = self.excepthook

    def init_pdb(self) -> None:
        """IPython's debugger is loaded by who asks for it."""

    def log_connection_info(self) -> None:
        """Nobody reads it; only the ports are noted, for connect_request."""
        names = ("shell", "iopub", "stdin", "hb", "control")
        self._ports = {name: getattr(self, f"{name}_port") for name in names}

    def init_signal(self) -> None:
        """interrupt.py installs the one handler."""

    def init_iopub(self, context: Any) -> None:
        """XPUB that waits for a slow reader instead of dropping (research/risks.md, 16), with a short
        queue.
        """
        self.iopub_socket = context.socket(zmq.XPUB)
        self.iopub_socket.linger = 1000
        self.iopub_socket.sndhwm = SEND_QUEUE_FRAMES
        self.iopub_socket.setsockopt(zmq.XPUB_NODROP, 1)
        self._apply_curve_server_options(self.iopub_socket)
        self.iopub_port = self._bind_socket(self.iopub_socket, self.iopub_port)
        self.configure_tornado_logger()
        self.iopub_thread = IOPubThread(self.iopub_socket, pipe=False, session=self.session)
        self.iopub_thread.start()
        self.iopub_socket = self.iopub_thread.background_socket

    def init_io(self) -> None:
        """sys.stdout and sys.stderr are in place once the kernel can send; see `init_kernel`."""
        self.displayhook = _NoHook()

    def init_kernel(self) -> None:
        super().init_kernel()
        self.descriptors = streams.install()
        self.kernel.prepare(self.descriptors, journal.open_beside(self.abs_connection_file))

    def init_gui_pylab(self) -> None:
        """matplotlib finds the inline backend through MPLBACKEND when it is imported."""

    def init_extensions(self) -> None:
        from . import tables

        tables.register(self.shell, attempts.current_id)

    def init_code(self) -> None:
        """No startup files; `__main__` is the notebook."""

    def init_path(self) -> None:
        """boot.py has set sys.path."""

    def start(self) -> None:
        """Serve until shutdown. An interrupt that a stray task let through does not end the kernel."""
        self.kernel.start()
        loop = self.kernel.io_loop
        while True:
            try:
                loop.start()
            except KeyboardInterrupt:
                continue
            return


class _NoHook:
    """Stands where ipykernel keeps a display hook for code that is not in a shell."""

    get_execution_count: Any = None


def configuration() -> Config:
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.cache_size = 0
    config.InteractiveShell.automagic = False
    config.InteractiveShell.enable_tip = False
    config.Completer.use_jedi = True
    config.Application.log_level = 40
    return config


def main(argv: list[str]) -> None:
    """Run one kernel: argv is `-f <connection file>`."""
    app = App.instance(config=configuration())
    app.initialize(argv)
    app.start()
