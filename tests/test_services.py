"""Every accepted change: versions and conflicts, retries, order, the bin, undo, what it costs. On both databases."""

from __future__ import annotations

import random
import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from notebooks_app import changeset, events, notebooks, positions, reading, services
from notebooks_app.errors import BadRequest, Conflict, NotFound, TooLarge
from notebooks_app.formats.base import ImportedCell, ImportedNotebook
from notebooks_app.models import Cell, Change, Connection, Notebook
from notebooks_app.services import Accepted, Author
from tests.test_models import in_threads

pytestmark = [pytest.mark.database, pytest.mark.django_db]


@pytest.fixture
def owner():
    return get_user_model().objects.create_user("owner", first_name="Olga", last_name="Owner")


@pytest.fixture
def author(owner) -> Author:
    return Author.of(owner)


@pytest.fixture
def notebook(owner) -> Notebook:
    return Notebook.objects.create(owner=owner, name="Sales")


@pytest.fixture
def change(notebook, author):
    """The services with the notebook, author and a new operation filled in: `change.insert("x = 1")`."""
    return Changes(notebook.pk, author)


class Changes:
    def __init__(self, notebook_id: uuid.UUID, author: Author) -> None:
        self.notebook_id = notebook_id
        self.author = author

    def _who(self, operation: uuid.UUID | None) -> dict[str, Any]:
        return {"author": self.author, "operation_id": operation or uuid.uuid4()}

    def insert(
        self, source: str = "", *, after: Any = "last", operation: uuid.UUID | None = None, **more: Any
    ) -> uuid.UUID:
        if after == "last":
            after = (self.order() or [None])[-1]
        cell_id = more.pop("cell_id", None) or uuid.uuid4()
        cell_type = more.pop("cell_type", "python")
        accepted = services.insert_cell(
            self.notebook_id, cell_id, after=after, cell_type=cell_type, source=source, **more, **self._who(operation)
        )
        return uuid.UUID(accepted.event["cell"]["id"])

    def edit(self, cell: uuid.UUID, version: int, *, operation: uuid.UUID | None = None, **what: Any) -> Accepted:
        return services.edit_cell(self.notebook_id, cell, version=version, **what, **self._who(operation))

    def delete(self, *cells: uuid.UUID, operation: uuid.UUID | None = None) -> Accepted:
        return services.delete_cells(self.notebook_id, list(cells), **self._who(operation))

    def move(self, *cells: uuid.UUID, after: uuid.UUID | None, operation: uuid.UUID | None = None) -> Accepted:
        return services.move_cells(self.notebook_id, list(cells), after=after, **self._who(operation))

    def update(
        self, cell: uuid.UUID, *, operation: uuid.UUID | None = None, version: int | None = None, **fields: Any
    ) -> Accepted:
        return services.update_cell(self.notebook_id, cell, fields, version=version, **self._who(operation))

    def undo(self, operation: uuid.UUID, *, new: uuid.UUID | None = None) -> uuid.UUID:
        new = new or uuid.uuid4()
        services.undo(self.notebook_id, operation, new_operation_id=new, author=self.author)
        return new

    def order(self) -> list[uuid.UUID]:
        return list(Cell.objects.alive().filter(notebook_id=self.notebook_id).in_order().values_list("pk", flat=True))

    def sources(self) -> str:
        cells = Cell.objects.alive().filter(notebook_id=self.notebook_id).in_order()
        return " ".join(cells.values_list("source", flat=True))

    def fill(self, text: str) -> list[uuid.UUID]:
        return [self.insert(word) for word in text.split()]


# --- Versions --------------------------------------------------------------------------------------------------------


def test_an_edit_raises_the_version_of_its_cell_and_the_numbers_of_its_notebook(change, notebook):
    cell = change.insert("x = 1")
    accepted = change.edit(cell, 1, source="x = 2")
    assert (accepted.seq, accepted.revision, accepted.version) == (2, 2, 2)
    assert Cell.objects.get(pk=cell).source == "x = 2"
    notebook.refresh_from_db()
    assert (notebook.seq, notebook.revision) == (2, 2)


def test_an_edit_on_an_old_version_changes_nothing_and_says_what_has_happened_since(change, notebook):
    cell = change.insert("x = 1")
    change.edit(cell, 1, source="x = 12")
    change.update(cell, disabled=True)
    with pytest.raises(Conflict) as refused:
        change.edit(cell, 1, source="x = 3")
    assert refused.value.more["version"] == 3
    since = refused.value.more["since"]
    assert [(event["type"], event["version"], event["seq"]) for event in since] == [
        ("cell.edited", 2, 2),
        ("cell.updated", 3, 3),
    ]
    text = "x = 1"
    assert changeset.apply(since[0]["changes"], text) == "x = 12"
    notebook.refresh_from_db()
    assert (notebook.seq, Cell.objects.get(pk=cell).source) == (3, "x = 12")


@pytest.mark.parametrize("version", [99, 0, -1, -(10**30), 10**30])
def test_a_version_that_never_was_is_a_conflict_with_the_source_itself(change, version):
    cell = change.insert("x = 1")
    with pytest.raises(Conflict) as refused:
        change.edit(cell, version, source="x = 3")
    assert (refused.value.more["version"], refused.value.more["source"]) == (1, "x = 1")


def test_a_conflict_far_behind_carries_the_source_instead_of_the_whole_log(change, monkeypatch):
    monkeypatch.setattr(services, "SINCE_AT_MOST", 3)
    cell = change.insert("")
    for version in range(1, 6):
        change.edit(cell, version, source="x" * version)
    with pytest.raises(Conflict) as refused:
        change.edit(cell, 1, source="y")
    assert refused.value.more == {"version": 6, "since": [], "source": "xxxxx"}


@pytest.mark.parametrize("version", ["1", True, 1.0, None])
def test_a_version_that_is_no_number_is_refused(change, version):
    cell = change.insert("x = 1")
    with pytest.raises(BadRequest, match="version"):
        change.edit(cell, version, source="x")


def test_two_people_in_two_cells_never_conflict(change):
    first, second = change.fill("a b")
    change.edit(first, 1, source="aa")
    change.edit(second, 1, source="bb")
    assert change.sources() == "aa bb"


@pytest.mark.django_db(transaction=True)
def test_of_many_edits_on_one_version_at_once_one_is_taken(change):
    cell = change.insert("x = 0")
    raised = in_threads(6, lambda number: change.edit(cell, 1, source=f"x = {number}"))
    assert [type(error) for error in raised] == [Conflict] * 5
    assert Cell.objects.get(pk=cell).version == 2


def test_a_refused_change_takes_no_number_and_writes_no_log(change, notebook):
    cell = change.insert("x")
    for refused in (
        lambda: change.edit(uuid.uuid4(), 1, source="x"),
        lambda: change.edit(cell, 7, source="x"),
        lambda: change.edit(cell, 1, source="x\x00"),
        lambda: change.delete(cell, uuid.uuid4()),
        lambda: change.move(cell, after=uuid.uuid4()),
        lambda: change.update(cell, type="perl"),
        lambda: change.insert("y", cell_id=cell),
    ):
        with pytest.raises((NotFound, Conflict, BadRequest)):
            refused()
    notebook.refresh_from_db()
    assert (notebook.seq, Change.objects.count(), change.sources()) == (1, 1, "x")


# --- Retries ---------------------------------------------------------------------------------------------------------


def test_a_retry_gets_the_first_answer_and_writes_nothing(change, notebook):
    cell, operation = change.insert("x"), uuid.uuid4()
    first = change.edit(cell, 1, source="xy", operation=operation)
    change.edit(cell, 2, source="xyz")
    again = change.edit(cell, 1, source="xy", operation=operation)
    assert (again.seq, again.version, again.event) == (first.seq, first.version, first.event)
    notebook.refresh_from_db()
    assert (notebook.seq, Change.objects.count(), change.sources()) == (3, 3, "xyz")


def test_a_retried_insert_makes_one_cell(change):
    operation, cell = uuid.uuid4(), uuid.uuid4()
    for _ in range(3):
        change.insert("x", cell_id=cell, operation=operation)
    assert change.sources() == "x"


@pytest.mark.django_db(transaction=True)
def test_one_edit_sent_several_times_at_once_is_one_edit(change, notebook):
    cell, operation = change.insert("x"), uuid.uuid4()
    answers: list[Accepted] = []
    raised = in_threads(6, lambda _: answers.append(change.edit(cell, 1, source="xy", operation=operation)))
    assert raised == []
    assert {(answer.seq, answer.version) for answer in answers} == {(2, 2)}
    notebook.refresh_from_db()
    assert notebook.seq == 2


def test_the_same_operation_id_in_another_notebook_is_another_operation(change, owner, author):
    other = Changes(Notebook.objects.create(owner=owner, name="Other").pk, author)
    operation = uuid.uuid4()
    change.insert("x", operation=operation)
    other.insert("y", operation=operation)
    assert (change.sources(), other.sources()) == ("x", "y")


# --- What text becomes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "changes", "new"),
    [
        ("x = 1", [4, [1, "2"]], "x = 2"),
        ("a\nb", [1, [1, "", "", ""], 1], "a\n\nb"),
        ("😀x", [2, [1, "y"]], "😀y"),
        ("😀😀", [2, [0, "𝒳"], 2], "😀𝒳😀"),
        ("é", [1, [0, "ß"]], "éß"),
    ],
)
def test_a_change_set_counts_utf_16_units(change, old, changes, new):
    cell = change.insert(old)
    event = change.edit(cell, 1, changes=changes).event
    assert Cell.objects.get(pk=cell).source == new
    assert changeset.apply(event["changes"], old) == new


@pytest.mark.parametrize("changes", [[5], [[9, "x"]], "x", [[-1]], [True], [[1, 2]], [["1"]], {"0": 1}, [[1, "a\nb"]]])
def test_a_change_set_that_does_not_fit_is_refused(change, changes):
    cell = change.insert("abc")
    with pytest.raises(BadRequest, match="changes"):
        change.edit(cell, 1, changes=changes)
    assert Cell.objects.get(pk=cell).version == 1


def test_a_source_is_kept_with_plain_line_ends_and_everyone_is_told_the_kept_text(change):
    cell = change.insert("a\r\nb")
    assert Cell.objects.get(pk=cell).source == "a\nb"
    event = change.edit(cell, 1, changes=[3, [0, "\r", "c\ud800"]]).event
    kept = Cell.objects.get(pk=cell).source
    assert kept == "a\nb\nc\ufffd"
    assert changeset.apply(event["changes"], "a\nb") == kept


def test_a_source_over_the_limit_is_refused_with_its_size(change, settings):
    settings.SOURCE_MAX_BYTES = 10
    cell = change.insert("x" * 10)
    with pytest.raises(TooLarge, match="12 bytes"):
        change.edit(cell, 1, source="é" * 6)
    assert Cell.objects.get(pk=cell).version == 1


def test_random_edits_leave_the_log_able_to_replay_the_source(change):
    chance = random.Random(7)
    cell, replayed, version = change.insert("start 😀"), "start 😀", 1
    for _ in range(60):
        source = "".join(chance.choice("ab\n😀é") for _ in range(chance.randrange(12)))
        event = change.edit(cell, version, source=source).event
        replayed = changeset.apply(event["changes"], replayed)
        version = event["version"]
        assert replayed == source


# --- Order -----------------------------------------------------------------------------------------------------------


def test_cells_are_put_after_another_one_or_first(change):
    a, b = change.fill("a b")
    change.insert("c", after=a)
    change.insert("d", after=None)
    assert change.sources() == "d a c b"
    with pytest.raises(NotFound):
        change.insert("e", after=uuid.uuid4())


@pytest.mark.parametrize("after", ["first", "middle", "nothing"])
def test_many_inserts_at_one_place_keep_their_order(change, after):
    first, second = change.fill("a b")
    place = {"first": first, "middle": first, "nothing": None}[after]
    made: list[uuid.UUID] = []
    for number in range(300):
        before = made[-1] if after == "middle" and made else place  # each after the last one, or all at one place
        made.append(uuid.uuid4())
        services.insert_cell(
            change.notebook_id, made[-1], after=before, cell_type="markdown", author=change.author,
            operation_id=uuid.uuid4(), source=str(number),
        )  # fmt: skip
    expected = made if after == "middle" else made[::-1]
    start = [first] if after != "nothing" else []
    assert change.order() == [*start, *expected, *([second] if after != "nothing" else [first, second])]


def test_moving_back_and_forth_closes_gaps_and_renumbers(change):
    a, b, c = change.fill("a b c")
    for _ in range(100):
        change.move(c, after=a)
        change.move(b, after=a)
    assert change.sources() == "a b c"
    assert len(set(Cell.objects.filter(notebook_id=change.notebook_id).values_list("position", flat=True))) == 3


def test_several_cells_move_in_their_present_order(change):
    a, b, c, d = change.fill("a b c d")
    change.move(c, a, after=d)
    assert change.sources() == "b d a c"
    change.move(d, c, after=None)
    assert change.sources() == "d c b a"


def test_a_cell_cannot_move_behind_itself(change):
    a, b = change.fill("a b")
    with pytest.raises(BadRequest):
        change.move(a, b, after=b)
    assert change.sources() == "a b"


@pytest.mark.django_db(transaction=True)
def test_inserts_at_one_place_at_once_all_find_room(change):
    first = change.insert("first")
    assert in_threads(6, lambda number: [change.insert(f"{number}.{i}", after=first) for i in range(5)]) == []
    assert len(change.order()) == 31


def test_random_structural_changes_agree_with_a_list(change):
    chance = random.Random(3)
    model: list[uuid.UUID] = []
    for _ in range(250):
        kind = chance.choice("iiimmd") if model else "i"
        after = chance.choice([None, *model])
        at = model.index(after) + 1 if after else 0
        if kind == "i":
            model.insert(at, change.insert("", after=after))
        elif kind == "d":
            gone = chance.choice(model)
            change.delete(gone)
            model.remove(gone)
        else:
            moving = [cell for cell in model if chance.random() < 0.3 and cell != after]
            if not moving:
                continue
            change.move(*moving, after=after)
            model = [cell for cell in model if cell not in moving]
            at = model.index(after) + 1 if after else 0
            model[at:at] = moving
        assert change.order() == model


# --- The bin and undo ------------------------------------------------------------------------------------------------


def test_a_deleted_cell_is_out_of_the_notebook_and_its_row_stays(change):
    a, b = change.fill("a b")
    change.delete(a)
    assert change.sources() == "b"
    assert Cell.objects.get(pk=a).deleted_at is not None
    with pytest.raises(NotFound):
        change.edit(a, 1, source="x")
    with pytest.raises(NotFound):
        change.delete(a)


@pytest.mark.parametrize("cells", ["a", "c", "e", "a b", "b d", "a b c d e"])
def test_undo_puts_deleted_cells_back_where_they_were_and_redo_takes_them_again(change, cells):
    ids = dict(zip("abcde", change.fill("a b c d e"), strict=True))
    operation = uuid.uuid4()
    change.delete(*(ids[name] for name in cells.split()), operation=operation)
    without = change.sources()
    undone = change.undo(operation)
    assert change.sources() == "a b c d e"
    redone = change.undo(undone)
    assert change.sources() == without
    change.undo(redone)
    assert change.sources() == "a b c d e"


@pytest.mark.parametrize(
    ("cells", "after"), [("a b", "d"), ("d e", None), ("a c e", "b"), ("b", None), ("a b c d", "e")]
)
def test_undo_of_a_move_restores_the_order_and_redo_moves_again(change, cells, after):
    ids = dict(zip("abcde", change.fill("a b c d e"), strict=True))
    operation = uuid.uuid4()
    change.move(*(ids[name] for name in cells.split()), after=ids[after] if after else None, operation=operation)
    moved = change.sources()
    undone = change.undo(operation)
    assert change.sources() == "a b c d e"
    change.undo(undone)
    assert change.sources() == moved


def test_undo_of_a_move_of_cells_that_stood_close_keeps_their_order(change):
    """Cells that were inserted at one place have next to no room between them."""
    a, z = change.fill("a z")
    for name in "dcb":
        change.insert(name, after=a)
    for _ in range(12):
        change.insert("x", after=change.order()[1])
    before = change.order()
    operation = uuid.uuid4()
    change.move(*before[1:6], after=z, operation=operation)
    change.undo(operation)
    assert change.order() == before


def test_undo_of_a_delete_after_others_took_the_place_puts_the_cells_next_to_it_in_order(change):
    ids = change.fill("a b c d")
    operation = uuid.uuid4()
    change.delete(ids[1], ids[2], operation=operation)
    for _ in range(60):  # closes the gap: the old places are taken or renumbered
        change.insert("x", after=ids[0])
    change.undo(operation)
    order = change.order()
    assert order.index(ids[0]) < order.index(ids[1]) < order.index(ids[2]) < order.index(ids[3])


def test_undo_of_an_insert_deletes_and_redo_brings_the_same_cell_back(change):
    operation = uuid.uuid4()
    change.fill("a b")
    made = change.insert("c", after=None, operation=operation)
    undone = change.undo(operation)
    assert change.sources() == "a b"
    change.undo(undone)
    assert (change.sources(), change.order()[0]) == ("c a b", made)


@pytest.mark.parametrize(
    ("fields", "old"),
    [
        ({"disabled": True}, {"disabled": False}),
        ({"code_hidden": True}, {"code_hidden": False}),
        ({"type": "sql", "result_name": "rows"}, {"type": "python", "result_name": ""}),
    ],
)
def test_undo_of_an_update_sets_the_old_values(change, fields, old):
    cell, operation = change.insert("x"), uuid.uuid4()
    change.update(cell, operation=operation, **fields)
    assert {name: getattr(Cell.objects.get(pk=cell), name) for name in fields} == fields
    undone = change.undo(operation)
    assert {name: getattr(Cell.objects.get(pk=cell), name) for name in old} == old
    change.undo(undone)
    assert {name: getattr(Cell.objects.get(pk=cell), name) for name in fields} == fields


def test_an_undo_that_no_longer_fits_is_a_conflict_and_changes_nothing(change, notebook):
    inserted, moved = uuid.uuid4(), uuid.uuid4()
    a, b = change.fill("a b")
    c = change.insert("c", operation=inserted)
    change.move(a, after=c, operation=moved)
    change.delete(a, c)
    for operation in (inserted, moved):
        with pytest.raises(Conflict):
            change.undo(operation)
    assert change.sources() == "b"
    with pytest.raises(NotFound):
        change.undo(uuid.uuid4())


def test_a_retried_undo_happens_once(change):
    operation, new = uuid.uuid4(), uuid.uuid4()
    change.fill("a b")
    change.insert("c", operation=operation)
    change.undo(operation, new=new)
    change.undo(operation, new=new)
    assert change.sources() == "a b"
    assert Change.objects.filter(operation_id=new).count() == 1


# --- Fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"disabled": 1}, {"disabled": "true"}, {"code_hidden": None}, {"type": ["python"]}, {"type": "PYTHON"},
        {"result_name": "a b"}, {"result_name": "class"}, {"result_name": "_x"}, {"result_name": "x" * 101},
        {"result_name": 5}, {"connection": "nothing"}, {"connection": str(uuid.uuid4())}, {"source": "x"},
        {"position": 4}, {},
    ],
)  # fmt: skip
def test_a_field_that_is_unknown_or_wrong_is_refused_by_name(change, fields):
    cell = change.insert("x")
    with pytest.raises(BadRequest) as refused:
        change.update(cell, **fields)
    assert next(iter(fields), "none given") in refused.value.message


def test_a_connection_of_somebody_else_cannot_be_chosen(change, owner):
    stranger = get_user_model().objects.create_user("stranger")
    theirs = Connection.objects.create(owner=stranger, name="x", driver="postgresql", secret=b"")
    everyones = Connection.objects.create(owner=None, name="x", driver="postgresql", secret=b"")
    cell = change.insert("select 1", cell_type="sql")
    with pytest.raises(BadRequest, match="connection"):
        change.update(cell, connection=str(theirs.pk))
    change.update(cell, connection=str(everyones.pk))
    assert Cell.objects.get(pk=cell).connection_id == everyones.pk


def test_deleting_a_connection_edits_the_cells_that_used_it(change, owner, notebook):
    mine = Connection.objects.create(owner=owner, name="x", driver="postgresql", secret=b"")
    used, binned = (change.insert("select 1", cell_type="sql", connection=mine.pk) for _ in range(2))
    change.delete(binned)
    services.update_notebook(
        notebook.pk, {"connection": str(mine.pk)}, author=change.author, operation_id=uuid.uuid4()
    )
    services.delete_connection(mine, author=change.author)
    assert not Connection.objects.filter(pk=mine.pk).exists()
    for cell in Cell.objects.filter(pk__in=[used, binned]):
        assert (cell.connection_id, cell.source_hash) == (None, cell.current_hash())
    assert Cell.objects.get(pk=used).version == 2
    notebook.refresh_from_db()
    assert notebook.connection_id is None


def test_text_has_no_names_whatever_it_was_before(change, notebook):
    cell = change.insert("x = len(y)")
    services.analyse_pending(notebook.pk)
    found = Cell.objects.get(pk=cell)
    assert (found.definitions, found.references, found.builtins_used) == (["x"], ["y"], ["len"])
    change.update(cell, type="markdown")
    facts = Cell.objects.select_related("last_run").get(pk=cell).facts()
    assert (facts.definitions, facts.references, facts.errors) == (frozenset(), frozenset(), ())


def test_names_follow_an_edit_once_and_take_no_number(change, notebook):
    cell = change.insert("x = y")
    told = services.analyse_pending(notebook.pk)
    assert [(event["definitions"], event["references"]) for event in told] == [(["x"], ["y"])]
    assert services.analyse_pending(notebook.pk) == []
    change.edit(cell, 1, source="z = 1")
    assert services.analyse_pending(notebook.pk)[0]["definitions"] == ["z"]
    notebook.refresh_from_db()
    assert notebook.seq == 2


def test_a_notebook_is_renamed_and_its_run_mode_set(change, notebook):
    who = {"author": change.author}
    services.rename_notebook(notebook.pk, "  Sales\n2026 ", operation_id=uuid.uuid4(), **who)
    services.update_notebook(notebook.pk, {"run_mode": "lazy"}, operation_id=uuid.uuid4(), **who)
    notebook.refresh_from_db()
    assert (notebook.name, notebook.run_mode, notebook.revision) == ("Sales 2026", "lazy", 2)
    for wrong in ({"run_mode": "fast"}, {"name": "x"}, {}, {"connection": "x"}):
        with pytest.raises(BadRequest):
            services.update_notebook(notebook.pk, wrong, operation_id=uuid.uuid4(), **who)


def test_a_notebook_cannot_have_more_cells_than_its_limit(change, settings):
    settings.NOTEBOOK_MAX_CELLS = 2
    change.fill("a b")
    with pytest.raises(TooLarge):
        change.insert("c")


# --- What is told, what it costs -------------------------------------------------------------------------------------


def test_a_change_is_announced_after_its_commit(change, monkeypatch, django_capture_on_commit_callbacks):
    told: list[tuple[int, str]] = []
    monkeypatch.setattr(events, "announce", lambda _, seq, found: told.append((seq, found[0]["type"])))
    with django_capture_on_commit_callbacks(execute=True):
        cell = change.insert("x")
        change.edit(cell, 1, source="y")
        assert told == []
    assert told == [(1, "cell.inserted"), (2, "cell.edited")]


def test_a_change_that_is_rolled_back_is_not_announced(change, monkeypatch, django_capture_on_commit_callbacks):
    told: list[int] = []
    monkeypatch.setattr(events, "announce", lambda _, seq, found: told.append(seq))
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(Conflict), transaction.atomic():
        cell = change.insert("x")
        change.edit(cell, 9, source="y")
    assert told == []


def test_what_happened_since_a_number_is_in_its_order(change, notebook):
    first = change.insert("a")
    change.edit(first, 1, source="b")
    change.delete(first)
    since = reading.changes_since(notebook.pk, 1, 10)
    assert [(event["seq"], event["type"]) for event in since or []] == [(2, "cell.edited"), (3, "cell.deleted")]
    assert reading.changes_since(notebook.pk, 0, 2) is None


def many_cells(notebook: Notebook, count: int) -> list[uuid.UUID]:
    rows = [
        Cell(notebook=notebook, position=position, source=f"x{position} = 1")
        for position in positions.spread(count)
    ]
    for row in rows:
        row.source_hash = row.analysis_hash = row.current_hash()
    return [row.pk for row in Cell.objects.bulk_create(rows, batch_size=200)]


def costs(owner, count: int) -> dict[str, int]:
    """Queries of each service in a notebook of `count` cells."""
    notebook = Notebook.objects.create(owner=owner, name=f"{count} cells")
    change, cells = Changes(notebook.pk, Author.of(owner)), many_cells(notebook, count)
    middle, other, operation = cells[count // 2], cells[1], uuid.uuid4()
    steps = {
        "edit": lambda: change.edit(middle, 1, source="y"),
        "conflict": lambda: pytest.raises(Conflict, change.edit, middle, 1, source="y"),
        "insert": lambda: change.insert("z", after=middle),
        "insert first": lambda: change.insert("z", after=None),
        "move": lambda: change.move(middle, after=other),
        "update": lambda: change.update(middle, disabled=True),
        "delete": lambda: change.delete(middle, operation=operation),
        "undo": lambda: change.undo(operation),
        "rename": lambda: services.rename_notebook(
            notebook.pk, "new", author=change.author, operation_id=uuid.uuid4()
        ),
        "analyse": lambda: services.analyse_pending(notebook.pk),
        "states": lambda: reading.states_now(notebook.pk),
        "documents": lambda: reading.cell_documents(notebook.pk, states=reading.states_now(notebook.pk)),
    }
    return {name: _queries(step) for name, step in steps.items()}


def _queries(step: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        step()
    return len(captured)


def test_a_change_costs_as_many_queries_in_a_large_notebook_as_in_a_small_one(owner):
    small, large = costs(owner, 10), costs(owner, 1_000)
    assert small == large
    assert max(small.values()) <= 20, small


def test_no_service_reads_the_sources_of_other_cells(owner):
    notebook = Notebook.objects.create(owner=owner, name="n")
    change, cells = Changes(notebook.pk, Author.of(owner)), many_cells(notebook, 50)
    with CaptureQueriesContext(connection) as captured:
        change.move(cells[3], after=cells[20])
        change.delete(cells[4], cells[5])
        reading.states_now(notebook.pk)
    assert not [query["sql"] for query in captured if '"source",' in query["sql"] and query["sql"].startswith("SELECT")]


def test_an_import_that_fails_in_its_last_cell_leaves_nothing(owner):
    cells = [ImportedCell(type="python", source=source) for source in ("a = 1", "b = 2", "c\x00")]
    with pytest.raises(BadRequest, match="NUL"):
        notebooks.import_notebook(owner, ImportedNotebook(name="Broken", cells=cells))
    assert not Notebook.objects.exists()
    made = notebooks.import_notebook(owner, ImportedNotebook(name="Whole", cells=cells[:2]))
    assert [cell.definitions for cell in Cell.objects.filter(notebook=made).in_order()] == [["a"], ["b"]]
