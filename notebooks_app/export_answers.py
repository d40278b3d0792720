"""Exports over HTTP: of bounded size, one written at a time, few on their way, whoever asks.

Their text is made and held in memory. What is in it is exporting.py's, who may have it views.py's.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable
from contextlib import ExitStack

from django.db import close_old_connections, connection
from django.http import HttpRequest, HttpResponse
from django.utils.text import slugify

from notebooks_app import exporting
from notebooks_app.models import Notebook

MOST_BYTES = 32 * 1024 * 1024  # of outputs in one file; hostile ones take 20 times as much for a moment
AT_ONCE = 3  # texts that a process holds until they are sent; one for each who asks
WAIT_S = 10
MIMES = {"html": "text/html; charset=utf-8", "ipynb": "application/x-ipynb+json"}
BUSY = "Other notebooks are being exported. Try again in a moment."


def answer(request: HttpRequest, notebook: Notebook, ending: str) -> HttpResponse:
    """The notebook as a file of MIMES; 503 in words where its outputs cannot be had, or too many export now."""
    who = request.user.pk or notebook.pk  # all guests of a notebook are one
    if not _places.enter(who):
        return _refusal(BUSY)
    with ExitStack() as place:
        place.callback(_places.leave, who)
        try:
            text = _text_of(notebook, ending)
        except exporting.CannotExport as error:
            return _refusal(error.message)
        response = _Held(text, content_type=MIMES[ending])
        response.hold(place.pop_all())
    name = slugify(notebook.name) or "notebook"
    response["Content-Disposition"] = f'attachment; filename="{name}.{ending}"'
    return response


def _text_of(notebook: Notebook, ending: str) -> str:
    if not _one_writes.acquire(timeout=WAIT_S):
        raise exporting.CannotExport(BUSY)
    try:
        return exporting.text_of(notebook, ending, exporting.Room(MOST_BYTES))
    finally:
        _one_writes.release()


def _refusal(words: str) -> HttpResponse:
    return HttpResponse(f"{words}\n", content_type="text/plain; charset=utf-8", status=503)


class _Places:
    """Who has a text under way."""

    def __init__(self) -> None:
        self._taken: set[Hashable] = set()
        self._left = threading.Condition()

    def enter(self, who: Hashable) -> bool:
        """Take a place; False if there was none for WAIT_S."""
        if not connection.in_atomic_block:
            close_old_connections()  # who waits keeps none of the pool's
        with self._left:
            is_free = self._left.wait_for(lambda: who not in self._taken and len(self._taken) < AT_ONCE, WAIT_S)
            if is_free:
                self._taken.add(who)
            return is_free

    def leave(self, who: Hashable) -> None:
        with self._left:
            self._taken.discard(who)
            self._left.notify_all()


class _Held(HttpResponse):
    """A text that has its place until it is sent, or thrown away because who asked went."""

    def hold(self, place: ExitStack) -> None:
        self._leave = weakref.finalize(self, place.close)

    def close(self) -> None:
        super().close()
        self._leave()


_places = _Places()
_one_writes = threading.Lock()
