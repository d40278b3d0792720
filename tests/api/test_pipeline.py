"""A script's whole way over the API of the real server: make, edit, run, read, download, version, delete, bring back.

At each step it also does the wrong thing, and is told what was wrong.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import Api, LiveServer

type Json = dict[str, Any]

PICTURE = 'display({"image/png": __import__("base64").b64encode(bytes(range(256)) * 2_000).decode()}, raw=True)'
STEPS = {
    "number": "n = 3",
    "lines": 'print("line\\n" * 40_000)',
    "picture": PICTURE,
    "failing": "1 / (n - 3)",
}


@pytest.fixture(scope="module")
def live_server(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Iterator[LiveServer]:
    """On PostgreSQL: test_runs.py and test_documented.py have SQLite."""
    server = LiveServer(tmp_path_factory.mktemp("server"), UPLOAD_MAX_BYTES="1000000", DATABASE_URL=postgres)
    server.session_cookies("me")
    yield server
    server.stop()


@pytest.fixture
def api(live_server: LiveServer) -> Api:
    return live_server.api()


@pytest.fixture
def at(api: Api) -> Iterator[str]:
    status, made = api("POST", "notebooks/", {"name": "Pipeline"})
    assert status == 201
    yield f"notebooks/{made['id']}/"
    api("DELETE", f"notebooks/{made['id']}/")


def fill(api: Api, at: str) -> dict[str, str]:
    """The steps as cells, in one request; their ids by name."""
    body = {"operations": [{"op": "insert", "source": source} for source in STEPS.values()]}
    status, done = api("POST", f"{at}batch/", body)
    assert status == 200
    return dict(zip(STEPS, (item["cell"] for item in done["operations"]), strict=True))


def refusal(answer: tuple[int, Any]) -> tuple[int, str]:
    status, body = answer
    return status, body["error"]["message"]


def fetch(server: LiveServer, api: Api, url: str, **headers: str) -> tuple[int, bytes, str]:
    request = urllib.request.Request(server.url + url, headers=api.headers | headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers["Content-Type"]


def test_a_batch_says_which_operation_is_wrong_and_why(api: Api, at: str):
    first, *_ = fill(api, at).values()
    edit = {"op": "edit", "cell": first, "version": 1, "source": "n = 4"}
    nobody = str(uuid.uuid4())
    for wrong, status, words in (
        ({**edit, "version": 1}, 409, "operations[1]: This cell is at version 2"),
        ({**edit, "versio": 2}, 400, "operations[1].versio: There is no such field"),
        ({**edit, "version": "2"}, 400, "operations[1].version: Must be a whole number"),
        ({"op": "insert", "after": nobody}, 404, f"operations[1]: There is no cell {nobody}"),
        ({"op": "update", "cell": first, "version": 2, "fields": {"disabled": 1}}, 400, "[1].fields.disabled: Must be"),
        ({"op": "insert", "source": "a\x00"}, 400, "operations[1]: source: holds a NUL"),
    ):
        said, message = refusal(api("POST", f"{at}batch/", {"operations": [edit, wrong]}))
        assert (said, words in message) == (status, True), message
    assert api("GET", f"{at}cells/{first}/")[1]["version"] == 1


def test_a_run_is_waited_for_and_its_large_outputs_are_downloaded(live_server: LiveServer, api: Api, at: str):
    cells = fill(api, at)
    status, done = api("POST", f"{at}runs/", {"all": True, "wait": True, "timeout_s": 120})
    assert (status, done["run"]["outcome"], done["timed_out"]) == (200, "error", False)
    by_id = {cell["id"]: cell for cell in done["cells"]}
    assert by_id[cells["failing"]]["outputs"][0]["ename"] == "ZeroDivisionError"
    assert [by_id[cells[name]]["freshness"] for name in STEPS] == ["current"] * 3 + ["failed"]
    _, lines = api("GET", f"{at}cells/{cells['lines']}/outputs/")
    _, picture = api("GET", f"{at}cells/{cells['picture']}/outputs/")
    text, image = lines["outputs"][0]["files"]["text/plain"], picture["outputs"][0]["files"]["image/png"]
    assert fetch(live_server, api, text["url"]) == (200, b"line\n" * 40_000 + b"\n", "text/plain; charset=utf-8")
    assert fetch(live_server, api, image["url"])[1] == bytes(range(256)) * 2_000
    assert fetch(live_server, api, image["url"], Range="bytes=254-257")[:2] == (206, b"\xfe\xff\x00\x01")
    status, said, kind = fetch(live_server, api, image["url"].replace(image["url"].split("/")[-2], str(uuid.uuid4())))
    assert (status, kind, json.loads(said)["error"]["code"]) == (404, "application/json", "not_found")


def test_what_is_asked_of_runs_that_are_not_there_or_over_is_refused(api: Api, at: str):
    fill(api, at)
    nobody = str(uuid.uuid4())
    no_cell = f"There is no cell {nobody} in this notebook."
    assert refusal(api("POST", f"{at}runs/", {"cells": [nobody]})) == (404, no_cell)
    assert refusal(api("POST", f"{at}runs/", {"cells": [nobody], "wait": 1})) == (400, "wait: Must be true or false.")
    _, done = api("POST", f"{at}runs/", {"all": True, "wait": True})
    assert refusal(api("POST", f"{at}runs/{done['run']['id']}/cancel/", {})) == (409, "The run is over: error.")
    assert refusal(api("POST", f"{at}runs/{nobody}/cancel/", {}))[0] == 404
    assert refusal(api("GET", f"{at}runs/{nobody}/"))[0] == 404


def test_a_run_is_cancelled_once_and_its_answer_is_what_became_of_it(api: Api, at: str):
    _, cell = api("POST", f"{at}cells/", {"source": "import time; time.sleep(60)"})
    status, taken = api("POST", f"{at}runs/", {"cells": [cell["id"]]})
    assert (status, taken["run"]["outcome"]) == (202, None)
    run = f"{at}runs/{taken['run']['id']}/"
    status, ended = api("POST", f"{run}cancel/", {"wait": True, "timeout_s": 30})
    assert (status, ended["run"]["outcome"], ended["timed_out"]) == (200, "interrupted", False)
    assert refusal(api("POST", f"{run}cancel/", {})) == (409, "The run is over: interrupted.")
    assert api("GET", run)[1]["run"] == ended["run"]


def test_runs_are_read_in_pages(api: Api, at: str):
    _, cell = api("POST", f"{at}cells/", {"source": "x = 1"})
    made = [api("POST", f"{at}runs/", {"cells": [cell["id"]], "wait": True})[1]["run"]["id"] for _ in range(5)]
    seen, path = [], f"{at}runs/?limit=2"
    while path:
        _, page = api("GET", path)
        seen += [row["run"]["id"] for row in page["results"]]
        path = page["next"] and page["next"].split("/api/v1/")[1]
    assert (seen, page["count"]) == (made[::-1], 5)


def test_a_version_is_brought_back_and_a_notebook_comes_back_from_the_bin(api: Api, at: str):
    cells = fill(api, at)
    _, version = api("POST", f"{at}versions/", {"name": "before"})
    here = f"{at}versions/{version['id']}/"
    assert refusal(api("POST", f"{here}restore/", {})) == (
        409, "The notebook is the same as in this version; there is nothing to bring back.",
    )  # fmt: skip
    api("PATCH", f"{at}cells/{cells['number']}/", {"source": "n = 5", "version": 1})
    api("DELETE", f"{at}cells/{cells['failing']}/")
    assert refusal(api("DELETE", f"{at}cells/{cells['failing']}/"))[0] == 404
    assert [cell["id"] for cell in api("GET", f"{here}diff/")[1]["removed"]] == [cells["failing"]]
    assert api("POST", f"{here}restore/", {})[0] == 200
    assert [cell["source"] for cell in api("GET", at)[1]["cells"]] == list(STEPS.values())
    notebook = at.split("/")[1]
    assert api("DELETE", at)[0] == 204
    for method, path in (("GET", at), ("DELETE", at), ("POST", f"{at}runs/"), ("GET", here)):
        body = {"all": True} if method == "POST" else None
        assert refusal(api(method, path, body)) == (404, "There is no such notebook.")
    assert notebook in [row["id"] for row in api("GET", "bin/")[1]["results"]]
    assert api("POST", f"bin/{notebook}/restore/")[0] == 200
    assert refusal(api("POST", f"bin/{notebook}/restore/")) == (404, "There is no such notebook in your bin.")
    assert [cell["source"] for cell in api("GET", at)[1]["cells"]] == list(STEPS.values())


def send(server: LiveServer, api: Api, path: str, body: Any, **more: Any) -> tuple[int, Json]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", f"/api/v1/{path}", body=body, headers=api.headers, **more)
    answer = connection.getresponse()
    try:
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_body_that_does_not_say_its_length_is_read_whole_and_bounded(live_server: LiveServer, api: Api, at: str):
    status, cell = send(live_server, api, f"{at}cells/", iter([b'{"source": ', b'"x = 1"}']), encode_chunked=True)
    assert (status, cell["source"]) == (201, "x = 1")
    large = [b'{"source": "', b"x" * 600_000, b"y" * 600_000, b'"}']
    for body, more in ((iter(large), {"encode_chunked": True}), (b"".join(large), {})):
        assert refusal(send(live_server, api, f"{at}cells/", body, **more)) == (
            413, "The body has more than the 1,000,000 bytes that are read.",
        )  # fmt: skip
    assert len(api("GET", f"{at}cells/")[1]["cells"]) == 1


def test_a_request_for_another_host_is_refused_in_the_same_form(live_server: LiveServer, api: Api):
    status, said, kind = fetch(live_server, api, "/api/v1/notebooks/", Host="elsewhere.example")
    assert (status, kind, json.loads(said)["error"]["code"]) == (400, "application/json", "bad_request")
