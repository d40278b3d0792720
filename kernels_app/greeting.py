"""What a socket is told when it says hello, kept to a size: what is left out is asked for with `cells` when needed.

Reads the database; which socket gets it, and what is live on top of it, is feed.py's.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

from django.db.models import Sum
from django.db.models.functions import Length

from notebooks_app import facts, reading
from notebooks_app.models import Cell, Output
from notebooks_app.text import replace_surrogates

type Document = dict[str, Any]

SNAPSHOT_OUTPUTS = 60  # first cells of a snapshot that carry their outputs, where they fit
FRAME_BYTES = 256 * 1024  # about, of one frame: on a slow line a socket whose frame does not end seems dead
OUTPUTS_BYTES = 4 * 1024 * 1024  # outputs of one answer
SOURCES_BYTES = 2 * 1024 * 1024  # sources of one answer


def snapshot_cells(notebook_id: uuid.UUID, states: Mapping[str, facts.CellState]) -> list[Document]:
    """All cells. Sources are null beyond SOURCES_BYTES; outputs beyond OUTPUTS_BYTES or the first SNAPSHOT_OUTPUTS."""
    order, with_source = _order_and_sources(notebook_id)
    near = _fitting(order[:SNAPSHOT_OUTPUTS])
    cells = reading.cell_documents(notebook_id, states=states, with_outputs=False, sources_of=with_source)
    found = reading.outputs_of(near, running=_running(cells[:SNAPSHOT_OUTPUTS]))
    outputs: dict[str, list[Document]] = {str(cell): found.get(cell, []) for cell in near}
    for place, cell in enumerate(cells):
        cell["outputs"] = outputs.get(cell["id"])
        if place >= SNAPSHOT_OUTPUTS:
            cell["state"] = states.get(cell["id"], facts.NEVER_RUN).as_compact_json()
    return cells


def changed_cells(
    notebook_id: uuid.UUID, states: Mapping[str, facts.CellState], changed: Iterable[uuid.UUID]
) -> tuple[list[Document], list[str]]:
    """Those of the changed cells that fit, whole; the ids of the others."""
    wanted = list(changed)
    if not wanted:
        return [], []
    fitting = _fitting_whole(wanted)
    cells = reading.cell_documents(notebook_id, states=states, cell_ids=fitting) if fitting else []
    return cells, [str(cell) for cell in wanted if cell not in set(fitting)]


def asked_cells(
    notebook_id: uuid.UUID, states: Mapping[str, facts.CellState], wanted: list[uuid.UUID], *, with_outputs: bool
) -> list[Document]:
    """As many of the named cells as fit in one answer, at least one; the caller asks again for the rest."""
    fitting = _fitting_whole(wanted, with_outputs=with_outputs) or _alive(wanted)[:1]
    return reading.cell_documents(notebook_id, states=states, cell_ids=fitting, with_outputs=with_outputs)


def drop_what_does_not_fit(cells: list[Document]) -> list[str]:
    """Set outputs to null once live ones have grown beyond OUTPUTS_BYTES; the ids of cells that lost theirs."""
    left, dropped = OUTPUTS_BYTES, []
    for cell in cells:
        if cell.get("outputs"):
            left -= len(json.dumps(cell["outputs"]))
            if left < 0:
                cell["outputs"] = None
                dropped.append(cell["id"])
    return dropped


def frames(document: Document) -> list[str]:
    """The document as one frame, or as one that says how many `part`s follow it, which have the rest."""
    lists = {"cells": document["cells"], "states": list(document.get("states", {}).items())}
    head = encode({**document, "cells": [], "states": {}} if "states" in document else {**document, "cells": []})
    parts = [part for name, items in lists.items() for part in _parts(name, items)]
    if len(head) + sum(map(len, parts)) <= 2 * FRAME_BYTES:
        return [encode(document)]
    return [f'{head[:-1]},"more":{len(parts)}}}', *parts]


def _parts(name: str, items: list[Any]) -> list[str]:
    groups: list[list[str]] = [[]]
    size = 0
    for item in items:
        text = encode(item) if name == "cells" else f"{encode(item[0])}:{encode(item[1])}"
        if size + len(text) > FRAME_BYTES and groups[-1]:
            groups.append([])
            size = 0
        groups[-1].append(text)
        size += len(text)
    begin, end = ("[", "]") if name == "cells" else ("{", "}")
    return [f'{{"type":"part","{name}":{begin}{",".join(group)}{end}}}' for group in groups if group]


def encode(document: Any) -> str:
    """JSON that UTF-8 can say: one lone surrogate, wherever it came from, must not end every socket of a notebook."""
    return replace_surrogates(json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def _order_and_sources(notebook_id: uuid.UUID) -> tuple[list[uuid.UUID], list[uuid.UUID] | None]:
    """All cells in order, and those whose sources fit (None: all)."""
    rows = Cell.objects.alive().filter(notebook_id=notebook_id).in_order()
    sizes = list(rows.annotate(size=Length("source")).values_list("pk", "size"))
    order = [pk for pk, _ in sizes]
    sums = accumulate(size for _, size in sizes)
    fitting = [pk for (pk, _), sum_ in zip(sizes, sums, strict=True) if sum_ <= SOURCES_BYTES]
    return order, None if len(fitting) == len(order) else fitting


def _fitting(cells: list[uuid.UUID]) -> list[uuid.UUID]:
    """The first of these cells whose stored outputs fit."""
    sizes = _output_sizes(cells)
    sums = accumulate(sizes.get(cell, 0) for cell in cells)
    return [cell for cell, sum_ in zip(cells, sums, strict=True) if sum_ <= OUTPUTS_BYTES]


def _fitting_whole(cells: list[uuid.UUID], *, with_outputs: bool = True) -> list[uuid.UUID]:
    sizes = dict(Cell.objects.filter(pk__in=cells).annotate(size=Length("source")).values_list("pk", "size"))
    outputs = _output_sizes(cells) if with_outputs else {}
    sums = accumulate(sizes.get(cell, 0) + outputs.get(cell, 0) for cell in cells)
    return [cell for cell, sum_ in zip(cells, sums, strict=True) if sum_ <= OUTPUTS_BYTES]


def _output_sizes(cells: list[uuid.UUID]) -> dict[uuid.UUID, int]:
    rows = Output.objects.filter(cell_id__in=cells).order_by().values_list("cell_id")
    return dict(rows.annotate(size=Sum("size_bytes")))


def _alive(cells: list[uuid.UUID]) -> list[uuid.UUID]:
    return list(Cell.objects.alive().filter(pk__in=cells).values_list("pk", flat=True))


def _running(cells: list[Document]) -> dict[uuid.UUID, uuid.UUID]:
    """The attempts whose output is still in chunks, by cell."""
    attempts = {cell["id"]: cell["state"]["attempt"] for cell in cells if cell["state"]["outcome"] is None}
    return {uuid.UUID(cell): uuid.UUID(attempt) for cell, attempt in attempts.items() if attempt}
