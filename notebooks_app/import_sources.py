"""Where notebooks are imported from: files and whole trees of them. Tables of DynamoDB are dynamodb.py's."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from notebooks_app.formats import FormatError, ImportedNotebook, ipynb, legacy, percent, read_file
from notebooks_app.formats.base import MAX_BYTES, Json, title_of
from notebooks_app.formats.checking import with_whole_numbers
from notebooks_app.text import replace_surrogates

ENDINGS = (".json", ".ipynb", ".py")
NEVER = frozenset(["__pycache__", "node_modules", "site-packages"])  # folders that hold no notebooks of people


class NotANotebook(Exception):
    """A file of a tree that is something else."""


@dataclass(frozen=True)
class Loaded:
    """A notebook of a source. `sha256` tells contents apart, and `earlier` did in older imports; `is_legacy`: its id
    says which notebook it is for ever, `by_user`: among those of its user alone; `title`: what it is called where only
    the name of its file says so.
    """

    notebook: ImportedNotebook
    sha256: str
    earlier: str = ""
    title: str = ""
    is_legacy: bool = False
    by_user: bool = False
    modified: datetime | None = None  # when its file was written, for one that says no times

    @classmethod
    def of_file(cls, name: str, notebook: ImportedNotebook, data: bytes) -> Loaded:
        return cls(notebook, hashlib.sha256(data).hexdigest(), title=title_of(name))

    @classmethod
    def of_legacy(cls, notebook: ImportedNotebook, **more: Any) -> Loaded:
        """Whether it came as a file or as items, its digest is the same; it is not of its DSN, a secret."""
        document = legacy.write_document(notebook) | {"db_conn_string": None}
        digest, earlier = _digest_of(with_whole_numbers(document)), _digest_of(document)
        return cls(notebook, digest, earlier, is_legacy=True, **more)


class Source(Protocol):
    @property
    def name(self) -> str:
        """What messages call it."""

    def load(self, max_cells: int) -> Loaded:
        """Read it. Raises FormatError, OSError, NotANotebook."""


@dataclass(frozen=True)
class FileSource:
    path: Path
    in_tree: bool = False  # found in a folder: what is no notebook is passed over

    @property
    def name(self) -> str:
        return str(self.path)

    def load(self, max_cells: int) -> Loaded:
        status = self.path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device may never end
            raise FormatError(f"{self.path.name}: it is not an ordinary file.")
        limit = legacy.MAX_BYTES if self.path.suffix.lower() == ".json" else MAX_BYTES
        if status.st_size > limit:
            raise FormatError(
                f"{self.path.name}: {status.st_size:,} bytes are more than the {limit:,} that can be imported."
            )
        data = self.path.read_bytes()
        if self.path.suffix.lower() == ".json":
            return self._load_json(data, max_cells, datetime.fromtimestamp(status.st_mtime, UTC))
        if self.in_tree and self.path.suffix.lower() == ".py" and not _is_script(data):
            raise NotANotebook
        return Loaded.of_file(self.path.name, read_file(self.path.name, data, max_cells=max_cells), data)

    def _load_json(self, data: bytes, max_cells: int, modified: datetime) -> Loaded:
        warnings: list[str] = []
        parsed = legacy.parse(self.path.name, data, warnings)
        if isinstance(parsed, dict) and "nbformat" in parsed:
            return Loaded.of_file(self.path.name, ipynb.read(self.path.name, data, max_cells=max_cells), data)
        if self.in_tree and not legacy.is_document(parsed):
            raise NotANotebook
        found = legacy.read_document(self.path.name, parsed, max_cells=max_cells)
        found.warnings[:0] = warnings
        found.id = found.id or replace_surrogates(self.path.stem)
        return Loaded.of_legacy(found, modified=modified)


def _digest_of(document: Json) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _is_script(data: bytes) -> bool:
    text = data.decode("utf-8-sig", "replace")
    return percent.has_marks(text)


@dataclass
class Found:
    """What is at some paths: notebooks, as it seems; how many other files; links to folders, which are not followed
    since they may lead anywhere, also back; what cannot be read.
    """

    sources: list[FileSource] = field(default_factory=list)
    others: int = 0
    links: list[Path] = field(default_factory=list)
    errors: list[OSError] = field(default_factory=list)


def files_of(paths: list[str]) -> Found:
    """The files that are named or in named folders, in order."""
    found = Found()
    for path in map(Path, paths):
        if not path.is_dir():
            found.sources.append(FileSource(path))
            continue
        for file in _walk(path, found):
            if file.suffix.lower() in ENDINGS and not file.name.startswith("."):
                found.sources.append(FileSource(file, in_tree=True))
            else:
                found.others += 1
    return found


def _walk(folder: Path, found: Found) -> Iterator[Path]:
    for where, folders, names in os.walk(folder, onerror=found.errors.append):
        folders[:] = sorted(name for name in folders if name not in NEVER and not name.startswith("."))
        found.links += [link for name in folders if (link := Path(where) / name).is_symlink()]
        yield from (Path(where) / name for name in sorted(names))
