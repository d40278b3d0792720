"""Completion and inspection, also while a cell runs: IPython's own, without the kernel's internal names."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from IPython.core.completer import IPCompleter

from .private import is_renamed, strip_prefix

PRELOAD_AFTER_S = 0.4
_HIDDEN = frozenset({"_dh"})
_TRIES = 3


class Completer(IPCompleter):
    """IPython's completer; it may look at the namespace while a cell changes it."""

    def completions(self, text: str, offset: int) -> Iterator[Any]:
        for attempt in range(_TRIES):
            try:
                found = list(super().completions(text, offset))
            except RuntimeError:  # the namespace changed size while it was read
                if attempt == _TRIES - 1:
                    raise
                continue
            yield from (one for one in found if not is_renamed(one.text) and one.text not in _HIDDEN)
            return


def clean(data: dict[str, Any]) -> dict[str, Any]:
    """An inspection's MIME bundle with private names as their author wrote them."""
    return {mime: strip_prefix(text) if isinstance(text, str) else text for mime, text in data.items()}


def preload(is_busy: Callable[[], bool]) -> None:
    """Load jedi in the background once the kernel rests, so that the first completion does not wait for it."""
    threading.Thread(target=_preload, args=(is_busy,), name="rill-preload", daemon=True).start()


def _preload(is_busy: Callable[[], bool]) -> None:
    time.sleep(PRELOAD_AFTER_S)
    while is_busy():
        time.sleep(PRELOAD_AFTER_S)
    with contextlib.suppress(Exception):
        import jedi

        jedi.Interpreter("x = 'a'\nx.", [{}]).complete()
