"""The admin of kernels: which notebooks hold one, whose, since when; ending those of this server."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from notebooks_app import live
from notebooks_app.admin import LookOnly
from notebooks_app.errors import RillbookError
from notebooks_app.models import KernelSession

STOPPED = "An operator stopped the kernel. Outputs are kept; variables are gone."


class LiveFilter(admin.SimpleListFilter):
    title = "lease"
    parameter_name = "live"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "live"), ("no", "over")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[KernelSession]) -> QuerySet[KernelSession]:
        held = KernelSession.objects.filter(expires__gt=timezone.now()).exclude(host="").values("pk")
        if self.value() == "yes":
            return queryset.filter(pk__in=held)
        return queryset.exclude(pk__in=held) if self.value() == "no" else queryset


@admin.register(KernelSession)
class KernelSessionAdmin(LookOnly):
    """No row is deleted: it is the fence against a server that comes back."""

    list_display = ("notebook", "owner", "state", "detail", "is_live", "started_at", "last_change", "executions")
    list_filter = (LiveFilter, "state")
    list_select_related = ("notebook__owner",)
    search_fields = ("notebook__name", "notebook__owner__username", "host")
    ordering = ("-expires",)
    fields = ("notebook", "owner", "state", "detail", "is_live", "host", "epoch", "expires", "started_at", "executions")
    actions = ("stop",)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("notebooks_app.change_kernelsession")

    @admin.display(ordering="notebook__owner__username")
    def owner(self, session: KernelSession) -> str:
        return session.notebook.owner.get_username()

    @admin.display(boolean=True, description="live")
    def is_live(self, session: KernelSession) -> bool:
        return session.is_live(timezone.now())

    @admin.display(description="notebook last changed", ordering="notebook__updated_at")
    def last_change(self, session: KernelSession) -> Any:
        return session.notebook.updated_at

    @admin.action(description="Stop the kernel", permissions=["operate"])
    def stop(self, request: HttpRequest, chosen: QuerySet[KernelSession]) -> None:
        stopped = 0
        for session in chosen.select_related("notebook"):
            if not self.is_live(session):
                messages.warning(request, f"{session.notebook.name}: has no live kernel.")
                continue
            try:
                live.end(session.pk, STOPPED)
                stopped += 1
            except RillbookError as error:
                messages.error(request, f"{session.notebook.name}: {error.message}")
        messages.success(request, f"{stopped} stopped.")
