"""Log records: whom and what they are about, and what they never hold."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection

from notebooks_app import logs
from notebooks_app.models import ApiToken, Notebook

SECRET = "s3cret-w0rd"


@pytest.fixture(params=["json", "lines"])
def output(request: Any) -> Iterator[io.StringIO]:
    """What the product's configuration writes, in both of its forms."""
    yield from configured(request.param)


@pytest.fixture
def records() -> Iterator[Any]:
    """Reads the JSON records written so far."""
    for stream in configured("json"):
        yield partial(read_lines, stream)


def read_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(form: str) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configuration = logs.configuration(form=form, level="DEBUG", requests=True)
    configuration["handlers"]["console"]["stream"] = stream
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logging.config.dictConfig(configuration)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)


def test_a_record_of_a_request_names_it_its_user_and_its_notebook(client, owner, records):
    notebook = Notebook.objects.create(owner=owner, name="n")
    client.force_login(owner)
    answer = client.get(f"/notebooks/{notebook.pk}/", headers={"X-Request-ID": "req-7"})
    assert answer.headers["X-Request-ID"] == "req-7"
    record = records()[-1]
    assert record["request_id"] == "req-7"
    assert record["user_id"] == str(owner.pk) or record["user_id"] == owner.pk
    assert record["notebook_id"] == str(notebook.pk)
    assert (record["route"], record["method"], record["status"]) == ("notebook", "GET", 200)
    assert {"time", "level", "logger", "message"} <= record.keys()


def test_a_record_of_a_request_by_token_names_its_user_and_not_the_token(client, owner, output):
    _, token = ApiToken.issue(owner.pk, "t", "read")
    assert client.get("/api/v1/notebooks/", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert str(owner.pk) in output.getvalue()
    assert token not in output.getvalue()


@pytest.mark.django_db
@pytest.mark.parametrize("given", ["", "a b", "x" * 81, "é", "a\tb", '{"x": 1}'])
def test_an_odd_request_id_is_replaced(client, given):
    answer = client.get("/accounts/login/", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] != given
    assert uuid.UUID(answer.headers["X-Request-ID"])


def test_without_a_request_a_record_says_nothing_of_one(records):
    logging.getLogger("rillbook.x").info("hello")
    assert records()[-1].keys() == {"time", "level", "logger", "message"}


def test_a_task_that_outlives_its_request_is_not_of_it(records):
    notebook_id = uuid.uuid4()
    token = logs.enter(logs.About(request_id="req-1", user_id=7))
    context = logs.context_of(notebook_id)
    logs.leave(token)
    context.run(logging.getLogger("rillbook.x").warning, "later")
    record = records()[-1]
    assert record["notebook_id"] == str(notebook_id)
    assert "request_id" not in record
    assert "user_id" not in record


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"could not convert {SECRET}"),
        KeyError(SECRET),
        json.JSONDecodeError("Expecting value", SECRET, 0),
        SyntaxError("bad", ("<cell>", 1, 1, f"password = '{SECRET}'")),
        ExceptionGroup("several", [ValueError(SECRET)]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_is_written_by_type_and_place_not_by_its_words(output, error):
    log = logging.getLogger("rillbook.x")
    try:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError(f"while {SECRET}") from cause
    except RuntimeError as caught:
        log.exception("it failed")
        log.warning("it failed: %s", caught)
        log.warning(caught)
    text = output.getvalue()
    assert SECRET not in text
    assert type(error).__name__ in text
    assert "RuntimeError" in text
    assert "test_logs.py" in text


@pytest.mark.database
def test_an_error_of_the_database_is_named_without_the_values_it_quotes(owner, output):
    from django.db import transaction

    try:
        with transaction.atomic():
            get_user_model().objects.create_user(f"{SECRET}")
            get_user_model().objects.create_user(f"{SECRET}")
    except IntegrityError:
        logging.getLogger("rillbook.x").exception("could not be saved")
    assert "IntegrityError" in output.getvalue()
    assert SECRET not in output.getvalue()
    if connection.vendor == "postgresql":
        assert "SQLSTATE 23505" in output.getvalue()


def test_an_exception_nobody_retrieved_keeps_its_words(output):
    """asyncio writes the task, with its exception, into the message."""
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: <Task exception=%s>", SECRET)
    assert "never retrieved" in output.getvalue()
    assert SECRET not in output.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://reader:{SECRET}@db.example.com/shop",
        f"redis://:{SECRET}@cache:6379/0",
        f"Not Found: /welcome/{SECRET}/",
        f"Not Found: /accounts/password/reset/key/2-{SECRET}/",
        f"Authorization: {SECRET}",
        "token rill_0123456789abcdef0123456789",
    ],
)
def test_what_slips_into_a_message_is_taken_out(output, text):
    logging.getLogger("django.request").error("%s", text)
    assert SECRET not in output.getvalue()
    assert "rill_0123" not in output.getvalue()


def test_libraries_stay_at_warning_whatever_the_level(output):
    """Below it they write bodies, headers, and statements with their values."""
    for name in ("botocore", "django.db.backends", "psycopg", "urllib3", "channels_redis", "sqlglot"):
        logging.getLogger(name).debug(SECRET)
        logging.getLogger(name).info(SECRET)
    assert output.getvalue() == ""


def test_a_failing_page_is_logged_with_its_ids_and_without_its_words(client, owner, records, monkeypatch):
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr("notebooks_app.views._connections", fail)
    notebook = Notebook.objects.create(owner=owner, name="n")
    client.force_login(owner)
    client.raise_request_exception = False
    answer = client.get(f"/notebooks/{notebook.pk}/", headers={"X-Request-ID": "req-9"})
    assert answer.status_code == 500
    found = [record for record in records() if "exception" in record]
    assert found[0]["request_id"] == "req-9"
    assert found[0]["notebook_id"] == str(notebook.pk)
    assert "ValueError" in found[0]["exception"]
    assert SECRET not in json.dumps(records())


def test_a_request_to_another_host_is_a_line_however_long_its_name(client, output):
    assert client.get("/accounts/login/", headers={"host": "evil.example" + "x" * 5_000 + "/"}).status_code == 400
    (line,) = [one for one in output.getvalue().splitlines() if "HTTP_HOST" in one]
    assert "evil.example" in line and len(line) < 1_000
    assert "Traceback" not in output.getvalue()
