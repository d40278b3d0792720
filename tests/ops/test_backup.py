"""docs/operations.md, Backup and restore: carried out on PostgreSQL and S3 while people edit and run."""

from __future__ import annotations

import base64
import http.cookiejar
import json
import re
import secrets
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest

from scripts.with_postgres import free_port, temporary_postgres
from tests.ops.documented import commands, run
from tests.servers import SIGN_IN, Api, LiveServer
from tests.storage.far_sides import moto_server

PASSWORD = "a long enough password"
DSN = "postgresql://reader:s3cret@db.example.org/shop"
COUNTING = "import time\nfor i in range(600):\n    print(i, flush=True)\n    time.sleep(0.1)"
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
AWS = {name.upper(): value for name, value in CREDENTIALS.items()}
# In one process, whose storage does not answer: people, a token, and a notebook whose large output the database holds.
BEGIN = SIGN_IN.format(usernames=["me"]) + """
from django.core.management import call_command
user.set_password({password!r}); user.save()
get_user_model().objects.create_user("ann", password={password!r})
session[HASH_SESSION_KEY] = user.get_session_auth_hash(); session.save()
call_command("import_notebooks", {folder!r}, "--owner", "me", stdout=open("/dev/null", "w"))
call_command("create_token", "me", "--scope", "edit")
"""
LOCKED = """
from kernels_app import doctor
for found in doctor.check_secrets(): print(found.level, found.words, found.mend)
"""


@dataclass
class World:
    """One server's surroundings: its database, its bucket, its keys, its folder."""

    folder: Path
    database: str
    endpoint: str
    bucket: str
    key: str

    def environment(self, **more: str) -> dict[str, str]:
        return AWS | {
            "DATABASE_URL": self.database, "OUTPUTS_BUCKET": self.bucket, "OUTPUTS_ENDPOINT_URL": self.endpoint,
            "CONNECTION_KEYS": self.key, "OUTPUTS_TIMEOUT_S": "5", "SECRET_KEY": "k" + "0123456789abcdef" * 4, **more,
        }  # fmt: skip

    def server(self) -> LiveServer:
        return LiveServer(self.folder, **self.environment())

    def not_started(self, **more: str) -> LiveServer:
        """The server's environment and commands, without a process."""
        server = LiveServer.__new__(LiveServer)
        server.data_dir, server._environment, server._tokens = self.folder, self.environment(**more), {}
        return server

    def client(self) -> Any:
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", **CREDENTIALS)

    def objects(self) -> dict[str, int]:
        listed = self.client().list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {item["Key"]: item["Size"] for item in listed}


@dataclass
class Made:
    """What was there when the backup was made, and what is needed to look for it."""

    original: World
    backup: Path
    said: str
    notebook: str
    edited: str
    running: tuple[str, str]
    share_url: str
    token: str
    version: str
    cookies: dict[str, str]
    before: int
    after: int
    exported: dict[str, Any] = field(default_factory=dict)


def until(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return found


def ok(answer: tuple[int, Any]) -> Any:
    status, body = answer
    assert status < 300, body
    return body


class Editor:
    """Somebody who edits one cell again and again; what was acknowledged counts."""

    def __init__(self, api: Api, notebook: str) -> None:
        self._api, self._at = api, f"notebooks/{notebook}/cells/"
        self._cell = ok(api("POST", self._at, {"source": "n = 0"}))["id"]
        self.acknowledged = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._edit, daemon=True)
        self._thread.start()

    def _edit(self) -> None:
        while not self._ends.is_set():
            number = self.acknowledged + 1
            ok(self._api("PATCH", f"{self._at}{self._cell}/", {"source": f"n = {number}", "version": number}))
            self.acknowledged = number

    def end(self) -> None:
        self._ends.set()
        self._thread.join(30)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, World]]:
    """A server's surroundings, and empty ones."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    folder = tmp_path_factory.mktemp("worlds")
    with temporary_postgres() as url, moto_server() as s3:
        made = []
        for name in ("original", "restored"):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
            world = World(folder / name, url.rsplit("/", 1)[0] + f"/{name}", s3, f"outputs-{name}", key)
            world.folder.mkdir()
            world.client().create_bucket(Bucket=world.bucket)
            made.append(world)
        yield made[0], made[1]


@pytest.fixture(scope="module")
def made(worlds: tuple[World, World], tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The original filled, and backed up while somebody edits and a cell runs."""
    original, _ = worlds
    server = original.server()
    try:
        return fill_and_back_up(original, server, tmp_path_factory.mktemp("backup"))
    finally:
        server.stop()


def fill_and_back_up(original: World, server: LiveServer, backup: Path) -> Made:
    cookies, token = begin(original)
    server._tokens["me"] = token
    api = server.api()
    notebook = ok(api("POST", "notebooks/", {"name": "Kept"}))["id"]
    at = f"notebooks/{notebook}/"
    for source in ("for i in range(40_000): print(i)", "1 / 0", "# %%\n'text'"):
        ok(api("POST", at + "cells/", {"source": source}))
    ok(api("POST", at + "runs/", {"all": True, "wait": True, "timeout_s": 120}))
    version = ok(api("POST", at + "versions/", {"name": "as it was"}))["id"]
    share = ok(api("POST", at + "links/", {"role": "viewer", "allows_guests": True}))
    ok(api("POST", at + "members/", {"user": "ann", "role": "runner"}))
    ok(api("PUT", at + "db/", {"dsn": DSN}))

    edited = ok(api("POST", "notebooks/", {"name": "Edited"}))["id"]
    cell = ok(api("POST", f"notebooks/{edited}/cells/", {"source": COUNTING}))["id"]
    ok(api("POST", f"notebooks/{edited}/runs/", {"cells": [cell]}))
    editor = Editor(api, edited)
    until(lambda: editor.acknowledged > 5, "nobody edits")
    before = editor.acknowledged
    done = run(commands("### Back up"), server.environment() | {"BACKUP": str(backup)}, backup / "bin")
    after = editor.acknowledged
    editor.end()
    assert done.returncode == 0, done.stdout + done.stderr
    ok(api("POST", f"notebooks/{edited}/stop/", {"wait": True}))
    found = Made(
        original, backup, done.stdout, notebook, edited, (edited, cell), urllib.parse.urlsplit(share["url"]).path,
        token, version, cookies, before, after,
    )  # fmt: skip
    found.exported = exported(server, backup / "exported")
    return found


def begin(original: World) -> tuple[dict[str, str], str]:
    """Cookies of a session and a token of `me`."""
    folder = original.folder / "import"
    folder.mkdir()
    output = {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<p>held</p>" * 20_000}}
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "1", "execution_count": 1, "outputs": [output]}
    text = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]})
    (folder / "Held.ipynb").write_text(text, encoding="utf-8")
    nowhere = original.not_started(OUTPUTS_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}")
    said = nowhere.manage("shell", "--no-imports", "-c", BEGIN.format(password=PASSWORD, folder=str(folder)))
    name, value, _ = said.splitlines()[0].split()
    return {name: value}, said.splitlines()[-1]


def exported(server: LiveServer, folder: Path) -> dict[str, Any]:
    """Every notebook as the exporter writes it, with all outputs and DSNs; by id."""
    server.manage("export_notebooks", "--output", str(folder), "--with-dsn")
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}


@pytest.fixture(scope="module")
def restored(made: Made, worlds: tuple[World, World]) -> Iterator[LiveServer]:
    """The server on what the documented lines made of an empty database and an empty bucket."""
    _, empty = worlds
    assert empty.objects() == {}
    environment = empty.not_started().environment() | {"BACKUP": str(made.backup)}
    done = run(commands("### Restore"), environment, made.backup / "bin")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout
    server = empty.server()
    server._tokens["me"] = made.token
    yield server
    server.stop()


def fetch(server: LiveServer, path: str, cookies: dict[str, str] | None = None) -> tuple[int, str]:
    header = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if cookies else {}
    with urllib.request.urlopen(urllib.request.Request(server.url + path, headers=header), timeout=30) as answer:
        return answer.status, answer.read().decode()


# --- What came back --------------------------------------------------------------------------------------------------


def test_every_notebook_comes_back_as_it_was(made: Made, restored: LiveServer):
    found = exported(restored, restored.data_dir / "exported")
    edited = {key for key in found if made.edited in json.dumps(found[key])[:2000] or made.edited in key}
    assert len(found) >= 3 and set(found) == set(made.exported)
    for key in set(found) - edited:
        assert found[key] == made.exported[key], key
    assert "held" in json.dumps(found) and DSN in json.dumps(found)


def test_edits_are_there_up_to_one_moment_of_the_backup(made: Made, restored: LiveServer):
    """All that was acknowledged when the backup began, nothing from after its end, and no gap in the log."""
    api = restored.api()
    cells = ok(api("GET", f"notebooks/{made.edited}/cells/"))["cells"]
    number = int(cells[-1]["source"].removeprefix("n = "))
    assert made.before <= number <= made.after + 1
    assert cells[-1]["version"] == number + 1
    notebook = ok(api("GET", f"notebooks/{made.edited}/?outputs=0"))
    news = ok(api("GET", f"notebooks/{made.edited}/changes/?since=0&limit=500"))
    assert news["seq"] == notebook["seq"]


def test_what_ran_during_the_backup_does_not_run_for_ever(made: Made, restored: LiveServer):
    notebook, cell = made.running
    api = restored.api()

    def at_rest() -> bool:
        return ok(api("GET", f"notebooks/{notebook}/cells/{cell}/"))["state"]["status"] == "idle"

    until(at_rest, "a cell of the backup still reads running")
    ok(api("PATCH", f"notebooks/{notebook}/cells/{cell}/", {"source": "print('runs')", "version": 1}))
    again = ok(api("POST", f"notebooks/{notebook}/runs/", {"cells": [cell], "wait": True, "timeout_s": 90}))
    assert again["run"]["outcome"] == "ok"


def test_files_that_the_database_held_are_there_and_move_to_the_new_storage(
    made: Made, restored: LiveServer, worlds: tuple[World, World]
):
    _, empty = worlds
    before = set(empty.objects())
    assert before == set(made.original.objects())
    restored.manage("spill_outputs")
    assert len(set(empty.objects()) - before) == 1


def test_people_sign_in_as_before_and_sessions_go_on(made: Made, restored: LiveServer):
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    page = opener.open(f"{restored.url}/accounts/login/", timeout=30).read().decode()
    token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[0]
    form = urllib.parse.urlencode({"csrfmiddlewaretoken": token, "login": "ann", "password": PASSWORD}).encode()
    answer = opener.open(f"{restored.url}/accounts/login/", form, timeout=30)
    assert "/accounts/login" not in answer.url and "Kept" in answer.read().decode()
    status, home = fetch(restored, "/", made.cookies)
    assert status == 200 and "Edited" in home


def test_share_links_and_versions_work_as_before(made: Made, restored: LiveServer):
    assert "Kept" in fetch_with_cookies(restored, made.share_url)
    api = restored.api()
    assert [v["id"] for v in ok(api("GET", f"notebooks/{made.notebook}/versions/"))["results"]] == [made.version]
    cells = ok(api("GET", f"notebooks/{made.notebook}/cells/?outputs=0"))["cells"]
    ok(api("DELETE", f"notebooks/{made.notebook}/cells/{cells[0]['id']}/"))
    ok(api("POST", f"notebooks/{made.notebook}/versions/{made.version}/restore/", {}))


def fetch_with_cookies(server: LiveServer, path: str) -> str:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    return opener.open(server.url + path, timeout=30).read().decode()


def test_a_lost_key_is_told_and_the_rest_works(made: Made, restored: LiveServer, worlds: tuple[World, World]):
    _, world = worlds
    other = base64.b64encode(b"another key, of thirty-two bytes").decode()
    said = world.not_started(CONNECTION_KEYS=other).manage("shell", "--no-imports", "-c", LOCKED)
    assert "fail 1 connections do not open Add the key that made them to CONNECTION_KEYS." in said.splitlines()
