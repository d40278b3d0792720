"""manage.py doctor: a server that works passes, what does not is named with how to mend it, and no secret is told."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from kernels_app import doctor, doctor_socket, sandbox
from kernels_app.doctor import Finding, Level
from notebooks_app.models import Connection, Notebook
from tests.servers import LiveServer

SECRET = "s3cret-w0rd"
pytestmark = pytest.mark.django_db


def found(*parts: str) -> list[Finding]:
    checks = {part: doctor.CHECKS[part] for part in parts}
    return [finding for check in checks.values() for finding in check()]


def failing(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level is Level.FAIL]


@pytest.mark.django_db(transaction=True)
def test_a_fresh_server_is_well(settings):
    """Everything for real: a kernel computes, the broker reads a schema, an object is stored."""
    findings = list(doctor.examine())
    assert failing(findings) == []
    assert {finding.part for finding in findings} >= {"database", "migrations", "kernel", "broker", "storage", "disk"}
    assert any("gave 2" in finding.words for finding in findings)


@pytest.mark.database
def test_the_database_is_described_and_its_migrations_known():
    findings = found("database")
    assert failing(findings) == []
    assert Finding("migrations", Level.OK, "all are applied") in findings


def test_each_finding_that_is_not_well_says_how_to_mend_it(settings, monkeypatch):
    settings.RILLBOOK_MODE = "multi"
    settings.ALLOWED_HOSTS = ["*"]
    settings.HTTPS, settings.DEBUG = True, True
    settings.CSRF_TRUSTED_ORIGINS = ["http://notebooks.example.com"]
    settings.SECRET_KEY = "changeme"
    settings.CONNECTION_KEYS = ["short"]
    monkeypatch.setattr(sandbox, "verdict", lambda *asked: sandbox.Verdict(sandbox.Rung.NONE, "no bwrap here."))
    findings = found("isolation", "proxy", "secrets", "channel layer")
    bad = [finding for finding in findings if finding.level is not Level.OK]
    assert all(finding.mend for finding in bad)
    words = " | ".join(finding.words for finding in bad)
    named = ("without a sandbox", "ALLOWED_HOSTS", "redirected", "without https", "DEBUG", "sample", "32 bytes")
    for part in named:
        assert part in words, part


def test_a_part_that_breaks_is_told_by_type_and_the_rest_goes_on(monkeypatch, settings):
    def broken() -> Iterator[Finding]:
        raise ValueError(f"could not connect with {SECRET}")
        yield

    monkeypatch.setattr(doctor, "CHECKS", {"database": broken, "proxy": doctor.check_proxy})
    out = io.StringIO()
    with pytest.raises(CommandError) as refused:
        call_command("doctor", stdout=out)
    assert refused.value.returncode == 1
    text = out.getvalue()
    assert "fail  database: does not work: ValueError" in text
    assert "→" in text
    assert "proxy" in text
    assert SECRET not in text + str(refused.value)


def test_as_json_it_is_one_list(monkeypatch):
    monkeypatch.setattr(doctor, "CHECKS", {"proxy": doctor.check_proxy})
    out = io.StringIO()
    call_command("doctor", "--json", stdout=out)
    assert json.loads(out.getvalue())[0].keys() == {"part", "level", "words", "mend"}


def test_a_storage_that_loses_what_it_takes_is_found(monkeypatch):
    from django.core.files.storage import FileSystemStorage

    monkeypatch.setattr(FileSystemStorage, "_open", lambda self, name, mode="rb": io.BytesIO(b"something else"))
    assert "not what was written" in failing(found("storage"))[0].words


def test_a_disk_that_is_nearly_full_is_found(monkeypatch):
    usage = type("Usage", (), {"free": 100 * 1024**2})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    assert failing(found("disk"))[0].mend


def test_connections_whose_key_is_gone_are_counted(owner, settings):
    row = Connection(owner=owner, name="db")
    row.set_dsn(f"postgresql://u:{SECRET}@db.example.com/d")
    row.save()
    assert failing(found("secrets")) == []
    settings.SECRET_KEY = "another" * 10
    gone = failing(found("secrets"))
    assert gone[0].words == "1 connections do not open"


def test_an_url_that_is_none_is_refused():
    with pytest.raises(CommandError, match="--url"):
        call_command("doctor", "--url", "notebooks.example.com")


def test_the_way_to_a_running_server_is_gone_as_a_browser_goes(live_server: LiveServer):
    """Its own process, as the operator runs it: the socket opens and speaks."""
    told = live_server.manage("doctor", "--json", "--url", live_server.url)
    findings = json.loads(told)
    assert [finding["words"] for finding in findings if finding["level"] == "fail"] == []
    assert any(finding["part"] == "socket" and "speaks first" in finding["words"] for finding in findings)
    people = live_server.manage("shell", "--no-imports", "-c", COUNT_GUESTS)
    assert people == "0"


COUNT_GUESTS = """
from django.contrib.auth import get_user_model
print(get_user_model().objects.filter(username__startswith="doctor-").count())
"""


class Proxy:
    """Answers each connection with fixed bytes."""

    def __init__(self, *answers: bytes) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        self.answers = list(answers)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for answer in self.answers:
            peer, _ = self.server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(answer)


def reply(status: str, body: bytes = b"{}", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


OK = reply("200 OK")


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([reply("502 Bad Gateway")], "/health answers 502"),
        ([OK, reply("503 X", b'{"status": "unavailable", "storage": "unavailable"}')], "answers 503: storage"),
        ([OK, OK, reply("302 Found", headers="Location: /accounts/login/\r\n")], "a page answers 302"),
        ([OK, OK, OK, reply("403 Forbidden")], "the server refused it"),
        ([OK, OK, OK, OK], "not a websocket"),
        ([OK, OK, OK, reply("101 Switching Protocols", b"")], "something else than our server"),
    ],
)
def test_what_stands_in_the_way_is_named(answers: list[bytes], words: str):
    findings = list(doctor_socket.check_way(Proxy(*answers).url))
    assert words in failing(findings)[0].words
    assert failing(findings)[0].mend
    assert not get_user_model().objects.exists()
    assert not Notebook.objects.exists()


def test_nobody_at_the_address_is_a_finding():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        checks: dict[str, Any] = {"way": lambda: doctor_socket.check_way(url)}
        findings = [f for f in doctor.examine(checks) if f.part == "way"]
    assert "ConnectionRefusedError" in findings[0].words
