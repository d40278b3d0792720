"""A TCP relay to a service, which tests cut, freeze and mend."""

from __future__ import annotations

import contextlib
import socket
import threading


class Wire:
    """Cut: connections are reset, new ones refused. Frozen: they stay, and nothing comes through."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener: socket.socket | None = None
        self._flows = threading.Event()
        self._flows.set()
        self.port = 0
        self.bytes = 0  # that went through, both ways
        self.mend()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Close what is open, refuse what comes."""
        assert self._listener is not None
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def reset(self) -> None:
        """Close what is open; what comes is taken."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            close(*pair)

    def freeze(self) -> None:
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._to)
            except OSError:
                near.close()
                continue
            self._pairs.append((near, far))
            self._relay(near, far)

    def _relay(self, near: socket.socket, far: socket.socket) -> None:
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self._flows.wait()
                self.bytes += len(data)
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


def close(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
