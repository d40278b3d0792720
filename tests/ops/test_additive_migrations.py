"""Migrations after the first release only add: the version before runs beside the new one while servers are replaced.

What is to go is no longer used in one release and removed in the next one, where it is named in PROMISED.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader

RELEASED = {"notebooks_app": "0004_access", "kernels_app": "0001_kernel_limits"}
# (app, migration): the version before does without what it removes, or no column changes.
PROMISED = frozenset({("kernels_app", "0004_least_memory")})
HARMLESS = (migrations.CreateModel, migrations.AddIndex, migrations.RemoveIndex, migrations.AlterModelManagers)


def refusals(operations: Iterable[Any]) -> list[str]:
    """What the version before could not live with: it neither fills new columns nor knows new names."""
    found = []
    for operation in operations:
        if isinstance(operation, migrations.SeparateDatabaseAndState):
            found += refusals(operation.database_operations)
        elif isinstance(operation, migrations.AddField):
            field = operation.field
            if not (field.null or field.many_to_many or field.has_db_default()):
                found.append(f"{operation.describe()}: needs null=True or db_default")
        elif isinstance(operation, migrations.RunPython):
            if operation.reverse_code is None:
                found.append(f"{operation.describe()}: has no way back")
        elif not isinstance(operation, HARMLESS) and operation.reduces_to_sql:
            found.append(operation.describe())
    return found


def test_each_migration_since_the_release_can_run_beside_the_version_before() -> None:
    loader = MigrationLoader(None)
    later = {
        key: refusals(migration.operations)
        for key, migration in loader.disk_migrations.items()
        if key[0] in RELEASED and key[1] > RELEASED[key[0]] and key not in PROMISED
    }
    assert {key: words for key, words in later.items() if words} == {}


@pytest.mark.parametrize(
    "operation",
    [
        migrations.RemoveField("cell", "source"), migrations.DeleteModel("Cell"),
        migrations.RenameField("cell", "source", "text"), migrations.RenameModel("Cell", "Block"),
        migrations.AlterField("cell", "source", models.IntegerField()),
        migrations.AddField("cell", "more", models.TextField(default="")),
        migrations.AddConstraint("cell", models.CheckConstraint(condition=models.Q(version__gt=0), name="c")),
        migrations.RunSQL("DROP TABLE x"), migrations.RunPython(migrations.RunPython.noop),
        migrations.SeparateDatabaseAndState(database_operations=[migrations.DeleteModel("Cell")]),
    ],
    ids=lambda operation: type(operation).__name__,
)  # fmt: skip
def test_what_the_version_before_could_not_live_with_is_found(operation: Any) -> None:
    assert len(refusals([operation])) == 1


@pytest.mark.parametrize(
    "operation",
    [
        migrations.CreateModel("Made", [("id", models.AutoField(primary_key=True))]),
        migrations.AddField("cell", "more", models.TextField(null=True)),
        migrations.AddField("cell", "more", models.TextField(default="", db_default="")),
        migrations.AddIndex("cell", models.Index(fields=["version"], name="i")),
        migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_what_only_adds_is_let_through(operation: Any) -> None:
    assert refusals([operation]) == []
