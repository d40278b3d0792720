"""Prometheus metrics: what is counted, and one small function for each place that counts.

Labels are route names, outcomes and kinds: never ids, so that their number is bounded. What only a process that holds
kernels knows, it hands in with `use` (kernels_app/gauges.py). Who may read them is in probes.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from django.db import DatabaseError, connection
from django.db.models import Sum
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
RUN_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200)
SAVE_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
HELD_FOR_S = 15.0

OUTCOMES = frozenset({"ok", "error", "interrupted", "died"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

registry = CollectorRegistry()
ProcessCollector(registry=registry)

_requests = Counter("rillbook_http_requests", "Requests answered.", ["route", "method", "status"], registry=registry)
_request_s = Histogram(
    "rillbook_http_request_seconds", "Time to answer.", ["route"], buckets=REQUEST_S, registry=registry
)
_sockets = Gauge("rillbook_sockets_open", "Open sockets of browsers.", registry=registry)
_runs = Counter("rillbook_runs", "Runs that ended.", ["kind", "outcome"], registry=registry)
_run_s = Histogram("rillbook_run_seconds", "From a run's request to its end.", buckets=RUN_S, registry=registry)
_cells = Counter("rillbook_cells_run", "Cells that ran.", ["outcome"], registry=registry)
_cell_s = Histogram("rillbook_cell_seconds", "Time a cell ran.", buckets=RUN_S, registry=registry)
DEATHS = "Kernels that ended unasked."
_deaths = Counter("rillbook_kernel_deaths", DEATHS, ["reason"], registry=registry)
_starts_failed = Counter("rillbook_kernel_starts_failed", "Kernels that did not start.", registry=registry)
_save_s = Histogram("rillbook_save_seconds", "One commit of the saver.", buckets=SAVE_S, registry=registry)
_saves_failed = Counter("rillbook_saves_failed", "Commits of the saver that failed.", registry=registry)
_spilled = Counter("rillbook_spilled_bytes", "Bytes of outputs moved to object storage.", registry=registry)
_db_errors = Counter("rillbook_db_errors", "Statements and connections that failed.", ["kind"], registry=registry)


def request_answered(route: str, method: str, status: int, seconds: float) -> None:
    """`route` is a URL pattern's name, never a path."""
    _requests.labels(route, method if method in METHODS else "other", f"{status // 100}xx").inc()
    _request_s.labels(route).observe(seconds)


def socket_opened() -> None:
    _sockets.inc()


def socket_closed() -> None:
    _sockets.dec()


def run_ended(kind: str, outcome: str, seconds: float) -> None:
    _runs.labels(kind, outcome if outcome in OUTCOMES else "other").inc()
    _run_s.observe(seconds)


def cell_ended(outcome: str, duration_ms: int | None) -> None:
    _cells.labels(outcome if outcome in OUTCOMES else "other").inc()
    if duration_ms is not None:
        _cell_s.observe(duration_ms / 1000)


def kernel_died(reason: str) -> None:
    """`reason`: deaths.Death.kind, one of a handful."""
    _deaths.labels(reason).inc()


def kernel_start_failed() -> None:
    _starts_failed.inc()


def saved(seconds: float) -> None:
    _save_s.observe(seconds)


def save_failed() -> None:
    _saves_failed.inc()


def spilled(size_bytes: int) -> None:
    _spilled.inc(size_bytes)


def connect_failed() -> None:
    _db_errors.labels("connect").inc()


def count_failures(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """A wrapper of every statement (apps.py puts it on each new connection): counts those that fail, by class."""
    try:
        return execute(sql, params, many, context)
    except DatabaseError as error:
        _db_errors.labels(type(error).__name__).inc()
        raise


class Kernels(Protocol):
    """What a process that holds kernels tells at each reading: gauges by name, each with its help text."""

    counts_deaths: bool  # itself: they happen in other processes

    def gauges(self) -> Iterable[tuple[str, str, float]]: ...

    def deaths(self) -> dict[str, int]:
        """Where it counts them: by reason, since ever."""


_kernels: Kernels | None = None


def use(kernels: Kernels) -> None:
    global _kernels
    _kernels = kernels
    if kernels.counts_deaths:
        registry.unregister(_deaths)


class Collector:
    """What is asked for when metrics are read."""

    def __init__(self) -> None:
        self._held: float | None = None
        self._held_at = float("-inf")

    def collect(self) -> Iterable[Metric]:
        for name, words, value in _kernels.gauges() if _kernels is not None else ():
            yield GaugeMetricFamily(name, words, value)
        if _kernels is not None and _kernels.counts_deaths:
            deaths = CounterMetricFamily("rillbook_kernel_deaths", DEATHS, labels=["reason"])
            for reason, count in _kernels.deaths().items():
                deaths.add_metric([reason], count)
            yield deaths
        for name, value in _pool_numbers().items():
            yield GaugeMetricFamily(f"rillbook_db_pool_{name}", f"Connection pool: {name.replace('_', ' ')}.", value)
        held = self._held_bytes()
        if held is not None:
            yield GaugeMetricFamily(
                "rillbook_held_bytes", "Bytes of outputs that wait in the database for the storage.", held
            )

    def _held_bytes(self) -> float | None:
        """Asked of the database now and then; None where it does not answer."""
        now = time.monotonic()
        if now - self._held_at > HELD_FOR_S:
            self._held_at = now
            try:
                self._held = float(held_bytes())
            except DatabaseError:
                self._held = None
        return self._held


def held_bytes() -> int:
    """Bytes of outputs whose storage did not take them yet (manage.py spill_outputs moves them)."""
    from notebooks_app.models import HeldPart, OutputFile

    files = HeldPart.objects.filter(index=0).values("file")
    return OutputFile.objects.filter(pk__in=files).aggregate(total=Sum("size_bytes"))["total"] or 0


def _pool_numbers() -> dict[str, float]:
    """PostgreSQL's pool of this process, where it has one that was used."""
    pool = getattr(connection, "_connection_pools", {}).get(connection.alias)
    if pool is None:
        return {}
    stats = pool.get_stats()
    names = ("pool_size", "pool_available", "pool_max", "requests_waiting", "requests_errors")
    return {name.removeprefix("pool_"): float(stats.get(name, 0)) for name in names}


registry.register(Collector())  # type: ignore[arg-type]


def text() -> bytes:
    """All metrics in Prometheus's text format. Blocks: the database may be asked."""
    return generate_latest(registry)
