"""Old notebooks as files and items, and the commands that move them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
TABLE = {"type": "table", "columns": ["name", "n"], "rows": [["a", 1], ["b", None], ["c", 2**60]]}
DSN = "postgresql://me:hunter2@db.example/shop"
NOTEBOOK_ID = "3b1f8a52-9f0d-4a56-8f0e-0a8c9f3f7d11"


def cell(cell_id: str, code: str = "x = 1", **more: Any) -> dict[str, Any]:
    """A cell as the old system wrote it."""
    rest = {"status": "success", "stdout": "", "outputs": [], "error": None, "reads": [], "writes": []}
    return {"id": cell_id, "type": "python", "code": code, **rest, **more}


def document(notebook_id: str = NOTEBOOK_ID, **more: Any) -> dict[str, Any]:
    """A notebook of the old system that has everything."""
    outputs = [
        {"mime_type": "image/png", "data": PNG, "metadata": {"width": 1}},
        {"mime_type": "text/html", "data": "<b>3</b>", "metadata": {}},
        {"mime_type": "application/json", "data": TABLE, "metadata": {}},
        {"mime_type": "application/vnd.plotly.v1+json", "data": {"data": [{"y": [1.5, 2]}]}, "metadata": {}},
        {"mime_type": "application/vnd.vegalite.v6+json", "data": {"mark": "bar"}, "metadata": {}},
    ]
    failed = "Traceback (most recent call last):\n  File \"<cell>\", line 1\nNameError: name 'z' is not defined"
    made = {
        "id": notebook_id,
        "user_id": "user_37U0",
        "name": "Sales",
        "db_conn_string": DSN,
        "revision": 42,
        "cells": [
            cell("c1", "x = 1\nprint(x)", stdout="1\n\ttwo\r\n", writes=["x"]),
            cell("0c5f1c1e-2f8b-4c0e-9b0a-7d1f0a1b2c3d", "SELECT {x}", type="sql", reads=["x"], outputs=outputs),
            cell("c3", "z", status="error", error=failed, stdout="before\n", reads=["z"]),
        ],
    }
    return made | more


@dataclass
class Ran:
    """What a command printed, what it printed as errors, and the sentence it ended with if it failed."""

    out: str
    err: str
    failure: str


def run(name: str, *arguments: str) -> Ran:
    out, err = StringIO(), StringIO()
    failure = ""
    try:
        call_command(name, *arguments, stdout=out, stderr=err)
    except CommandError as error:
        failure = str(error)
    return Ran(out.getvalue(), err.getvalue(), failure)


@pytest.fixture
def old(tmp_path: Path) -> Callable[..., Path]:
    """Writes an old notebook into the folder of the old system, as it named it; its path."""
    folder = tmp_path / "old"
    folder.mkdir()

    def write(made: dict[str, Any] | None = None, **more: Any) -> Path:
        found = (made or document()) | more
        path = folder / f"{found.get('id', 'no-id')}.json"
        path.write_text(json.dumps(found))
        return path

    return write


@pytest.fixture(autouse=True)
def accounts(settings: Any, tmp_path: Path) -> None:
    """Accounts matter here, and outputs are kept in a folder of the test's."""
    settings.RILLBOOK_MODE = "multi"
    options = {"location": str(tmp_path / "outputs")}
    settings.STORAGES = settings.STORAGES | {
        "outputs": {"BACKEND": "notebooks_app.output_folder.OutputFolder", "OPTIONS": options}
    }
