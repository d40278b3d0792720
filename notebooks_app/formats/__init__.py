"""Notebook files: one module a format, rows to and from it. Pure: no files are opened here."""

from __future__ import annotations

from notebooks_app.formats import ipynb, legacy, percent
from notebooks_app.formats.base import FormatError, ImportedCell, ImportedNotebook

__all__ = ["FormatError", "ImportedCell", "ImportedNotebook", "ipynb", "legacy", "percent", "read_file", "read_upload"]

SNIFFED = 65536  # bytes looked at where the name does not say what a file is

MAX_VALUES = 3_000_000  # lists and objects of a JSON file that anybody sends: each takes some 200 bytes of memory


def read_upload(name: str, data: bytes, *, max_cells: int) -> ImportedNotebook:
    """As read_file, of a file that may be made to take memory: what holds too many values is not parsed.

    Braces in texts are counted, too.
    """
    count = data.count(b"{") + data.count(b"[")
    if count > MAX_VALUES and not name.lower().endswith(".py"):
        words = "lists and objects are more than are read here; manage.py import_notebooks reads them."
        raise FormatError(f"{name}: {count:,} {words}")
    return read_file(name, data, max_cells=max_cells)


def read_file(name: str, data: bytes, *, max_cells: int | None = None) -> ImportedNotebook:
    """The notebook in a file, by its name's ending, else by how it begins. Raises FormatError in plain words."""
    ending = name.lower().rsplit(".", 1)[-1]
    start = data[:SNIFFED].decode("utf-8-sig", "replace")
    is_object = start.lstrip().startswith("{")
    looks_like_ipynb = is_object and b'"nbformat"' in data
    if ending == "ipynb" or (ending != "py" and looks_like_ipynb):
        return ipynb.read(name, data, max_cells=max_cells)
    if ending == "json" or (ending != "py" and is_object and b'"cells"' in data):
        return legacy.read(name, data, max_cells=max_cells)
    if ending == "py" or percent.has_marks(start):
        return percent.read(name, data, max_cells=max_cells)
    raise FormatError(f"{name}: only .ipynb and .json notebooks, and .py files with # %% marks, can be imported.")
