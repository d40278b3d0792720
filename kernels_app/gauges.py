"""What this process's host tells at each reading of the metrics (notebooks_app/metrics.py: Kernels)."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.db import DatabaseError

from kernels_app.hosts import get_host
from kernels_app.models import KernelDeaths


class HostGauges:
    counts_deaths = settings.KERNEL_HOST == "ray"

    def deaths(self) -> dict[str, int]:
        """Of the whole cluster; nothing while the database does not answer."""
        try:
            return dict(KernelDeaths.objects.values_list("reason", "count"))
        except DatabaseError:
            return {}

    def gauges(self) -> Iterable[tuple[str, str, float]]:
        host = get_host()
        if not host.is_started:
            return
        numbers = host.numbers()
        yield "rillbook_kernels_live", "Notebooks that hold a kernel in this process.", numbers.kernels
        yield "rillbook_notebooks_open", "Notebooks whose runtime is in this process.", numbers.runtimes
        yield "rillbook_pool_ready", "Kernels that wait to be claimed.", numbers.ready
        yield "rillbook_pool_size", "Kernels that should wait to be claimed.", settings.KERNEL_POOL_SIZE
        yield "rillbook_kernels_memory_bytes", "Memory of the live kernels, last measured.", numbers.memory_bytes
        yield "rillbook_saver_lag_seconds", "Age of the oldest output that is not saved yet.", numbers.lag_s
        yield "rillbook_watched_notebooks", "Notebooks that sockets of this process watch.", numbers.feeds
