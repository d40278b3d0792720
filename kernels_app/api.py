"""The API of runs and kernels: permission, shape, status codes, and waiting for a run.

What runs is the runtime's matter. What an answer says of a run is read from the database after it was saved there.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.db import close_old_connections
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernels_app import waiting
from kernels_app.gauges import HostGauges
from kernels_app.hosts import get_host
from kernels_app.hosts.base import KernelHost, RuntimeHandle
from kernels_app.live import HostLive
from kernels_app.previews import previews
from notebooks_app import db, graph, live, metrics, reading, serializers
from notebooks_app.access import Role
from notebooks_app.api_base import ApiView, cell_documents
from notebooks_app.api_parameters import CURSOR, LIMIT, REFUSED
from notebooks_app.errors import Conflict, NotFound, Unavailable
from notebooks_app.facts import CellState, Outcome
from notebooks_app.models import CellRun, KernelSession, Run
from notebooks_app.services import Author

type Document = dict[str, Any]
type Check = Callable[[], Any]  # raises if the caller may not have it done any more

START_S = 60.0  # to claim a notebook's lease and take the request, on top of the time the caller grants the run
POLL_S = 0.05
SAVED_S = 10.0

# The routes are loaded in every server process, and only there.
live.use(HostLive())
metrics.use(HostGauges())


class RunList(ApiView):
    asks = {"GET": [CURSOR, LIMIT]}

    @extend_schema(operation_id="runs_list", responses={200: serializers.RunPage, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "read it")
        runs = Run.objects.filter(notebook_id=notebook_id).select_related("started_by")
        links, rows = self.page(runs, by="started_at")
        orders = _orders(rows)
        epoch = _live_epoch(notebook_id)
        listed = [{"run": _run_document(run, epoch), "order": orders[run.pk]} for run in rows]
        return Response({**links, "results": listed})

    @extend_schema(
        request=serializers.RunCreate,
        responses={200: serializers.RunOut, 202: serializers.RunOut, **REFUSED, 409: serializers.ErrorOut},
    )
    def post(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.RUNNER, "run cells")
        body = self.body(serializers.RunCreate)
        check = partial(self.open_again, notebook_id, Role.RUNNER, "run cells")
        started = _call(_start(_host(), notebook_id, body, self.author(), check), START_S)
        return _answer(self, notebook_id, started, body, asked=body.get("cells", ()))


class RunDetail(ApiView):
    @extend_schema(operation_id="runs_retrieve", responses={200: serializers.RunOut, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID, run_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "read it")
        document = _run_answer(notebook_id, run_id, asked=(), timed_out=False)
        if document is None:
            raise NotFound("There is no such run in this notebook.")
        return Response(document)


class RunCancel(ApiView):
    """Ends the run if it goes on; requests that were merged with it end too, for there is one queue."""

    @extend_schema(
        request=serializers.Waiting,
        responses={200: serializers.RunOut, 202: serializers.RunOut, **REFUSED, 409: serializers.ErrorOut},
    )
    def post(self, request: Request, notebook_id: uuid.UUID, run_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.RUNNER, "stop a run")
        body = self.body(serializers.Waiting)
        known = _run_answer(notebook_id, run_id, asked=(), timed_out=False)
        if known is None:
            raise NotFound("There is no such run in this notebook.")
        if known["run"]["outcome"] is not None:
            raise Conflict(f"The run is over: {known['run']['outcome']}.")
        _call(_stop(_host(), notebook_id, str(run_id)), START_S)
        return _answer(self, notebook_id, str(run_id), body, asked=())


class Stop(ApiView):
    """Ends the whole run: the running cell is interrupted, queued ones return to what they were."""

    @extend_schema(request=serializers.Waiting, responses={200: serializers.StopOut, **REFUSED})
    def post(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.RUNNER, "stop a run")
        body = self.body(serializers.Waiting)
        timeout_s = body["timeout_s"] if body["wait"] else 0.0
        _call(_stop(_host(), notebook_id), START_S)
        settled = _call(_settle(_host(), notebook_id, timeout_s), START_S + timeout_s)
        self.open_again(notebook_id, Role.VIEWER, "read it")
        return Response({"kernel": live.kernel(notebook_id), "settled": settled})


class Restart(ApiView):
    @extend_schema(
        request=serializers.RestartIn,
        responses={200: serializers.RestartOut, 202: serializers.RestartOut, **REFUSED, 409: serializers.ErrorOut},
    )
    def post(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.RUNNER, "restart its kernel")
        body = self.body(serializers.RestartIn)
        check = partial(self.open_again, notebook_id, Role.RUNNER, "restart its kernel")
        started = _call(_restart(_host(), notebook_id, body, self.author(), check), START_S)
        if started is not None:
            return _answer(self, notebook_id, started, body, asked=())
        timeout_s = body["timeout_s"]
        is_up = body["wait"] and _call(_until_started(_host(), notebook_id, timeout_s), START_S + timeout_s)
        self.open_again(notebook_id, Role.VIEWER, "read it")
        answer: Document = {"run": None, "order": [], "cells": [], "timed_out": body["wait"] and not is_up}
        return Response({**answer, "kernel": live.kernel(notebook_id)}, status=200 if body["wait"] else 202)


class Kernel(ApiView):
    @extend_schema(responses={200: serializers.KernelOut, **REFUSED})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.VIEWER, "read it")
        return Response(live.kernel(notebook_id))


# --- On the server's loop --------------------------------------------------------------------------------------------


def _host() -> KernelHost:
    host = get_host()
    if not host.is_started:
        raise Unavailable("This process runs no kernels.")
    return host


def _call(work: Any, timeout_s: float) -> Any:
    """Run it there; this thread keeps no connection of the database's pool while it waits."""
    close_old_connections()
    return _host().call(work, timeout_s)


async def _start(host: KernelHost, notebook_id: uuid.UUID, body: Document, by: Author, check: Check) -> str:
    async with waiting.runtime_of(host, notebook_id, asyncio.Lock(), partial(db.read, check)) as runtime:
        if body["all"]:
            return await runtime.run_all(by=by)
        if body["stale"]:
            return await runtime.run_stale(by=by)
        return await runtime.run({str(cell): 0 for cell in body["cells"]}, by=by, only=body["only"])


async def _restart(host: KernelHost, notebook_id: uuid.UUID, body: Document, by: Author, check: Check) -> str | None:
    async with waiting.runtime_of(host, notebook_id, asyncio.Lock(), partial(db.read, check)) as runtime:
        return await runtime.restart(by=by, run_all=body["run_all"])


async def _stop(host: KernelHost, notebook_id: uuid.UUID, run: str | None = None) -> None:
    """End what goes on; with `run` only if that is a part of it. Raises Unavailable if another server runs it."""
    if run is None:
        host.feeds.take_back(notebook_id)
    runtime = await host.get(notebook_id)
    if runtime is not None:
        await runtime.stop(run)
    elif await db.read(lambda: _live_epoch(notebook_id)) is not None:
        raise Unavailable("Another server runs this notebook: stop it there.")


async def _settle(host: KernelHost, notebook_id: uuid.UUID, timeout_s: float) -> bool:
    runtime = await host.get(notebook_id)
    return await runtime.settle(timeout_s) if runtime is not None else True


async def _until_started(host: KernelHost, notebook_id: uuid.UUID, timeout_s: float) -> bool:
    """Whether the kernel that a restart asked for is there in time."""
    deadline = time.monotonic() + timeout_s
    runtime = await host.get(notebook_id)
    while runtime is not None and not await _has_started(runtime):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return runtime is not None and (await runtime.info())["state"] != "dead"


async def _has_started(runtime: RuntimeHandle) -> bool:
    return (await runtime.info())["state"] not in ("starting", "stopped")


async def _wait(host: KernelHost, notebook_id: uuid.UUID, run: str, timeout_s: float) -> bool:
    runtime = await host.get(notebook_id)
    if runtime is None:
        return True
    is_over = await runtime.wait(run, timeout_s)
    if is_over:  # the files of long texts follow their cell: who waits may open them
        await runtime.keep_files()
    return is_over


# --- Answers ---------------------------------------------------------------------------------------------------------


def _answer(view: ApiView, notebook_id: uuid.UUID, run: str, body: Document, *, asked: Iterable[uuid.UUID]) -> Response:
    """202 as soon as the run is in the database, or 200 when it is over and saved there, or the time is up."""
    run_id = uuid.UUID(run)
    is_over = body["wait"] and _call(_wait(_host(), notebook_id, run, body["timeout_s"]), START_S + body["timeout_s"])
    _await_row(run_id)
    view.open_again(notebook_id, Role.VIEWER, "read it")
    document = _run_answer(notebook_id, run_id, asked=asked, timed_out=body["wait"] and not is_over)
    if document is None:
        raise Unavailable("The run was taken but could not be saved yet; read the notebook's runs.")
    return Response(document, status=200 if body["wait"] else 202)


def _await_row(run_id: uuid.UUID) -> None:
    """Until the saver, which gathers for 50 ms, has written the run: who reads it by its id shall find it."""
    deadline = time.monotonic() + SAVED_S
    while not Run.objects.filter(pk=run_id).exists() and time.monotonic() < deadline:
        time.sleep(POLL_S / 2)


def _run_answer(
    notebook_id: uuid.UUID, run_id: uuid.UUID, *, asked: Iterable[uuid.UUID], timed_out: bool
) -> Document | None:
    """What the database holds of a run, and the cells that it concerned as they are now. None: no such run."""
    run = Run.objects.filter(pk=run_id, notebook_id=notebook_id).select_related("started_by").first()
    if run is None:
        return None
    states = live.states(notebook_id)
    order = _orders([run])[run.pk]
    concerned = _concerned(notebook_id, run, {*order, *map(str, asked)}, states)
    cells = cell_documents(notebook_id, states=states, cell_ids=[uuid.UUID(cell) for cell in concerned])
    for cell in cells:
        del cell["source"]
        cell["outputs"] = previews(cell["outputs"])
    document = _run_document(run, _live_epoch(notebook_id))
    return {"run": document, "order": order, "cells": cells, "timed_out": timed_out}


def _concerned(notebook_id: uuid.UUID, run: Run, roots: set[str], states: dict[str, CellState]) -> list[str]:
    """The cells that ran or were asked for, and all downstream of them: blocked or stale ones belong to the answer."""
    facts = [cell.facts() for cell in reading.small_cells(notebook_id)]
    if run.kind != "requested":
        roots = roots | {fact.id for fact in facts if fact.runs}
    known = graph.build(facts)
    reached = set(roots).union(*(known.descendants(cell) for cell in roots))
    return [fact.id for fact in facts if fact.id in reached and fact.id in states]


def _orders(runs: list[Run]) -> dict[uuid.UUID, list[str]]:
    """For each run the ids of its cells in the order in which they started, in one query."""
    attempts = {attempt for run in runs for attempt in run.attempts}
    cells = dict(CellRun.objects.filter(pk__in=attempts).values_list("pk", "cell_id"))
    known = {str(attempt): str(cell) for attempt, cell in cells.items()}
    return {run.pk: [known[attempt] for attempt in run.attempts if attempt in known] for run in runs}


def _live_epoch(notebook_id: uuid.UUID) -> int | None:
    session = KernelSession.objects.filter(notebook_id=notebook_id).first()
    return session.epoch if session is not None and session.is_live() else None


def _run_document(run: Run, live_epoch: int | None) -> Document:
    """A run without an end whose server is gone reads as interrupted."""
    is_lost = run.finished_at is None and run.epoch != live_epoch
    by = run.started_by
    return {
        "id": str(run.pk),
        "kind": run.kind,
        "outcome": Outcome.INTERRUPTED.value if is_lost else run.outcome or None,
        "by": (by.get_full_name() or by.get_username()) if by is not None else None,
        "started_at": run.started_at.isoformat(),
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
    }
