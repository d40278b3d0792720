"""What one operation costs in notebooks of 10 to 10,000 cells: queries, bytes written, time.

python -m benchmarks.storage [--target]

On SQLite bytes are the growth of the WAL, on PostgreSQL the distance its log moved. Times of a shared machine drift:
read their ratios to the smallest notebook. `--target` measures 1,000 notebooks of 20 cells with 2 outputs of 10 KB
each. Each database is measured in a process of its own, with a folder or a server of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.with_postgres import temporary_postgres

SIZES = (10, 100, 1_000, 10_000)
ROUNDS = 15
TARGET_NOTEBOOKS, TARGET_CELLS, TARGET_OUTPUTS = 1_000, 20, 2
LARGE_CELLS = 25
TARGET_ROUNDS = 200

type Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--engines", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--target", action="store_true", help="also the set of 1,000 notebooks, on PostgreSQL")
    parser.add_argument("--out", type=Path, help="write every number to this JSON file")
    parser.add_argument("--measure", choices=["sizes", "target"], help=argparse.SUPPRESS)  # in the child
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure_here(options)))
        return
    found: Row = {engine: in_child(engine, options, "sizes") for engine in options.engines}
    for engine in options.engines:
        print_sizes(engine, found[engine])
    if options.target:
        found["target"] = in_child("postgresql", options, "target")
        print_target(found["target"])
    if options.out:
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def in_child(engine: str, options: argparse.Namespace, what: str) -> list[Row]:
    command = [sys.executable, "-m", "benchmarks.storage", "--measure", what, "--rounds", str(options.rounds)]
    command += ["--sizes", *map(str, options.sizes)]
    with tempfile.TemporaryDirectory(prefix="rillbook-bench-") as folder:
        environment = {**os.environ, "RILLBOOK_DATA_DIR": folder, "DATABASE_URL": ""}
        environment["DJANGO_SETTINGS_MODULE"] = "notebook_project.settings"
        if engine == "sqlite":
            return _rows_of(command, environment)
        with temporary_postgres() as url:
            return _rows_of(command, {**environment, "DATABASE_URL": url})


def _rows_of(command: list[str], environment: dict[str, str]) -> list[Row]:
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


# --- In the child ----------------------------------------------------------------------------------------------------


def measure_here(options: argparse.Namespace) -> list[Row]:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_autocheckpoint = 0")  # the WAL only grows: its growth is what was written
    if options.measure == "target":
        return measure_target()
    return [row for size in options.sizes for row in measure_size(size, options.rounds)]


def measure_size(size: int, rounds: int) -> list[Row]:
    from benchmarks import scenes

    scene = scenes.make(scenes.make_person("bench"), size)
    settle()
    rows = []
    for name, operation in (scenes.WRITES | scenes.READS).items():
        few = 3 if name.startswith("open") and size > 1_000 else rounds
        undo = scenes.restore if name == "delete" else None
        rows.append({"cells": size, "operation": name, **measure(operation, scene, few, undo)})
    return rows


def measure(operation: Any, scene: Any, rounds: int, undo: Callable[[Any], None] | None) -> Row:
    """Queries of one round, then bytes and milliseconds of `rounds`: their medians, and the most bytes of one."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        operation(scene, 0)
    if undo:
        undo(scene)
    sizes, times = [], []
    for number in range(1, rounds + 1):
        start, begun = written(), time.perf_counter()
        operation(scene, number)
        times.append((time.perf_counter() - begun) * 1000)
        sizes.append(written() - start)
        if undo:
            undo(scene)
    return {
        "queries": len(captured),
        "bytes": statistics.median(sizes),
        "most_bytes": max(sizes),
        "ms": round(statistics.median(times), 3),
    }


def written() -> int:
    """Bytes that the database's log has taken so far."""
    from django.db import connection

    if connection.vendor == "sqlite":
        wal = Path(f"{connection.settings_dict['NAME']}-wal")
        return wal.stat().st_size if wal.exists() else 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")
        return int(cursor.fetchone()[0])


def settle() -> None:
    """Let statistics be known and nothing be left to write."""
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.execute("ANALYZE")
        else:
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")


def measure_target() -> list[Row]:
    """Single-cell operations on notebooks chosen at random, and whole notebooks of 25 cells."""
    from benchmarks import scenes

    owner = scenes.make_person("bench")
    ordinary = scenes.make_many(owner, TARGET_NOTEBOOKS, TARGET_CELLS, outputs_a_cell=TARGET_OUTPUTS)
    large = scenes.make_many(owner, 40, LARGE_CELLS, outputs_a_cell=TARGET_OUTPUTS)
    settle()
    chance = random.Random(1)
    rows = []
    for name, operation in scenes.WRITES.items():
        undo = scenes.restore if name == "delete" else None
        rows.append(measure_many(name, operation, lambda: chance.choice(ordinary), undo))
    rows.append(measure_many("read a cell", scenes.read_cell, lambda: chance.choice(ordinary)))
    rows.append(measure_many("whole notebook of 25 cells", scenes.open_whole, lambda: chance.choice(large)))
    return rows


def measure_many(
    name: str, operation: Any, choose: Callable[[], Any], undo: Callable[[Any], None] | None = None
) -> Row:
    """Milliseconds in all and in the database alone (its statements and commits)."""
    from django.db import connection

    totals, inside = [], []
    for number in range(TARGET_ROUNDS + 10):
        scene, clock = choose(), Clock()
        begun = time.perf_counter()
        with connection.execute_wrapper(clock):
            operation(scene, number)
        if number >= 10:  # after the first ones everything is warm
            totals.append((time.perf_counter() - begun) * 1000)
            inside.append(clock.seconds * 1000)
        if undo:
            undo(scene)
    p95 = statistics.quantiles(totals, n=20)[-1]
    return {
        "operation": name,
        "ms": round(statistics.median(totals), 2),
        "p95_ms": round(p95, 2),
        "database_ms": round(statistics.median(inside), 2),
    }


class Clock:
    """Sums the time of statements."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        begun = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.seconds += time.perf_counter() - begun


# --- Report ----------------------------------------------------------------------------------------------------------


def print_sizes(engine: str, rows: list[Row]) -> None:
    first = {row["operation"]: row for row in reversed(rows)}  # of the smallest notebook
    print(f"\n{engine}: queries, bytes written (median, most), time as a ratio to the smallest notebook's")
    print(f"{'operation':18}{'cells':>8}{'queries':>9}{'bytes':>10}{'most':>10}{'ratio':>7}{'ms':>9}{'ratio':>7}")
    for row in sorted(rows, key=lambda row: list(first).index(row["operation"]), reverse=True):
        base = first[row["operation"]]
        print(
            f"{row['operation']:18}{row['cells']:>8,}{row['queries']:>9}{row['bytes']:>10,.0f}{row['most_bytes']:>10,}"
            f"{ratio(row['bytes'], base['bytes']):>7}{row['ms']:>9.2f}{ratio(row['ms'], base['ms']):>7}"
        )


def ratio(value: float, base: float) -> str:
    return f"{value / base:.1f}" if base else "-"


def print_target(rows: list[Row]) -> None:
    size = f"{TARGET_NOTEBOOKS:,} notebooks × {TARGET_CELLS} cells × {TARGET_OUTPUTS} outputs of 10 KB"
    print(f"\nPostgreSQL, {size}: milliseconds")
    print(f"{'operation':28}{'median':>9}{'p95':>9}{'in the database':>17}")
    for row in rows:
        print(f"{row['operation']:28}{row['ms']:>9.2f}{row['p95_ms']:>9.2f}{row['database_ms']:>17.2f}")


if __name__ == "__main__":
    main()
