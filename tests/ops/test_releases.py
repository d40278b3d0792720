"""One release back, and old servers beside a migration: allowed exactly as far as docs/operations.md (Deploy) says."""

from __future__ import annotations

import io
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.db import DatabaseError, connections
from django.db.migrations.recorder import MigrationRecorder

from kernels_app import doctor, surroundings
from kernels_app.management.commands import serve
from kernels_app.schema_state import database_troubles
from tests.ops.apart import apart, empty_database
from tests.servers import ROOT

pytestmark = pytest.mark.django_db

NEWEST = max(path.stem for path in (ROOT / "notebooks_app/migrations").glob("0*.py"))

ADDS = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("notebooks_app", "{before}")]
    operations = [migrations.AddField("cell", "{name}", models.TextField(null=True)), {more}]
"""
FAILS = 'migrations.RunSQL("SELECT no_such_column FROM notebooks_app_cell", migrations.RunSQL.noop)'


class Releases:
    """The code of this release and of those to come, which differ by their migrations."""

    def __init__(self, settings: Any, folder: Path) -> None:
        self.settings, self.folder = settings, folder

    def deploy(self, *names: str, failing: str = "") -> None:
        """From here on this process is of the release with these migrations beside the present ones."""
        package = self.folder / f"release_{uuid.uuid4().hex}"  # Python keeps modules by their names
        shutil.copytree(ROOT / "notebooks_app/migrations", package, ignore=shutil.ignore_patterns("__pycache__"))
        before = max(path.stem for path in package.glob("0*.py"))
        for name in names:
            made = f"{int(before[:4]) + 1:04}_{name}"
            more = FAILS if name == failing else ""
            (package / f"{made}.py").write_text(ADDS.format(before=before, name=name, more=more), encoding="utf-8")
            before = made
        self.settings.MIGRATION_MODULES = {"notebooks_app": package.name}

    def migrate(self, *names: str, failing: str = "") -> str:
        self.deploy(*names, failing=failing)
        said = io.StringIO()
        call_command("migrate", verbosity=0, stdout=said)
        return said.getvalue()

    def verdict(self, *names: str) -> str:
        """What such a server says of its database when it starts."""
        self.deploy(*names)
        found = list(database_troubles(connections["default"], migrates=False))
        assert len(found) <= 1
        return ("goes on" if found[0].is_bearable else "refuses") if found else "is at home"


@pytest.fixture(params=["sqlite", "postgresql"])
def within(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Carries work out on an empty database."""
    where = empty_database(request.param, f"of_{request.node.originalname[:50]}", request, tmp_path)
    return lambda work: apart(work, where, monkeypatch)


@pytest.fixture
def releases(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Releases:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return Releases(settings, tmp_path)


def applied() -> set[tuple[str, str]]:
    return set(MigrationRecorder(connections["default"]).applied_migrations())


def test_a_release_runs_on_the_next_ones_database_and_on_no_later_one(releases: Releases, within: Any) -> None:
    def work() -> None:
        releases.migrate()
        releases.migrate("one")
        assert (releases.verdict(), releases.verdict("one")) == ("goes on", "is at home")
        releases.migrate("one", "two")
        found = [releases.verdict(*names) for names in ((), ("one",), ("one", "two"))]
        assert found == ["refuses", "goes on", "is at home"]

    within(work)


def test_migrating_with_the_release_before_leaves_the_database_alone(releases: Releases, within: Any) -> None:
    def work() -> None:
        releases.migrate()
        releases.migrate("one")
        there, said = applied(), io.StringIO()
        releases.deploy()
        call_command("migrate", stdout=said)
        assert applied() == there
        assert "next release" in said.getvalue() and "Nothing is migrated" in said.getvalue()
        with pytest.raises(CommandError, match="takes it back"):
            call_command("migrate", "notebooks_app", "zero", verbosity=0)
        releases.migrate("one", "two")
        with pytest.raises(CommandError, match="newer Rillbook"):
            releases.migrate()

    within(work)


def test_a_migration_that_fails_half_way_and_is_mended_lets_old_servers_start(releases: Releases, within: Any) -> None:
    def work() -> None:
        releases.migrate()
        for _ in range(2):
            with pytest.raises(DatabaseError, match="no_such_column"):
                releases.migrate("one", "two", failing="two")
            assert any(name.endswith("_one") for _, name in applied())
            assert releases.verdict() == "goes on"
        releases.migrate("one", "three")
        assert (releases.verdict(), releases.verdict("one", "three")) == ("goes on", "is at home")

    within(work)


def test_migrations_that_were_taken_back_and_come_again(releases: Releases, within: Any) -> None:
    def work() -> None:
        releases.migrate()
        releases.migrate("one")
        call_command("migrate", "notebooks_app", NEWEST, verbosity=0)
        assert releases.verdict() == "is at home"
        releases.migrate("one")
        assert releases.verdict() == "goes on"
        releases.deploy("one")
        call_command("migrate", "notebooks_app", NEWEST, verbosity=0)
        releases.migrate()
        releases.migrate("one")
        assert releases.verdict() == "goes on"

    within(work)


def test_a_database_that_no_such_release_has_migrated_is_refused_when_it_is_newer(
    releases: Releases, within: Any
) -> None:
    def work() -> None:
        releases.migrate("one")
        MigrationRecorder.Migration.objects.filter(app__startswith="release").delete()
        assert releases.verdict() == "refuses"

    within(work)


def test_a_look_at_the_plan_records_nothing(releases: Releases, within: Any) -> None:
    def work() -> None:
        releases.migrate()
        there = applied()
        releases.deploy("one")
        call_command("migrate", plan=True, verbosity=0, stdout=io.StringIO())
        with pytest.raises(SystemExit):
            call_command("migrate", check_unapplied=True, verbosity=0, stdout=io.StringIO())
        assert applied() == there

    within(work)


@pytest.mark.parametrize("within", ["sqlite"], indirect=True)
def test_start_and_doctor_tell_of_it_as_a_warning(
    releases: Releases, within: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        releases.migrate()
        releases.migrate("one")
        releases.deploy()
        command, said = serve.Command(), io.StringIO()
        command.stderr = OutputWrapper(said)
        found = list(database_troubles(connections["default"], migrates=False))
        monkeypatch.setattr(surroundings, "troubles", lambda migrates: found)
        command._ask_around(migrates=False)
        assert said.getvalue().startswith("Warning: DATABASE_URL: the database is of the next release")
        told = [each for each in doctor.check_database() if "next release" in each.words]
        assert [each.level for each in told] == [doctor.Level.WARN]
        assert not [each for each in doctor.check_database() if each.level is doctor.Level.FAIL]

    within(work)
