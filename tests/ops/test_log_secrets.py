"""A real server at debug level: what people write, print, raise and connect with stands in no line of its log."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.client import NotebookClient
from tests.servers import LiveServer

# Words that stand nowhere else. Output and error are computed, so that they are not the source's.
SOURCE, OUTPUT, ERROR, PASSWORD, BODY = "zqsource", "zqoutput", "zqerror", "zqpassword", "zqbody"
CELLS = {
    "prints": f"secret = '{SOURCE}'\nprint('tuptuoqz'[::-1] * 3)",
    "raises": f"# {SOURCE}\nraise ValueError('rorreqz'[::-1])",
    "wrong": f"def {SOURCE}(:",
    "dataframe": f"frame = [dict({SOURCE}='tuptuoqz'[::-1])]\nframe",
    "large": "big = 'tuptuoqz'[::-1] * 100_000\nprint(big)",
    "stderr": "import os, sys\nprint('tuptuoqz'[::-1], file=sys.stderr)\nos.write(2, b'tuptuoqz'[::-1])",
}
DIES = f"# {SOURCE}\nprint('tuptuoqz'[::-1], flush=True)\n__import__('os')._exit(3)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    made = LiveServer(
        tmp_path_factory.mktemp("server"),
        LOG_LEVEL="DEBUG",
        LOG_FORMAT="json",
        LOG_REQUESTS="1",
        PYTHONUNBUFFERED="1",
        KERNEL_POOL_SIZE="1",
    )
    yield made
    made.stop()


@pytest.fixture(scope="module")
def notebook(server: LiveServer) -> str:
    """A notebook that was run, with all of it going wrong that can."""
    api = server.api()
    status, made = api("POST", "notebooks/", {"name": "Logs"})
    assert status == 201
    path = f"notebooks/{made['id']}/"
    dsn = f"postgresql://reader:{PASSWORD}@127.0.0.1:1/shop"
    status, connection = api("POST", "connections/", {"name": "shop", "dsn": dsn})
    assert status == 201, connection
    cells = [{"type": "python", "source": source} for source in CELLS.values()]
    cells.append({"type": "sql", "source": f"SELECT '{SOURCE}'", "connection": connection["id"], "result_name": "r"})
    for cell in cells:
        assert api("POST", f"{path}cells/", cell)[0] == 201
    run(api, path)
    misuse(api, path)
    asyncio.run(by_socket(server, made["id"]))
    status, _ = api("POST", f"{path}cells/", {"type": "python", "source": DIES})
    run(api, path)
    assert OUTPUT in json.dumps(api("GET", path)[1]), "the notebook did show it"
    return made["id"]


def run(api: Any, path: str) -> None:
    status, body = api("POST", f"{path}runs/", {"all": True, "wait": True, "timeout_s": 60})
    assert status in (200, 201, 202), body


def misuse(api: Any, path: str) -> None:
    """Requests that are refused, each with words in it that are nobody's business."""
    assert api("POST", f"{path}cells/", {"type": BODY, "source": SOURCE})[0] == 400
    assert api("POST", f"{path}cells/", {"type": "python", "source": SOURCE, "after": BODY})[0] == 400
    assert api("POST", "connections/", {"name": "bad", "dsn": f"mysql://u:{PASSWORD}@h/d"})[0] == 400
    cell = api("GET", path)[1]["cells"][0]
    refused = api("PATCH", f"{path}cells/{cell['id']}/", {"source": BODY, "expected_version": 99})
    assert refused[0] in (400, 409, 412)


async def by_socket(server: LiveServer, notebook: str) -> None:
    async with NotebookClient(server, notebook) as client:
        cell = client._cells[0]
        edit = {"type": "edit", "cell": cell["id"], "version": cell["version"], "operation_id": str(uuid.uuid4())}
        await client._send({**edit, "source": f"x = '{SOURCE}'"})
        await client._send({**edit, "source": f"{BODY}", "version": 77, "operation_id": str(uuid.uuid4())})
        await client._send({"type": "edit", "cell": BODY, "version": BODY, "source": BODY, "operation_id": BODY})
        await client._send({"type": "complete", "cell": cell["id"], "source": f"{SOURCE}.", "cursor": 9})
        await client._send({"type": "table", "cell": cell["id"], "item": 0, "handle": BODY, "search": BODY})
        for _ in range(5):
            await asyncio.wait_for(client._receive(), 10)
        await client._socket.send("{" + BODY)
        await asyncio.wait_for(client._receive(), 10)


def records(server: LiveServer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]


def test_no_line_holds_what_people_wrote_or_what_their_code_showed(server: LiveServer, notebook: str):
    for word in (SOURCE, OUTPUT, ERROR, PASSWORD, BODY):
        found = [line[:300] for line in server.log().splitlines() if word in line]
        assert found == [], word


def test_no_line_holds_a_token_or_a_session(server: LiveServer, notebook: str):
    log = "\n".join(line for line in server.log().splitlines() if not line.startswith("URL: "))
    assert server._tokens["me"] not in log
    assert server.login_url.rstrip("/").rsplit("/", 1)[-1] not in log
    for session in server.session_cookies().values():
        assert session not in log


def test_every_line_is_a_record_that_says_what_it_is_about(server: LiveServer, notebook: str):
    before, lines = True, server.log().splitlines()
    for line in lines:
        before = before and not line.startswith("URL: ")
        if not before and not line.startswith("URL: "):
            assert json.loads(line).keys() >= {"time", "level", "logger", "message"}
    requests = [record for record in records(server) if record["logger"] == "rillbook.request"]
    runs = [record for record in requests if record.get("route") == "api_runs"]
    assert all(record["notebook_id"] == notebook and record["user_id"] and record["request_id"] for record in runs)
    assert len(runs) == 2


def test_runs_and_the_death_of_a_kernel_are_recorded_with_their_ids(server: LiveServer, notebook: str):
    found = records(server)
    ended = [record for record in found if record["message"].startswith("run ended")]
    assert {record["notebook_id"] for record in ended} == {notebook}
    assert all(uuid.UUID(record["run_id"]) and record["user_id"] for record in ended)
    [died] = [record for record in found if "died" in record["message"] and record["level"] == "WARNING"]
    assert died["notebook_id"] == notebook
    assert "request_id" not in died


def test_the_metrics_tell_of_it_without_ids(server: LiveServer, notebook: str):
    import urllib.request

    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    samples = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[:1] != "#"}
    assert samples['rillbook_kernel_deaths_total{reason="exit"}'] == 1
    assert samples['rillbook_cells_run_total{outcome="error"}'] >= 1
    assert samples['rillbook_cells_run_total{outcome="ok"}'] >= 4
    assert sum(value for name, value in samples.items() if name.startswith("rillbook_runs_total")) >= 2
    assert samples["rillbook_save_seconds_count"] >= 1
    assert samples["rillbook_pool_size"] >= 1
    assert {"rillbook_kernels_live", "rillbook_saver_lag_seconds", "rillbook_sockets_open"} <= samples.keys()
    assert notebook not in text
