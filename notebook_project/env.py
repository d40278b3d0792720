"""Typed values from the environment. A malformed value stops the start and names its variable."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from kernels_app import amounts
from notebooks_app.targets import parse_allowed, parse_own

MOST = 10**15  # of any number: more is a mistake, and above what the system's calls take
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


def env_int(name: str, default: int, *, least: int = 0, most: int = MOST) -> int:
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None
    if not least <= number <= most:
        bounds = f"from {least} on" if most == MOST else f"from {least} to {most}"
        raise ImproperlyConfigured(f"{name} must be a whole number {bounds}, not {value}.")
    return number


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


def env_resource(name: str, default: float, *, is_whole_above_one: bool = False) -> float:
    """What Ray reserves of something."""
    number = env_float(name, default)
    if words := amounts.trouble(number, is_whole_above_one=is_whole_above_one):
        raise ImproperlyConfigured(f"{name} {words}")
    return number


def env_address(name: str) -> str:
    """host:port, or nothing."""
    value = env_str(name).strip()
    host, _, port = value.rpartition(":")
    if value and not (re.fullmatch(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]", host) and 0 < _number(port) < 65536):
        raise ImproperlyConfigured(f"{name} must be host:port, as 10.0.0.5:6379, not {value!r}.")
    return value


def _number(digits: str) -> int:
    return int(digits) if re.fullmatch(r"[0-9]{1,5}", digits) else 0


def env_list(name: str, default: list[str]) -> list[str]:
    value = os.environ.get(name)
    if value is None:
        return default
    return [part.strip() for part in value.split(",") if part.strip()]


def env_ids(name: str) -> frozenset[uuid.UUID]:
    """Ids of notebooks, however they are spelled."""
    found = set()
    for part in env_list(name, []):
        try:
            found.add(uuid.UUID(part))
        except ValueError:
            raise ImproperlyConfigured(f"{name} must hold ids as in a notebook's address, not {part!r}.") from None
    return frozenset(found)


def env_hosts(name: str, default: list[str]) -> list[str]:
    """Names of hosts as in ALLOWED_HOSTS, perhaps with a leading dot: no URLs."""
    hosts = env_list(name, default)
    for host in hosts:
        if not re.fullmatch(r"\*|\.?[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]", host):
            raise ImproperlyConfigured(f"{name} must hold names such as notebooks.example.com, not {host!r}.")
    return hosts


def env_origins(name: str, default: list[str]) -> list[str]:
    """Origins as browsers send them: scheme and host, perhaps with a port, and no path."""
    origins = env_list(name, default)
    for origin in origins:
        if not re.fullmatch(r"https?://[^\s/?#@]+", origin):
            raise ImproperlyConfigured(f"{name} must hold origins, as https://notebooks.example.com, not {origin!r}.")
        _port(name, origin)
    return origins


def env_url(name: str, schemes: tuple[str, ...]) -> str:
    """A URL with a host, or nothing. It may hold a secret, so that no message quotes it."""
    value = env_secret(name)
    parts = _split(name, value)
    if value and (parts.scheme not in schemes or not (parts.hostname or parts.scheme == "unix")):
        shown = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ImproperlyConfigured(f"{name} must begin with {shown} and name a host.")
    _port(name, value)
    return value


def _split(name: str, url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is not a URL.") from None


def _port(name: str, url: str) -> int | None:
    try:
        return _split(name, url).port
    except ValueError:
        raise ImproperlyConfigured(f"{name} has a port that is none: it must be a number up to 65535.") from None


def env_path(name: str) -> str:
    """A path below which URLs lie, as /a/path; empty for the root."""
    value = env_str(name).rstrip("/")
    if value and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
        raise ImproperlyConfigured(f"{name} must be a path such as /rillbook, not {value!r}.")
    return value


def env_targets(name: str, default: list[str]) -> list[str]:
    """Addresses, networks and hosts that connections may lead to (notebooks_app/targets.py)."""
    return _entries(name, default, parse_allowed)


def env_own(name: str) -> list[str]:
    """Hosts of the server's own databases, each perhaps with a port (notebooks_app/targets.py)."""
    return _entries(name, [], parse_own)


def _entries(name: str, default: list[str], parse: Callable[[str], object]) -> list[str]:
    entries = env_list(name, default)
    try:
        for entry in entries:
            parse(entry)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}") from None
    return entries


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
    except UnicodeDecodeError:
        raise ImproperlyConfigured(f"{name}_FILE names a file that is not text (UTF-8).") from None


def made_folder(path: Path, name: str = "RILLBOOK_DATA_DIR") -> Path:
    """The folder, made if it is missing. The variable `name` is what the message names."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"{name}: the folder {path} cannot be made ({error.strerror}). Name one that this user may write."
        ) from None
    return path


def kept_key(path: Path) -> str:
    """The key in the file, made at the first start. Whole or not at all: others may start now, and disks are full."""
    try:
        if not path.exists():
            descriptor, made = tempfile.mkstemp(prefix="secret_key.", dir=path.parent)
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(secrets.token_urlsafe(48))
                _put_in_place(made, path)
            finally:
                Path(made).unlink(missing_ok=True)
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(f"RILLBOOK_DATA_DIR: {path} cannot be used ({error.strerror}).") from None


def _put_in_place(made: str, path: Path) -> None:
    """Under its name, unless another process was first. Some file systems know no links."""
    try:
        os.link(made, path)
    except FileExistsError:
        return
    except OSError:
        os.replace(made, path)


def env_database(name: str, default_sqlite: Path) -> dict[str, object]:
    """Django's database settings from a URL: postgresql://user:password@host:port/name or sqlite:///path.

    A URL without a password takes that of DATABASE_PASSWORD, so that the URL itself need not be a secret.
    """
    url = env_secret(name)
    if not url:
        return _sqlite(default_sqlite)
    parts, port = _split(name, url), _port(name, url)
    if parts.scheme in ("postgres", "postgresql"):
        if not parts.path.strip("/"):
            raise ImproperlyConfigured(f"{name} names no database: postgresql://user@host/database.")
        password = unquote(parts.password or "") or env_secret("DATABASE_PASSWORD")
        return _postgresql(parts.hostname, port, parts.path, parts.username, password, _parameters(name, parts.query))
    if parts.scheme == "sqlite" and not parts.netloc and parts.path.strip("/"):
        return _sqlite(Path(unquote(parts.path)))
    raise ImproperlyConfigured(f"{name} must start with postgresql:// or sqlite:/// and a path.")


def _parameters(name: str, query: str) -> dict[str, str]:
    """The URL's parameters for libpq. Where the database is must be in it, so that no connection leads there."""
    given = dict(parse_qsl(query))
    if given.keys() & {"service", "servicefile"}:
        raise ImproperlyConfigured(
            f"{name} names a service, a file that says where the database is: write host and port in the URL itself."
        )
    if not re.fullmatch(r"[0-9]{0,5}(,[0-9]{0,5})*", given.get("port", "")):
        raise ImproperlyConfigured(f"{name} has a port that is none: it must be a number up to 65535.")
    return given


def env_mailer(name: str) -> dict[str, object]:
    """How mail is sent: smtp://user:password@host:587 (STARTTLS), smtps://…:465, smtp+plain://…; empty prints it."""
    url = env_secret(name)
    parts, port = _split(name, url), _port(name, url)
    if not url:
        return {"BACKEND": "django.core.mail.backends.console.EmailBackend"}
    ports = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
    if parts.scheme not in ports or not parts.hostname:
        raise ImproperlyConfigured(f"{name} must be smtp://, smtps:// or smtp+plain:// with a host.")
    return {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {
            "host": parts.hostname,
            "port": port or ports[parts.scheme],
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "use_tls": parts.scheme == "smtp",
            "use_ssl": parts.scheme == "smtps",
            "timeout": 10,
        },
    }


def _sqlite(path: Path) -> dict[str, object]:
    made_folder(path.parent)
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        # Kept connections: closing the last one checkpoints the whole WAL (docs/architecture.md, 1).
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            # Seconds for the one lock. Who waits is served in no order: of twenty writers, some wait long.
            "timeout": 30,
            # Loss of power may not take an acknowledged edit: FULL, not NORMAL. What a statement needs meanwhile is
            # held in memory: a full folder for temporary files stops no edit.
            "init_command": (
                "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA foreign_keys=ON;PRAGMA temp_store=MEMORY;"
            ),
        },
        # Threads must see one database: a file, never :memory:.
        "TEST": {"NAME": str(path.parent / f"test-{os.getpid()}.sqlite3")},
    }


def _postgresql(
    host: str | None, port: int | None, path: str, user: str | None, password: str, given: dict[str, str]
) -> dict[str, object]:
    """The URL's parameters (sslmode, sslrootcert, options…) go to libpq as they are, and before our own."""
    from notebooks_app.bounded_connection import pool_options  # psycopg is loaded where PostgreSQL is used

    pool = pool_options(
        max_size=env_int("DATABASE_POOL_SIZE", 16, least=1),
        statement_timeout_s=env_int("DATABASE_STATEMENT_TIMEOUT_S", 30),
    )
    options: dict[str, object] = {
        "pool": pool,
        "application_name": "rillbook",
        "connect_timeout": env_int("DATABASE_CONNECT_TIMEOUT_S", 5, least=1),
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
        # Behind a pooler a cursor would outlive the transaction that has its connection.
        "DISABLE_SERVER_SIDE_CURSORS": env_bool("DATABASE_POOLER", False),
    }


def _server_options(given: str) -> str:
    """Settings of each session: a statement or an idle transaction that holds others up is ended by the server.

    A pooler's sessions are not ours, and RDS Proxy refuses them: there they belong to the role (docs/scaling.md).
    """
    if env_bool("DATABASE_POOLER", False):
        return given
    limits = {
        "statement_timeout": env_int("DATABASE_STATEMENT_TIMEOUT_S", 30),
        "idle_in_transaction_session_timeout": env_int("DATABASE_IDLE_TRANSACTION_TIMEOUT_S", 60),
    }
    ours = [f"-c {name}={seconds * 1000}" for name, seconds in limits.items() if seconds]
    return " ".join([*ours, given]).strip()
