"""The Demo as every new user gets it, run by a real kernel."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from notebooks_app import db, reading, services
from notebooks_app.demo import demo_notebook
from notebooks_app.models import Cell, Notebook
from notebooks_app.notebooks import import_notebook
from tests.runtime.lab import Lab

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

RUN_S = 90
TABLE, PLOTLY = "application/vnd.rillbook.table+json", "application/vnd.plotly.v1+json"
VEGA_LITE, PNG = "application/vnd.vegalite.v6+json", "image/png"
# What a cell says -> what it must show
SHOWN = {
    "weather = data.": TABLE,
    "trend = weather[": TABLE,
    "plt.subplots": PNG,
    "alt.Chart": VEGA_LITE,
    "px.box": PLOTLY,
    "px.line(comparison": PLOTLY,
    "px.line(smooth": PLOTLY,
    "FROM trend": TABLE,
    "date_trunc": TABLE,
    "{rate})": TABLE,
    "trend.surprise.abs().groupby": TABLE,
}


async def open_demo(lab: Lab) -> tuple[Notebook, Any]:
    """The Demo in the lab, all of it run once; with its runtime."""
    notebook = await db.write(lambda: import_notebook(lab.notebook.owner, demo_notebook()))
    runtime = await lab.host.ensure(notebook.id)
    assert await runtime.wait(await runtime.run_all(by=lab.author), RUN_S)
    return notebook, runtime


async def documents(lab: Lab, notebook: Notebook) -> list[dict[str, Any]]:
    await lab.host.saver.flush()
    return await db.read(lambda: reading.cell_documents(notebook.id, states=reading.states_now(notebook.id)))


def find(cells: list[dict[str, Any]], words: str) -> dict[str, Any]:
    [found] = [cell for cell in cells if words in cell["source"] and cell["type"] != "markdown"]
    return found


def mimes(cell: dict[str, Any]) -> set[str]:
    return {mime for output in cell["outputs"] for mime in (*output.get("data", ()), *output["files"])}


def text(cell: dict[str, Any], name: str) -> str:
    return "".join(o["text"] for o in cell["outputs"] if o["kind"] == "stream" and o["name"] == name)


async def test_every_cell_of_the_demo_runs_and_shows_what_it_promises(lab: Lab):
    notebook, _ = await open_demo(lab)
    cells = await documents(lab, notebook)
    assert len(cells) >= 27
    assert [(c["source"], c["state"]["freshness"]) for c in cells if c["state"]["freshness"] != "current"] == []
    assert [c["source"] for c in cells for output in c["outputs"] if output["kind"] == "error"] == []
    missing = {words: mime for words, mime in SHOWN.items() if mime not in mimes(find(cells, words))}
    assert missing == {}
    assert "after 4.3 days" in text(find(cells, "half_life ="), "stdout")
    assert "The best rate is 0.14" in text(find(cells, "best ="), "stdout")
    assert [(c["source"], c["state"]["warnings"]) for c in cells if c["state"]["warnings"]] == []
    assert [c["source"] for c in cells if text(c, "stderr") and "tqdm(" not in c["source"]] == []
    assert "{" not in text(find(cells, "odd_days.days"), "stdout")


async def test_the_progress_bar_of_the_demo_is_one_line(lab: Lab):
    notebook, _ = await open_demo(lab)
    bar = text(find(await documents(lab, notebook), "tqdm("), "stderr")
    assert len(bar.splitlines()) == 1
    assert "80/80" in bar


async def test_a_change_of_the_rate_runs_what_depends_on_it_and_not_the_slow_comparison(lab: Lab):
    notebook, runtime = await open_demo(lab)
    before = await documents(lab, notebook)
    rate = find(before, "rate = 0.15  #@param")["id"]
    await db.write(
        lambda: services.edit_cell(
            notebook.id, uuid.UUID(rate), version=1, source="rate = 0.5", author=lab.author, operation_id=uuid.uuid4()
        )
    )
    assert await runtime.wait(await runtime.run_stale(by=lab.author), RUN_S)
    after = await documents(lab, notebook)
    attempts = {cell["id"]: cell["state"]["attempt"] for cell in before}
    again = {cell["id"] for cell in after if cell["state"]["attempt"] != attempts[cell["id"]]}
    follows = ["def smooth", "trend =", "plt.subplots", "px.box", "limit =", "FROM trend", "px.line(smooth", "{rate})"]
    left_alone = ["import altair", "weather = data.", "tqdm(", "date_trunc"]
    assert [words for words in follows if find(after, words)["id"] not in again] == []
    assert [words for words in left_alone if find(after, words)["id"] in again] == []
    assert [cell["source"] for cell in after if cell["state"]["freshness"] != "current"] == []
    assert "5 % worse" in text(find(after, "best ="), "stderr")
    assert await db.read(lambda: Cell.objects.get(pk=rate).source) == "rate = 0.5"
