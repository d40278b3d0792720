"""Work of a server that is an ordinary user, where the tests' own is root."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

USER = 60_590  # nobody's; not of the range for kernels


def as_ordinary_user(work: Callable[[], None]) -> None:
    """Do it in a child process that has given up root; fail with what it says if it fails."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(USER, USER, USER)
                os.setresuid(USER, USER, USER)
            work()
            code = 0
        except BaseException:
            os.write(writing, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, encoding="utf-8") as said:
        words = said.read()
    assert os.waitpid(child, 0)[1] == 0, words
