"""Cells that flood: the server's memory and database stay bounded, Stop ends them, others go on, nothing is left.

One server for all. Each flood runs for a few seconds; for a minute each in the soak test. Bounds are generous, for the
machine is busy; the figures are benchmarks/pressure.py's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_processes import cells_of, children, make, until
from tests.pressure.test_sockets import resident
from tests.servers import Api, LiveServer

MB = 1024 * 1024
WAIT_S = 120.0
# Each begins with a line that says it is at work. `_` names are a cell's own.
FLOODS = {
    "print for ever": "print('begun')\nwhile True: print('x' * 99)",
    "tiny writes to both streams": (
        "import sys\nprint('begun')\nwhile True:\n    sys.stdout.write('o')\n    sys.stderr.write('e')"
    ),
    "carriage returns": "print('begun')\nwhile True: print('x' * 50, end='\\r')",
    "pictures of 60 KB": (
        "import base64, os\nfrom IPython.display import Image, display\nprint('begun')\n"
        "while True: display(Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + os.urandom(45_000), format='png'))"
    ),
    "large pages, each another": (
        "from IPython.display import HTML, display\nimport itertools\nprint('begun')\n"
        "for _n in itertools.count(): display(HTML(f'{_n}' + 'x' * 300_000))"
    ),
    "new displays and updates of them": (
        "from IPython.display import display\nimport itertools\nprint('begun')\n"
        "for _n in itertools.count():\n    _h = display(f'd{_n}', display_id=True)\n    _h.update('y' * 2000)"
    ),
    "updates of one display": (
        "from IPython.display import display\nimport itertools\nprint('begun')\n_h = display('d', display_id=True)\n"
        "for _n in itertools.count(): _h.update(f'{_n}' + 'y' * 5000)"
    ),
    "cleared output": (
        "from IPython.display import clear_output\nprint('begun')\n"
        "while True:\n    print('z' * 500)\n    clear_output()"
    ),
    "table handles": (
        "import pandas as pd\nfrom IPython.display import display\nprint('begun')\n"
        "_f = pd.DataFrame({'a': range(1000)})\nwhile True: display(_f)"
    ),
    "comm messages": (
        "from ipykernel.comm import Comm\nprint('begun')\n_c = Comm(target_name='t')\n"
        "while True: _c.send({'x': 'y' * 5000})"
    ),
    "warnings": "import warnings\nprint('begun')\nwhile True: warnings.warn('w' * 200, stacklevel=1)",
    "writes of nothing, and flushes": (
        "import sys\nprint('begun')\nwhile True:\n    sys.stdout.write('')\n    sys.stdout.flush()\n    print(end='')"
    ),
    "writes of ten megabytes": "print('begun')\nwhile True: print('x' * 10_000_000)",
    "displays of nothing": (
        "from IPython.display import display\nprint('begun')\nwhile True: display({}, raw=True)"
    ),
    "child processes that print": "import subprocess\nprint('begun')\nwhile True: subprocess.run(['seq', '100000'])",
}
ENDS = {  # floods that end by themselves: what they end as, and a word of what is shown
    "a hundred thousand items": (
        "from IPython.display import display\nfor _n in range(20_000): display(_n)", "ok", "has shown all that is kept",
    ),
    "an endless traceback": (
        "def deep(n):\n    return deep(n + 1)\ndeep(0)", "error", "RecursionError",
    ),
    "an error of ten megabytes": ("raise ValueError('e' * 10_000_000)", "error", "ValueError"),
    "nested errors": (
        "_e = ValueError('0')\nfor _n in range(3000):\n    try:\n        raise ValueError(str(_n)) from _e\n"
        "    except ValueError as _f:\n        _e = _f\nraise _e", "error", "ValueError",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    # A notebook's files and a kernel's rate are bounded low, so that the bounds are reached in seconds.
    server = LiveServer(
        tmp_path_factory.mktemp("server"), OUTPUT_CELL_MAX_BYTES=str(8 * MB), OUTPUT_NOTEBOOK_MAX_BYTES=str(16 * MB)
    )
    yield server
    server.stop()


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def database_bytes(server: LiveServer) -> int:
    return sum(path.stat().st_size for path in server.data_dir.glob("rillbook.sqlite3*"))


def flood(server: LiveServer, names: list[str], for_s: float) -> tuple[int, int]:
    """Let cells flood for so long, each in a notebook of its own, beside a quiet one, and stop them; growth of the
    server's memory at its highest, and of its database afterwards, in bytes."""
    api = server.api()
    quiet, _ = make(api, "1 + 1")
    assert run(api, quiet)["run"]["outcome"] == "ok"
    before, stored = resident(server.pid), database_bytes(server)
    paths = [make(api, FLOODS[name])[0] for name in names]
    for path in paths:
        api("POST", f"{path}runs/", {"all": True})
    for path in paths:
        until(lambda path=path: cells_of(api, path)[0]["outputs"], WAIT_S)
    end, most = time.monotonic() + for_s, resident(server.pid) - before
    while time.monotonic() < end:
        most = max(most, resident(server.pid) - before)
        assert run(api, quiet)["run"]["outcome"] == "ok"
        time.sleep(0.2)
    for name, path in zip(names, paths, strict=True):
        status, stopped = api("POST", f"{path}stop/", {"wait": True, "timeout_s": 60})
        assert status == 200 and stopped["settled"], (name, stopped)
        assert cells_of(api, path)[0]["state"]["outcome"] == "interrupted", name
    for path in (*paths, quiet):
        assert api("DELETE", path)[0] == 204  # its kernel ends
    return most, database_bytes(server) - stored


def run(api: Api, path: str) -> Any:
    status, body = api("POST", f"{path}runs/", {"all": True, "wait": True, "timeout_s": 60})
    assert status == 200, body
    return body


# Every third of them in `make test`, the rest with the long ones.
@pytest.mark.parametrize("number", [0, *(pytest.param(n, marks=pytest.mark.soak) for n in (1, 2))])
def test_cells_that_flood_cost_a_bounded_part_and_stop_when_told(server: LiveServer, number: int):
    grown, stored = flood(server, list(FLOODS)[number::3], 1.0)
    assert grown < 150 * MB
    assert stored < 60 * MB  # SQLite's journal included
    assert folder_bytes(server.data_dir / "outputs") < 100 * MB


@pytest.mark.soak
@pytest.mark.parametrize("name", FLOODS)
def test_a_minute_of_a_flood(server: LiveServer, name: str):
    grown, stored = flood(server, [name], 60.0)
    print(f"{name}: memory +{grown / MB:.0f} MB at most, database +{stored / MB:.1f} MB")
    assert grown < 50 * MB
    assert stored < 30 * MB


def test_cells_that_show_too_much_end_and_say_so(server: LiveServer):
    api = server.api()
    before = resident(server.pid)
    for name, (source, outcome, words) in ENDS.items():
        path, _ = make(api, source)
        assert run(api, path)["run"]["outcome"] == outcome, name
        assert words in str(cells_of(api, path)[0]["outputs"]), name
        assert api("DELETE", path)[0] == 204
    assert resident(server.pid) - before < 150 * MB


def test_threads_that_flood_after_their_cell_ended_are_bounded_and_end_with_the_kernel(server: LiveServer):
    api = server.api()
    source = "import threading\ndef _talk():\n    while True: print('late' * 25)\n"
    source += "threading.Thread(target=_talk).start()"
    path, _ = make(api, source, "print('next')")
    before, stored = resident(server.pid), database_bytes(server)
    assert run(api, path)["run"]["outcome"] == "ok"
    for _ in range(5):
        assert api("POST", f"{path}runs/", {"cells": [cells_of(api, path)[1]["id"]], "wait": True})[0] == 200
        time.sleep(0.2)
    assert resident(server.pid) - before < 100 * MB
    assert api("POST", f"{path}restart/", {"wait": True})[0] == 200
    assert database_bytes(server) - stored < 30 * MB
    assert api("DELETE", path)[0] == 204


def test_after_all_floods_nothing_is_left_of_them(server: LiveServer):
    """Only the ready kernel of the pool, with its sandbox, and the analyser."""
    until(lambda: len(children(server.pid)) <= 5, WAIT_S)
    assert not list((server.data_dir / "work").glob("*/.spool/*"))
