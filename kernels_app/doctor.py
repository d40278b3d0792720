"""What `manage.py doctor` looks at: each part of a server, really used, with how to mend what does not work.

A finding never holds a secret: exceptions are told by logs.say. The way to a running server is doctor_socket.py's.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from kernels_app import checks as kernel_checks
from kernels_app import provisioner, sandbox, surroundings
from kernels_app.allowances import profile
from kernels_app.broker import Broker
from kernels_app.doctor_cluster import check_cluster
from kernels_app.far_words import Trouble
from kernels_app.kernel import Kernel, KernelStartTimeout
from kernels_app.schema_state import database_troubles
from notebooks_app import checks, health, logs, metrics, services
from notebooks_app.crypto import DecryptionError
from notebooks_app.demo.sample import ensure_sample_apart
from notebooks_app.models import Cell, Connection

GIB = 1024**3
DISK_LOW_BYTES, DISK_FULL_BYTES = 2 * GIB, 256 * 1024**2
CONNECTIONS_TRIED = 1_000
KERNEL_S = 60.0
SLOW_MS = 50


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    part: str
    level: Level
    words: str
    mend: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


type Check = Callable[[], Iterator[Finding]]


def ok(part: str, words: str) -> Finding:
    return Finding(part, Level.OK, words)


def warn(part: str, words: str, mend: str) -> Finding:
    return Finding(part, Level.WARN, words, mend)


def fail(part: str, words: str, mend: str) -> Finding:
    return Finding(part, Level.FAIL, words, mend)


def told(part: str, *troubles: Trouble | None) -> list[Finding]:
    """What would keep the server from starting, as findings."""
    return [fail(part, trouble.sentence, trouble.mend) for trouble in troubles if trouble is not None]


def _database_answers() -> bool:
    """Asked before what needs it in passing: the database's own part says why it does not."""
    return all(trouble.is_bearable for trouble in database_troubles(connection, migrates=False))


def examine(extra: dict[str, Check] | None = None) -> Iterator[Finding]:
    """All findings, as they are made. A check that breaks is a finding too."""
    for part, check in (CHECKS | (extra or {})).items():
        try:
            yield from check()
        except Exception as error:
            yield fail(part, f"does not work: {logs.say(error)}", MENDS.get(part, "See the server's log."))


MENDS = {
    "database": "Is it running, and is DATABASE_URL right? For SQLite: can RILLBOOK_DATA_DIR be written?",
    "channel layer": "Is Redis running, and is REDIS_URL right?",
    "storage": "Look at OUTPUTS_BUCKET, OUTPUTS_ENDPOINT_URL, OUTPUTS_REGION and the credentials; "
    "for files: can the data folder be written?",
    "kernel": "Run the interpreter KERNEL_PYTHON by hand: does `import ipykernel` work?",
    "broker": "Does the server's Python import psycopg and pyarrow?",
    "analysis": "Does the server's Python import sqlglot?",
}

# --- Database --------------------------------------------------------------------------------------------------------


def check_database() -> Iterator[Finding]:
    found = list(database_troubles(connection, migrates=True))
    yield from told("database", *(trouble for trouble in found if not trouble.is_bearable))
    if found and not all("newer" in trouble.words or trouble.is_bearable for trouble in found):
        return
    begun = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        connected_ms = (time.perf_counter() - begun) * 1000
        begun = time.perf_counter()
        cursor.execute("SELECT 1")
        ms = (time.perf_counter() - begun) * 1000
    words = f"{connection.display_name} {_version()}; connected in {connected_ms:.0f} ms, a query takes {ms:.1f} ms"
    if ms > SLOW_MS:
        yield warn("database", words, "Every keystroke that is saved waits for some ten queries: put it nearer.")
    else:
        yield ok("database", words)
    yield from _check_sqlite() if connection.vendor == "sqlite" else _check_postgresql()
    yield from _check_migrations()
    yield from (warn("migrations", trouble.sentence, trouble.mend) for trouble in found if trouble.is_bearable)


def _version() -> str:
    return sqlite3.sqlite_version if connection.vendor == "sqlite" else _asked("SHOW server_version")


def _asked(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def _check_sqlite() -> Iterator[Finding]:
    journal, synchronous = _asked("PRAGMA journal_mode"), _asked("PRAGMA synchronous")
    words = f"journal {journal}, synchronous {synchronous}"
    if (journal, synchronous) == ("wal", 2):
        yield ok("database", f"{words}: what is acknowledged survives a loss of power")
    else:
        yield fail("database", words, "Is the data folder on a network drive? SQLite's WAL needs a local one.")
    if settings.RILLBOOK_MODE == "multi":
        yield warn("database", "SQLite lets one write at a time", "For a team: DATABASE_URL=postgresql://…")


def _check_postgresql() -> Iterator[Finding]:
    names = ("statement_timeout", "idle_in_transaction_session_timeout", "application_name")
    yield ok("database", ", ".join(f"{name} {_asked(f'SHOW {name}')}" for name in names))
    options: Any = settings.DATABASES["default"]["OPTIONS"]
    pool = options["pool"]["max_size"]
    allowed = int(_asked("SHOW max_connections"))
    words = f"pool of at most {pool} connections a process; the server allows {allowed}"
    if pool > allowed // 2:
        yield warn("database", words, "Lower DATABASE_POOL_SIZE or raise max_connections: processes add up.")
    else:
        yield ok("database", words)
    if not connection.connection.pgconn.ssl_in_use and settings.DATABASES["default"]["HOST"] not in _NEAR:
        yield warn("database", "the connection is not encrypted", "Add ?sslmode=verify-full to DATABASE_URL.")


_NEAR = ("", "localhost", "127.0.0.1", "::1")


def _check_migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in missing[:3])
        yield fail("migrations", f"{len(missing)} are not applied: {names}", "Run manage.py migrate.")
    else:
        yield ok("migrations", "all are applied")


# --- Channel layer and storage ---------------------------------------------------------------------------------------


def check_layer() -> Iterator[Finding]:
    """A message to a group, as an edit is announced, received on a channel of it."""
    if found := told("channel layer", surroundings.ask_redis()):
        yield from found
        return
    begun = time.perf_counter()
    asyncio.run(_through_layer())
    ms = (time.perf_counter() - begun) * 1000
    if settings.REDIS_URL:
        yield ok("channel layer", f"Redis: sent to a group and received in {ms:.0f} ms")
    elif settings.RILLBOOK_MODE == "multi":
        yield warn("channel layer", "in memory: good for one server process", "Several need REDIS_URL.")
    else:
        yield ok("channel layer", "in memory, for one server process")


async def _through_layer() -> None:
    layer = get_channel_layer()
    group, mark = f"doctor.{secrets.token_hex(8)}", secrets.token_hex(8)
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    await layer.group_send(group, {"type": "doctor", "mark": mark})
    async with asyncio.timeout(5):
        message = await layer.receive(channel)
    await layer.group_discard(group, channel)
    if message["mark"] != mark:
        raise RuntimeError("another message came")


def check_storage() -> Iterator[Finding]:
    """An object is written, read and deleted, as an output is."""
    if found := told("storage", surroundings.ask_storage()):
        yield from found
        return
    storage = storages["outputs"]
    content = secrets.token_bytes(1024)
    begun = time.perf_counter()
    key = storage.save(f"doctor/{secrets.token_hex(16)}", ContentFile(content))
    try:
        with storage.open(key) as file:
            is_same = file.read() == content
    finally:
        storage.delete(key)
    ms = (time.perf_counter() - begun) * 1000
    is_folder = isinstance(storage, FileSystemStorage)
    where = "files in the data folder" if is_folder else f"bucket {settings.OUTPUTS_BUCKET}"
    if not is_same:
        yield fail("storage", f"{where}: what was read is not what was written", MENDS["storage"])
    elif storage.exists(key):
        yield fail("storage", f"{where}: a deleted object is still there", "May the credentials delete objects?")
    else:
        yield ok("storage", f"{where}: written, read and deleted in {ms:.0f} ms")
    held = metrics.held_bytes() if _database_answers() else 0
    if held:
        yield warn("storage", f"{held:,} bytes of outputs wait in the database", "Run manage.py spill_outputs.")


# --- Kernels ---------------------------------------------------------------------------------------------------------

ELSEWHERE = "not tried: kernels live on the nodes of the cluster, which isolate them; this machine runs none"


def check_isolation() -> Iterator[Finding]:
    """The rung in use, and each thing that it does and does not do."""
    if settings.KERNEL_HOST == "ray":
        yield ok("isolation", ELSEWHERE)
        return
    words = sandbox.describe(settings.KERNEL_SANDBOX, settings.KERNEL_PYTHON)
    try:
        found = sandbox.available(settings.KERNEL_SANDBOX, settings.KERNEL_PYTHON)
    except sandbox.Untried:
        yield fail("isolation", words, "Try again; no kernel starts until it is known.")
        return
    is_shared = settings.RILLBOOK_MODE == "multi"
    if found is sandbox.Rung.NONE:
        yield (fail if is_shared else warn)("isolation", words, kernel_checks.INSTALL)
        return
    yield ok("isolation", words)
    for line in kernel_checks.lines():
        is_weak = line.startswith("Not ") and is_shared
        yield warn("isolation", line, "docs/security.md, What each rung stops.") if is_weak else ok("isolation", line)


def check_kernel() -> Iterator[Finding]:
    """A kernel of this server's profile starts and computes 1+1."""
    if settings.KERNEL_HOST == "ray":
        yield ok("kernel", ELSEWHERE)
        return
    if found := told("kernel", surroundings.ask_kernel_python()):
        yield from found
        return
    ensure_sample_apart(settings.SAMPLE_DATABASE)  # kernels are given its folder
    with tempfile.TemporaryDirectory(prefix="rillbook-doctor-") as folder:
        try:
            start_s, run_s, text = asyncio.run(_one_plus_one(Path(folder)))
        except KernelStartTimeout as error:
            last = error.stderr.strip().splitlines()[-1:]
            yield fail("kernel", f"does not start: {logs.scrub(' '.join(last))[:300]}", MENDS["kernel"])
            return
    words = f"started in {start_s:.1f} s, 1+1 took {run_s * 1000:.0f} ms and gave {text}"
    yield ok("kernel", words) if text == "2" else fail("kernel", words, MENDS["kernel"])


async def _one_plus_one(folder: Path) -> tuple[float, float, str]:
    provisioner.register()
    begun = time.perf_counter()
    async with asyncio.timeout(KERNEL_S):
        kernel = await Kernel.start(profile(), folder)
        try:
            start_s = time.perf_counter() - begun
            entries: list[dict[str, Any]] = []
            kernel.on_entries = entries.extend
            begun = time.perf_counter()
            await kernel.run_plan("doctor", [PLAN_ITEM])
            run_s = time.perf_counter() - begun
        finally:
            await kernel.shutdown()
    shown = [entry["data"].get("text/plain", "") for entry in entries if entry["t"] == "display"]
    return start_s, run_s, "".join(shown)


PLAN_ITEM: dict[str, Any] = {
    "attempt": "doctor", "cell": "doctor", "number": 1, "version": 1, "kind": "python", "source": "1+1",
    "result_name": "", "definitions": [], "references": [], "needs": [], "unload": [], "count": 1,
}  # fmt: skip


def check_broker() -> Iterator[Finding]:
    """The child process that runs SQL answers about a database of one table."""
    with tempfile.TemporaryDirectory(prefix="rillbook-doctor-") as folder:
        path = Path(folder, "one.sqlite3")
        with sqlite3.connect(path) as made:
            made.execute("CREATE TABLE one (number INTEGER)")
        made.close()
        tables = asyncio.run(_tables(f"sqlite:///{path}"))
    yield ok("broker", "starts and reads a schema") if tables == ["one"] else fail(
        "broker", "does not see a table that is there", MENDS["broker"]
    )


async def _tables(dsn: str) -> list[str]:
    broker = Broker()
    try:
        return [table["table"] for table in await broker.schema(dsn)]
    finally:
        await broker.close()


def check_analysis() -> Iterator[Finding]:
    found = services.analysis_of(Cell(type="python", source="b = a + 1"))
    if (set(found.definitions), set(found.references)) == ({"b"}, {"a"}):
        yield ok("analysis", "finds what a cell defines and uses")
    else:
        yield fail("analysis", "does not find what a cell defines", MENDS["analysis"])


# --- Settings and machine --------------------------------------------------------------------------------------------


def check_proxy() -> Iterator[Finding]:
    hosts, origins = settings.ALLOWED_HOSTS, settings.CSRF_TRUSTED_ORIGINS
    header = getattr(settings, "SECURE_PROXY_SSL_HEADER", None)
    if "*" in hosts:
        yield fail("proxy", "ALLOWED_HOSTS holds *: any name is answered", "Name the hosts that people use.")
    elif settings.RILLBOOK_MODE == "multi" and set(hosts) <= {"localhost", "127.0.0.1", "[::1]"}:
        yield warn("proxy", "ALLOWED_HOSTS holds this machine only", "Set it to the name people use.")
    else:
        yield ok("proxy", f"answers to {', '.join(hosts)}")
    if settings.HTTPS and header is None:
        yield warn(
            "proxy", "HTTPS is on, but the server speaks HTTP and trusts no proxy: browsers are redirected for ever",
            "Behind a proxy that ends TLS and sets X-Forwarded-Proto itself: BEHIND_PROXY=true.",
        )  # fmt: skip
    elif header is not None:
        yield ok("proxy", "trusts X-Forwarded-Proto: the proxy must set it itself, whatever a client sends")
    plain = [origin for origin in origins if not origin.startswith("https://")]
    if settings.HTTPS and plain:
        yield warn("proxy", f"CSRF_TRUSTED_ORIGINS without https: {', '.join(plain)}", "Use https:// origins.")
    if settings.DEBUG:
        made = fail if settings.RILLBOOK_MODE == "multi" else warn
        yield made("proxy", "DEBUG is on: errors show settings and sources", "Unset DEBUG.")


def check_secrets() -> Iterator[Finding]:
    for message in checks.secrets_are_real(None):
        yield fail("secrets", str(message.msg), str(message.hint))
    if len(settings.SECRET_KEY) < 50 or len(set(settings.SECRET_KEY)) < 5:
        yield warn("secrets", "SECRET_KEY is short", "python -c 'import secrets; print(secrets.token_urlsafe(48))'")
    else:
        yield ok("secrets", "SECRET_KEY is long enough")
    if not settings.CONNECTION_KEYS and settings.RILLBOOK_MODE == "multi":
        yield warn(
            "secrets", "CONNECTION_KEYS is not set: connections are locked by SECRET_KEY, which then cannot be changed",
            "Make one: openssl rand -base64 32",
        )  # fmt: skip
    if not _database_answers():
        return
    locked = sum(not _opens(row) for row in Connection.objects.order_by("pk")[:CONNECTIONS_TRIED])
    if locked:
        yield fail("secrets", f"{locked} connections do not open", "Add the key that made them to CONNECTION_KEYS.")


def _opens(row: Connection) -> bool:
    try:
        row.dsn()
    except DecryptionError:
        return False
    return True


def check_disk() -> Iterator[Finding]:
    if found := told("disk", surroundings.ask_data_folder()):
        yield from found
        return
    folder = Path(settings.DATA_DIR)
    free = shutil.disk_usage(folder).free
    words = f"{free / GIB:.1f} GiB free in the data folder"
    if free < DISK_FULL_BYTES:
        yield fail("disk", words, "Free some: the database cannot be written when it is full.")
    elif free < DISK_LOW_BYTES:
        yield warn("disk", words, "Free some, or move RILLBOOK_DATA_DIR.")
    else:
        yield ok("disk", words)
    health.check_storage()


def check_sign_in() -> Iterator[Finding]:
    if settings.OIDC is not None:
        found = told("sign-in", surroundings.ask_oidc())
        yield from found or [ok("sign-in", f"the OpenID provider of {settings.OIDC.name} describes itself")]


CHECKS: dict[str, Check] = {
    "database": check_database,
    "channel layer": check_layer,
    "cluster": check_cluster,
    "storage": check_storage,
    "isolation": check_isolation,
    "kernel": check_kernel,
    "broker": check_broker,
    "analysis": check_analysis,
    "proxy": check_proxy,
    "secrets": check_secrets,
    "sign-in": check_sign_in,
    "disk": check_disk,
}
