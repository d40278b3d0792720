"""What an old file system and old files do to an import: each is named with its reason, the rest goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from notebooks_app.management.commands import import_notebooks
from notebooks_app.models import Cell, Connection, Notebook
from tests.migration.conftest import Ran, cell, document, run

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Old = Callable[..., Path]


def import_(*paths: Path | str) -> Ran:
    return run("import_notebooks", *map(str, paths), "--owner", "owner")


# --- The file system -------------------------------------------------------------------------------------------------


def test_links_that_lead_back_are_said_and_not_followed(owner: Any, old: Old):
    folder = old().parent
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "self.json").symlink_to("self.json")
    (folder / "nowhere.json").symlink_to(folder / "missing")
    ran = import_(folder)
    assert f"{folder}/again: a link to a folder, which is not followed" in ran.out
    assert "self.json: not imported: Too many levels of symbolic links" in ran.err
    assert "nowhere.json: not imported: No such file or directory" in ran.err
    assert ran.out.splitlines()[-1] == "1 imported, 2 failed."
    assert import_(folder / "again").out.splitlines()[-1] == "1 unchanged, 2 failed."
    assert Notebook.objects.count() == 1


def test_a_pipe_or_a_device_is_refused_and_never_waited_for(owner: Any, old: Old):
    folder = old().parent
    os.mkfifo(folder / "pipe.json")
    (folder / "zero.ipynb").symlink_to("/dev/zero")
    ran = import_(folder)
    assert "pipe.json: not imported: pipe.json: it is not an ordinary file." in ran.err
    assert "zero.ipynb: not imported: zero.ipynb: it is not an ordinary file." in ran.err
    assert ran.out.splitlines()[-1] == "1 imported, 2 failed."


def test_a_folder_that_cannot_be_read_is_a_failure(owner: Any, old: Old, monkeypatch: pytest.MonkeyPatch):
    """Tests may run as root, whom no mode keeps out: the refusal is the file system's in all but name."""
    folder = old().parent
    (folder / "secret").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    ran = import_(folder)
    assert f"    {folder}/secret: it cannot be read: Permission denied" in ran.err
    assert ran.out.splitlines()[-1] == "1 imported, 1 failed."


def test_a_folder_that_vanishes_meanwhile_fails_its_files_alone(
    owner: Any, old: Old, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (going := tmp_path / "going").mkdir()
    (going / "a.json").write_text(json.dumps(document("a")))
    find = import_notebooks.files_of

    def find_and_lose(paths: list[str]) -> Any:
        found = find(paths)
        shutil.rmtree(going)
        return found

    monkeypatch.setattr(import_notebooks, "files_of", find_and_lose)
    ran = import_(going, old())
    assert "a.json: not imported: No such file or directory" in ran.err
    assert ran.out.splitlines()[-1] == "1 imported, 1 failed."


def test_names_that_no_terminal_or_database_takes_are_shown_escaped(owner: Any, old: Old, tmp_path: Path):
    folder = old().parent
    raw = os.path.join(os.fsencode(folder), b"caf\xe9-\x1b[2J.json")
    with open(raw, "w") as file:
        json.dump({key: value for key, value in document().items() if key != "id"}, file)
    ran = import_(folder)
    assert (ran.failure, ran.err) == ("", "")
    assert "caf\\udce9-\\x1b[2J.json: imported as" in ran.out
    assert Notebook.objects.exclude(external_id="").get().external_id == "caf\ufffd-\x1b[2J"
    assert import_(folder).out.splitlines()[-1] == "2 unchanged."


def test_a_tree_of_other_files_alone_is_said_to_hold_no_notebooks(owner: Any, tmp_path: Path):
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "module.py").write_text("import os\n")
    assert import_(tmp_path).failure == "There are no notebooks there."


# --- Ids and faults --------------------------------------------------------------------------------------------------


def test_two_files_of_one_id_that_disagree_are_never_taken_in_turn(owner: Any, old: Old):
    folder = old().parent
    (folder / "copy").mkdir()
    (folder / "copy" / "b.json").write_text(json.dumps(document(name="Another")))
    (folder / "copy" / "same.json").write_text(json.dumps(document()))
    for more in ([], ["--update"], ["--overwrite"]):
        ran = run("import_notebooks", str(folder), "--owner", "owner", *more)
        assert "b.json: not imported: It has the same id as" in ran.err
        assert Notebook.objects.get().name == "Sales"
    assert ran.out.splitlines()[-1] == "2 unchanged, 1 failed."


def test_a_notebook_that_is_refused_leaves_no_connection_and_a_dry_run_says_so_too(owner: Any, old: Old, settings: Any):
    settings.SOURCE_MAX_BYTES = 100
    path = old(cells=[cell("a"), cell("b", "x" * 101)])
    for more in (["--dry-run"], []):
        ran = run("import_notebooks", str(path), "--owner", "owner", *more)
        assert "cell 2: source: 101 bytes are more than the 100" in ran.err
        assert ran.failure == "None of 1 could be imported."
    assert not Connection.objects.exists() and not Notebook.objects.exists()


def test_a_fault_of_ours_stops_no_other_notebook(
    owner: Any, old: Old, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    old(document("bad"))
    from notebooks_app import import_rows

    build = import_rows.build

    def stumble(notebook: Any, imported: Any, **more: Any) -> Any:
        if imported.id == "bad":
            raise TypeError("secret hunter2")
        return build(notebook, imported, **more)

    monkeypatch.setattr(import_rows, "build", stumble)
    ran = import_(old().parent)
    assert "bad.json: not imported: a fault of Rillbook itself (TypeError); the log says where" in ran.err
    assert "hunter2" not in ran.err + ran.out
    assert "nobody thought of" in caplog.text
    assert ran.out.splitlines()[-1] == "1 imported, 1 failed."


def test_a_full_database_is_said_in_its_own_words(owner: Any, old: Old, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: Any) -> None:
        raise OperationalError("database or disk is full\nDETAIL: a row")

    monkeypatch.setattr("notebooks_app.import_outputs.store", fail)
    ran = import_(old())
    assert "not imported: the database: database or disk is full\n" in ran.err
    assert not Notebook.objects.exists() and not Cell.objects.exists()


def test_an_edit_that_comes_between_is_kept(owner: Any, old: Old, monkeypatch: pytest.MonkeyPatch):
    """Somebody edits after the import has looked and before it writes."""
    import_(old())
    from notebooks_app import import_outputs

    def edit(*args: Any) -> None:
        Notebook.objects.update(seq=99)

    monkeypatch.setattr(import_outputs, "keep", edit)
    ran = run("import_notebooks", str(old(name="New")), "--owner", "owner", "--update")
    assert "not imported: It was changed or run here just now, and is kept." in ran.err
    assert (Notebook.objects.get().name, Cell.objects.count()) == ("Sales", 3)


# --- Files of all kinds ----------------------------------------------------------------------------------------------


def test_files_of_windows_and_of_old_encodings_are_read_or_refused_in_words(owner: Any, tmp_path: Path):
    body = "x = 'é'\n# %%\ny = 2\n"
    (tmp_path / "bom.py").write_bytes(b"\xef\xbb\xbf# %%\r\n" + body.replace("\n", "\r\n").encode())
    (tmp_path / "declared.py").write_bytes(b"# -*- coding: latin-1 -*-\n# %%\n" + body.encode("latin-1"))
    (tmp_path / "undeclared.py").write_bytes(b"# %%\n" + body.encode("latin-1"))
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(document("bom")).encode())
    latin = json.dumps(document("l", name="é"), ensure_ascii=False).encode("latin-1")
    (tmp_path / "latin.json").write_bytes(latin)
    ran = import_(tmp_path)
    assert "undeclared.py: line 2 is not UTF-8." in ran.err
    assert f"latin.json: byte {latin.index(b'\xe9')} is not UTF-8." in ran.err
    assert ran.out.splitlines()[-1] == "3 imported, 2 failed."
    for name in ("bom", "declared"):
        made = Notebook.objects.get(name=name)
        assert [one.source for one in made.cells.in_order()] == ["x = 'é'", "y = 2"]


def test_numbers_and_characters_that_a_jupyter_file_loses_are_said(owner: Any, tmp_path: Path):
    data = {"application/json": [1.5, "NAN", "BIG"], "text/plain": "a\x00b"}
    output = {"output_type": "display_data", "data": data, "metadata": {}}
    code = {"cell_type": "code", "metadata": {}, "source": "x", "execution_count": None, "outputs": [output]}
    text = json.dumps({"nbformat": 4, "nbformat_minor": 2, "metadata": {}, "cells": [code]})
    (path := tmp_path / "n.ipynb").write_text(text.replace('"NAN"', "NaN").replace('"BIG"', "1e999"))
    ran = import_(path)
    assert "warning: 2 numbers that JSON does not have (NaN) are read as null." in ran.out
    assert "warning: It holds the character NUL, which cannot be kept" in ran.out
    assert Cell.objects.get().outputs.get().data == {"application/json": [1.5, None, None], "text/plain": "a\ufffdb"}


def test_the_state_of_many_widgets_is_kept_whole(owner: Any, tmp_path: Path):
    state = {f"w{at}": {"model_name": "IntSlider", "state": {"value": at, "more": [at] * 5}} for at in range(30_000)}
    widgets = {"application/vnd.jupyter.widget-state+json": {"version_major": 2, "version_minor": 0, "state": state}}
    made = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"widgets": widgets}, "cells": []}
    (path := tmp_path / "n.ipynb").write_text(json.dumps(made))
    import_(path)
    run("export_notebooks", "--output", str(tmp_path / "out"), "--format", "ipynb")
    [written] = (tmp_path / "out").iterdir()
    assert json.loads(written.read_text())["metadata"]["widgets"] == widgets


@pytest.mark.parametrize("minor", [0, 1, 2, 3, 4, 5])
def test_every_minor_version_is_kept_and_the_same_again_changes_nothing(owner: Any, tmp_path: Path, minor: int):
    text = {
        "cell_type": "markdown",
        "metadata": {"slideshow": {"slide_type": "slide"}},
        "source": ["![](attachment:a.png)"],
        "attachments": {"a.png": {"image/png": "aGk="}},
    }
    raw = {"cell_type": "raw", "metadata": {"format": "text/restructuredtext"}, "source": "x"}
    cells = [one | ({"id": f"c{at}"} if minor == 5 else {}) for at, one in enumerate([text, raw])]
    made = {"nbformat": 4, "nbformat_minor": minor, "metadata": {"vendor": {"x": [1]}}, "cells": cells}
    (path := tmp_path / "n.ipynb").write_text(json.dumps(made))
    for words in ("1 imported", "1 unchanged"):
        ran = run("import_notebooks", str(path), "--owner", "owner", "--verify")
        assert (ran.failure, ran.out.splitlines()[-1]) == ("", f"{words}, 1 verified the same, 0 different.")
    run("export_notebooks", "--output", str(tmp_path / "out"), "--format", "ipynb")
    [written] = (tmp_path / "out").iterdir()
    after = json.loads(written.read_text())
    assert after["metadata"]["vendor"] == {"x": [1]}
    assert after["cells"][0]["attachments"] == text["attachments"]
    assert after["cells"][0]["metadata"]["slideshow"] == {"slide_type": "slide"}
    assert (after["cells"][1]["cell_type"], after["cells"][1]["metadata"]["format"]) == ("raw", "text/restructuredtext")


# --- What it costs ---------------------------------------------------------------------------------------------------


def queries_of(path: Path) -> int:
    with CaptureQueriesContext(connection) as captured:
        ran = import_(path)
    assert ran.failure == ""
    return len(captured)


def test_queries_grow_by_the_batch_and_not_by_the_cell(owner: Any, old: Old):
    """A cell of a DynamoDB table has a time of its own, which bulk_create cannot set."""

    def made(name: str, count: int) -> Path:
        cells = [cell(f"c{at}", f"x{at} = {at}", stdout="x", updated_at="2024-02-03T04:05:06Z") for at in range(count)]
        return old(document(name, cells=cells))

    few, many = queries_of(made("few", 10)), queries_of(made("many", 1_000))
    assert few <= 25
    assert many - few <= 40
    assert set(Cell.objects.values_list("updated_at__year", flat=True)) == {2024}


def test_files_without_ids_are_known_by_one_query_for_all(owner: Any, tmp_path: Path):
    (folder := tmp_path / "n").mkdir()
    for at in range(12):
        (folder / f"{at}.py").write_text(f"# %%\nx = {at}\n")
    import_(folder)
    with CaptureQueriesContext(connection) as captured:
        assert import_(folder).out.splitlines()[-1] == "12 unchanged."
    assert sum("sha256" in one["sql"] for one in captured) == 1


BIG = """
import json, resource, sys
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth import get_user_model
get_user_model().objects.create_user("me")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
call_command("import_notebooks", sys.argv[1], "--owner", "me", "--verify")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.soak
def test_ten_thousand_cells_of_ten_kilobytes_take_a_few_times_their_file(tmp_path: Path):
    """In a process of its own, whose memory is its own."""
    item = {"mime_type": "text/html", "data": "<b>1</b>\n" * 1_150, "metadata": {}}
    cells = [cell(f"c{at}", f"x{at} = {at}", outputs=[item], writes=[f"x{at}"]) for at in range(10_000)]
    (path := tmp_path / "big.json").write_text(json.dumps(document("big", cells=cells)))
    environment = {
        **os.environ,
        "RILLBOOK_DATA_DIR": str(tmp_path / "data"),
        "DJANGO_SETTINGS_MODULE": "notebook_project.settings",
        "DATABASE_URL": "",
        "PYTHONPATH": os.getcwd(),
    }
    command = [sys.executable, "-c", BIG, str(path)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=500)
    *_, summary, more_kib = ran.stdout.splitlines()
    assert summary == "1 imported, 1 verified the same, 0 different."
    assert int(more_kib) * 1024 < 8 * path.stat().st_size
