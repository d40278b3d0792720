"""Which pages may open a socket: the exact origin (scheme, host and port) of the page, or one an operator names.

Channels' own AllowedHostsOriginValidator compares host names only, so that any port of the host would pass.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host

DEFAULT_PORTS = {"http": 80, "https": 443}


class ExactOrigin:
    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        if is_allowed(scope):
            return await self.application(scope, receive, send)
        return await WebsocketDenier()(scope, receive, send)


def is_allowed(scope: dict[str, Any]) -> bool:
    """Whether the handshake's Origin is the server's own or a named one. Without an Origin: no browser, refused."""
    origins = _headers(scope, b"origin")
    hosts = _headers(scope, b"host")
    if len(origins) != 1 or len(hosts) != 1:
        return False
    origin = _parse(origins[0])
    if origin is None:
        return False
    if any(origin == _parse(allowed) for allowed in settings.SOCKET_ORIGINS):
        return True
    domain, _ = split_domain_port(hosts[0])
    return validate_host(domain, settings.ALLOWED_HOSTS) and origin == _parse(f"{_scheme(scope)}://{hosts[0]}")


def _headers(scope: dict[str, Any], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope.get("headers", []) if key == name]


def _parse(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None if it says anything more, if only by a mark that an address may do without."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    serialised = f"{parts.scheme}://{host}" if port is None else f"{parts.scheme}://{host}:{port}"
    if origin.lower() != serialised:
        return None
    return parts.scheme, host, DEFAULT_PORTS[parts.scheme] if port is None else port


def _scheme(scope: dict[str, Any]) -> str:
    """The page's scheme: as the proxy tells it where one is trusted, else the connection's."""
    header = getattr(settings, "SECURE_PROXY_SSL_HEADER", None)
    if header is not None:
        name = header[0].removeprefix("HTTP_").replace("_", "-").lower().encode()
        return "https" if _headers(scope, name)[:1] == [header[1]] else "http"
    return "https" if scope.get("scheme") == "wss" else "http"
