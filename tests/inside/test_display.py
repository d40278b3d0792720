"""Displays: bundles, ids, clearing, figures, charts, input, large items."""

from __future__ import annotations

import json

import pytest

from .harness import KernelUnderTest, item


def _shown(result, cell, mime: str = "text/plain") -> list[object]:  # type: ignore[no-untyped-def]
    return [entry["data"].get(mime) for entry in result.of(cell, "display")]


def test_a_result_is_marked_as_one(kernel: KernelUnderTest) -> None:
    result, cell = kernel.run_source("display('shown')\n'value'")
    assert [entry["result"] for entry in result.of(cell, "display")] == [False, True]
    assert _shown(result, cell) == ["'shown'", "'value'"]


def test_rich_representations_are_all_sent(kernel: KernelUnderTest) -> None:
    source = (
        "class R:\n    def _repr_html_(self): return '<b>r</b>'\n"
        "    def _repr_latex_(self): return '$r$'\nR()"
    )
    result, cell = kernel.run_source(source, definitions=["R"])
    data = result.of(cell, "display")[0]["data"]
    assert (data["text/html"], data["text/latex"]) == ("<b>r</b>", "$r$")


def test_an_update_belongs_to_the_attempt_that_makes_it(kernel: KernelUnderTest) -> None:
    first = item("handle = display('a', display_id='d1')", definitions=["handle"])
    second = item("handle.update('b')")
    result = kernel.run(first, second)
    assert result.of(first, "display")[0]["display_id"] == "d1"
    update = result.of(second, "update")[0]
    assert (update["display_id"], update["data"]["text/plain"]) == ("d1", "'b'")


def test_clear_output_comes_in_order(kernel: KernelUnderTest) -> None:
    source = "from IPython.display import clear_output\nprint('a')\nclear_output(wait=True)\nprint('b')"
    result, cell = kernel.run_source(source, definitions=["clear_output"])
    assert [entry["t"] for entry in result.of(cell)] == ["started", "stream", "clear", "stream", "finished"]
    assert result.of(cell, "clear")[0]["wait"] is True


def test_figures_come_at_the_end_of_their_cell_as_png(kernel: KernelUnderTest) -> None:
    first = item(
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nprint('drawn')\n'value'", definitions=["plt"]
    )
    second = item("print(plt.get_fignums())")
    result = kernel.run(first, second)
    kinds = [(entry["t"], sorted(entry.get("data", {}))) for entry in result.of(first)]
    assert [kind for kind, _ in kinds] == ["started", "stream", "display", "display", "finished"]
    assert kinds[-2][1] == ["image/png", "text/plain"]
    assert result.text(second) == "[]\n"


def test_a_failing_cell_still_shows_its_figures(kernel: KernelUnderTest) -> None:
    result, cell = kernel.run_source(
        "import matplotlib.pyplot as plt\nplt.plot([1])\n1/0", definitions=["plt"]
    )
    assert [entry["t"] for entry in result.of(cell)] == ["started", "display", "error", "finished"]


def test_altair_charts_are_vega_lite_and_nothing_heavier(kernel: KernelUnderTest) -> None:
    source = "import altair as alt\nalt.Chart(alt.Data(values=[{'a': 1}])).mark_bar().encode(x='a:Q')"
    result, cell = kernel.run_source(source, definitions=["alt"])
    data = result.of(cell, "display")[0]["data"]
    assert [mime for mime in data if mime.startswith("application/vnd.vegalite.v")]
    assert "text/html" not in data


def test_plotly_figures_are_plotly_json_and_nothing_heavier(kernel: KernelUnderTest) -> None:
    source = "import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[1, 2])).show()\ngo.Figure(go.Bar(y=[3]))"
    result, cell = kernel.run_source(source, definitions=["go"])
    shown = result.of(cell, "display")
    assert len(shown) == 2
    assert all(
        "application/vnd.plotly.v1+json" in entry["data"] and "text/html" not in entry["data"]
        for entry in shown
    )


def test_a_dataframe_is_a_table_that_can_be_paged(kernel: KernelUnderTest) -> None:
    source = "import pandas as pd\ndf = pd.DataFrame({'a': range(1000)})\ndf"
    result, cell = kernel.run_source(source, definitions=["pd", "df"])
    table = result.of(cell, "display")[0]["data"]["application/vnd.rillbook.table+json"]
    reply = kernel.call("table", handle=table["handle"], offset=990, limit=5, sort=[], search="")
    assert [row[-1] for row in reply["table"]["rows"]] == [990, 991, 992, 993, 994]
    kernel.call("forget", attempts=[cell["attempt"]])
    assert (
        kernel.call("table", handle=table["handle"], offset=0, limit=5, sort=[], search="")["status"]
        == "error"
    )


def test_large_items_go_to_the_spool_as_raw_bytes(kernel: KernelUnderTest) -> None:
    source = (
        "import os\nraw = b'\\x89PNG' + bytes(100_000)\n"
        "class Big:\n    def _repr_png_(self): return raw\n    def _repr_html_(self): return 'é' * 80_000\n"
        "    def _repr_json_(self): return {'a': list(range(50_000))}\n"
        "os.chdir('/')\nBig()"
    )
    result, cell = kernel.run_source(source, definitions=["os", "raw", "Big"])
    entry = result.of(cell, "display")[0]
    assert set(entry["spool"]) == {"image/png", "text/html", "application/json"}
    spooled = {
        mime: (kernel.work / ".spool" / one["file"]).read_bytes() for mime, one in entry["spool"].items()
    }
    assert spooled["image/png"] == b"\x89PNG" + bytes(100_000)
    assert spooled["text/html"].decode() == "é" * 80_000
    assert json.loads(spooled["application/json"]) == {"a": list(range(50_000))}
    assert all(len(spooled[mime]) == one["size_bytes"] for mime, one in entry["spool"].items())
    assert not set(entry["data"]) & set(entry["spool"])


def test_small_images_travel_as_base64(kernel: KernelUnderTest) -> None:
    source = "class I:\n    def _repr_png_(self): return b'\\x89PNG'\nI()"
    result, cell = kernel.run_source(source, definitions=["I"])
    assert result.of(cell, "display")[0]["data"]["image/png"].strip() == "iVBORw=="


def test_data_that_json_cannot_say_still_arrives(kernel: KernelUnderTest) -> None:
    source = (
        "import numpy as np, json\n"
        "display({'application/json': {'a': float('nan'), 'b': np.int64(3), 'c': {1, 2}, "
        "'d': np.arange(2), chr(0xD800): 1}}, raw=True)"
    )
    result, cell = kernel.run_source(source, definitions=["np", "json"])
    data = result.of(cell, "display")[0]["data"]["application/json"]
    assert data == {"a": None, "b": 3, "c": "{1, 2}", "d": [0, 1], "\ufffd": 1}


def test_input_asks_with_the_attempt_as_parent(kernel: KernelUnderTest) -> None:
    cell = item("print('before')\nname = input('Name? ')\nprint('hello', name)", definitions=["name"])
    message = kernel.begin([cell])
    request = kernel.client.get_stdin_msg(timeout=10)
    assert request["content"] == {"prompt": "Name? ", "password": False}
    assert request["parent_header"]["msg_id"] == cell["attempt"]
    kernel.wait_for_text("before")
    kernel.client.input("Ada")
    assert kernel.end(message).text(cell) == "before\nName? Ada\nhello Ada\n"


def test_getpass_asks_for_a_password(kernel: KernelUnderTest) -> None:
    cell = item("from getpass import getpass\nprint(len(getpass('Key: ')))", definitions=["getpass"])
    message = kernel.begin([cell])
    assert kernel.client.get_stdin_msg(timeout=10)["content"] == {"prompt": "Key: ", "password": True}
    kernel.client.input("secret")
    assert kernel.end(message).text(cell) == "Key: ••••••••\n6\n"


def test_input_can_be_interrupted(kernel: KernelUnderTest) -> None:
    cell = item("input()")
    message = kernel.begin([cell])
    kernel.client.get_stdin_msg(timeout=10)
    kernel.interrupt()
    assert kernel.end(message).outcome(cell) == "interrupted"


def test_input_where_nobody_can_answer_is_an_error_that_says_so(kernel: KernelUnderTest) -> None:
    cell = item("input()")
    error = kernel.run(cell, allow_stdin=False).error(cell)
    assert error["ename"] == "StdinNotImplementedError"
    assert "nobody" in error["evalue"]


def test_updates_and_cleared_output_do_not_count_towards_the_cap(kernel: KernelUnderTest) -> None:
    source = (
        "from IPython.display import clear_output\nh = display(0, display_id=True)\n"
        "for i in range(10_050): h.update(i)\n"
        "for i in range(4):\n    clear_output()\n    for j in range(4_000): display(j)"
    )
    result, cell = kernel.run_source(source, definitions=["clear_output", "h", "i", "j"])
    assert len(result.of(cell, "update")) == 10_050
    assert len(result.of(cell, "display")) == 16_001
    assert not result.of(cell, "notice")


@pytest.mark.environment(RILLBOOK_OUTPUT_CAP_BYTES="200000")
def test_a_display_beyond_the_cap_is_dropped_and_said(fresh: KernelUnderTest) -> None:
    cells = [item("'x' * 1_000_000"), item("'small'")]
    result = fresh.run(*cells)
    assert not result.of(cells[0], "display")
    assert "200000 bytes" in result.of(cells[0], "notice")[0]["text"]
    assert len(result.of(cells[1], "display")) == 1
    assert not list((fresh.work / ".spool").glob("*"))


def test_matplotlib_inline_by_magic_shows_each_figure_once(kernel: KernelUnderTest) -> None:
    source = "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1]);"
    result, cell = kernel.run_source(source, definitions=["plt"])
    assert len(result.of(cell, "display")) == 1


def test_help_on_a_name_is_shown_as_output(kernel: KernelUnderTest) -> None:
    result, cell = kernel.run_source("def known():\n    '''Known well.'''\nknown?", definitions=["known"])
    assert "Known well." in result.of(cell, "display")[0]["data"]["text/plain"]


def test_the_spool_follows_a_work_folder_that_is_renamed(fresh: KernelUnderTest) -> None:
    fresh.work.rename(fresh.folder / "claimed")
    result, cell = fresh.run_source("display({'text/html': 'h' * 100_000}, raw=True)")
    spooled = result.of(cell, "display")[0]["spool"]["text/html"]
    assert (fresh.folder / "claimed" / ".spool" / spooled["file"]).read_text() == "h" * 100_000


def test_the_usual_import_of_tqdm_draws_a_bar_without_a_warning(kernel: KernelUnderTest) -> None:
    cell = item("from tqdm.auto import tqdm\nfor _i in tqdm(range(3)): pass", definitions=["tqdm"])
    result = kernel.run(cell)
    assert result.outcome(cell) == "ok"
    assert "Warning" not in result.text(cell, "stderr") and "3/3" in result.text(cell, "stderr")
