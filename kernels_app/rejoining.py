"""Keeps a node in the cluster: `ray start --block` ends when the head is gone for long, and then begins again.

A program without Django, which `manage.py raynode join --block` becomes; SIGTERM and SIGINT end it and what it started.
"""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from types import FrameType

RETRY_FIRST_S = 1.0
RETRY_MOST_S = 15.0
STEADY_S = 60.0  # a member for so long: the next attempt is made at once
END_S = 45.0  # then it is killed
LOOK_S = 0.2


class Keeper:
    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._is_ending = False
        self._kill_at = math.inf

    def run(self) -> int:
        """Until a signal ends it; the exit code of what it started last."""
        assert self._command, "what to run"
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        retry_s = RETRY_FIRST_S
        while True:
            began = time.monotonic()
            code = self._once()
            if self._is_ending:
                return code
            if time.monotonic() - began > STEADY_S:
                retry_s = RETRY_FIRST_S
            print(f"This machine left the cluster (exit code {code}); it joins again in {retry_s:g} s.", flush=True)
            self._wait(retry_s)
            if self._is_ending:
                return 0
            retry_s = min(RETRY_MOST_S, 2 * retry_s)

    def _once(self) -> int:
        self._child = subprocess.Popen(self._command)
        while (code := self._child.poll()) is None:
            if time.monotonic() > self._kill_at:
                self._child.kill()
            time.sleep(LOOK_S)
        return code

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._is_ending and time.monotonic() < end:
            time.sleep(LOOK_S)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._is_ending, self._kill_at = True, time.monotonic() + END_S
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)


if __name__ == "__main__":
    sys.exit(Keeper(sys.argv[1:]).run())
