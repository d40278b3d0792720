"""Refuses ways to the ORM that share one thread: asynchronous code uses notebooks_app/db.py (see there).

Finds `sync_to_async`, `database_sync_to_async` and the `a…` methods of querysets and models in our applications.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FOLDERS = ("notebooks_app", "kernels_app")
NAMES = {"sync_to_async", "database_sync_to_async"}
METHODS = {
    "aget", "acreate", "asave", "adelete", "aupdate", "afirst", "alast", "acount", "aexists", "aaggregate",
    "aiterator", "abulk_create", "abulk_update", "aget_or_create", "aupdate_or_create", "ain_bulk",
    "arefresh_from_db", "aset", "aadd",
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
