r"""NUL and lone surrogates, which neither PostgreSQL's text nor its jsonb takes and which UTF-8 cannot say.

Whatever of a cell holds them, the run ends as its code says, it is saved, shown and can be exported, and the next cell
runs: what cannot be kept stands there as U+FFFD. Sources, names and files that hold them: tests/api, tests/formats.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from kernels_app.inside.display import INLINE_BYTES
from notebooks_app import db, exporting
from notebooks_app.models import CellRun, KernelSession, Notebook
from tests.runtime.lab import Lab

pytestmark = [pytest.mark.asyncio, pytest.mark.database, pytest.mark.django_db(transaction=True)]

BAD = "BAD = 'a' + chr(0) + chr(0xd800) + 'b'\n"  # no source holds it
CELLS = {  # what each shows, and how it ends
    "streams": ("import sys as _s; print(BAD); print(BAD, file=_s.stderr)", "ok"),
    "bytes": ("import os as _o; _o.write(1, b'a\\0\\xed\\xa0\\x80\\xff\\n'); _o.write(2, b'\\0' * 5)", "ok"),
    "child": ("import subprocess as _p; _p.run(['printf', 'a\\\\0b\\\\355\\\\240\\\\200'])", "ok"),
    "result": ("BAD", "ok"),
    "error": ("raise ValueError(BAD)", "error"),
    "error_name": ("raise type('E' + chr(0xd800), (Exception,), {})(BAD)", "error"),
    "error_note": ("_e = KeyError(BAD); _e.add_note(BAD); raise _e from OSError(5, BAD, BAD)", "error"),
    "syntax": ("exec(BAD)", "error"),
    "exit": ("raise SystemExit(BAD)", "error"),
    "page": ("from IPython.display import HTML as _h; _h('<p>' + BAD)", "ok"),
    "large_page": (f"from IPython.display import HTML as _h; _h('<p>' + BAD * {INLINE_BYTES})", "ok"),
    "json": ("from IPython.display import JSON as _j; _j({BAD: [BAD, {'x': BAD}]})", "ok"),
    "large_json": (f"from IPython.display import JSON as _j; _j([BAD] * {INLINE_BYTES})", "ok"),
    "bundle": (
        "from IPython.display import display as _d\n"
        "_d({'text/plain': BAD, 'text/' + BAD: 'x', 'image/png': BAD}, metadata={BAD: BAD}, raw=True)", "ok",
    ),
    "display_id": (
        "from IPython.display import display as _d, update_display as _u\n"
        "_d('x', display_id=BAD); _u('y', display_id=BAD)", "ok",
    ),
    "table": (
        "import pandas as _p\n"
        "_i = _p.Index(['x', BAD], name=BAD, dtype=object)\n_c = _p.Index([BAD], dtype=object)\n"
        "_p.DataFrame([[BAD], [None]], index=_i, columns=_c, dtype=object)", "ok"),
    "names": ("globals()[BAD] = 1; globals()['\\udc80'] = 2", "ok"),
    "warning": ("import warnings as _w; _w.warn(BAD)", "ok"),
    "query": ("SELECT 'a' || chr(0) || 'b' AS \"b\"", "ok"),
    "folder": ("import os as _o; open(b'name\\xff', 'w').close(); print(_o.listdir('.'))", "ok"),
}  # fmt: skip


async def test_what_no_database_takes_is_replaced_wherever_a_cell_shows_it(lab: Lab):
    made = {name: source if source.startswith("SELECT") else f"{BAD}{source}" for name, (source, _) in CELLS.items()}
    # Each has it under a name of its own.
    made = {name: source.replace("BAD", f"_bad_{name}") for name, source in made.items()}
    await lab.add(**made)
    for name, (_, outcome) in CELLS.items():
        await lab.run(name)
        state = (await lab.states())[name]
        assert state["outcome"] == outcome, (name, state, await lab.outputs(name))
        shown = await lab.outputs(name)
        assert shown or name in ("names", "exit"), name
        is_plain(name, [shown, state])
    rows = await db.read(lambda: list(CellRun.objects.values("inputs", "values", "reason", "warnings", "note")))
    is_plain("rows", rows)
    assert await db.read(KernelSession.objects.get) and not (await lab.runtime()).is_fenced
    whole = await db.read(lambda: exporting.load(Notebook.objects.get(pk=lab.notebook.pk)))
    for write in exporting.WRITERS.values():
        write(whole).encode()


def is_plain(what: str, value: Any) -> None:
    """It goes to browsers and databases."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode()
    assert "\\u0000" not in text and "\x00" not in text, what


async def test_as_many_names_as_a_source_can_bind_end_their_cell_like_few(lab: Lab):
    await lab.add(
        many="".join(f"v{number} = {number}\n" for number in range(7000)),
        hidden="globals().update({f'h{n}': n for n in range(7000)}); globals()['l' * 5000] = 1",
        after="print(v6999 + globals()['h6999'])",
    )
    await lab.run()
    states = await lab.states()
    assert [states[name]["outcome"] for name in lab.cells] == ["ok"] * 3, states
    assert "forged" not in str([state["warnings"] for state in states.values()])
    assert await lab.text("after") == "13998\n"
