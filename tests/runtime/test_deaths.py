"""A cell that ends its kernel: it is the one that is named, and what came before it keeps its output."""

from __future__ import annotations

import pytest

from notebooks_app import db
from notebooks_app.models import Notebook
from tests.runtime.lab import Lab

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

ENDINGS = {
    "exit": "import os\nos._exit(3)",
    "kill": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "segfault": "import ctypes\nctypes.string_at(0)",
}


async def fill(lab: Lab, ending: str) -> None:
    await lab.add(
        a="a = 1\nprint('first', a)",
        b=f"b = a\nprint('before', flush=True)\n{ENDINGS[ending]}",
        c="c = b",
        d="print('last')",
    )


@pytest.mark.parametrize("ending", ENDINGS)
async def test_the_cell_that_ended_the_kernel_is_named_and_those_before_it_keep_their_output(lab: Lab, ending: str):
    await fill(lab, ending)
    assert await lab.run() == ["a", "b"]
    states = await lab.states()
    assert (states["a"]["freshness"], states["a"]["outcome"]) == ("current", "ok")
    assert (states["b"]["freshness"], states["b"]["outcome"]) == ("failed", "died")
    assert (states["c"]["freshness"], states["d"]["freshness"]) == ("blocked", "new")
    assert [await lab.text(name) for name in "abcd"] == ["first 1\n", "before\n", "", ""]
    kernel = (await lab.runtime()).kernel_document()
    assert kernel["state"] == "dead" and kernel["detail"].endswith(" It ended while cell 2 ran.")


async def test_the_cells_before_the_one_that_ended_the_kernel_run_again_by_themselves(lab: Lab):
    await db.write(lambda: Notebook.objects.filter(pk=lab.notebook.pk).update(run_mode="lazy"))
    await fill(lab, "exit")
    await lab.run()
    assert await lab.run("a") == ["a"]
    assert (await lab.states())["a"]["outcome"] == "ok"
    assert (await lab.runtime()).kernel_document()["state"] == "idle"


async def test_a_large_output_of_a_cell_that_ended_outlives_the_kernel(lab: Lab):
    large = "from IPython.display import HTML\ndisplay(HTML('<p>' + 'x' * 500_000 + '</p>'))"
    await lab.add(a=large, b=ENDINGS["kill"])
    await lab.run()
    states = await lab.states()
    assert [states[name]["outcome"] for name in "ab"] == ["ok", "died"]
    (output,) = await lab.outputs("a")
    assert output["files"]["text/html"]["size_bytes"] == 500_007
    assert (await lab.runtime()).kernel_document()["detail"].endswith(" It ended while cell 2 ran.")


# Where the journal is, a cell can find out; what it writes there is `entries`, in a frame far away, and then noise.
FORGE = """import json, os, struct
path = next(line.split()[-1] for line in open('/proc/self/maps') if line.rstrip().endswith('/journal'))
file = open(path, 'r+b')
file.seek(8)
for entry in {entries}:
    text = json.dumps(entry).encode()
    file.write(struct.pack('=IQ', len(text), 2**62) + text)
file.write(b'\\xff' * 5000)
file.flush()
os.kill(os.getpid(), 9)
"""


async def test_a_kernel_that_forged_its_last_words_changes_no_other_cell(lab: Lab):
    await lab.add(a="print('mine')", b="b = 1")
    await lab.run()
    attempt = (await lab.states())["a"]["attempt"]
    forged = [
        {"t": "stream", "attempt": "nobody's", "name": "stdout", "text": "forged"},
        {"t": "finished", "attempt": attempt, "outcome": "error", "duration_ms": 1},
        {"t": "display", "attempt": "nobody's", "data": {}, "result": True, "spool": {}},
        ["not", "an", "entry"],
    ]
    await lab.edit("b", FORGE.format(entries=repr(forged)))
    await lab.run("b")
    states = await lab.states()
    assert [states[name]["outcome"] for name in "ab"] == ["ok", "died"]
    assert (await lab.text("a"), await lab.text("b")) == ("mine\n", "")
    assert await lab.run("a") == ["a"]
