"""Refuses ways to the ORM that share one thread: asynchronous code uses notebooks_app/db.py (see there).

Finds `sync_to_async`, `database_sync_to_async` and the `a…` methods of querysets and models in our applications.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FOLDERS = ("notebooks_app", "kernels_app")
NAMES = {"sync_to_async", "database_sync_to_async", "aget_object_or_404", "aget_list_or_404"}
# The asynchronous methods of Django 6.1's QuerySet, Model and related managers.
METHODS = {
    "aadd", "aaggregate", "abulk_create", "abulk_update", "aclear", "acontains", "acount", "acreate", "adelete",
    "aearliest", "aexists", "aexplain", "afirst", "aget", "aget_by_natural_key", "aget_or_create", "ain_bulk",
    "aiterator", "alast", "alatest", "arefresh_from_db", "aremove", "asave", "aset", "aupdate",
    "aupdate_or_create",
}  # fmt: skip


def main() -> int:
    found = [line for folder in FOLDERS for path in sorted(Path(folder).rglob("*.py")) for line in offences(path)]
    print("\n".join(found) or "No way around notebooks_app/db.py.")
    return bool(found)


def offences(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.alias) and node.name in NAMES:
            lines.append(f"{path}:{node.lineno}: {node.name}: use notebooks_app.db.read or db.write")
        elif isinstance(node, ast.Attribute) and node.attr in METHODS | NAMES:
            lines.append(f"{path}:{node.lineno}: .{node.attr}: use notebooks_app.db.read or db.write")
    return lines


if __name__ == "__main__":
    sys.exit(main())
