"""`manage.py import_notebooks` on the old system's files: what is stored, whose it is, what a second run does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.core.management import call_command

from notebooks_app import importing
from notebooks_app.formats import read_file
from notebooks_app.models import Cell, Connection, Notebook, Output, OutputFile
from notebooks_app.notebooks import delete_notebook, ensure_first_notebooks
from notebooks_app.reading import outputs_of
from tests.migration.conftest import DSN, NOTEBOOK_ID, PNG, cell, document, run
from tests.storage.far_sides import FullFolder

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Old = Callable[..., Path]


def import_to_owner(path: Path, *more: str) -> Any:
    return run("import_notebooks", str(path), "--owner", "owner", *more)


def stored() -> list[Any]:
    """Every row that an import writes."""
    return [
        list(Notebook.objects.order_by("pk").values()),
        list(Cell.objects.order_by("pk").values()),
        list(Output.objects.order_by("pk").values()),
        list(OutputFile.objects.order_by("pk").values()),
        list(Connection.objects.order_by("pk").values("id", "name", "owner_id")),
    ]


def test_everything_of_an_old_notebook_is_kept(owner: Any, old: Old):
    ran = import_to_owner(old(created_at="2024-01-02T03:04:05Z", updated_at="2024-02-03T04:05:06Z"))
    assert ran.failure == ran.err == ""
    made = Notebook.objects.get()
    assert (str(made.pk), made.external_id) == (NOTEBOOK_ID, "")
    assert (made.name, made.owner, made.revision) == ("Sales", owner, 42)
    assert made.created_at == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert made.updated_at == datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)
    first, query, last = made.cells.in_order()
    assert [one["code"] for one in document()["cells"]] == [first.source, query.source, last.source]
    assert (first.external_id, query.external_id) == ("c1", "")
    assert str(query.pk) == "0c5f1c1e-2f8b-4c0e-9b0a-7d1f0a1b2c3d"
    assert (first.definitions, query.references) == (["x"], ["x"])
    assert [output.kind for output in last.outputs.order_by("index")] == ["stream", "error"]
    assert first.outputs.get().data["text"] == "1\n\ttwo\r\n"


def test_the_database_becomes_an_encrypted_connection_of_the_owner_and_is_never_printed(owner: Any, old: Old):
    old()
    ran = import_to_owner(old(document("another")).parent)
    connection = Connection.objects.get()
    assert (connection.owner, connection.name, connection.dsn()) == (owner, "database of Sales", DSN)
    assert {one.connection for one in Notebook.objects.all()} == {connection}
    assert [one.connection for one in Cell.objects.filter(type="sql")] == [connection, connection]
    assert "hunter2" not in ran.out + ran.err
    assert "hunter2" not in repr(stored())


REFUSED = {
    "postgresql://localhost/my-shop": "user: missing",
    "postgresql://me:hunter2@/my-shop": "host: missing",
    "postgresql://me:hunter2@db.example:5432": "database: name one",
    "postgresql://me:hunter2@db.example/my-shop?client_encoding=utf8": "options: only",
    "postgresql+psycopg2://me:hunter2@db.example/my-shop": "driver: not one this server has",
    "mysql://me:hunter2@db.example/my-shop": "driver: not one this server has",
    "sqlite:////srv/my-shop.db": "driver: sqlite names a file of the server",
    "host=db.example password=hunter2 dbname=my-shop": "dsn: write it as",
    "postgresql://me:hunter2@db.example/my-shop?" + "x" * 3000: "dsn: longer",
    "mysql://me:hunter2@db.example/my-\nshop\ud800": "dsn: holds a control character",
}


@pytest.mark.parametrize(("dsn", "reason"), REFUSED.items())
def test_a_database_that_is_refused_here_is_kept_encrypted_and_never_used(
    owner: Any, client: Any, old: Old, tmp_path: Path, dsn: str, reason: str
):
    path = old(db_conn_string=dsn)
    ran = import_to_owner(path, "--verify")
    assert f"warning: Its database connection is kept, but cannot be used here: {reason}" in ran.out
    assert ran.failure == ""
    made, kept = Connection.objects.get(), dsn.replace("\ud800", "\ufffd")
    assert (Notebook.objects.get().connection, made.dsn(), made.driver) == (made, kept, "refused")
    with pytest.raises(ValueError, match=f"^{reason}"):
        made.usable_dsn()
    client.force_login(owner)
    shown = client.get("/api/v1/connections/").content.decode()
    assert reason in shown
    assert not any(word in ran.out + ran.err + shown + repr(stored()) for word in ("hunter2", "my-shop", "db.example"))
    for ending in ("json", "py"):
        folder = tmp_path / ending
        run("export_notebooks", "--with-dsn", "--format", ending, "--output", str(folder))
        [file] = folder.iterdir()
        back = read_file(file.name, file.read_bytes())
        assert back.dsn == (kept if ending == "json" else kept.replace("\n", "%0A"))
    assert "1 unchanged" in import_to_owner(path, "--verify").out
    Notebook.objects.update(connection=None)
    assert "the source has a database, and the notebook here has none" in import_to_owner(path, "--verify").err


def test_the_database_of_the_origins_own_script_is_kept(owner: Any, tmp_path: Path):
    path = tmp_path / "a.py"
    path.write_text("# Notebook: My Analysis\n# DB: postgresql://localhost/mydb\n\n# %% sql [c]\nSELECT 1\n")
    assert import_to_owner(path, "--verify").failure == ""
    assert Notebook.objects.get().connection == Cell.objects.get().connection == Connection.objects.get()
    assert Connection.objects.get().dsn() == "postgresql://localhost/mydb"


def test_words_in_the_place_of_a_scripts_database_are_no_connection(owner: Any, tmp_path: Path):
    path = tmp_path / "a.py"
    path.write_text("# Notebook: N\n# DB: None\n\n# %% sql [c]\nSELECT 1\n")
    assert "warning: It names a database." in import_to_owner(path, "--verify").out
    assert Connection.objects.count() == 0


def test_the_same_again_changes_nothing(owner: Any, old: Old):
    path = old()
    import_to_owner(path)
    before = stored()
    ran = import_to_owner(path)
    assert ran.out.splitlines()[-1] == "1 unchanged."
    assert stored() == before


def test_another_owner_cannot_take_a_notebook_that_is_here(owner: Any, stranger: Any, old: Old):
    path = old()
    import_to_owner(path)
    ran = run("import_notebooks", str(path), "--owner", "stranger")
    assert f"It is here already as {NOTEBOOK_ID}, and belongs to another account." in ran.err
    assert Notebook.objects.get().owner == owner


def test_an_id_that_is_no_uuid_maps_to_one_for_ever_and_is_kept(owner: Any, old: Old):
    import_to_owner(old(document("sales-2019")))
    made = Notebook.objects.get(external_id="sales-2019")
    assert made.pk == importing.notebook_id("sales-2019") == uuid.UUID("a5b6009f-6f7b-5c23-aed5-6c0d744ab55f")
    assert Cell.objects.get(external_id="c1").pk == uuid.uuid5(made.pk, "c1")


def test_a_cell_id_that_another_notebook_has_maps_to_one_of_its_own(owner: Any, old: Old):
    old()
    ran = import_to_owner(old(document("copy")).parent, "--verify")
    assert ran.failure == ""
    kept, made = Cell.objects.filter(type="sql").order_by("external_id")
    assert (str(kept.pk), kept.external_id) == ("0c5f1c1e-2f8b-4c0e-9b0a-7d1f0a1b2c3d", "")
    assert (made.pk, made.external_id) == (uuid.uuid5(made.notebook_id, str(kept.pk)), str(kept.pk))


def test_cells_without_ids_have_one_by_their_place(owner: Any, old: Old):
    path = old({"id": "n", "cells": [{"code": "x = 1"}, {"code": "y = 2"}]})
    ran = import_to_owner(path, "--verify")
    assert ran.failure == ""
    made = Notebook.objects.get()
    assert [one.pk for one in made.cells.in_order()] == [uuid.uuid5(made.pk, "#1"), uuid.uuid5(made.pk, "#2")]


def test_a_notebook_without_a_time_has_that_of_its_file(owner: Any, old: Old):
    path = old()
    os.utime(path, (1_600_000_000, 1_600_000_000))
    import_to_owner(path)
    made = Notebook.objects.get()
    assert made.created_at == made.updated_at == datetime.fromtimestamp(1_600_000_000, UTC)


# --- Whose -----------------------------------------------------------------------------------------------------------


def test_a_user_id_is_found_in_the_map_then_among_social_accounts(owner: Any, editor: Any, viewer: Any, old: Old):
    SocialAccount.objects.create(user=editor, provider="clerk", uid="user_social")
    SocialAccount.objects.create(user=editor, provider="clerk", uid="user_both")
    (mapping := old().parent / "users.csv").write_text("user_id,username\nuser_both,viewer\nuser_37U0,owner\n")
    old(document("b", user_id="user_social"))
    old(document("c", user_id="user_both"))
    ran = run("import_notebooks", str(mapping.parent), "--user-map", str(mapping))
    assert ran.out.splitlines()[-1] == "3 imported, 1 other files ignored."
    owners = {one.external_id: one.owner.username for one in Notebook.objects.all()}
    assert owners == {"": "owner", "b": "editor", "c": "viewer"}


def test_a_map_may_be_json(owner: Any, old: Old, tmp_path: Path):
    (mapping := tmp_path / "users.json").write_text('{"user_37U0": "owner"}')
    assert run("import_notebooks", str(old()), "--user-map", str(mapping)).failure == ""
    assert Notebook.objects.get().owner == owner


def test_whose_a_notebook_of_the_oldest_form_is_stands_in_its_id(owner: Any, editor: Any, old: Old, tmp_path: Path):
    (mapping := tmp_path / "users.csv").write_text("user_7,editor\n")
    old({"id": "demo-user_7", "cells": []})
    old({"id": "other", "cells": []})
    run("import_notebooks", str(tmp_path / "old"), "--user-map", str(mapping), "--owner", "owner")
    owners = {one.external_id: one.owner.username for one in Notebook.objects.all()}
    assert owners == {"demo-user_7": "editor", "other": "owner"}


def test_a_username_is_believed_only_where_the_operator_says_so(stranger: Any, old: Old):
    path = old(user_id="stranger")
    assert "Its user id 'stranger' is nobody's here" in run("import_notebooks", str(path)).err
    assert not Notebook.objects.exists()
    run("import_notebooks", str(path), "--users-by-name")
    assert Notebook.objects.get().owner == stranger


def test_a_uid_of_two_accounts_is_nobodys(owner: Any, editor: Any, old: Old):
    SocialAccount.objects.create(user=owner, provider="a", uid="user_37U0")
    SocialAccount.objects.create(user=editor, provider="b", uid="user_37U0")
    ran = run("import_notebooks", str(old()))
    assert "The user id 'user_37U0' is that of several accounts" in ran.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,owner\nb\n", "users.csv: line 2 is not `user id,username`."),
        ("a,owner\na,nobody\n", "users.csv: line 2 gives 'a' a second username."),
        ("a,nobody\n", "users.csv: there is no user 'nobody'."),
        ("{", "users.csv: not JSON"),
        ('{"a": 1}', "users.csv: each user id must have one username, as text."),
    ],
)
def test_a_bad_map_stops_the_import_before_it_begins(owner: Any, old: Old, tmp_path: Path, text: str, words: str):
    (mapping := tmp_path / "users.csv").write_text(text)
    assert run("import_notebooks", str(old()), "--user-map", str(mapping)).failure.startswith(words)
    assert not Notebook.objects.exists()


def test_the_old_demo_is_the_users_demo_where_they_have_none(owner: Any, editor: Any, old: Old):
    ensure_first_notebooks(owner)
    run("import_notebooks", str(old({"id": "demo-a", "cells": []})), "--owner", "owner")
    run("import_notebooks", str(old({"id": "blank-b", "cells": []})), "--owner", "editor")
    assert Notebook.objects.get(external_id="demo-a").kind == "normal"
    assert Notebook.objects.get(external_id="blank-b").kind == "blank"


# --- Again and again -------------------------------------------------------------------------------------------------


def test_a_source_that_changed_is_said_and_ours_is_kept(owner: Any, old: Old):
    import_to_owner(old())
    ran = import_to_owner(old(name="Renamed"))
    assert ran.out.splitlines()[-1] == "1 differs from what is here, which is kept."
    assert Notebook.objects.get().name == "Sales"


def test_update_takes_a_source_that_changed(owner: Any, old: Old):
    import_to_owner(old())
    cells = [cell("c9", "z = 3", stdout="new"), *document()["cells"][::-1]]
    path = old(name="Renamed", cells=cells, revision=43)
    ran = import_to_owner(path, "--update", "--verify")
    assert ran.failure == ""
    assert ran.out.splitlines()[-1] == "1 updated, 1 verified the same, 0 different."
    made = Notebook.objects.get()
    assert (made.name, made.revision, [one.external_id for one in made.cells.in_order()]) == (
        "Renamed",
        43,
        ["c9", "c3", "", "c1"],
    )
    assert import_to_owner(path, "--update").out.splitlines()[-1] == "1 unchanged."


def test_update_keeps_what_was_changed_or_run_here(owner: Any, old: Old):
    import_to_owner(old())
    Notebook.objects.update(seq=43)
    path = old(name="Renamed")
    ran = import_to_owner(path, "--update")
    words = "1 differs from what was edited or run here since its import, which is kept."
    assert ran.out.splitlines()[-1] == words
    assert Notebook.objects.get().name == "Sales"
    assert import_to_owner(path, "--overwrite", "--dry-run").out.splitlines()[-1] == "1 would be updated."
    assert Notebook.objects.get().name == "Sales"
    assert import_to_owner(path, "--overwrite", "--verify").out.startswith("[1/1]")
    assert Notebook.objects.get().name == "Renamed"


def test_a_notebook_in_the_bin_stays_there(owner: Any, old: Old):
    path = old()
    import_to_owner(path)
    delete_notebook(Notebook.objects.get())
    ran = import_to_owner(path)
    assert ran.out.splitlines()[-1] == "1 in the bin, and kept there."
    assert Notebook.objects.count() == 1


def test_a_dry_run_writes_nothing(owner: Any, old: Old, tmp_path: Path):
    large = [{"mime_type": "text/html", "data": "x" * 200_000, "metadata": {}}]
    ran = import_to_owner(old(cells=[cell("a", outputs=large)]), "--dry-run")
    assert ran.out.splitlines()[-1] == "1 would be imported."
    assert stored() == [[], [], [], [], []]
    assert not (tmp_path / "outputs").exists()
    import_to_owner(old())
    before = stored()
    assert import_to_owner(old(name="New"), "--dry-run", "--update").out.splitlines()[-1] == "1 would be updated."
    assert stored() == before


# --- Large outputs ---------------------------------------------------------------------------------------------------


def use_full_storage(settings: Any) -> None:
    options = settings.STORAGES["outputs"]["OPTIONS"]
    backend = f"{FullFolder.__module__}.{FullFolder.__qualname__}"
    settings.STORAGES = settings.STORAGES | {"outputs": {"BACKEND": backend, "OPTIONS": options}}


def large_document() -> dict[str, Any]:
    items = [
        {"mime_type": "image/png", "data": PNG.rstrip("=") + "A" * 400_000, "metadata": {}},
        {"mime_type": "application/vnd.plotly.v1+json", "data": {"y": list(range(50_000))}, "metadata": {"a": 1}},
        {"mime_type": "text/html", "data": "é<b>" * 100_000, "metadata": {}},
    ]
    return document("large", cells=[cell("a", stdout="line of text\n" * 50_000, outputs=items)])


def test_large_outputs_become_files_and_never_rows(owner: Any, old: Old, tmp_path: Path):
    ran = import_to_owner(old(large_document()), "--verify")
    assert ran.failure == ""
    assert OutputFile.objects.filter(is_ready=True).exclude(output=None).count() == 4
    assert max(len(json.dumps(data)) for data in Output.objects.values_list("data", flat=True)) < 150_000
    shown = outputs_of([Cell.objects.get().pk])[Cell.objects.get().pk]
    assert [list(one["files"]) for one in shown] == [
        ["text/plain"], ["image/png"], ["application/vnd.plotly.v1+json"], ["text/html"],
    ]  # fmt: skip
    assert shown[0]["cut"]["omitted_bytes"] == 650_000 - 131_072
    assert len(list((tmp_path / "outputs").rglob("*"))) == 5


def test_a_storage_that_takes_nothing_leaves_the_bytes_in_the_database(owner: Any, old: Old, settings: Any):
    use_full_storage(settings)
    ran = import_to_owner(old(large_document()), "--verify")
    assert ran.failure == ""
    assert OutputFile.objects.filter(is_ready=False, held_parts__index=0).exclude(output=None).count() == 4


def test_what_neither_storage_nor_database_take_is_no_half_notebook(owner: Any, old: Old, settings: Any):
    settings.OUTPUT_HELD_MAX_BYTES = 100
    use_full_storage(settings)
    ran = import_to_owner(old(large_document()))
    assert ran.failure == "None of 1 could be imported."
    assert "This output of 0.6 MiB was not kept" in ran.err
    assert stored()[:4] == [[], [], [], []]
    assert not Connection.objects.exists()


# --- Bad input -------------------------------------------------------------------------------------------------------


def test_each_bad_file_is_named_with_its_reason_and_the_rest_goes_on(owner: Any, old: Old, settings: Any):
    settings.NOTEBOOK_MAX_CELLS, settings.SOURCE_MAX_BYTES = 5, 1_000
    folder = old().parent
    (folder / "cut.json").write_text(json.dumps(document("cut"))[:300])
    (folder / "huge-number.json").write_text('{"id": "h", "cells": [{"code": "", "outputs": [{"data": [1e999]}]}]}')
    old(document("twice", cells=[cell("a"), cell("a")]))
    old(document("many", cells=[cell(str(number)) for number in range(6)]))
    old(document("nul", cells=[cell("a"), cell("b", "x\x00")]))
    old(document("long", cells=[cell("a"), cell("b", "x" * 1_001)]))
    (folder / "other.json").write_text('{"scripts": {}}')
    ran = import_to_owner(folder, "--verify")
    reasons = [line.split("not imported: ")[1] for line in ran.err.splitlines() if "not imported" in line]
    assert reasons[0].startswith("cut.json: line 1, character ")
    assert reasons[1:] == [
        "huge-number.json: cell 1: outputs[0].data[0]: the number is too large for JSON.",
        "cell 2: source: 1,001 bytes are more than the 1,000 that a cell may have.",
        "many.json: 6 cells are more than the 5 a notebook may have.",
        "nul.json: cell 2, line 1: a source cannot hold the character NUL.",
        "twice.json: cells 1 and 2 have the same id, 'a'.",
    ]
    assert ran.failure == "6 of 7 notebooks could not be compared."
    assert ran.out.splitlines()[-1] == (
        "1 imported, 6 failed, 1 other files ignored, 1 verified the same, 0 different."
    )
    assert [one.pk for one in Notebook.objects.all()] == [uuid.UUID(NOTEBOOK_ID)]


def test_a_million_cells_are_refused_in_words(owner: Any, tmp_path: Path):
    (path := tmp_path / "a.json").write_text('{"id": "a", "cells": [' + ",".join(["{}"] * 1_000_000) + "]}")
    ran = import_to_owner(path)
    assert "a.json: 1,000,000 cells are more than the 20,000 a notebook may have." in ran.err
    assert ran.failure == "None of 1 could be imported."


def test_a_tree_is_searched_for_every_kind_of_notebook(owner: Any, old: Old, tmp_path: Path):
    folder = old().parent
    (deep := folder / "a" / "b").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.ipynb").write_text("{")
    (deep / "script.py").write_text("# %%\nx = 1\n")
    (deep / "module.py").write_text("import os\n")
    (deep / "n.ipynb").write_text('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}')
    (deep / "readme.md").write_text("# %%")
    ran = import_to_owner(folder, "--verify")
    assert (ran.failure, ran.err) == ("", "")
    assert ran.out.splitlines()[-1] == "3 imported, 2 other files ignored, 3 verified the same, 0 different."
    assert set(Notebook.objects.values_list("name", flat=True)) == {"Sales", "script", "n"}


def test_a_folder_without_notebooks_is_said(owner: Any, tmp_path: Path):
    assert import_to_owner(tmp_path).failure == "There are no notebooks there."


def test_a_notebook_is_there_whole_or_not_at_all_when_its_last_row_fails(
    owner: Any, old: Old, monkeypatch: pytest.MonkeyPatch
):
    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("notebooks_app.import_outputs.store", fail)
    ran = import_to_owner(old())
    assert "not imported: No space left on device" in ran.err
    assert stored()[:4] == [[], [], [], []]
    assert not Connection.objects.exists()
    monkeypatch.undo()
    assert import_to_owner(old(), "--verify").failure == ""


def test_an_update_that_fails_leaves_no_connection(owner: Any, old: Old, settings: Any):
    import_to_owner(old(large_document() | {"db_conn_string": None}))
    before = stored()
    settings.OUTPUT_HELD_MAX_BYTES = 100
    use_full_storage(settings)
    ran = import_to_owner(old(large_document() | {"name": "Other"}), "--update")
    assert "This output of 0.6 MiB was not kept" in ran.err
    assert not Connection.objects.exists()
    assert stored() == before


# --- Interrupted -----------------------------------------------------------------------------------------------------

DRIVER = """
import os, signal, sys
import django
django.setup()
from django.core.management import call_command
from notebooks_app import import_outputs, importing
stop, how = int(sys.argv[1]), sys.argv[2]
store, seen = import_outputs.store, []
def store_and_stop(*args):
    store(*args)
    seen.append(1)
    if len(seen) == stop:
        os.kill(os.getpid(), getattr(signal, how))
import_outputs.store = store_and_stop
call_command("import_notebooks", sys.argv[3], "--owner", "me")
"""


@pytest.mark.parametrize(("how", "left"), [("SIGKILL", 2), ("SIGTERM", 3)])
def test_an_import_that_is_ended_leaves_whole_notebooks_and_goes_on(old: Old, tmp_path: Path, how: str, left: int):
    """In a database of its own, since the process that is killed has one of its own. SIGKILL loses the third."""
    for number in range(5):
        old(document(f"n{number}", user_id=None))
    folder = tmp_path / "old"
    environment = {
        **os.environ,
        "RILLBOOK_DATA_DIR": str(tmp_path / "data"),
        "RILLBOOK_MODE": "single",
        "DJANGO_SETTINGS_MODULE": "notebook_project.settings",
        "DATABASE_URL": "",
        "PYTHONPATH": os.getcwd(),
    }

    def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    assert manage("manage.py", "migrate", "--verbosity", "0").returncode == 0
    create = "from django.contrib.auth import get_user_model as users; users().objects.create_user('me')"
    assert manage("manage.py", "shell", "--command", create).returncode == 0
    ended = manage("-c", DRIVER, "3", how, str(folder))
    assert ended.returncode == (-signal.SIGKILL if how == "SIGKILL" else 1), ended.stderr
    compared = manage("manage.py", "import_notebooks", str(folder), "--owner", "me", "--verify", "--dry-run")
    assert f"{left} unchanged, {5 - left} would be imported, " in compared.stdout
    assert f"{left} verified the same, {5 - left} different." in compared.stdout
    went_on = manage("manage.py", "import_notebooks", str(folder), "--owner", "me", "--verify")
    assert went_on.returncode == 0, went_on.stderr
    assert f"{5 - left} imported, {left} unchanged, 5 verified the same, 0 different." in went_on.stdout


def test_the_commands_help_says_when_it_fails(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        call_command("import_notebooks", "--help")
    assert "Exits with 1 where all failed" in " ".join(capsys.readouterr().out.split())
