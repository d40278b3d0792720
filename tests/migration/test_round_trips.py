"""Any notebook goes out of the database in each format, in again, and is the same (hypothesis)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notebooks_app import exporting
from notebooks_app.formats import ImportedCell, ImportedNotebook
from notebooks_app.formats.legacy_outputs import error_output
from notebooks_app.models import Notebook
from notebooks_app.notebooks import import_notebook
from tests.migration.conftest import PNG, TABLE, run

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LINES = st.lists(
    st.sampled_from(["x = 1", "", "# %% sql", "'''", "  y", "%%sql", "# DB: postgresql://a:b@c/d", "é\u2028"])
)
SOURCES = st.one_of(
    LINES.map("\n".join), st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=40)
)
# Control characters but \n and \t are a terminal's: streams are kept as it shows them.
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], include_characters="\n\t"), min_size=1, max_size=60
)
NUMBERS = st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False, width=32))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "b c", "é"]), VALUES, max_size=2)
LARGE = st.sampled_from(["x" * 3_000, "ab\n" * 2_000, "é" * 1_500])
BUNDLES = st.fixed_dictionaries(
    {},
    optional={
        "text/plain": TEXTS | LARGE,
        "text/html": TEXTS | LARGE,
        "image/png": st.just(PNG),
        "image/svg+xml": TEXTS,
        "application/json": st.just(TABLE) | st.dictionaries(TEXTS, VALUES, min_size=1, max_size=2),
        "application/vnd.plotly.v1+json": st.just({"data": [{"y": list(range(1_000))}]}) | OBJECTS,
        "application/vnd.vegalite.v5+json": OBJECTS,
    },
)
STREAMS = st.builds(
    lambda name, text: {"kind": "stream", "name": name, "text": text, "cut": None, "files": {}},
    st.sampled_from(["stdout", "stderr"]),
    TEXTS | LARGE,
)
DISPLAYS = st.builds(
    lambda kind, data, metadata: {
        "kind": kind, "data": data, "metadata": metadata, "display_id": None, "files": {},
    },
    st.sampled_from(["display_data", "execute_result"]),
    BUNDLES.filter(bool),
    OBJECTS,
)  # fmt: skip
ERRORS = st.builds(lambda text: error_output(f"Traceback\nNameError: {text}"), TEXTS.filter(str.strip))


def numbered(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbouring streams of one name are one output wherever they are written."""
    kept = [
        one
        for at, one in enumerate(outputs)
        if at == 0 or one["kind"] != "stream" or outputs[at - 1].get("name") != one["name"]
    ]
    return [{**one, "index": at} for at, one in enumerate(kept)]


CELLS = st.builds(
    lambda kind, source, outputs, count, name, hidden, disabled: ImportedCell(
        type=kind,
        source=source,
        outputs=[] if kind == "markdown" else numbered(outputs),
        execution_count=None if kind == "markdown" else count,
        result_name=name if kind == "sql" else "",
        code_hidden=hidden,
        disabled=disabled,
    ),
    st.sampled_from(["python", "sql", "markdown"]),
    SOURCES,
    st.lists(st.one_of(STREAMS, DISPLAYS, ERRORS), max_size=3),
    st.none() | st.integers(0, 999),
    st.sampled_from(["", "frame"]),
    st.booleans(),
    st.booleans(),
)
NOTEBOOKS = st.builds(
    ImportedNotebook,
    name=st.sampled_from(["Sales", "a/b", "..", "Ü 2", "x" * 200, "con: 1?"]),
    cells=st.lists(CELLS, max_size=4),
)


def said(found: ImportedNotebook, ending: str) -> tuple[Any, ...]:
    """What a format promises to keep."""
    fields = ["type", "source", "result_name", "code_hidden", "disabled"]
    fields += [] if ending == "py" else ["outputs", "execution_count"]
    return found.name, [[getattr(cell, name) for name in fields] for cell in found.cells]


def through_files(made: ImportedNotebook, ending: str) -> None:
    owner, _ = get_user_model().objects.get_or_create(username="trip")
    Notebook.objects.filter(owner=owner).delete()
    before = exporting.load(import_notebook(owner, made))
    with tempfile.TemporaryDirectory() as folder:
        written = run("export_notebooks", "--output", folder, "--format", ending, "--owner", "trip")
        assert (written.failure, written.out.splitlines()[-1]) == ("", "1 written.")
        [path] = Path(folder).iterdir()
        Notebook.objects.filter(owner=owner).delete()
        ran = run("import_notebooks", str(path), "--owner", "trip", "--verify")
        assert (ran.failure, ran.err) == ("", "")
        again = run("import_notebooks", str(path), "--owner", "trip", "--verify", "--update")
        assert again.out.splitlines()[-1] == "1 unchanged, 1 verified the same, 0 different."
    after = exporting.load(Notebook.objects.get(owner=owner))
    assert said(after, ending) == said(before, ending)
    if ending == "json":
        assert (after.id, [cell.id for cell in after.cells]) == (before.id, [cell.id for cell in before.cells])
        assert (after.created_at, after.updated_at) == (before.created_at, before.updated_at)


@pytest.mark.parametrize("ending", ["json", "ipynb", "py"])
def test_any_notebook_of_the_database_is_the_same_after_its_way_through_files(owner: Any, ending: str):
    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(NOTEBOOKS)
    def check(made: ImportedNotebook) -> None:
        through_files(made, ending)

    with override_settings(OUTPUT_INLINE_LIMIT=1_000):
        check()
