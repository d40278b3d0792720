"""The admin of notebooks and what belongs to them: to look and to tidy up, never to read sources, outputs or secrets.

Lists cost a fixed number of queries however long they are. What it changes goes through the services.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.forms import CharField, ModelForm, PasswordInput
from django.http import HttpRequest

from notebooks_app import live, notebooks, services
from notebooks_app.models import ApiToken, Cell, Connection, Membership, Notebook, Run
from notebooks_app.services import Author

PER_PAGE = 50


class LookOnly(admin.ModelAdmin):
    """Rows that only the server writes."""

    list_per_page = PER_PAGE
    show_full_result_count = False  # a second COUNT over the whole table

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class MembershipInline(admin.TabularInline):
    model = Membership
    autocomplete_fields = ("user",)
    extra = 0


@admin.register(Notebook)
class NotebookAdmin(admin.ModelAdmin):
    list_display = ("name", "owner", "kind", "run_mode", "cells", "last_run", "updated_at", "is_deleted")
    list_filter = ("kind", "run_mode", ("deleted_at", admin.EmptyFieldListFilter))
    list_select_related = ("owner",)
    list_per_page = PER_PAGE
    show_full_result_count = False
    search_fields = ("name", "owner__username", "=id")
    ordering = ("-updated_at",)
    fields = (
        "id", "name", "owner", "kind", "demo_version", "run_mode", "connection", "seq", "revision", "cells", "last_run",
        "created_at", "updated_at", "deleted_at",
    )  # fmt: skip
    readonly_fields = fields
    inlines = (MembershipInline,)
    actions = ("move_to_bin",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notebook]:
        alive = Cell.objects.alive().filter(notebook=OuterRef("pk")).order_by().values("notebook")
        runs = Run.objects.filter(notebook=OuterRef("pk")).order_by().values("notebook")
        return super().get_queryset(request).defer("metadata").select_related("owner", "connection").annotate(
            cell_count=Coalesce(Subquery(alive.annotate(n=Count("pk")).values("n")), 0),
            last_run_at=Subquery(runs.annotate(at=Max("started_at")).values("at")),
        )  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # to the bin by the action: its people may want it back

    @admin.display(ordering="cell_count")
    def cells(self, notebook: Any) -> int:
        return notebook.cell_count

    @admin.display(description="last run", ordering="last_run_at")
    def last_run(self, notebook: Any) -> Any:
        return notebook.last_run_at

    @admin.display(boolean=True, description="in the bin")
    def is_deleted(self, notebook: Notebook) -> bool:
        return notebook.deleted_at is not None

    @admin.action(description="Move to the bin", permissions=["change"])
    def move_to_bin(self, request: HttpRequest, chosen: QuerySet[Notebook]) -> None:
        found = list(chosen.filter(deleted_at=None))
        for notebook in found:
            notebooks.delete_notebook(notebook)
            live.end(notebook.pk, "An operator moved the notebook to the bin.")
        messages.success(request, f"{len(found)} moved to the bin.")


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):
    list_display = ("notebook", "user", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("notebook", "user")
    list_per_page = PER_PAGE
    search_fields = ("notebook__name", "user__username")
    autocomplete_fields = ("notebook", "user")
    readonly_fields = ("created_at",)


@admin.register(Run)
class RunAdmin(LookOnly):
    list_display = ("id", "notebook", "kind", "outcome", "started_by", "started_at", "finished_at", "attempt_count")
    list_filter = ("kind", "outcome")
    list_select_related = ("notebook", "started_by")
    search_fields = ("notebook__name", "started_by__username", "=id")
    ordering = ("-started_at",)
    fields = ("id", "notebook", "kind", "outcome", "started_by", "started_at", "finished_at", "epoch", "attempt_count")

    @admin.display(description="attempts")
    def attempt_count(self, run: Run) -> int:
        return len(run.attempts)


class ConnectionForm(ModelForm):
    """The DSN goes in and never comes out."""

    dsn = CharField(
        required=False, strip=True, label="DSN", widget=PasswordInput(attrs={"autocomplete": "off", "size": 80}),
        help_text="driver://user:password@host:port/database. Empty keeps the present one.",
    )  # fmt: skip

    class Meta:
        model = Connection
        fields = ("name", "owner")

    def clean_dsn(self) -> str:
        text = self.cleaned_data["dsn"]
        if not text and self.instance._state.adding:
            raise ValidationError("A new connection needs one.")
        return text

    def _post_clean(self) -> None:
        super()._post_clean()
        text = self.cleaned_data.get("dsn")
        if text:
            try:
                self.instance.set_dsn(text)
            except ValueError as error:
                self.add_error("dsn", str(error))


@admin.register(Connection)
class ConnectionAdmin(admin.ModelAdmin):
    form = ConnectionForm
    list_display = ("name", "owner", "driver", "address", "used_by", "updated_at")
    list_filter = ("driver", ("owner", admin.EmptyFieldListFilter))
    list_select_related = ("owner",)
    list_per_page = PER_PAGE
    show_full_result_count = False
    search_fields = ("name", "owner__username")
    autocomplete_fields = ("owner",)
    readonly_fields = ("driver", "address", "created_at", "updated_at")
    fields = ("name", "owner", "dsn", "driver", "address", "created_at", "updated_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        return super().get_queryset(request).annotate(
            cell_count=Count("cells", filter=Q(cells__deleted_at=None), distinct=True)
        )  # fmt: skip

    @admin.display(description="cells", ordering="cell_count")
    def used_by(self, connection: Any) -> int:
        return connection.cell_count

    @admin.display
    def address(self, connection: Connection) -> str:
        return connection.address() if connection.secret else "-"

    def delete_model(self, request: HttpRequest, obj: Connection) -> None:
        services.delete_connection(obj, author=Author.of(request.user))

    def delete_queryset(self, request: HttpRequest, queryset: Iterable[Connection]) -> None:
        for connection in queryset:
            services.delete_connection(connection, author=Author.of(request.user))


@admin.register(ApiToken)
class ApiTokenAdmin(LookOnly):
    """Tokens are made by their people or by `manage.py create_token`; here they are revoked."""

    list_display = ("name", "user", "scope", "created_at", "expires_at", "last_used_at")
    list_filter = ("scope",)
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    ordering = ("-created_at",)
    fields = ("name", "user", "scope", "created_at", "expires_at", "last_used_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("notebooks_app.delete_apitoken")
