"""Output files over HTTP: a signed redirect (S3), or a stream of what is in a folder or held in the database.

Type and disposition are fixed here, whatever the kernel called its bytes. Who may read is decided before (views.py).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

from django.conf import settings
from django.core.files.storage import storages
from django.core.handlers.asgi import ASGIRequest
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotModified,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.utils.http import parse_etags

from notebooks_app import db, files
from notebooks_app.models import OutputFile

# Pictures are shown where they are; everything else is saved or read by our script.
PICTURES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/svg+xml": ".svg",
}
TEXT = {"text/plain": ".txt"}
CHUNK_BYTES = 256 * 1024
URL_MAX_S = 300
KEPT_AND_ASKED = "private, no-cache"  # a browser keeps it and asks each time whether it may still show it

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")


def answer(request: HttpRequest, row: OutputFile) -> HttpResponseBase:
    """The file `row`. Raises Http404 where its bytes are gone; 503 where the storage does not answer."""
    try:
        if row.is_ready and settings.OUTPUTS_BUCKET:
            return _redirect(row)
        return _stream(request, row)
    except FileNotFoundError:
        raise Http404("The file is gone from the storage.") from None
    except Exception as error:  # storages raise what their libraries raise
        files.log.warning("output file %s could not be served: %s", row.pk, type(error).__name__)
        return HttpResponse("The storage of outputs does not answer. Try again.", status=503, content_type="text/plain")


def content_type(mime: str) -> str:
    if mime in TEXT:
        return f"{mime}; charset=utf-8"
    return mime if mime in PICTURES else "application/octet-stream"


def disposition(row: OutputFile, *, ours: bool) -> str:
    """Inline for pictures; SVG, which can run script when opened, only from us, where a policy forbids that."""
    shown = row.mime_type in PICTURES and (ours or row.mime_type != "image/svg+xml")
    suffix = PICTURES.get(row.mime_type) or TEXT.get(row.mime_type, ".bin")
    return f'{"inline" if shown else "attachment"}; filename="output-{row.sha256[:12]}{suffix}"'


def _redirect(row: OutputFile) -> HttpResponseBase:
    """The browser may use the redirect again while the URL is good, so that a picture is not fetched at every view."""
    life_s = max(1, min(URL_MAX_S, settings.OUTPUTS_URL_SECONDS))
    parameters = {
        "ResponseContentType": content_type(row.mime_type),
        "ResponseContentDisposition": disposition(row, ours=False),
        "ResponseCacheControl": f"private, max-age={life_s}",
    }
    url = storages["outputs"].url(row.key, parameters=parameters, expire=life_s)  # type: ignore[call-arg]
    response = HttpResponseRedirect(url)
    response["Cache-Control"] = f"private, max-age={life_s // 2}"
    return response


def _stream(request: HttpRequest, row: OutputFile) -> HttpResponseBase:
    headers = {
        "ETag": f'"{row.sha256}"',
        "Cache-Control": KEPT_AND_ASKED,
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(row, ours=True),
    }
    if headers["ETag"] in parse_etags(request.headers.get("If-None-Match", "")):
        return HttpResponseNotModified(headers=headers)
    first, end, status = _wanted(request, row)
    if status == 416:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{row.size_bytes}"})
    if status == 206:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{row.size_bytes}"
    headers["Content-Length"] = str(end - first)
    pieces = _AsyncPieces if isinstance(request, ASGIRequest) else _Pieces
    body = pieces(files.open_file(row), first, end)
    return StreamingHttpResponse(body, status=status, content_type=content_type(row.mime_type), headers=headers)


def _wanted(request: HttpRequest, row: OutputFile) -> tuple[int, int, int]:
    """First byte, the one after the last, and the status, of a request for all or for one range (RFC 9110, 14.2)."""
    size = row.size_bytes
    found = _RANGE.match(request.headers.get("Range", ""))
    if not found or not any(found.groups()) or request.headers.get("If-Range", f'"{row.sha256}"') != f'"{row.sha256}"':
        return 0, size, 200
    first, last = found.groups()
    if not first:
        first_byte, end = max(0, size - int(last)), size
    else:
        first_byte, end = int(first), min(size, int(last) + 1 if last else size)
    if last and first and int(last) < int(first):
        return 0, size, 200
    return (first_byte, end, 206) if first_byte < end else (0, 0, 416)


class _Pieces:
    """A part of a file piece by piece. Django closes it, also where nobody read it."""

    def __init__(self, reader: files.Reader, first: int, end: int) -> None:
        self._reader, self._at, self._end = reader, first, end

    def read(self) -> bytes:
        """The next piece; b"" at the end."""
        piece = self._reader.read(self._at, min(CHUNK_BYTES, self._end - self._at))
        self._at += len(piece)
        return piece

    def close(self) -> None:
        self._reader.close()

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read():
            yield piece


class _AsyncPieces:
    """The same for the server's loop, which Django would let read the whole of an iterator before it sends."""

    def __init__(self, reader: files.Reader, first: int, end: int) -> None:
        self._pieces = _Pieces(reader, first, end)
        self._run = db.read if reader.uses_database else asyncio.to_thread
        self.close = self._pieces.close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._run(self._pieces.read):
            yield piece
