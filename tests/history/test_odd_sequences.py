"""Two people and a program do at once, or in an order nobody planned, what each may do: nothing is lost, half done or
answered with a failure of the server, and who follows the log sees what is there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from notebooks_app.models import Cell, Change, Membership, Notebook
from tests.api.conftest import cast, client_of  # noqa: F401
from tests.history.conftest import Replay, Workbench

pytestmark = [pytest.mark.database, pytest.mark.django_db]

type Clients = Callable[[str], Any]
type Body = dict[str, Any]


@pytest.fixture
def owner(cast: dict[str, Any]) -> Any:  # noqa: F811
    return cast["owner"]


class Person:
    """Somebody with the API, in one notebook."""

    def __init__(self, client: Any, notebook_id: uuid.UUID) -> None:
        self.client, self.at = client, f"/api/v1/notebooks/{notebook_id}/"

    def send(self, method: str, path: str, body: Body | None = None, **headers: str) -> Any:
        answer = getattr(self.client, method)(self.at + path, body, format="json", headers=headers)
        assert answer.status_code < 500, answer.content
        return answer

    def do(self, method: str, path: str, body: Body | None = None) -> str:
        """A change that is taken; its operation."""
        operation = str(uuid.uuid4())
        if method == "delete":
            answer = self.send(method, f"{path}?operation_id={operation}")
        else:
            name = "new_operation_id" if path == "undo/" else "operation_id"
            answer = self.send(method, path, {**(body or {}), name: operation})
        assert answer.status_code < 300, answer.content
        return operation

    def undo(self, operation: str) -> Any:
        return self.send("post", "undo/", {"operation_id": operation, "new_operation_id": str(uuid.uuid4())})


@pytest.fixture
def people(bench: Workbench, client_of: Clients, cast: dict[str, Any]) -> tuple[Person, Person]:  # noqa: F811
    """The owner and an editor."""
    Membership.objects.create(notebook=bench.notebook, user=cast["editor"], role="editor")
    return Person(client_of("owner"), bench.pk), Person(client_of("editor"), bench.pk)


@pytest.fixture(autouse=True)
def followed(bench: Workbench) -> Any:
    """Whatever a test does: the log, applied from the beginning, shows what is in the database."""
    replay = Replay(bench.pk)
    yield
    for change in Change.objects.filter(notebook=bench.pk).order_by("seq"):
        replay.apply(change.event)
    assert replay.agrees_with(bench.pk)
    notebook = Notebook.objects.get(pk=bench.pk)
    assert notebook.revision == Change.objects.filter(notebook=bench.pk).count()


def test_undo_of_a_deletion_after_the_other_brought_the_cell_back_from_the_bin(people, bench):
    ana, ben = people
    a, b = bench.add("a = 1"), bench.add("b = 1")
    deleted = ana.do("delete", f"cells/{a}/")
    ben.do("post", "bin/restore/", {"cells": [str(a)]})
    assert ana.undo(deleted).status_code == 409
    assert bench.order() == [a, b]


def test_undo_of_a_move_after_the_other_deleted_and_restored_the_cell(people, bench):
    ana, ben = people
    a, b, c = (bench.add(name) for name in "abc")
    moved = ana.do("post", f"cells/{a}/move/", {"after": str(c)})
    deleted = ben.do("delete", f"cells/{a}/")
    assert ana.undo(moved).status_code == 409
    assert ben.undo(deleted).status_code == 200
    assert bench.order() == [b, c, a]
    assert ana.undo(moved).status_code == 200
    assert bench.order() == [a, b, c]


def test_two_people_undo_the_same_change_and_redo_it(people, bench):
    ana, ben = people
    a, b = bench.add("a"), bench.add("b")
    deleted = ana.do("delete", f"cells/{a}/")
    answers = [person.undo(deleted) for person in people]
    assert [answer.status_code for answer in answers] == [200, 409]
    redone = ben.undo(answers[0].json()["operation_id"])
    assert redone.status_code == 200
    assert bench.order() == [b]
    assert ana.undo(redone.json()["operation_id"]).status_code == 200
    assert bench.order() == [a, b]


def test_undo_of_a_split_after_the_other_edited_its_second_half(people, bench):
    ana, ben = people
    a = bench.add("one\ntwo")
    split = bench.edit(a, "one", undoable=True)
    second = ana.send("post", "cells/", {"source": "two", "after": str(a), "operation_id": str(uuid.uuid4())}).json()
    ben.do("patch", f"cells/{second['id']}/", {"source": "two, by Ben", "version": 1})
    assert ana.undo(second["operation_id"]).status_code == 200
    assert ana.undo(split.event["operation_id"]).status_code == 200
    assert bench.sources() == ["one\ntwo"]
    bin_of = ana.send("get", "bin/").json()["results"]
    assert [cell["source"] for cell in bin_of] == ["two, by Ben"]  # what Ben wrote is not lost


def test_a_version_restored_twice_at_once_and_both_undone(people, bench):
    ana, ben = people
    a, b = bench.add("a"), bench.add("b")
    version = ana.send("post", "versions/", {"name": "v"}).json()["id"]
    ana.do("delete", f"cells/{a}/")
    ben.do("patch", f"cells/{b}/", {"source": "b2", "version": 1})
    operations = [str(uuid.uuid4()) for _ in people]
    restored = [
        person.send("post", f"versions/{version}/restore/", {"operation_id": operation})
        for person, operation in zip(people, operations, strict=True)
    ]
    assert [answer.status_code for answer in restored] == [200, 409]
    assert bench.sources() == ["a", "b"]
    assert ben.undo(operations[0]).status_code == 200
    assert bench.sources() == ["b2"]


def test_a_batch_with_one_bad_item_leaves_nothing_and_its_id_is_free(people, bench):
    ana, ben = people
    a = bench.add("a")
    before = bench.cells(), Notebook.objects.get(pk=bench.pk).seq
    operation = str(uuid.uuid4())
    good = [
        {"op": "insert", "source": "n"},
        {"op": "edit", "cell": str(a), "version": 1, "source": "a2"},
        {"op": "delete", "cell": str(a), "version": 2},
    ]
    bad = [
        {"op": "move", "cell": str(a), "after": str(a)},
        {"op": "edit", "cell": str(uuid.uuid4()), "version": 1, "source": ""},
        {"op": "insert", "cell": str(a)},
        {"op": "insert", "after": str(a)},
        {"op": "update", "cell": str(a), "version": 2, "fields": {}},
        {"op": "insert", "source": "x", "connection": str(uuid.uuid4())},
    ]
    for item in bad:
        answer = ana.send("post", "batch/", {"operations": [*good, item], "operation_id": operation})
        assert answer.status_code in (400, 404, 409), item
        assert (bench.cells(), Notebook.objects.get(pk=bench.pk).seq) == before, item
    answer = ben.send("post", "batch/", {"operations": good, "operation_id": operation})
    assert (answer.status_code, bench.sources()) == (200, ["n"])
    assert ana.undo(answer.json()["operations"][2]["operation_id"]).status_code == 200
    assert bench.sources() == ["a2", "n"]


def test_a_shared_notebook_goes_to_the_bin_and_comes_back(people, bench):
    ana, ben = people
    a, b = bench.add("a"), bench.add("b")
    moved = ben.do("post", f"cells/{a}/move/", {"after": str(b)})
    assert ana.send("delete", "").status_code == 204
    for method, path, body in (
        ("get", "", None),
        ("post", "undo/", {"operation_id": moved}),
        ("post", "cells/", {}),
        ("get", "versions/", None),
        ("delete", "", None),
        ("put", "name/", {"name": "N"}),
    ):
        assert [person.send(method, path, body).status_code for person in people] == [404, 404], path
    back = f"/api/v1/bin/{bench.pk}/restore/"
    assert ben.client.post(back).status_code == 404
    assert ana.client.post(back).status_code == 200
    assert ben.undo(moved).status_code == 200
    assert bench.order() == [a, b]


@pytest.mark.parametrize(
    ("tag", "status"),
    [('W/"1"', 412), ('W/"1", "1"', 200), ('"1-abc"', 200), ('w/"1"', 400), ('"1" ,W/"9"', 200), ('"", "2"', 412),
     ('"*"', 412), ("*", 200), ("1", 400), ('"01"', 412), ('"1', 400)],
)  # fmt: skip
def test_a_condition_on_a_cell_is_heeded_in_every_form(people, bench, tag, status):
    ana, _ = people
    a = bench.add("a")
    answer = ana.send("patch", f"cells/{a}/", {"source": "b", "version": 1}, **{"If-Match": tag})
    assert (answer.status_code, bench.sources()) == (status, ["b" if status == 200 else "a"]), answer.content


def test_a_cell_is_deleted_twice_and_both_deletions_undone(people, bench):
    ana, ben = people
    a, b = bench.add("a"), bench.add("b")
    first = ana.do("delete", f"cells/{a}/")
    assert ana.undo(first).status_code == 200
    second = ben.do("delete", f"cells/{a}/")
    assert ana.undo(first).status_code in (200, 409)  # by the cells as they are now
    assert ben.undo(second).status_code == 409
    assert bench.order() == [a, b]


def test_a_restore_while_its_notebook_is_in_the_bin_changes_nothing(people, bench):
    ana, ben = people
    a = bench.add("a")
    version = ana.send("post", "versions/", {"name": "v"}).json()["id"]
    ben.do("patch", f"cells/{a}/", {"source": "a2", "version": 1})
    ana.send("delete", "")
    assert ben.send("post", f"versions/{version}/restore/", {}).status_code == 404
    assert Cell.objects.get(pk=a).source == "a2"
    ana.client.post(f"/api/v1/bin/{bench.pk}/restore/")
    assert ben.send("post", f"versions/{version}/restore/", {}).status_code == 200
    assert bench.sources() == ["a"]


def test_undo_of_the_insertion_after_which_others_inserted(people, bench):
    ana, ben = people
    bench.add("a")
    new = ana.send("post", "cells/", {"source": "n", "operation_id": str(uuid.uuid4())}).json()
    ben.do("post", "cells/", {"source": "after n", "after": new["id"]})
    assert ana.undo(new["operation_id"]).status_code == 200
    assert bench.sources() == ["a", "after n"]
    assert ben.send("post", "bin/restore/", {}).status_code == 200
    assert bench.sources() == ["a", "n", "after n"]


def test_a_change_of_a_type_is_undone_after_the_text_was_edited(people, bench):
    ana, ben = people
    a = bench.add("select 1")
    changed = ana.do("patch", f"cells/{a}/", {"type": "sql", "result_name": "t"})
    ben.do("patch", f"cells/{a}/", {"source": "select 2", "version": 2})
    assert ana.undo(changed).status_code == 200
    assert [(cell[1], cell[2], cell[3]) for cell in bench.cells()] == [("python", "select 2", "")]


def test_a_full_notebook_takes_no_undo_of_a_deletion_and_loses_nothing(people, bench, settings):
    ana, ben = people
    a = bench.add("a")
    bench.add("b")
    settings.NOTEBOOK_MAX_CELLS = 2
    deleted = ana.do("delete", f"cells/{a}/")
    c = bench.add("c")
    assert ana.undo(deleted).status_code == 413
    ben.do("delete", f"cells/{c}/")
    assert ana.undo(deleted).status_code == 200
    assert bench.sources() == ["a", "b"]


def test_an_undo_of_a_cell_that_left_the_bin_for_good_is_a_conflict(people, bench):
    ana, ben = people
    a, b = bench.add("a"), bench.add("b")
    version = ana.send("post", "versions/", {"name": "v"}).json()["id"]
    deleted = ana.do("delete", f"cells/{a}/")
    assert ana.send("delete", "bin/").json() == {"deleted": 1}
    assert ben.undo(deleted).status_code == 409
    ben.do("post", f"versions/{version}/restore/")
    assert bench.order() == [a, b]
