"""Which release the database was last migrated to, and which one stood before it: so that a server knows whether it is
exactly one release behind its database, which the rule of migrations allows (tests/ops/test_additive_migrations.py).

A release is told by its leaves: the last migration of each application of ours. They are kept where Django keeps what
is applied, as rows of applications that do not exist, which Django passes over: no table of our own would be there
before the first migration. Only `manage.py migrate` writes them.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

OURS = ("notebooks_app", "kernels_app")
BEFORE, LAST = "release before", "release"

type Leaves = frozenset[tuple[str, str]]  # application, name


def is_next(loader: MigrationLoader) -> bool:
    """Whether the database has all that this code knows, and beyond that only what the release after it brought."""
    own = _own(loader)
    return own == _recorded(BEFORE, loader.applied_migrations) and own <= loader.applied_migrations.keys()


def begin(connection: BaseDatabaseWrapper) -> None:
    """This code migrates: what was last migrated to in full is the release before it.

    So also where a first try ended half way, and when it is tried again, perhaps by code that was mended.
    """
    loader = MigrationLoader(connection)
    last = _recorded(LAST, loader.applied_migrations)
    if last and last != _own(loader):
        _record(connection, BEFORE, last)


def finish(connection: BaseDatabaseWrapper) -> None:
    """This code has migrated. Some applications alone, or back, changes nothing."""
    loader = MigrationLoader(connection)
    own = _own(loader)
    if own <= loader.applied_migrations.keys() and own != _recorded(LAST, loader.applied_migrations):
        _record(connection, LAST, own)


def _own(loader: MigrationLoader) -> Leaves:
    return frozenset(key for app in OURS for key in loader.graph.leaf_nodes(app))


def _recorded(which: str, applied: Iterable[tuple[str, str]]) -> Leaves:
    of_it = {f"{which}: {app}": app for app in OURS}
    return frozenset((of_it[app], name) for app, name in applied if app in of_it)


def _record(connection: BaseDatabaseWrapper, which: str, leaves: Leaves) -> None:
    recorder = MigrationRecorder(connection)
    with transaction.atomic(using=connection.alias):
        recorder.migration_qs.filter(app__in=[f"{which}: {app}" for app in OURS]).delete()
        for app, name in sorted(leaves):
            recorder.record_applied(f"{which}: {app}", name)
