"""Notebook files: one module a format, rows to and from it. Pure: no files are opened here."""

from __future__ import annotations

from notebooks_app.formats import ipynb
from notebooks_app.formats.base import FormatError, ImportedCell, ImportedNotebook

__all__ = ["FormatError", "ImportedCell", "ImportedNotebook", "ipynb", "read_file"]


def read_file(name: str, data: bytes) -> ImportedNotebook:
    """The notebook in a file, by its name's ending. Raises FormatError in words for who chose the file."""
    if name.lower().endswith(".ipynb"):
        return ipynb.read(name, data)
    raise FormatError(f"{name}: only .ipynb files can be imported.")
