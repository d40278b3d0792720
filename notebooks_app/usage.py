"""How much there is: of a page of notebooks or people (bounded by the page), and of everything (for commands).

Numbers only: no names of cells, no sources, no outputs.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DatabaseError, connection
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from notebooks_app.models import Cell, Notebook, Output, OutputFile, Run

# --- Of a page -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NotebookUse:
    cells: int = 0
    output_bytes: int = 0  # in the database
    file_bytes: int = 0  # in object storage
    last_run: datetime | None = None

    @property
    def size_bytes(self) -> int:
        return self.output_bytes + self.file_bytes


def of_notebooks(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, NotebookUse]:
    """Of the notebooks named, in four queries that look at nothing but their rows."""
    if not ids:
        return {}
    # Cells that are there have positive places, those in the bin negative ones: counted in the index alone.
    alive = Cell.objects.filter(notebook__in=ids, position__gt=0)
    cells = _by(alive.order_by().values_list("notebook").annotate(n=Count("pk")))
    outputs = Output.objects.filter(cell__notebook__in=ids).order_by().values_list("cell__notebook")
    files = OutputFile.objects.filter(notebook__in=ids).order_by().values_list("notebook")
    sizes = _by(outputs.annotate(n=Sum("size_bytes")))
    stored = _by(files.annotate(n=Sum("size_bytes")))
    runs = last_runs(ids)
    return {
        pk: NotebookUse(cells.get(pk, 0), sizes.get(pk, 0), stored.get(pk, 0), runs.get(pk))  # type: ignore[arg-type]
        for pk in ids
    }


def last_runs(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, datetime | None]:
    """When each notebook last ran: one step into an index a notebook."""
    newest = Run.objects.filter(notebook=OuterRef("pk")).order_by("-started_at").values("started_at")[:1]
    return _by(Notebook.objects.filter(pk__in=ids).order_by().values_list("pk").annotate(at=Subquery(newest)))


def notebooks_of_people(ids: Collection[int]) -> dict[int, int]:
    """How many notebooks each person owns."""
    owned = Notebook.objects.alive().filter(owner__in=ids).order_by()
    return _by(owned.values_list("owner").annotate(n=Count("pk")))


def _by(rows: QuerySet[Any]) -> dict[Any, Any]:
    return dict(rows)


# --- Of everything ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OwnerUse:
    owner_id: int
    username: str
    notebooks: int
    output_bytes: int
    file_bytes: int

    @property
    def size_bytes(self) -> int:
        return self.output_bytes + self.file_bytes


def storage_by_owner(limit: int = 100) -> list[OwnerUse]:
    """Who stores most, first. Reads every output's size: seconds on a large database."""
    owned = Notebook.objects.order_by().values_list("owner", "owner__username").annotate(n=Count("pk"))
    outputs = _by(Output.objects.order_by().values_list("cell__notebook__owner").annotate(n=Sum("size_bytes")))
    files = _by(OutputFile.objects.order_by().values_list("notebook__owner").annotate(n=Sum("size_bytes")))
    found = [
        OwnerUse(pk, name, count, outputs.get(pk) or 0, files.get(pk) or 0) for pk, name, count in owned
    ]  # fmt: skip
    return sorted(found, key=lambda use: (-use.size_bytes, use.username))[:limit]


def largest_notebooks(limit: int = 10) -> list[dict[str, Any]]:
    """The notebooks that store most, with their owners. Reads every output's size."""
    outputs = _by(Output.objects.order_by().values_list("cell__notebook").annotate(n=Sum("size_bytes")))
    files = _by(OutputFile.objects.order_by().values_list("notebook").annotate(n=Sum("size_bytes")))
    sizes = {pk: (outputs.get(pk) or 0) + (files.get(pk) or 0) for pk in outputs.keys() | files.keys()}
    most = sorted(sizes, key=lambda pk: (-sizes[pk], str(pk)))[:limit]
    cells = Cell.objects.filter(notebook=OuterRef("pk"), position__gt=0).order_by().values("notebook")
    counted = Coalesce(Subquery(cells.annotate(n=Count("pk")).values("n"), output_field=IntegerField()), 0)
    rows = Notebook.objects.filter(pk__in=most).annotate(cell_count=counted)
    found = {row["pk"]: row for row in rows.values("pk", "name", "owner__username", "cell_count")}
    return [
        {
            "id": str(pk),
            "name": found[pk]["name"],
            "owner": found[pk]["owner__username"],
            "cells": found[pk]["cell_count"],
            "size_bytes": sizes[pk],
        }
        for pk in most
        if pk in found
    ]


def tables() -> list[dict[str, Any]]:
    """Rows and bytes of each table, largest first. On PostgreSQL rows are the planner's estimate."""
    if connection.vendor == "postgresql":
        return _rows(
            "SELECT c.relname AS table, greatest(c.reltuples, 0)::bigint AS rows, "
            "pg_total_relation_size(c.oid) AS size_bytes, pg_indexes_size(c.oid) AS index_bytes "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind = 'r' AND n.nspname = current_schema() ORDER BY 3 DESC"
        )
    sizes = _sqlite_sizes()
    found = [
        {
            "table": name,
            "rows": _rows(f"SELECT count(*) AS n FROM {connection.ops.quote_name(name)}")[0]["n"],
            "size_bytes": sizes.get(name),
            "index_bytes": None,
        }
        for name in sorted(connection.introspection.table_names())
    ]
    return sorted(found, key=lambda row: (-(row["size_bytes"] or 0), -row["rows"]))


def _sqlite_sizes() -> dict[str, int]:
    """Bytes by table where this SQLite was built with dbstat; else nothing."""
    try:
        rows = _rows("SELECT name, sum(pgsize) AS n FROM dbstat GROUP BY name")
    except DatabaseError:
        return {}
    return {row["name"]: row["n"] for row in rows}


def database() -> dict[str, Any]:
    """The whole database: engine, version, bytes; on SQLite also its pages."""
    if connection.vendor == "postgresql":
        row = _rows("SELECT pg_database_size(current_database()) AS size_bytes, version() AS version")[0]
        return {"engine": "PostgreSQL", **row}
    names = ("page_count", "page_size", "freelist_count", "journal_mode", "synchronous")
    pragmas = {name: _rows(f"PRAGMA {name}")[0][name] for name in names}
    version = _rows("SELECT sqlite_version() AS version")[0]["version"]
    return {
        "engine": "SQLite",
        "version": version,
        "size_bytes": pragmas["page_count"] * pragmas["page_size"],
        **pragmas,
    }


def slowest_statements(limit: int = 10) -> list[dict[str, Any]] | None:
    """Statements by the time they took in all, values left out by the database; None where it does not tell.

    PostgreSQL tells where the extension pg_stat_statements is loaded and made in this database.
    """
    if connection.vendor != "postgresql":
        return None
    known = _rows("SELECT 1 AS n FROM pg_extension WHERE extname = 'pg_stat_statements'")
    if not known or "pg_stat_statements" not in _rows("SHOW shared_preload_libraries")[0]["shared_preload_libraries"]:
        return None
    return _rows(
        "SELECT calls, round(total_exec_time::numeric, 1) AS total_ms, round(mean_exec_time::numeric, 3) AS mean_ms, "
        "rows, left(query, 300) AS statement FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
        "WHERE d.datname = current_database() ORDER BY total_exec_time DESC LIMIT %s",
        [limit],
    )


def _rows(sql: str, params: list[Any] | None = None) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
