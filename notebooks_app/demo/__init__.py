"""What every new user gets to try: the Demo and the Blank notebook, and the data they read (sample.py)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from notebooks_app.formats import ImportedCell, ImportedNotebook, ipynb

# Raise it when demo.ipynb changes: pages of older demos then offer the newer one.
DEMO_VERSION = 3


@cache
def demo_notebook() -> ImportedNotebook:
    """The Demo (demo.ipynb, written by build.py)."""
    path = Path(__file__).with_name("demo.ipynb")
    found = ipynb.read(path.name, path.read_bytes())
    found.name = "Demo"
    return found


def blank_notebook() -> ImportedNotebook:
    """An empty page to begin on."""
    return ImportedNotebook(name="Blank", cells=[ImportedCell(type="python", source="")])
