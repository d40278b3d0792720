"""Completion and inspection, also while a cell runs: IPython's own, without the kernel's internal names."""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from IPython.core.completer import IPCompleter, ProvisionalCompleterWarning, rectify_completions

from .private import is_renamed, strip_prefix

REST_S = 0.4
# Once for all: IPython's context manager for this changes filters under the feet of other threads.
warnings.filterwarnings("ignore", category=ProvisionalCompleterWarning)

_HIDDEN = frozenset({"_dh"})
MATCHES, CHARACTERS = 500, 40_000  # of one answer: the server reads no more (answers.py, REPLIES in channels.py)
_TRIES = 3
_TYPICAL = ("pri", "''.upp")
_cache: str | None = None
_one_at_a_time = threading.RLock()  # two askers would parse the same stubs twice


class Completer(IPCompleter):
    """IPython's completer; it may look at the namespace while a cell changes it."""

    def completions(self, text: str, offset: int) -> Iterator[Any]:
        _import_jedi()
        for attempt in range(_TRIES):
            try:
                with _one_at_a_time:
                    found = list(super().completions(text, offset))
            except RuntimeError:  # the namespace changed size while it was read
                if attempt == _TRIES - 1:
                    raise
                continue
            yield from (one for one in found if not is_renamed(one.text) and one.text not in _HIDDEN)
            return


def reply(completer: Completer, code: str, cursor: int) -> dict[str, Any]:
    """The content of a complete_reply. Nothing where the completer fails: the asker always hears."""
    try:
        found = list(_bounded(rectify_completions(code, completer.completions(code, cursor))))
    except Exception:
        found = []
    types = [{"start": one.start, "end": one.end, "text": one.text, "type": one.type} for one in found]
    return {
        "status": "ok",
        "matches": [one.text for one in found],
        "cursor_start": found[0].start if found else cursor,
        "cursor_end": found[0].end if found else cursor,
        "metadata": {"_jupyter_types_experimental": types},
    }


def _bounded(found: Iterable[Any]) -> Iterator[Any]:
    """The first completions, as many as are read."""
    room = CHARACTERS
    for one in itertools.islice(found, MATCHES):
        room -= len(one.text)
        if room < 0:
            return
        yield one


def clean(data: dict[str, Any]) -> dict[str, Any]:
    """The text of an inspection's MIME bundle, of bounded length, with private names as their author wrote them."""
    return {mime: strip_prefix(text)[:CHARACTERS] for mime, text in data.items() if mime == "text/plain"}


def preload(is_busy: Callable[[], bool]) -> None:
    """Import jedi in the background once the kernel rests: 7 MB in every kernel, pooled ones too."""
    _in_background(_import_jedi, is_busy)


def warm(completer: Completer, is_busy: Callable[[], bool]) -> None:
    """Have jedi parse what nearly every completion needs (30 MB), in a kernel that has run its first plan.

    Fast where KERNEL_CACHE names a folder of parsed stubs; it is read as pickles, so only the server may
    write it.
    """
    _in_background(lambda: [list(completer.completions(text, len(text))) for text in _TYPICAL], is_busy)


def set_cache(folder: str | None) -> None:
    """Where jedi keeps parsed stubs; None leaves its own default."""
    global _cache
    _cache = folder


@functools.cache
def _import_jedi() -> None:
    jedi = importlib.import_module("jedi")
    if _cache is not None:
        jedi.settings.cache_directory = _cache
    _pass_over_damaged_files()


def _pass_over_damaged_files() -> None:
    """Parso writes its files in place, so a killed kernel leaves half of one: then it parses anew."""
    cache = importlib.import_module("parso.cache")
    load = getattr(cache, "_load_from_file_system", None)
    if load is None:
        return

    def load_or_none(*args: Any, **kwargs: Any) -> Any:
        try:
            return load(*args, **kwargs)
        except Exception:
            return None

    setattr(cache, "_load_from_file_system", load_or_none)  # noqa: B010


def _in_background(work: Callable[[], Any], is_busy: Callable[[], bool]) -> None:
    def run() -> None:
        time.sleep(REST_S)
        while is_busy():
            time.sleep(REST_S)
        with contextlib.suppress(Exception):
            work()

    threading.Thread(target=run, name="rill-preload", daemon=True).start()
