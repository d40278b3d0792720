"""Bad input at every entrance of the API: one form of refusal that names what is wrong, and nothing is written."""

from __future__ import annotations

import base64
import json
import re
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps

from notebooks_app import parsers
from notebooks_app.models import Notebook
from tests.api.operations import METHODS, Operation, operations

pytestmark = pytest.mark.django_db

ALL = operations()
WRITES = [operation for operation in ALL if operation.method != "get"]
WITH_BODY = [operation for operation in ALL if operation.takes_body]
WITHOUT_BODY = [operation for operation in ALL if not operation.takes_body]
JSON = "application/json"
# What is sent as a body, and a word of its refusal.
BODIES = [
    (b"{", "JSON"),
    (b"", "required|Give|[Nn]othing"),
    (b'{"name": NaN}', "NaN"),
    (b'{"name": -Infinity}', "Infinity"),
    (b'{"name": 1e999}', "1e999"),
    (b'{"name": ' + b"9" * 400 + b"}", "400 digits"),
    (b'{"name": "a", "name": "b"}', "name is given twice"),
    (b'{"a": {"b": [{"c\\u0000": 1, "c\\u0000": 2}]}}', "given twice"),
    (b'{"name": ' + b"[" * 65 + b"]" * 65 + b"}", "nested"),
    (b"[" * 100_000, "nested"),
    (b'{"name": "\xff"}', "UTF-8"),
    ('{"name": "a"}'.encode("utf-16"), "UTF-8"),
    (b"[]", "object"),
    (b"null", "object"),
    (b"5", "object"),
    (b'"name"', "object"),
    (b'{"no_such_field": 1}', "no_such_field"),
    (b'{"\\ud800": 1}', "no such field"),
    (b'{"a\\u0000": 1}', "a\ufffd"),
    (b'{"\\u0000\\udfff": 1, "\\u0000\\udfff": 2}', "\ufffd\ufffd is given twice"),
]
FORMS = (
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json; charset=latin-1",
    "nonsense",
)
NOT_TEXT = re.compile("\\\\u0000|[\ud800-\udfff]")  # what no database keeps, in JSON
QUESTIONS = ("no_such=1", "format=json", "format=xml", "%00=1", "page=2", "%ff=1", "[]")


def address(operation: Operation, known: dict[str, Any]) -> str:
    return operation.path.format(**known)


def rows() -> dict[str, int]:
    """How much is stored, but for answers that are kept by their key."""
    models = [model for app in ("notebooks_app", "auth") for model in apps.get_app_config(app).get_models()]
    return {model.__name__: model._default_manager.count() for model in models if model.__name__ != "IdempotentAnswer"}


def refused(answer: Any, status: int, word: str = "", *, of: object = "") -> dict[str, Any]:
    assert answer.status_code == status, (of, answer.status_code, answer.content[:300])
    assert answer["Content-Type"].startswith(JSON)
    body = answer.json()
    assert set(body) == {"error"}
    assert {"code", "message"} <= set(body["error"])
    assert re.search(word, body["error"]["message"]), (of, body)
    return body["error"]


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
def test_a_body_that_is_none_of_ours_is_refused_with_its_reason(client, known, operation):
    before, seq = rows(), Notebook.objects.get().seq
    for sent, word in BODIES:
        if sent == b"" and operation.path.endswith(EMPTY_IS_FINE):
            continue
        answer = client.generic(operation.method.upper(), address(operation, known), sent, content_type=JSON)
        error = refused(answer, 400, word, of=sent[:40])
        assert not NOT_TEXT.search(json.dumps(error, ensure_ascii=False)), (sent, error)
    assert (rows(), Notebook.objects.get().seq) == (before, seq)


@pytest.mark.database
@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
def test_a_name_that_cannot_be_kept_is_refused_alike_at_each_retry(client, known, operation):
    for number, sent in enumerate((b'{"\\u0000": 1}', b'{"\\u0000": 1, "\\u0000": 1}', b'{"a\\udfff": 1}')):
        for _ in range(2):
            answer = client.generic(
                operation.method.upper(), address(operation, known), sent, content_type=JSON,
                headers={"Idempotency-Key": f"k{number}"},
            )  # fmt: skip
            refused(answer, 400, "\ufffd", of=sent)


# Where every field is optional.
EMPTY_IS_FINE = ("}/cells/", "/restore/", "/stop/", "/interrupt/", "/restart/", "/cancel/")


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
def test_a_body_of_another_type_is_refused(client, known, operation):
    before = rows()
    for form in FORMS:
        answer = client.generic(
            operation.method.upper(), address(operation, known), b'{"name": "x"}', content_type=form
        )
        error = refused(answer, 415, of=form)
        assert error["code"] == "unsupported_media_type"
    assert rows() == before


@pytest.mark.parametrize("operation", WITHOUT_BODY, ids=str)
def test_a_body_where_none_is_taken_is_refused_and_not_ignored(client, known, operation):
    before = rows()
    body = b'{"operation_id": "x"}'
    answer = client.generic(operation.method.upper(), address(operation, known), body, content_type=JSON)
    refused(answer, 400, "takes none here")
    assert rows() == before


@pytest.mark.parametrize("operation", ALL, ids=str)
def test_a_question_that_is_not_known_is_refused_by_name(client, known, operation):
    before = rows()
    for question in QUESTIONS:
        answer = client.generic(operation.method.upper(), f"{address(operation, known)}?{question}")
        refused(answer, 400, "not known", of=question)
    assert rows() == before


@pytest.mark.parametrize("operation", ALL, ids=str)
def test_conditions_and_keys_that_are_broken_or_not_heeded_are_refused(client, known, operation):
    before, path = rows(), address(operation, known)
    if operation.method == "get":
        refused(client.get(path, headers={"Accept": "text/html"}), 406)
        return
    body = b"{}" if operation.takes_body else b""
    for name, value in (
        ("Idempotency-Key", "a b"),
        ("Idempotency-Key", "x" * 201),
        ("If-Match", "4"),
        ("If-Match", ""),
    ):
        if name == "If-Match" and operation.is_guarded and operation.takes_body:
            continue  # the body is looked at first
        answer = client.generic(operation.method.upper(), path, body, content_type=JSON, headers={name: value})
        refused(answer, 400, name, of=value)
    assert rows() == before


@pytest.mark.parametrize("operation", ALL, ids=str)
def test_an_id_of_nothing_is_not_found_and_one_that_is_none_has_no_address(client, known, operation):
    before = rows()
    body = VALID.get(re.sub(r"^/api/v1/|{\w+}", "", operation.path), {})
    for name in re.findall(r"{(\w+)}", operation.path):
        nothings = (
            [2**31 - 1, 2**63, "x"] if name in ("user_id", "token_id") else [uuid.uuid4(), "x", "%00", uuid.UUID(int=0)]
        )
        for nothing in nothings:
            path = address(operation, {**known, name: nothing})
            sent = json.dumps(body).encode() if operation.takes_body else b""
            refused(client.generic(operation.method.upper(), path, sent, content_type=JSON), 404, of=path)
    assert rows() == before


# A body that would be taken, by the address without its ids: where one is needed to come as far as the thing itself.
VALID: dict[str, Any] = {
    "notebooks//": {"name": "N"},
    "notebooks//name/": {"name": "N"},
    "notebooks//db/": {"connection": None},
    "notebooks//cells/": {"source": "x"},
    "notebooks//cells//": {"disabled": True},
    "notebooks//cells//move/": {"index": 0},
    "notebooks//batch/": {"operations": [{"op": "insert"}]},
    "notebooks//undo/": {"operation_id": str(uuid.uuid4())},
    "notebooks//runs/": {"all": True},
    "notebooks//members/": {"user": "stranger", "role": "viewer"},
    "notebooks//members//": {"role": "viewer"},
    "notebooks//links/": {"role": "viewer"},
    "notebooks//versions/": {"name": "v"},
    "connections//": {"name": "c"},
    "tokens//": {"name": "t"},
}


@pytest.mark.parametrize("path", sorted({operation.path for operation in ALL}))
def test_a_method_that_is_not_there_is_refused(client, known, path):
    there = {operation.method for operation in ALL if operation.path == path}
    for method in (*METHODS, "options", "trace", "proppatch"):
        if method not in there:
            answer = client.generic(method.upper(), path.format(**known))
            assert refused(answer, 405, of=method)["code"] == "not_allowed"


NAMES = [
    ("post", "notebooks/", {"name": "…"}),
    ("patch", "notebooks/{notebook_id}/", {"name": "…"}),
    ("put", "notebooks/{notebook_id}/name/", {"name": "…"}),
    ("post", "notebooks/{notebook_id}/versions/", {"name": "…"}),
    ("post", "notebooks/{notebook_id}/links/", {"name": "…", "role": "viewer"}),
    ("post", "connections/", {"name": "…", "dsn": "postgresql://u:p@db.example.org/d"}),
    ("patch", "connections/{connection_id}/", {"name": "…"}),
    ("post", "tokens/", {"name": "…"}),
    ("patch", "tokens/{token_id}/", {"name": "…"}),
]
NAME_IDS = [f"{method} {path}" for method, path, _ in NAMES]


@pytest.mark.database
@pytest.mark.parametrize(("method", "path", "body"), NAMES, ids=NAME_IDS)
def test_names_refuse_nul_and_what_is_no_line_of_text_and_keep_all_other_unicode(client, known, method, path, body):
    def send(name: Any) -> Any:
        return getattr(client, method)("/api/v1/" + path.format(**known), {**body, "name": name}, format="json")

    before = rows()
    for wrong in ("a\x00b", "\x00", "", " \n\t", None, 5, True, ["a"], {"a": 1}, "x" * 300):
        refused(send(wrong), 400, "name", of=wrong)
    assert rows() == before
    # Lone surrogates cannot be stored: they become U+FFFD; other controls become spaces.
    answer = client.generic(
        method.upper(), "/api/v1/" + path.format(**known),
        json.dumps({**body, "name": "  \ud800 é\u202e\U0001f9ee\tb "}).encode(), content_type=JSON,
    )  # fmt: skip
    assert answer.status_code in (200, 201), answer.content
    assert answer.json()["name"] == "\ufffd é\u202e\U0001f9ee b"


CELLS = "notebooks/{notebook_id}/cells/"
CELL = CELLS + "{cell_id}/"
LINKS = "notebooks/{notebook_id}/links/"
FIELDS = [
    ("post", CELLS, {"source": "a\x00"}, "source"),
    ("post", CELLS, {"source": 5}, "source"),
    ("post", CELLS, {"source": None}, "source"),
    ("post", CELLS, {"type": "ruby"}, "type"),
    ("post", CELLS, {"type": ["python"]}, "type"),
    ("post", CELLS, {"index": -1}, "index"),
    ("post", CELLS, {"index": 10**299}, "index"),
    ("post", CELLS, {"index": 1.0}, "index"),
    ("post", CELLS, {"index": True}, "index"),
    ("post", CELLS, {"id": "x"}, "id"),
    ("post", CELLS, {"after": "\ud800"}, "after"),
    ("post", CELLS, {"after": None, "index": 0}, "after"),
    ("post", CELLS, {"result_name": "a b"}, "result_name"),
    ("post", CELLS, {"result_name": "a\x00"}, "result_name"),
    ("post", CELLS, {"connection": str(uuid.uuid4())}, "connection"),
    ("post", CELLS, {"operation_id": 7}, "operation_id"),
    ("patch", CELL, {"source": "x"}, "version"),
    ("patch", CELL, {"source": "x", "version": "1"}, "version"),
    ("patch", CELL, {"source": "x", "version": 0}, "version"),
    ("patch", CELL, {"source": "x", "version": 2**31}, "version"),
    ("patch", CELL, {"source": "a\x00", "version": 1}, "source"),
    ("patch", CELL, {"changes": [5, [0, "a\x00"]], "version": 1}, "NUL"),
    ("patch", CELL, {"changes": [6], "version": 1}, "changes"),
    ("patch", CELL, {"changes": [-1], "version": 1}, "changes"),
    ("patch", CELL, {"changes": [10**299], "version": 1}, "changes"),
    ("patch", CELL, {"changes": {}, "version": 1}, "changes"),
    ("patch", CELL, {"changes": [[[[]]]], "version": 1}, "changes"),
    ("patch", CELL, {"changes": [], "source": "x", "version": 1}, "changes"),
    ("patch", CELL, {"disabled": 1}, "disabled"),
    ("patch", CELL, {"type": "text"}, "type"),
    ("patch", CELL, {"version": 1}, "source"),
    ("post", CELL + "move/", {}, "after"),
    ("post", CELL + "move/", {"index": 99}, "index"),
    ("post", CELL + "move/", {"after": "{cell_id}"}, "after"),
    ("put", "notebooks/{notebook_id}/db/", {"dsn": "postgresql://u:p\x00@h/d"}, "dsn"),
    ("put", "notebooks/{notebook_id}/db/", {"dsn": "postgresql://u:p\ud800@h/d"}, "dsn"),
    ("post", "connections/", {"name": "c", "dsn": "x" * 3000}, "dsn"),
    ("patch", "notebooks/{notebook_id}/", {"run_mode": None}, "run_mode"),
    ("post", "notebooks/{notebook_id}/runs/", {"cells": []}, "cells"),
    ("post", "notebooks/{notebook_id}/runs/", {"cells": ["x"]}, "cells"),
    ("post", "notebooks/{notebook_id}/runs/", {"all": True, "timeout_s": 301}, "timeout_s"),
    ("post", "notebooks/{notebook_id}/runs/", {"all": True, "timeout_s": -0.1}, "timeout_s"),
    ("post", "notebooks/{notebook_id}/runs/", {"all": True, "timeout_s": 10**299}, "timeout_s"),
    ("post", "notebooks/{notebook_id}/runs/", {"all": True, "wait": "yes"}, "wait"),
    ("post", "notebooks/{notebook_id}/runs/", {"all": True, "stale": True}, "cells"),
    ("post", "notebooks/{notebook_id}/members/", {"user": "a\x00", "role": "viewer"}, "NUL"),
    ("post", "notebooks/{notebook_id}/members/", {"user": "stranger", "role": "owner"}, "role"),
    ("post", LINKS, {"role": "viewer", "allows_guests": "yes"}, "allows_guests"),
    ("post", LINKS, {"role": "viewer", "expires_at": 5}, "expires_at"),
    ("post", LINKS, {"role": "viewer", "expires_at": "2026-02-30"}, "expires_at"),
    ("post", LINKS, {"role": "viewer", "expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
    ("post", LINKS, {"role": "viewer", "expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
    ("post", "notebooks/{notebook_id}/bin/restore/", {"cells": []}, "cells"),
    ("post", "notebooks/{notebook_id}/bin/restore/", {"cells": [5]}, "cells"),
    ("post", "tokens/", {"name": "t", "scope": "all"}, "scope"),
    ("post", "tokens/", {"name": "t", "expires_in_days": 0}, "expires_in_days"),
    ("post", "tokens/", {"name": "t", "expires_in_days": 10**299}, "expires_in_days"),
]  # fmt: skip


@pytest.mark.database
@pytest.mark.parametrize(
    ("method", "path", "body", "word"), FIELDS, ids=[f"{index} {one[3]}" for index, one in enumerate(FIELDS)]
)
def test_a_wrong_field_is_refused_by_name(client, known, method, path, body, word):
    before = rows()
    body = {key: value.format(**known) if value == "{cell_id}" else value for key, value in body.items()}
    sent = json.dumps(body).encode()
    answer = client.generic(method.upper(), "/api/v1/" + path.format(**known), sent, content_type=JSON)
    refused(answer, 400, word)
    assert rows() == before


def place(when: str) -> str:
    """A cursor that names a time."""
    return base64.urlsafe_b64encode(json.dumps([when, str(uuid.uuid4()), False]).encode()).decode().rstrip("=")


# Times that UTC cannot hold.
BEYOND = [f"cursor={place(when)}" for when in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")]
ADDRESSES = [
    ("notebooks/", ("limit=0", "limit=-1", "limit=1.5", "limit=", "limit=x", "cursor=x", "cursor=", "role=king", 
                    "search=%00", "owner=a%00", "limit=1&limit=2", "limit=%C2%B2", *BEYOND)),
    ("notebooks/{notebook_id}/", ("outputs=2", "outputs=", "sources=no", "outputs=0&outputs=0")),
    ("notebooks/{notebook_id}/changes/", ("since=-1", "since=x", "limit=0", "limit=501", "since=1&since_revision=1",
                                          "since=99999999999999999999", "since_revision=-1")),
    ("notebooks/{notebook_id}/history/", ("before=x", "limit=0", "limit=1001", "before=9223372036854775808")),
    ("notebooks/{notebook_id}/runs/", ("limit=0", "cursor=W10", *BEYOND)),
    ("notebooks/{notebook_id}/versions/", ("limit=0", "cursor=W10", *BEYOND)),
    ("notebooks/{notebook_id}/bin/", ("limit=0", "cursor=W10", *BEYOND)),
    ("bin/", ("limit=0", "cursor=W10", *BEYOND)),
]  # fmt: skip


@pytest.mark.database
@pytest.mark.parametrize(("path", "question"), [(path, one) for path, found in ADDRESSES for one in found])
def test_a_wrong_value_in_the_address_is_refused_by_name(client, known, path, question):
    answer = client.get(f"/api/v1/{path.format(**known)}?{question}")
    refused(answer, 400, question.split("=")[0])


def test_a_body_over_the_limit_is_refused(client, known, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    before = rows()
    path = f"/api/v1/notebooks/{known['notebook_id']}/cells/"
    sent = json.dumps({"source": "x" * 1_000}).encode()
    refused(client.generic("POST", path, sent, content_type=JSON), 413, "1,000 bytes")
    assert rows() == before


def test_a_source_over_the_limit_is_refused_and_the_message_states_the_limit(client, known, settings):
    settings.SOURCE_MAX_BYTES = 10
    before, at = rows(), f"/api/v1/notebooks/{known['notebook_id']}/"
    for method, path, body in (
        ("post", "cells/", {"source": "é" * 6}),
        ("patch", f"cells/{known['cell_id']}/", {"source": "x" * 11, "version": 1}),
        ("post", "batch/", {"operations": [{"op": "insert", "source": "x" * 11}]}),
    ):
        error = refused(getattr(client, method)(at + path, body, format="json"), 413, "10")
        assert error["code"] == "too_large"
    settings.NOTEBOOK_MAX_CELLS = 2
    refused(client.post(at + "cells/", {}, format="json"), 413, "2 cells")
    assert rows() == before


def test_an_address_that_is_none_is_refused_in_the_same_form(client):
    for path in ("", "x", "notebooks", "notebooks/x/", "schema", "notebooks//", "tokens/-1/", "tokens/%C2%B2/"):
        for method in ("get", "post", "delete"):
            refused(client.generic(method.upper(), f"/api/v1/{path}"), 404, "no such address", of=path)


def test_more_values_than_are_read_are_refused_before_any_is_made(client, monkeypatch):
    made: list[Any] = []
    monkeypatch.setattr(parsers, "json", SimpleNamespace(loads=lambda *args, **how: made.append(args)))
    for value in ("[]", "{}", '{"a":"b"}', "1", '""'):
        body = '{"name":"x","x":[' + ",".join([value] * parsers.VALUES_MAX) + ",0,0]}"
        answer = client.post("/api/v1/notebooks/", body, content_type=JSON)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large"), value
        assert "1,000,000 values" in answer.json()["error"]["message"]
    assert not made


@pytest.mark.parametrize("text", ["[{," * 400_000, '",[\\' * 400_000, "{" * 1_100_000 + "\\"])
def test_what_texts_hold_are_no_values(client, at, text):
    answer = client.post(f"{at}cells/", json.dumps({"source": text, "type": "markdown"}), content_type=JSON)
    assert (answer.status_code, answer.json()["source"]) == (201, text)


def test_as_many_values_as_are_read_are_taken():
    for value in ("[]", '""', '","'):
        assert len(parsers.parse("[" + ",".join([value] * (parsers.VALUES_MAX // 2)) + "]")) == parsers.VALUES_MAX // 2
    lines = json.dumps(["x,y"] * parsers.VALUES_MAX)
    assert len(parsers.parse(lines)) == parsers.VALUES_MAX
