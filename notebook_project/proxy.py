"""What a reverse proxy changes of a request: the path Rillbook lives under, and whose address it came from.

The proxy passes paths on whole. Which scheme the browser used is Django's SECURE_PROXY_SSL_HEADER.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from django.urls import set_script_prefix


def with_proxy(application: Any, *, base_path: str, proxies: int) -> Any:
    """The ASGI application below `base_path` ("" or "/a/path"), behind this many trusted proxies (0: none).

    A path outside `base_path` is answered as if there were none: a load balancer asks for /ready, not /rillbook/ready.
    """

    async def run(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            if base_path:  # for URLs made outside of views: by sockets and runtimes
                set_script_prefix(f"{base_path}/")
            scope = scope | {"root_path": root_path(scope["path"], base_path), "client": client(scope, proxies)}
        await application(scope, receive, send)

    return run


def root_path(path: str, base_path: str) -> str:
    return base_path if base_path and (path + "/").startswith(base_path + "/") else ""


def client(scope: dict[str, Any], proxies: int) -> Any:
    """Address and port of who asked the first trusted proxy; the peer's where that is not told.

    Each proxy appends its peer to X-Forwarded-For, so the entries are counted from the right: what a client sends of
    its own stands further left, and is not believed.
    """
    lines = [value.decode("latin-1") for name, value in scope.get("headers", []) if name == b"x-forwarded-for"]
    entries = [entry.strip() for line in lines for entry in line.split(",")]
    if not proxies or len(entries) < proxies:
        return scope.get("client")
    try:
        return [str(ipaddress.ip_address(entries[-proxies])), 0]
    except ValueError:
        return scope.get("client")
