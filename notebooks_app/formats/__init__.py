"""Notebook files: one module a format, rows to and from it. Pure: no files are opened here."""

from __future__ import annotations

from notebooks_app.formats import ipynb, legacy, percent
from notebooks_app.formats.base import FormatError, ImportedCell, ImportedNotebook

__all__ = ["FormatError", "ImportedCell", "ImportedNotebook", "ipynb", "legacy", "percent", "read_file"]

SNIFFED = 65536  # bytes looked at where the name does not say what a file is


def read_file(name: str, data: bytes, *, max_cells: int | None = None) -> ImportedNotebook:
    """The notebook in a file, by its name's ending, else by how it begins. Raises FormatError in plain words."""
    ending = name.lower().rsplit(".", 1)[-1]
    start = data[:SNIFFED].decode("utf-8-sig", "replace")
    is_object = start.lstrip().startswith("{")
    looks_like_ipynb = is_object and b'"nbformat"' in data
    if ending == "ipynb" or (ending != "py" and looks_like_ipynb):
        return ipynb.read(name, data)
    if ending == "json" or (ending != "py" and is_object and b'"cells"' in data):
        return legacy.read(name, data, max_cells=max_cells)
    if ending == "py" or percent.has_marks(start):
        return percent.read(name, data)
    raise FormatError(f"{name}: only .ipynb and .json notebooks, and .py files with # %% marks, can be imported.")
