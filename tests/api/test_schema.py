"""The API held against its OpenAPI description by schemathesis: no fault of ours, no answer it does not tell of."""

from __future__ import annotations

import itertools
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import yaml
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, settings
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from notebooks_app.api_batch import FIELDS
from notebooks_app.models import ApiToken
from tests.api.operations import description
from tests.servers import LiveServer

CONFORMS = (content_type_conformance, response_schema_conformance, status_code_conformance)
DECLARED_HEADERS = {"Idempotency-Key", "If-Match", "If-None-Match"}
# What runs, stops or restarts: these go to the real server, for without a running host they answer 503, as they say.
NEEDS_KERNELS = r"/(runs|stop|interrupt|restart|cancel)/$"
ALL = settings(
    max_examples=6, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)

here = schemathesis.openapi.from_dict(description())
here.app = get_wsgi_application()
afar = schemathesis.openapi.from_dict(description())
there = afar.include(path_regex=NEEDS_KERNELS, method="POST")
numbers = itertools.count()


@pytest.fixture
def requests_keep_the_connection() -> Iterator[None]:
    """The test's transaction is on it."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def bearer(cast: dict[str, Any]) -> dict[str, str]:
    _, text = ApiToken.issue(cast["owner"].pk, "schema", "edit")
    return {"Authorization": f"Bearer {text}"}


def aim(case: Any, known: dict[str, Any]) -> None:
    """Let most cases ask for things that are there; leave out headers that the description does not have."""
    if next(numbers) % 5:
        case.path_parameters = {name: known.get(name, value) for name, value in (case.path_parameters or {}).items()}
        other = known["other_cell"]
        known = known | {"cell": known["cell_id"], "after": other, "before": other, "user": "stranger"}
        known |= {"connection": known.get("connection_id"), "result_name": "found"}
        known |= {"dsn": "postgresql://u:p@db.example.org/d"}
        case.body = aimed(case.body, known)
        if isinstance(case.body, dict) and case.method == "PATCH" and "source" in case.body:
            case.body = {**case.body, "version": 1}
            case.body.pop("expected_version", None)
    # Others are not the API's: a wrong Host is refused before.
    case.headers = {name: value for name, value in (case.headers or {}).items() if name in DECLARED_HEADERS}


EXCLUSIVE = (
    ("after", "before", "index"),
    ("cells", "all", "stale"),
    ("connection", "dsn"),
    ("source", "changes"),
)


def aimed(body: Any, known: dict[str, Any]) -> Any:
    """The body with ids of things that are there where it has any of that name, and one of what excludes each other."""
    if isinstance(body, list):
        return [aimed(item, known) for item in body]
    if not isinstance(body, dict):
        return body
    found = {name: aimed(value, known) for name, value in body.items()}
    found |= {name: known[name] for name, value in found.items() if isinstance(value, str) and known.get(name)}
    found |= {"version": 1} if isinstance(found.get("version"), int) else {}
    for choices in EXCLUSIVE:
        for extra in [name for name in choices if name in found][1:]:
            del found[extra]
    if isinstance(found.get("cells"), list):
        found["cells"] = [known["cell"]]
    if isinstance(op := found.get("op"), str) and op in FIELDS:
        must, may = FIELDS[op]
        needed = {"cell": known["cell"], "version": 1, "after": None, "fields": {"disabled": True}}
        found = {name: found.get(name, needed.get(name)) for name in {"op"} | must | (may & set(found))}
        if op == "edit":
            found["source"] = found.get("source", "x = 2")
            found.pop("changes", None)
        elif op == "insert":
            found.pop("cell", None)
    return found


def hold(case: Any, answer: Any, *, may_be_unavailable: bool = False) -> None:
    own_fault = () if may_be_unavailable and answer.status_code == 503 else (not_a_server_error,)
    case.validate_response(answer, checks=(*own_fault, *CONFORMS))
    if answer.status_code >= 400:
        assert set(answer.json()) == {"error"}
        assert {"code", "message"} <= set(answer.json()["error"])


@pytest.mark.django_db
@pytest.mark.usefixtures("requests_keep_the_connection")
@here.parametrize()
@ALL
def test_every_operation_answers_as_the_description_says(case: Any, known: dict[str, Any], bearer: dict[str, str]):
    aim(case, known)
    with transaction.atomic():  # each case finds what the first one found
        answer = case.call(headers=bearer)
        transaction.set_rollback(True)
    hold(case, answer, may_be_unavailable=bool(re.search(NEEDS_KERNELS, case.path)))


@pytest.fixture(scope="module")
def running(live_server: LiveServer) -> dict[str, Any]:
    """A notebook on the real server, with the ids of what is in it."""
    live_server.session_cookies("me")
    api = live_server.api()
    _, notebook = api("POST", "notebooks/", {"name": "Schema"})
    at = f"notebooks/{notebook['id']}/"
    _, cell = api("POST", f"{at}cells/", {"source": "x = 1\nprint(x)\nx"})
    _, other = api("POST", f"{at}cells/", {"source": "1 / (x - 1)"})
    _, done = api("POST", f"{at}runs/", {"all": True, "wait": True})
    ids = {"notebook_id": notebook["id"], "cell_id": cell["id"], "run_id": done["run"]["id"]}
    return {**ids, "other_cell": other["id"]}


@there.parametrize()
@settings(ALL, max_examples=3)
def test_what_runs_answers_as_the_description_says(case: Any, live_server: LiveServer, running: dict[str, Any]):
    aim(case, running)
    case.headers.pop("Idempotency-Key", None)  # the same for many cases, whose answers are kept
    hold(case, case.call(base_url=live_server.url, headers=live_server.api().headers, timeout=90))


def test_the_answers_about_cells_that_ran_are_as_described(live_server: LiveServer, running: dict[str, Any]):
    headers = live_server.api().headers
    reads = [
        (path, {name: running[name] for name in re.findall(r"{(\w+)}", path)})
        for path, methods in description()["paths"].items()
        if "get" in methods and set(re.findall(r"{(\w+)}", path)) <= set(running)
    ]
    assert len(reads) >= 15
    for path, ids in reads:
        answer = afar[path]["GET"].Case(path_parameters=ids).call(base_url=live_server.url, headers=headers)
        assert answer.status_code == 200, path
        afar[path]["GET"].validate_response(answer)


def test_the_description_is_valid_and_is_what_the_server_gives(live_server: LiveServer):
    with urllib.request.urlopen(f"{live_server.url}/api/v1/schema/", timeout=30) as answer:
        served = yaml.safe_load(answer.read())
    validate(served)
    assert served["paths"].keys() == description()["paths"].keys()
    assert len({found["operationId"] for methods in served["paths"].values() for found in methods.values()}) >= 55
