"""Typed values from the environment. A malformed value stops the start and names its variable."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from notebooks_app.targets import check_allowed

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


def env_str(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def env_bool(name: str, default: bool) -> bool:
    value = os.environ.get(name)
    if value is None:
        return default
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")


def env_int(name: str, default: int) -> int:
    value = os.environ.get(name)
    if value is None or value == "":
        return default
    try:
        return int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None


def env_float(name: str, default: float) -> float:
    value = os.environ.get(name)
    if value is None or value == "":
        return default
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e6:
        raise ImproperlyConfigured(f"{name} must be a number from 0 on, not {value!r}.")
    return number


def env_list(name: str, default: list[str]) -> list[str]:
    value = os.environ.get(name)
    if value is None:
        return default
    return [part.strip() for part in value.split(",") if part.strip()]


def env_path(name: str) -> str:
    """A path below which URLs lie, as /a/path; empty for the root."""
    value = env_str(name).rstrip("/")
    if value and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
        raise ImproperlyConfigured(f"{name} must be a path such as /rillbook, not {value!r}.")
    return value


def env_targets(name: str, default: list[str]) -> list[str]:
    """Addresses, networks and hosts that connections may lead to (notebooks_app/targets.py)."""
    try:
        return list(check_allowed(env_list(name, default)))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}") from None


def env_choice(name: str, choices: tuple[str, ...], default: str) -> str:
    value = os.environ.get(name, default)
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def env_secret(name: str, default: str = "") -> str:
    """The value of NAME, or the content of the file that NAME_FILE names (for secrets mounted as files)."""
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return os.environ.get(name, default)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE cannot be read: {error.strerror}.") from None


def env_database(name: str, default_sqlite: Path) -> dict[str, object]:
    """Django's database settings from a URL: postgresql://user:password@host:port/name or sqlite:///path.

    A URL without a password takes that of DATABASE_PASSWORD, so that the URL itself need not be a secret.
    """
    url = env_secret(name)
    if not url:
        return _sqlite(default_sqlite)
    parts = urlsplit(url)
    if parts.scheme in ("postgres", "postgresql"):
        password = unquote(parts.password or "") or env_secret("DATABASE_PASSWORD")
        return _postgresql(parts.hostname, parts.port, parts.path, parts.username, password, parts.query)
    if parts.scheme == "sqlite":
        return _sqlite(Path(unquote(parts.path)))
    raise ImproperlyConfigured(f"{name} must start with postgresql:// or sqlite:///.")


def env_mailer(name: str) -> dict[str, object]:
    """How mail is sent: smtp://user:password@host:587 (STARTTLS), smtps://…:465, smtp+plain://…; empty prints it."""
    parts = urlsplit(env_secret(name))
    if not parts.scheme:
        return {"BACKEND": "django.core.mail.backends.console.EmailBackend"}
    ports = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
    if parts.scheme not in ports or not parts.hostname:
        raise ImproperlyConfigured(f"{name} must be smtp://, smtps:// or smtp+plain:// with a host.")
    return {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {
            "host": parts.hostname,
            "port": parts.port or ports[parts.scheme],
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "use_tls": parts.scheme == "smtp",
            "use_ssl": parts.scheme == "smtps",
            "timeout": 10,
        },
    }


def _sqlite(path: Path) -> dict[str, object]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        # Kept connections: closing the last one checkpoints the whole WAL (docs/architecture.md, 1).
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,
            # Loss of power may not take an acknowledged edit: FULL, not NORMAL.
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA foreign_keys=ON;",
        },
        # Threads must see one database: a file, never :memory:.
        "TEST": {"NAME": str(path.parent / f"test-{os.getpid()}.sqlite3")},
    }


def _postgresql(
    host: str | None, port: int | None, path: str, user: str | None, password: str, query: str
) -> dict[str, object]:
    """The URL's parameters (sslmode, sslrootcert, options…) go to libpq as they are, and before our own."""
    from notebooks_app.bounded_connection import pool_options  # psycopg is loaded where PostgreSQL is used

    pool = pool_options(
        max_size=env_int("DATABASE_POOL_SIZE", 16),
        statement_timeout_s=env_int("DATABASE_STATEMENT_TIMEOUT_S", 30),
    )
    given = dict(parse_qsl(query))
    options: dict[str, object] = {
        "pool": pool,
        "application_name": "rillbook",
        "connect_timeout": env_int("DATABASE_CONNECT_TIMEOUT_S", 5),
        # A peer that vanished (a failover, a firewall) is noticed in a minute, not in hours.
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,  # ms: what was sent and nobody took; the system's own is a quarter of an hour
    }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(path.lstrip("/")),
        "USER": unquote(user or ""),
        "PASSWORD": password,
        "HOST": unquote(host or ""),
        "PORT": str(port or ""),
        "CONN_MAX_AGE": 0,  # the pool keeps connections; Django refuses both
        # A connection is tried when it is taken: after a restart of the database none of the pool's fails a request.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options | given | {"options": _server_options(given.get("options", ""))},
    }


def _server_options(given: str) -> str:
    """Settings of each session: a statement or an idle transaction that holds others up is ended by the server."""
    limits = {
        "statement_timeout": env_int("DATABASE_STATEMENT_TIMEOUT_S", 30),
        "idle_in_transaction_session_timeout": env_int("DATABASE_IDLE_TRANSACTION_TIMEOUT_S", 60),
    }
    ours = [f"-c {name}={seconds * 1000}" for name, seconds in limits.items() if seconds]
    return " ".join([*ours, given]).strip()
