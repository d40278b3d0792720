"""The API held against its OpenAPI description by schemathesis: no fault of ours, no answer it does not tell of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from notebooks_app.models import ApiToken

pytestmark = pytest.mark.django_db

CHECKS = (content_type_conformance, response_schema_conformance, status_code_conformance)
DECLARED_HEADERS = {"Idempotency-Key", "If-Match", "If-None-Match"}
# Without a running host, what needs kernels answers 503, as it says.
NEEDS_KERNELS = re.compile(r"/(runs|stop|interrupt|restart)/$")


schema = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True))
schema.app = get_wsgi_application()


@pytest.fixture(autouse=True)
def requests_keep_the_connection(db: None) -> Iterator[None]:
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


@schema.parametrize()
@settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_answers_as_the_description_says(case: Any, known: dict[str, Any], bearer: dict[str, str]):
    for name in case.path_parameters or {}:
        if name in known:
            case.path_parameters[name] = known[name]
    for name in set(case.headers or {}) - DECLARED_HEADERS:  # a wrong Host is refused before it is the API's
        del case.headers[name]
    answer = case.call(headers=bearer)
    if not (answer.status_code == 503 and NEEDS_KERNELS.search(case.path)):
        case.validate_response(answer, checks=(not_a_server_error, *CHECKS))
    if answer.status_code >= 400:
        assert set(answer.json()) == {"error"}
        assert {"code", "message"} <= set(answer.json()["error"])
