"""/health, /ready and /metrics: what they answer, to whom, and what asking them costs."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.db import OperationalError

from notebooks_app import health, logs, metrics, middleware, probes
from notebooks_app.health import Readiness
from notebooks_app.models import Notebook


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Readiness:
    made = Readiness(limit_s=0.5)
    monkeypatch.setattr(probes, "readiness", made)
    return made


@pytest.mark.django_db
def test_a_server_that_works_is_live_and_ready(client):
    assert client.get("/health").json() == {"status": "ok"}
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ok", "database": "ok", "channel_layer": "ok", "storage": "ok"},
    )
    assert answer.headers["Cache-Control"] == "no-store"


def test_probes_are_answered_under_any_host_name_without_a_session_or_a_redirect(client, settings):
    settings.SECURE_SSL_REDIRECT = True
    answer = client.get("/health", headers={"Host": "10.0.0.7:8000"})
    assert answer.status_code == 200
    assert not answer.cookies


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
def test_probes_are_only_read(client, path):
    assert client.post(path).status_code == 405


async def ask(path: str, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    """Ask as an ASGI server does."""
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("a probe went on to the application")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "client": ["::1", 1]}
    await probes.in_front(application)(scope, None, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.asyncio
async def test_health_is_answered_on_the_event_loop_without_a_thread():
    before = threading.active_count()
    status, headers, body = await ask("/health")
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert headers[b"content-type"] == b"application/json"
    assert threading.active_count() == before


@pytest.mark.asyncio
async def test_in_front_of_the_application_probes_are_the_same(monkeypatch):
    monkeypatch.setattr(health, "check_database", lambda: None)
    assert (await ask("/ready"))[0] == 200
    assert (await ask("/ready", "HEAD"))[2] == b""
    assert (await ask("/health", "DELETE"))[0] == 405
    monkeypatch.setattr(metrics, "held_bytes", lambda: 0)
    assert b"rillbook_" in (await ask("/metrics"))[2]


@pytest.mark.asyncio
async def test_what_is_no_probe_goes_on_to_the_application():
    with pytest.raises(AssertionError, match="went on"):
        await ask("/healthy")


@pytest.mark.asyncio
async def test_a_socket_says_in_its_records_whose_it_is_and_is_counted():
    notebook, seen = uuid.uuid4(), []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append((logs.about().facts(), open_sockets()))

    scope = {
        "type": "websocket",
        "headers": [(b"x-request-id", b"ws-1")],
        "user": type("Person", (), {"pk": 7}),
        "url_route": {"kwargs": {"notebook_id": notebook}},
    }
    before = open_sockets()
    await middleware.with_facts(application)(scope, None, None)
    assert seen == [({"request_id": "ws-1", "user_id": 7, "notebook_id": str(notebook)}, before + 1)]
    assert open_sockets() == before
    assert logs.about().facts() == {}


def open_sockets() -> float:
    return metrics.registry.get_sample_value("rillbook_sockets_open") or 0


def fail(*args: Any) -> None:
    raise OperationalError("connection to server at 10.1.2.3 failed: password authentication failed for user secret")


@pytest.mark.django_db
def test_what_does_not_answer_is_named_without_why(client, monkeypatch):
    monkeypatch.setattr(health, "check_database", fail)
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable",
        "database": "unavailable",
        "channel_layer": "ok",
        "storage": "ok",
    }


@pytest.mark.django_db
def test_a_storage_that_refuses_makes_the_server_unready(client, monkeypatch):
    monkeypatch.setattr(health, "check_storage", fail)
    assert client.get("/ready").json()["storage"] == "unavailable"


def test_a_folder_that_cannot_be_written_is_no_storage(tmp_path, monkeypatch):
    health.check_storage(FileSystemStorage(location=tmp_path / "not" / "made" / "yet"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(PermissionError):
        health.check_storage(FileSystemStorage(location=tmp_path))


@pytest.mark.asyncio
async def test_a_check_that_hangs_is_given_up_and_not_started_again(monkeypatch):
    release, started = threading.Event(), []

    def hang() -> None:
        started.append(1)
        release.wait(20)

    monkeypatch.setattr(health, "check_database", hang)
    monkeypatch.setattr(health, "check_storage", lambda: None)
    asked = Readiness(limit_s=0.1, keep_s=0)
    try:
        assert (await asked.ask())["database"] is False
        assert (await asked.ask())["database"] is False
        assert len(started) == 1
        assert (await asked.ask())["storage"] is True
    finally:
        release.set()


@pytest.mark.asyncio
async def test_a_flood_of_probes_asks_once(monkeypatch):
    counted = []
    monkeypatch.setattr(health, "check_database", lambda: counted.append(1))
    monkeypatch.setattr(health, "check_storage", lambda: None)
    asked = Readiness(keep_s=60)
    answers = await asyncio.gather(*(asked.ask() for _ in range(200)))
    assert all(all(answer.values()) for answer in answers)
    assert len(counted) == 1
    await asked.ask()
    assert asked.asked == 1


@pytest.mark.asyncio
async def test_a_channel_layer_that_loses_messages_is_seen(monkeypatch):
    class Deaf:
        async def new_channel(self) -> str:
            return "x"

        async def send(self, channel: str, message: dict[str, Any]) -> None: ...

        async def receive(self, channel: str) -> dict[str, Any]:
            return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(health, "get_channel_layer", Deaf)
    monkeypatch.setattr(health, "check_database", lambda: None)
    monkeypatch.setattr(health, "check_storage", lambda: None)
    assert await Readiness(limit_s=0.05).ask() == {"database": True, "channel_layer": False, "storage": True}


@pytest.mark.parametrize(
    ("lost", "status", "word"),
    [("channel_layer", 200, "degraded"), ("database", 503, "unavailable"), ("storage", 503, "unavailable")],
)
def test_a_server_without_the_channel_layer_stays_in_use_and_says_so(client, monkeypatch, lost, status, word):
    class Answers:
        async def ask(self) -> dict[str, bool]:
            return {"database": True, "channel_layer": True, "storage": True, lost: False}

    monkeypatch.setattr(probes, "readiness", Answers())
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()["status"], answer.json()[lost]) == (status, word, "unavailable")


@pytest.mark.asyncio
async def test_a_redis_layer_is_asked_over_and_over_on_one_channel(redis_server, settings, monkeypatch):
    from channels_redis.pubsub import RedisPubSubChannelLayer

    layer = RedisPubSubChannelLayer(hosts=[redis_server])
    monkeypatch.setattr(health, "get_channel_layer", lambda: layer)
    monkeypatch.setattr(health, "check_database", lambda: None)
    monkeypatch.setattr(health, "check_storage", lambda: None)
    asked = Readiness(keep_s=0)
    for _ in range(5):
        assert (await asked.ask())["channel_layer"] is True
    assert len(layer.channels) == 1


# --- Metrics ---------------------------------------------------------------------------------------------------------


def read(client: Any, **headers: str) -> str:
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.django_db
def test_requests_are_counted_by_route_never_by_id(client, owner):
    notebook = Notebook.objects.create(owner=owner, name="n")
    client.force_login(owner)
    client.get(f"/notebooks/{notebook.pk}/")
    client.get("/no/such/page")
    client.get(f"/api/v1/notebooks/{notebook.pk}/", headers={"Accept": "application/json"})
    text = read(client)
    assert 'rillbook_http_requests_total{method="GET",route="notebook",status="2xx"}' in text
    assert 'route="api_notebook"' in text
    assert 'route="unmatched",status="4xx"' in text
    assert str(notebook.pk) not in text
    assert "no/such" not in text


@pytest.mark.django_db
def test_odd_methods_and_outcomes_make_no_series_of_their_own(client):
    client.generic("BREW", "/no/such/page")
    metrics.cell_ended("<whatever the kernel said>", 3)
    text = read(client)
    assert "BREW" not in text
    assert "whatever" not in text


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_without_a_token_metrics_are_for_this_machine_only(client, header):
    assert client.get("/metrics", headers={header: "127.0.0.1"}).status_code == 404
    assert client.get("/metrics", REMOTE_ADDR="10.0.0.7").status_code == 404


@pytest.mark.django_db
def test_with_a_token_metrics_are_for_who_has_it(client, settings):
    settings.METRICS_TOKEN = "m" * 32
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer " + "n" * 32}).status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer é"}).status_code == 401
    assert "rillbook_" in read(client, Authorization="Bearer " + "m" * 32)


@pytest.mark.django_db
def test_statements_that_fail_are_counted_by_class(client, owner):
    from django.contrib.auth import get_user_model
    from django.db import IntegrityError, transaction

    def count() -> float:
        return metrics.registry.get_sample_value("rillbook_db_errors_total", {"kind": "IntegrityError"}) or 0

    before = count()
    with pytest.raises(IntegrityError), transaction.atomic():
        get_user_model().objects.create_user("owner")
    assert count() == before + 1


@pytest.mark.django_db
def test_bytes_that_wait_for_the_storage_are_told(owner):
    from notebooks_app.models import HeldPart, OutputFile

    notebook = Notebook.objects.create(owner=owner, name="n")
    file = OutputFile.objects.create(notebook=notebook, sha256="0" * 64, mime_type="image/png", size_bytes=700)
    for index in range(2):
        HeldPart.objects.create(file=file, index=index, data=b"x" * 350)
    assert metrics.held_bytes() == 700
