# ruff: noqa: E501  (requests and their answers are long lines)
"""A password that stands nowhere else, through all of a connection's life on a real server at debug level.

It is created, used on a real PostgreSQL, used wrongly in every way, exported, imported, listed, looked at in the admin, and
searched for afterwards: in every answer and every frame of a socket, in the log, in the database's dump, in the data folder,
in the kernel's environment, memory and files, and in the processes' arguments and environments.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
import pytest
from psycopg import sql
from websockets.asyncio.client import connect

from tests.servers import LiveServer

PASSWORD = f"c4nary/{secrets.token_hex(8)}:%ä@'"
# As it is, as a URL has it, as JSON has it, and as bytes would be written down.
FORMS = (
    PASSWORD, quote(PASSWORD, safe=""), quote_plus(PASSWORD), json.dumps(PASSWORD)[1:-1], PASSWORD[7:23],
    base64.b64encode(PASSWORD.encode()).decode()[:20], PASSWORD.encode().hex()[14:40],
)  # fmt: skip
# Looks at all of its memory first: searching for the two halves one after the other leaves no whole there.
SPY = """
import gc, os, sys, pathlib
half = {first!r}; rest = {second!r}
found = []
for line in open("/proc/self/maps"):
    place, rights = line.split()[:2]
    if rights[:2] != "rw": continue
    start, end = (int(part, 16) for part in place.split("-"))
    try:
        with open("/proc/self/mem", "rb") as memory:
            memory.seek(start); data = memory.read(end - start)
    except (OSError, ValueError): continue
    at = data.find(half.encode())
    while at >= 0:
        if data.startswith(rest.encode(), at + len(half)): found.append("memory")
        at = data.find(half.encode(), at + 1)
whole = half + rest
if whole in str(dict(os.environ)) + str(sys.argv): found.append("environment")
for kept in gc.get_objects():
    if isinstance(kept, dict) and kept is not globals() and any(isinstance(value, str) and whole in value for value in list(kept.values())): found.append("objects")
for file in pathlib.Path(".").rglob("*"):
    if file.is_file() and whole.encode() in file.read_bytes(): found.append(str(file))
del whole
print("found", sorted(set(found)))
"""


@pytest.fixture(scope="module")
def database(postgres: str) -> str:
    """host:port of a PostgreSQL where the user ana has the password."""
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE USER ana PASSWORD {}").format(PASSWORD))
        port = admin.info.port
        folder = Path(admin.execute("SHOW hba_file").fetchone()[0])
        folder.write_text("host all ana 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n")
        admin.execute("SELECT pg_reload_conf()")
    return f"127.0.0.1:{port}"


@pytest.fixture(scope="module", params=["0", "1"], ids=["DEBUG off", "DEBUG on"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    made = LiveServer(
        tmp_path_factory.mktemp("server"), DEBUG=request.param, LOG_LEVEL="DEBUG", LOG_FORMAT="json", LOG_REQUESTS="1",
        CONNECTION_KEYS=base64.b64encode(b"k" * 32).decode(),
    )  # fmt: skip
    yield made
    made.stop()


class Seen:
    """Everything that came out of the server."""

    def __init__(self, server: LiveServer) -> None:
        self._api = server.api()
        self.texts: list[str] = []

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        status, answer = self._api(method, path, body)
        self.texts.append(json.dumps(answer, ensure_ascii=False))
        self.texts.append(json.dumps(answer))
        return status, answer


def dsn(where: str, *, password: str = PASSWORD, database: str = "postgres", options: str = "") -> str:
    return f"postgresql://ana:{quote(password, safe='')}@{where}/{database}{options}"


def use_and_misuse(seen: Seen, server: LiveServer, where: str) -> tuple[str, list[str]]:
    """A notebook whose cells use the connection rightly and wrongly; its id and the outcomes."""
    status, made = seen("POST", "notebooks/", {"name": "Canary"})
    path = f"notebooks/{made['id']}/"
    good = {"good": dsn(where)}
    bad = {
        "wrong host": dsn("host.invalid"), "wrong port": dsn(where.split(":")[0] + ":1"), "wrong database": dsn(where, database="none"),
        "wrong password": dsn(where, password=PASSWORD + "x"), "no tls": dsn(where, options="?sslmode=verify-full"),
    }  # fmt: skip
    made_of: dict[str, str] = {}
    for name, text in (good | bad).items():
        status, connection = seen("POST", "connections/", {"name": name, "dsn": text})
        assert status == 201
        made_of[name] = connection["id"]
    quoted = PASSWORD.replace("'", "''")
    queries = [
        "SELECT 1 AS one",
        "SELEC nonsense",
        f"SELECT '{PASSWORD[:3]}'::int",
        "SELECT current_user, inet_server_port()",
        "SELECT pg_sleep('x')",
    ]
    for query in queries:
        body = {"type": "sql", "source": query, "connection": made_of["good"], "result_name": f"r{len(query)}"}
        assert seen("POST", f"{path}cells/", body)[0] == 201
    for name in bad:
        assert (
            seen("POST", f"{path}cells/", {"type": "sql", "source": "SELECT 2 AS two", "connection": made_of[name]})[0]
            == 201
        )
    spy = SPY.format(first=PASSWORD[7:14], second=PASSWORD[14:23])
    assert seen("POST", f"{path}cells/", {"type": "python", "source": f"r{len(queries[0])}\n{spy}"})[0] == 201
    assert seen("POST", f"{path}runs/", {"all": True, "wait": True, "timeout_s": 90})[0] in (200, 201, 202)
    refusals = [
        f"mysql://u:{quoted}@h/d",
        f"postgresql://u:{PASSWORD}@h/d?passfile=x",
        f"postgresql://u:{quote(PASSWORD)}@/d",
        {"x": PASSWORD},
        [PASSWORD],
    ]
    for wrong in refusals:
        assert seen("POST", "connections/", {"name": "wrong", "dsn": wrong})[0] == 400
    assert seen("POST", "connections/", {"name": "good", "dsn": dsn(where)})[0] == 409
    assert seen("PATCH", f"connections/{made_of['good']}/", {"dsn": dsn(where), "name": "renamed"})[0] == 200
    assert seen("PATCH", f"connections/{made_of['good']}/", {"secret": PASSWORD})[0] == 400
    return made["id"], list(made_of.values())


def read_everything(seen: Seen, notebook: str, connections: list[str]) -> list[dict[str, Any]]:
    path = f"notebooks/{notebook}/"
    cells = seen("GET", path)[1]["cells"]
    for address in (
        "notebooks/",
        "connections/",
        f"connections/{connections[0]}/",
        f"{path}runs/",
        f"{path}history/",
        f"{path}versions/",
        f"{path}members/",
    ):
        seen("GET", address)
    return cells


def pages(server: LiveServer, seen: Seen, notebook: str, connection: str, cookie: str) -> None:
    """The pages of a person and of the admin, an export, and a crash report of a form."""
    import urllib.error
    import urllib.request

    admin = "/admin/notebooks_app/connection/"
    paths = [
        "/",
        f"/notebooks/{notebook}/",
        f"/notebooks/{notebook}/export/",
        admin,
        f"{admin}{connection}/change/",
        f"{admin}{connection}/history/",
        f"{admin}{connection}/delete/",
        f"/admin/notebooks_app/notebook/{notebook}/change/",
        "/metrics",
        "/api/v1/schema/",
        "/nowhere/",
    ]
    for path in paths:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(server.url + path, headers={"Cookie": cookie}), timeout=30
            ) as answer:
                seen.texts.append(answer.read().decode("utf-8", "replace"))
        except urllib.error.HTTPError as error:
            seen.texts.append(error.read().decode("utf-8", "replace"))
    form = f"name=x&dsn={quote_plus(dsn('h'))}".encode()
    for headers in ({"Cookie": cookie}, {"Cookie": cookie, "Content-Type": "application/json"}):
        try:
            urllib.request.urlopen(
                urllib.request.Request(f"{server.url}{admin}add/", data=form, headers=headers), timeout=30
            ).close()
        except urllib.error.HTTPError as error:
            seen.texts.append(error.read().decode("utf-8", "replace"))


async def sockets(server: LiveServer, seen: Seen, notebook: str, cookie: str) -> None:
    address = server.url.replace("http", "ws") + f"/ws/notebooks/{notebook}/"
    async with connect(address, additional_headers={"Cookie": cookie}, origin=server.url, max_size=None) as socket:  # type: ignore[arg-type]
        for command in (
            {"type": "hello", "id": "1", "cursor": None, "lost": False},
            {"type": "run_all", "id": "2"},
            {"type": "variables", "id": "3"},
        ):
            await socket.send(json.dumps(command))
        waited_for = {"1", "2", "3", "run.finished"}
        async with asyncio.timeout(90):
            while waited_for:
                seen.texts.append(str(await socket.recv()))
                frame = json.loads(seen.texts[-1])
                waited_for -= {frame.get("id"), *(event["type"] for event in frame.get("events", ()))}


def test_the_password_shows_nowhere(server: LiveServer, database: str):
    cookie = "; ".join(f"{name}={value}" for name, value in server.sessions_of("me")["me"].items())
    seen = Seen(server)
    notebook, connections = use_and_misuse(seen, server, database)
    cells = read_everything(seen, notebook, connections)
    outcomes = [cell["state"]["outcome"] for cell in cells]
    assert outcomes == ["ok", None, "error", "ok", "error", *["error"] * 5, "ok"], outcomes  # None: it is no SQL
    errors = [output["evalue"] for cell in cells for output in cell["outputs"] if output["kind"] == "error"]
    assert any("password authentication failed" in words for words in errors), errors
    spied = "".join(output.get("text", "") for output in cells[-1]["outputs"])
    assert spied.rstrip().endswith("found []"), spied
    pages(server, seen, notebook, connections[0], cookie)
    asyncio.run(sockets(server, seen, notebook, cookie))
    exported = str(server.data_dir / "exported")
    seen.texts += server.manage_in_turn(
        ["export_notebooks", "--output", exported, "--format", "ipynb"], ["dumpdata"],
        ["rotate_connection_keys", "--dry-run"],
    )  # fmt: skip
    seen.texts += [
        file.read_text(encoding="utf-8") for file in (server.data_dir / "exported").rglob("*") if file.is_file()
    ]
    seen.texts.append(server.log())
    seen.texts += processes(server)
    for form in FORMS:
        found = [text[max(0, text.index(form) - 200) : text.index(form) + 60] for text in seen.texts if form in text]
        assert found == [], form
    assert_not_on_disk(server.data_dir)


def processes(server: LiveServer) -> list[str]:
    """Arguments and environments of every process there is, as far as they may be read."""
    told: list[str] = []
    for name in ("cmdline", "environ"):
        for file in Path("/proc").glob(f"[0-9]*/{name}"):
            if file.parent.name == str(os.getpid()):
                continue
            try:
                told.append(file.read_bytes().decode("utf-8", "replace"))
            except OSError:
                continue
    return told


def assert_not_on_disk(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert not [form for form in FORMS if form.encode() in data], file
