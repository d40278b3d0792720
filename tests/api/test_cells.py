"""Cells over the API: adding, editing on a version, flags, moving, deleting; what is refused and how."""

from __future__ import annotations

import json
import uuid

import pytest
from rest_framework.test import APIRequestFactory, force_authenticate

from notebooks_app.api import Unknown
from notebooks_app.models import Cell, Change

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def sources(client, at) -> str:
    return " ".join(cell["source"] for cell in client.get(at + "cells/").json()["cells"])


# --- Adding ----------------------------------------------------------------------------------------------------------


def test_cells_are_added_at_the_end_after_before_or_at_a_place(client, at):
    def post(source, **place):
        answer = client.post(at + "cells/", {"source": source, **place}, format="json")
        assert answer.status_code == 201, answer.content
        return answer.json()["id"]

    a = post("a")
    post("b")
    post("c", after=a)
    post("d", before=a)
    post("e", after=None)
    post("f", index=0)
    post("g", index=6)
    post("h", index=3)
    assert sources(client, at) == "f e d h a c b g"


def test_an_added_cell_is_answered_whole_with_the_number_of_the_change(client, at, notebook):
    chosen, operation = str(uuid.uuid4()), str(uuid.uuid4())
    body = {"id": chosen, "type": "sql", "source": "select {x}", "result_name": "rows", "operation_id": operation}
    made = client.post(at + "cells/", body, format="json").json()
    expected = {
        "id": chosen, "type": "sql", "version": 1, "result_name": "rows", "connection": None, "disabled": False,
        "definitions": ["rows"], "references": ["x"], "outputs": [], "number": 1, "freshness": "new", "status": "idle",
        "seq": 1, "revision": 1, "operation_id": operation,
    }  # fmt: skip
    assert {key: made[key] for key in expected} == expected
    read = client.get(f"{at}cells/{chosen}/").json()
    assert read == {key: value for key, value in made.items() if key not in ("seq", "revision", "operation_id")}


def test_a_retried_add_makes_one_cell_and_gives_the_same_answer(client, at):
    body = {"source": "x", "operation_id": str(uuid.uuid4())}
    first, second = (client.post(at + "cells/", body, format="json").json() for _ in range(2))
    assert (first["id"], first["seq"]) == (second["id"], second["seq"])
    assert sources(client, at) == "x"


@pytest.mark.parametrize(
    ("body", "word"),
    [({"source": "a\x00b"}, "NUL"), ({"source": 5}, "source"), ({"source": None}, "source"),
     ({"source": ["x"]}, "source"), ({"type": "perl"}, "type"), ({"type": 1}, "type"), ({"type": ["sql"]}, "type"),
     ({"index": -1}, "index"),
     ({"index": True}, "index"), ({"index": "0"}, "index"), ({"index": 1.0}, "index"), ({"index": 10**30}, "index"),
     ({"index": 9}, "index"), ({"id": "x"}, "id"), ({"id": 7}, "id"), ({"after": "x"}, "after"),
     ({"before": None}, "before"), ({"after": None, "index": 0}, "after"), ({"result_name": "a b"}, "result_name"),
     ({"result_name": 5}, "result_name"), ({"connection": str(uuid.uuid4())}, "connection"),
     ({"sauce": "x"}, "sauce"), ({"disabled": True}, "disabled"),
     ({"operation_id": "x"}, "operation_id"), ({"\ud800": 1}, "no such field"), ({"a" * 5000: 1}, "no such field")],
)  # fmt: skip
def test_an_added_cell_with_a_bad_field_is_refused_by_its_name(client, at, body, word):
    answer = client.post(at + "cells/", json.dumps(body), content_type="application/json")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "bad_request")
    assert word in error["message"]
    assert len(error["message"]) < 500
    assert not Cell.objects.exists()


@pytest.mark.parametrize("place", ["after", "before"])
def test_a_place_beside_a_cell_that_is_not_there_is_not_found(client, at, place):
    answer = client.post(at + "cells/", {"source": "x", place: str(uuid.uuid4())}, format="json")
    assert answer.status_code == 404


def test_a_cell_id_that_is_taken_is_a_conflict(client, at, add):
    cell = add("x")
    answer = client.post(at + "cells/", {"source": "y", "id": cell}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


def test_a_source_over_the_limit_is_refused_with_its_size(client, at, settings):
    settings.SOURCE_MAX_BYTES = 1_000
    answer = client.post(at + "cells/", {"source": "é" * 501}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert "1,002 bytes" in answer.json()["error"]["message"]


def test_a_body_over_the_limit_is_refused_unread(client, at, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    answer = client.post(at + "cells/", {"source": "x" * 1_001}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_a_source_of_five_megabytes_is_kept_and_says_that_it_cannot_run(client, at):
    text = "# " + "x" * (5 * 1024 * 1024)
    made = client.post(at + "cells/", {"source": text}, format="json").json()
    assert made["source"] == text
    assert [error["kind"] for error in made["state"]["errors"]] == ["too_large"]


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b'"x"', b"5", b"NaN", b'{"source": NaN}', b'{"index": 1e999}', b"\xff\xfe", b"\x00",
     b"[" * 100_000, b'{"a":' * 50_000, b'{"index": ' + b"9" * 5_000 + b"}", b'{"source": "\\ud800"', b"{'a': 1}"],
)  # fmt: skip
def test_a_body_that_is_no_object_of_json_is_refused(client, at, raw):
    answer = client.post(at + "cells/", raw, content_type="application/json")
    if raw == b"":  # no body is an empty object, which for adding a cell is one
        assert answer.status_code == 201
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")
        assert not Cell.objects.exists()


def test_another_kind_of_body_is_refused(client, at):
    assert client.post(at + "cells/", {"source": "x"}, format="multipart").status_code == 415


# --- Editing ---------------------------------------------------------------------------------------------------------


def test_an_edit_names_its_version_and_answers_with_the_next(client, at, add):
    cell = add("x = 1")
    answer = client.patch(f"{at}cells/{cell}/", {"source": "x = 2", "version": 1}, format="json").json()
    assert (answer["version"], answer["source"], answer["definitions"]) == (2, "x = 2", ["x"])


@pytest.mark.parametrize("name", ["version", "expected_version"])
def test_an_edit_by_a_change_set_is_applied(client, at, add, name):
    cell = add("x = 1😀")
    body = {"changes": [4, [1, "22"], 2], name: 1, "operation_id": str(uuid.uuid4())}
    for _ in range(2):  # the second is a retry
        answer = client.patch(f"{at}cells/{cell}/", body, format="json").json()
        assert (answer["version"], answer["source"]) == (2, "x = 22😀")


def test_an_edit_on_an_old_version_is_a_conflict_that_says_what_has_happened(client, client_of, at, add):
    cell = add("x = 1")
    client_of("editor").patch(f"{at}cells/{cell}/", {"source": "x = 12", "version": 1}, format="json")
    answer = client.patch(f"{at}cells/{cell}/", {"source": "x = 3", "version": 1, "disabled": True}, format="json")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["version"]) == (409, "conflict", 2)
    assert [(event["type"], event["version"], event["author"]) for event in error["since"]] == [
        ("cell.edited", 2, "editor")
    ]
    row = Cell.objects.get(pk=cell)
    assert (row.source, row.version, row.disabled) == ("x = 12", 2, False)


def test_source_and_fields_change_together_or_not_at_all(client, at, add, notebook):
    cell = add("x = 1")
    bad = {"source": "x = 2", "version": 1, "result_name": "a b"}
    assert client.patch(f"{at}cells/{cell}/", bad, format="json").status_code == 400
    assert Cell.objects.get(pk=cell).source == "x = 1"
    good = {"source": "select 1", "version": 1, "type": "sql", "result_name": "rows", "operation_id": str(uuid.uuid4())}
    for _ in range(2):
        answer = client.patch(f"{at}cells/{cell}/", good, format="json").json()
        now = (answer["version"], answer["type"], answer["source"], answer["result_name"])
        assert now == (3, "sql", "select 1", "rows")
    assert Change.objects.filter(notebook=notebook).count() == 3


def test_flags_need_no_version_but_a_wrong_one_is_a_conflict(client, at, add):
    cell = add("x")
    answer = client.patch(f"{at}cells/{cell}/", {"disabled": True, "code_hidden": True}, format="json").json()
    assert (answer["disabled"], answer["code_hidden"], answer["version"]) == (True, True, 2)
    assert client.patch(f"{at}cells/{cell}/", {"disabled": False, "version": 1}, format="json").status_code == 409


def test_a_disabled_cell_disables_those_that_need_it(client, at, add):
    first, second = add("x = 1"), add("y = x")
    client.patch(f"{at}cells/{first}/", {"disabled": True}, format="json")
    assert client.get(f"{at}cells/{second}/").json()["state"]["disabled_by"] == [first]


@pytest.mark.parametrize(
    ("body", "word"),
    [({}, "Nothing to change"), ({"version": 1}, "Nothing to change"), ({"source": "y"}, "version"),
     ({"changes": [1]}, "version"), ({"source": "y", "changes": [1], "version": 1}, "changes"),
     ({"source": "y", "version": "1"}, "version"), ({"source": "y", "version": True}, "version"),
     ({"source": "y", "version": 1.0}, "version"), ({"source": "y", "version": 0}, "version"),
     ({"source": "y", "version": None}, "version"), ({"source": "y", "version": -5}, "version"),
     ({"source": "y", "version": 10**40}, "version"), ({"source": "y", "version": 1, "expected_version": 2}, "version"),
     ({"changes": [99], "version": 1}, "changes"), ({"changes": {}, "version": 1}, "changes"),
     ({"changes": [[1, "a\nb"]], "version": 1}, "changes"), ({"changes": None, "version": 1}, "changes"),
     ({"source": "\x00", "version": 1}, "NUL"), ({"disabled": 1}, "disabled"), ({"disabled": "true"}, "disabled"),
     ({"disabled": None}, "disabled"), ({"code_hidden": 0}, "code_hidden"), ({"type": "x"}, "type"),
     ({"position": 1}, "position"), ({"id": str(uuid.uuid4())}, "id"), ({"connection": "x"}, "connection")],
)  # fmt: skip
def test_a_bad_edit_is_refused_and_nothing_is_written(client, at, add, body, word):
    cell = add("x")
    answer = client.patch(f"{at}cells/{cell}/", json.dumps(body), content_type="application/json")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "bad_request")
    assert word in error["message"]
    assert (Cell.objects.get(pk=cell).version, Change.objects.count()) == (1, 1)


def test_half_characters_are_kept_as_replacement_marks(client, at, add):
    cell = add("x")
    raw = b'{"source": "a\\ud800b", "version": 1}'
    answer = client.patch(f"{at}cells/{cell}/", raw, content_type="application/json")
    assert (answer.status_code, answer.json()["source"]) == (200, "a\ufffdb")


# --- Moving and deleting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "expected"),
    [({"after": "c"}, "b c a"), ({"before": "c"}, "b a c"), ({"index": 2}, "b c a"), ({"index": 1}, "b a c"),
     ({"index": 0}, "a b c"), ({"after": None}, "a b c")],
)  # fmt: skip
def test_a_cell_is_moved_after_before_or_to_a_place(client, at, add, place, expected):
    cells = {name: add(name) for name in "abc"}
    place = {key: cells.get(value, value) if isinstance(value, str) else value for key, value in place.items()}
    answer = client.post(f"{at}cells/{cells['a']}/move/", place, format="json")
    assert (answer.status_code, answer.json()["number"]) == (200, expected.split().index("a") + 1)
    assert sources(client, at) == expected


@pytest.mark.parametrize("place", [{}, {"index": 3}, {"index": -1}, {"after": "self"}, {"before": "self", "index": 0}])
def test_a_move_to_no_place_is_refused(client, at, add, place):
    cells = [add(name) for name in "abc"]
    place = {key: cells[0] if value == "self" else value for key, value in place.items()}
    assert client.post(f"{at}cells/{cells[0]}/move/", place, format="json").status_code == 400
    assert sources(client, at) == "a b c"


def test_a_deleted_cell_is_gone_and_deleting_it_again_is_not_found_unless_it_is_a_retry(client, at, add):
    cell, operation = add("x"), uuid.uuid4()
    assert client.delete(f"{at}cells/{cell}/?operation_id={operation}").status_code == 204
    assert client.delete(f"{at}cells/{cell}/?operation_id={operation}").status_code == 204
    assert client.delete(f"{at}cells/{cell}/").status_code == 404
    assert client.delete(f"{at}cells/{cell}/?operation_id=x").status_code == 400
    assert client.get(f"{at}cells/{cell}/").status_code == 404
    assert sources(client, at) == ""


@pytest.mark.parametrize("method", ["get", "post", "delete", "patch"])
def test_an_address_that_is_none_is_answered_in_the_same_shape(cast, method):
    request = getattr(APIRequestFactory(), method)("/api/v1/nothing/")
    force_authenticate(request, cast["owner"])
    answer = Unknown.as_view()(request, rest="nothing/")
    assert (answer.status_code, answer.data["error"]["code"]) == (404, "not_found")


def test_a_method_that_is_none_is_refused_in_the_same_shape(client, at):
    answer = client.put(at, {}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "not_allowed")
