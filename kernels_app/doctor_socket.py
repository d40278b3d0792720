"""The way to a running server, as a browser takes it: its probes, a signed-in page, and a socket that speaks.

The person and the notebook for it are made in the database and deleted again.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import secrets
import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore

from kernels_app.doctor import Finding, fail, ok
from notebooks_app.models import Notebook

TIMEOUT_S = 10.0
WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
FRAME_LIMIT = 1 << 20


class WayBlocked(Exception):
    """The socket did not open; the message says what answered instead."""


def check_way(url: str) -> Iterator[Finding]:
    """Ask a running server at `url` (http://… or https://…, as people type it)."""
    for path in ("/health", "/ready"):
        status, body = _get(url, path)
        if status != 200:
            yield fail("way", f"{path} answers {status}{_parts(body)}", "Does the proxy pass this path to the server?")
            return
        yield ok("way", f"{path} answers")
    with _guest() as (cookie, notebook):
        status, _ = _get(url, f"/notebooks/{notebook.pk}/", cookie)
        if status != 200:
            yield fail("way", f"a page answers {status} to a signed-in person", _why(status))
            return
        try:
            first = _first_message(url, f"/ws/notebooks/{notebook.pk}/", cookie)
        except WayBlocked as error:
            yield fail(
                "socket", str(error),
                "The proxy must pass Upgrade and Connection on, keep Host, and not time out in 60 s; "
                "the page's origin must be the server's own or in SOCKET_ORIGINS.",
            )  # fmt: skip
            return
        yield ok("socket", f"opens through {urlsplit(url).netloc} and speaks first ({first})")


@contextlib.contextmanager
def _guest() -> Iterator[tuple[str, Notebook]]:
    """A session's cookie and a notebook of a person who exists only as long as this lasts."""
    user = get_user_model().objects.create_user(f"doctor-{secrets.token_hex(8)}")
    session = SessionStore()
    try:
        notebook = Notebook.objects.create(owner=user, name="Doctor")
        session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
        session[BACKEND_SESSION_KEY] = "notebooks_app.accounts.PasswordBackend"
        session.create()
        yield f"{settings.SESSION_COOKIE_NAME}={session.session_key}", notebook
    finally:
        session.delete()
        user.delete()


def _get(url: str, path: str, cookie: str = "") -> tuple[int, bytes]:
    parts = urlsplit(url)
    made: Any = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    asked = made(parts.hostname, parts.port, timeout=TIMEOUT_S)
    try:
        asked.request("GET", parts.path.rstrip("/") + path, headers={"Cookie": cookie} if cookie else {})
        answer = asked.getresponse()
        return answer.status, answer.read(FRAME_LIMIT)
    finally:
        asked.close()


def _parts(body: bytes) -> str:
    """Which parts a server that is not ready names."""
    try:
        found = json.loads(body)
        return ": " + ", ".join(name for name, word in found.items() if word == "unavailable" and name != "status")
    except (ValueError, AttributeError):
        return ""


def _why(status: int) -> str:
    if status in (301, 302, 307, 308):
        return "It is redirected: to the sign-in page (another database or SECRET_KEY?) or to https (BEHIND_PROXY?)."
    if status == 400:
        return "ALLOWED_HOSTS does not hold this name."
    return "See the server's log."


def _first_message(url: str, path: str, cookie: str) -> str:
    """Open the socket and read what the server says first: its type. Raises WayBlocked."""
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    address = (str(parts.hostname), parts.port or (443 if is_tls else 80))
    with contextlib.ExitStack() as stack:
        line = stack.enter_context(socket.create_connection(address, TIMEOUT_S))
        if is_tls:
            line = stack.enter_context(ssl.create_default_context().wrap_socket(line, server_hostname=address[0]))
        stream = stack.enter_context(line.makefile("rwb"))
        _shake_hands(stream, parts, path, cookie)
        try:
            return str(json.loads(_frame(stream)).get("type"))
        except (TimeoutError, ValueError, OSError) as error:
            raise WayBlocked(f"opened, but nothing came: {type(error).__name__}") from error


def _shake_hands(stream: Any, parts: Any, path: str, cookie: str) -> None:
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    lines = [
        f"GET {parts.path.rstrip('/')}{path} HTTP/1.1",
        f"Host: {parts.netloc}",
        f"Origin: {parts.scheme}://{parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        f"Cookie: {cookie}",
    ]
    stream.write(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
    stream.flush()
    status = stream.readline().split(b" ")
    if len(status) < 2 or status[1] != b"101":
        words = {b"403": "the server refused it (origin or session)", b"426": "the proxy wants an upgrade"}
        code = status[1] if len(status) > 1 else b"nothing"
        raise WayBlocked(f"the handshake is answered by {code.decode('latin-1')}: {words.get(code, 'not a websocket')}")
    headers = http.client.parse_headers(stream)
    wanted = base64.b64encode(hashlib.sha1((key + WEBSOCKET_GUID).encode()).digest()).decode()  # noqa: S324
    if headers.get("Sec-WebSocket-Accept") != wanted:
        raise WayBlocked("something else than our server accepted the handshake")


def _frame(stream: Any) -> bytes:
    """The first text frame (RFC 6455, section 5.2; what a server sends is not masked)."""
    while True:
        head = stream.read(2)
        if len(head) < 2:
            raise WayBlocked("opened and was closed at once")
        size = head[1] & 0x7F
        if size > 125:
            size = int.from_bytes(stream.read(2 if size == 126 else 8), "big")
        if size > FRAME_LIMIT:
            raise WayBlocked("the first message is too large")
        payload = stream.read(size)
        if head[0] & 0x0F == 1:
            return payload
        if head[0] & 0x0F == 8:
            raise WayBlocked(f"closed by the server with code {int.from_bytes(payload[:2], 'big')}")
