"""Files into notebooks, once: the same content of the same owner is not stored again."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Any

from notebooks_app.formats import read_file
from notebooks_app.models import Notebook
from notebooks_app.notebooks import import_notebook

OURS = "rillbook"


class Imported(StrEnum):
    IMPORTED = "imported"
    UNCHANGED = "unchanged"
    WOULD_IMPORT = "would be imported"


def import_file(owner: Any, path: Path, *, dry_run: bool = False) -> tuple[Imported, Notebook | None]:
    """Import one file. Raises FormatError, BadRequest, TooLarge, OSError; then nothing was stored."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    known = Notebook.objects.alive().filter(owner=owner, metadata__rillbook__import__sha256=digest).first()
    if known is not None:
        return Imported.UNCHANGED, known
    found = read_file(path.name, data)
    ours = found.metadata.get(OURS)
    known_ours = ours if isinstance(ours, dict) else {}
    found.metadata[OURS] = {**known_ours, "import": {"path": path.name, "sha256": digest}}
    if dry_run:
        return Imported.WOULD_IMPORT, None
    return Imported.IMPORTED, import_notebook(owner, found)
