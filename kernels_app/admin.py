"""The admin of kernels: which notebooks hold one, whose, how large, idle how long; stopping, restarting those here."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.timesince import timesince

from kernels_app import checks, sandbox
from kernels_app.hosts import get_host
from kernels_app.models import KernelLimits
from notebooks_app import usage
from notebooks_app.admin_lists import LookOnly, as_uuid, link
from notebooks_app.errors import NotFound, RillbookError
from notebooks_app.models import KernelSession
from notebooks_app.services import Author

STOPPED = "An operator stopped the kernel. Outputs are kept; variables are gone."
ANSWER_S = 30.0


class LiveFilter(admin.SimpleListFilter):
    title = "lease"
    parameter_name = "live"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "live"), ("no", "over")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[KernelSession]) -> QuerySet[KernelSession]:
        live = KernelSession.objects.live().values("pk")
        if self.value() == "yes":
            return queryset.filter(pk__in=live)
        if self.value() == "no":
            return queryset.exclude(pk__in=live)
        return queryset


@admin.register(KernelSession)
class KernelSessionAdmin(LookOnly):
    """No row is deleted: it is the fence against a server that comes back."""

    list_display = ("notebook", "owner", "state", "is_live", "memory", "idle", "server", "started_at", "executions")
    list_filter = (LiveFilter, "state")
    list_select_related = ("notebook__owner",)
    search_fields = ("notebook__name", "notebook__owner__username", "host")
    search_help_text = "Words of the notebook's name, its owner's or its server's name; a notebook's whole id."
    ordering = ("-expires",)
    fields = (
        "notebook_link", "owner", "state", "detail", "is_live", "memory", "idle", "server", "host", "epoch", "expires",
        "started_at", "executions",
    )  # fmt: skip
    actions = ("stop", "restart")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, below what isolates its kernels from this machine."""
        described = sandbox.describe(settings.KERNEL_SANDBOX, settings.KERNEL_PYTHON)
        shown = {"isolation": described, "protections": checks.lines()}
        return super().changelist_view(request, (extra_context or {}) | shown)

    def get_queryset(self, request: HttpRequest) -> QuerySet[KernelSession]:
        return super().get_queryset(request).select_related("notebook__owner").defer("notebook__metadata")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[KernelSession], search_term: str
    ) -> tuple[QuerySet[KernelSession], bool]:
        known = as_uuid(search_term)
        if known is not None:
            return queryset.filter(pk=known), False
        return super().get_search_results(request, queryset, search_term)

    def fill(self, rows: list[Any]) -> None:
        here, runs = get_host().kernels(), usage.last_runs([row.pk for row in rows])
        for row in rows:
            row.kernel_here, row.last_run = here.get(row.pk), runs.get(row.pk)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("notebooks_app.change_kernelsession")

    @admin.display(ordering="notebook__owner__username")
    def owner(self, session: KernelSession) -> str:
        return session.notebook.owner.get_username()

    @admin.display(description="notebook")
    def notebook_link(self, session: KernelSession) -> str:
        return link(session.notebook)

    @admin.display(boolean=True, description="live", ordering="expires")
    def is_live(self, session: KernelSession) -> bool:
        return session.is_live()

    @admin.display
    def memory(self, session: Any) -> str:
        """Of kernels of this server; another one measures its own."""
        kernel = session.kernel_here
        if kernel is None or "memory_bytes" not in kernel:
            return "-"
        return f"{filesizeformat(kernel['memory_bytes'])} of {filesizeformat(kernel['limit_bytes'])}"

    @admin.display(description="idle for")
    def idle(self, session: Any) -> str:
        if not session.is_live():
            return "-"
        if session.state == KernelSession.State.RUNNING or (session.kernel_here or {}).get("state") == "running":
            return "runs"
        return timesince(_last_used(session), timezone.now())

    @admin.display
    def server(self, session: Any) -> str:
        if not session.is_live():
            return "-"
        is_here = session.kernel_here is not None and settings.KERNEL_HOST == "local"
        return "this one" if is_here else session.host.partition(":")[0]

    @admin.action(description="Stop the kernel", permissions=["operate"])
    def stop(self, request: HttpRequest, chosen: QuerySet[KernelSession]) -> None:
        self._operate(request, chosen, "stopped", lambda pk, by: _stop(pk))

    @admin.action(description="Restart the kernel (variables are gone, outputs stay)", permissions=["operate"])
    def restart(self, request: HttpRequest, chosen: QuerySet[KernelSession]) -> None:
        self._operate(request, chosen, "restarted", _restart)

    def _operate(
        self,
        request: HttpRequest,
        chosen: QuerySet[KernelSession],
        done: str,
        operation: Callable[[uuid.UUID, Author], Any],
    ) -> None:
        """Do it to each by the runtime of this process, and say of each other why not."""
        count = 0
        for session in chosen.select_related("notebook"):
            name = session.notebook.name
            if not self.is_live(session):
                messages.warning(request, f"{name}: has no live kernel.")
                continue
            try:
                get_host().call(operation(session.pk, Author.of(request.user)), ANSWER_S)
            except RillbookError as error:
                messages.error(request, f"{name}: {error.message}")
                continue
            self.log_change(request, session, f"The kernel was {done}.")
            count += 1
        messages.success(request, f"{count} {done}.")


@admin.register(KernelLimits)
class KernelLimitsAdmin(admin.ModelAdmin):
    """What one person's kernels may take; they hold from the next start of a kernel on."""

    list_display = (
        "user", "memory_mib", "cpus", "gpus", "processes", "disk_mib", "run_seconds", "idle_seconds", "output_mib",
        "kernels",
    )  # fmt: skip
    list_select_related = ("user",)
    search_fields = ("user__username",)
    autocomplete_fields = ("user",)
    list_per_page = 50

    def get_readonly_fields(self, request: HttpRequest, obj: KernelLimits | None = None) -> tuple[str, ...]:
        return ("user",) if obj is not None else ()


def _last_used(session: Any) -> datetime:
    return max(when for when in (session.last_run, session.started_at, session.notebook.created_at) if when)


async def _stop(notebook_id: uuid.UUID) -> None:
    await _runtime(notebook_id)
    await get_host().stop(notebook_id, STOPPED)


async def _restart(notebook_id: uuid.UUID, by: Author) -> None:
    runtime = await _runtime(notebook_id)
    await runtime.restart(by=by)


async def _runtime(notebook_id: uuid.UUID) -> Any:
    """The notebook's runtime in this process. Raises NotFound: the page shows which server has it."""
    runtime = await get_host().get(notebook_id)
    if runtime is None:
        raise NotFound("Its kernel is on another server; do this there, or wait until its lease is over.")
    return runtime
