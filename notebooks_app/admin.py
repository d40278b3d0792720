"""The admin of notebooks and what belongs to them: to look and to tidy up, never to read sources, outputs or secrets.

A page costs what is on it, however long the table is (admin_lists.py). What it changes goes through the services.
People are in admin_people.py, kernels in kernels_app/admin.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, Q, QuerySet
from django.forms import CharField, ModelForm, PasswordInput
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from notebooks_app import admin_people, binning, live, members, notebooks, services, sharing, usage
from notebooks_app.admin_lists import LookOnly, PageAdmin, as_uuid, fixed_filter, given_filter, link, list_link
from notebooks_app.errors import NotFound, RillbookError
from notebooks_app.models import ApiToken, Cell, Connection, Membership, Notebook, Run, ShareLink
from notebooks_app.models.notebook import of_id
from notebooks_app.services import Author

admin_people.register()
admin.site.site_header = admin.site.site_title = "Rillbook administration"
admin.site.index_title = "Overview"
admin.site.enable_nav_sidebar = False  # a list is wider than what it would leave

STORAGE_KEPT_S = 600
FOUND_AT_MOST = 1_000  # notebooks that a search by name looks into


class Guarded:
    """What belongs to an operator is changed by superusers and that operator alone (admin_people.py)."""

    def belongs_to(self, obj: Any) -> Any:
        """Whose a row is; None: nobody's."""
        return obj.owner

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj) and super().has_change_permission(request, obj)  # type: ignore[misc]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj) and super().has_delete_permission(request, obj)  # type: ignore[misc]

    def _may(self, request: HttpRequest, obj: Any) -> bool:
        return obj is None or admin_people.may_change(request, self.belongs_to(obj))


class MemberForm(ModelForm):
    """Whose membership it is stays: to move it, remove it and add another."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "user" in self.fields and not self.instance._state.adding:
            self.fields["user"].disabled = True


class MembershipInline(Guarded, admin.TabularInline):
    model = Membership
    form = MemberForm
    fields = ("user", "role", "link", "created_at")
    readonly_fields = ("link", "created_at")
    autocomplete_fields = ("user",)
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj) and super().has_add_permission(request, obj)


def _remove(member: Membership) -> None:
    with suppress(NotFound):  # gone at this moment
        members.remove(member.notebook_id, member.user_id)


@admin.register(Notebook)
class NotebookAdmin(PageAdmin):
    list_display = ("name", "owner", "kind", "cells", "size", "last_run", "updated_at", "in_bin")
    list_filter = ("kind", "run_mode", given_filter("deleted_at", "in the bin"))
    list_select_related = ("owner",)
    search_fields = ("name",)
    search_help_text = "Words of the name or the owner's name; a whole id, its own or a cell's, or of before an import."
    ordering = ("-updated_at",)
    fields = (
        "id", "external_id", "name", "owner_link", "kind", "demo_version", "run_mode", "connection_link", "seq",
        "revision", "cells", "size", "last_run", "runs", "kernel", "created_at", "updated_at", "deleted_at",
    )  # fmt: skip
    readonly_fields = fields
    inlines = (MembershipInline,)
    actions = ("move_to_bin", "restore_from_bin", "stop_kernels")
    change_list_template = "admin/notebooks_app/notebook/change_list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notebook]:
        return super().get_queryset(request).defer("metadata").select_related("owner")

    def fill(self, rows: list[Any]) -> None:
        found = usage.of_notebooks([row.pk for row in rows])
        for row in rows:
            row.use = found[row.pk]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Notebook], search_term: str
    ) -> tuple[QuerySet[Notebook], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if as_uuid(term) is not None:
            return queryset.filter(of_id(term)), False
        named = Q()
        for word in term.split():
            named &= Q(name__icontains=word) | Q(owner__username__icontains=word)
        return queryset.filter(named | of_id(term)), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # to the bin by the action: its people may want it back

    @admin.display
    def cells(self, notebook: Any) -> int:
        return notebook.use.cells

    @admin.display(description="size (outputs and files)")
    def size(self, notebook: Any) -> str:
        return filesizeformat(notebook.use.size_bytes)

    @admin.display(description="last run")
    def last_run(self, notebook: Any) -> Any:
        return notebook.use.last_run

    @admin.display(boolean=True, description="in the bin")
    def in_bin(self, notebook: Notebook) -> bool:
        return notebook.deleted_at is not None

    @admin.display(description="owner")
    def owner_link(self, notebook: Notebook) -> str:
        return link(notebook.owner)

    @admin.display(description="connection")
    def connection_link(self, notebook: Notebook) -> str:
        return link(notebook.connection)

    @admin.display
    def runs(self, notebook: Notebook) -> str:
        return list_link(Run, "runs of this notebook", notebook__id__exact=notebook.pk)

    @admin.display
    def kernel(self, notebook: Notebook) -> str:
        return link(getattr(notebook, "session", None))

    @admin.action(description="Move to the bin", permissions=["change"])
    def move_to_bin(self, request: HttpRequest, chosen: QuerySet[Notebook]) -> None:
        found = list(chosen.filter(deleted_at=None))
        for notebook in found:
            notebooks.delete_notebook(notebook)
            self.log_change(request, notebook, "Moved to the bin.")
            self._end(request, notebook, "An operator moved the notebook to the bin.")
        messages.success(request, f"{len(found)} moved to the bin.")

    @admin.action(description="Restore from the bin", permissions=["change"])
    def restore_from_bin(self, request: HttpRequest, chosen: QuerySet[Notebook]) -> None:
        found = list(chosen.exclude(deleted_at=None))
        for notebook in found:
            binning.restore_notebook(notebook.owner, notebook.pk)
            self.log_change(request, notebook, "Restored from the bin.")
        messages.success(request, f"{len(found)} restored.")

    @admin.action(description="Stop their kernels", permissions=["change"])
    def stop_kernels(self, request: HttpRequest, chosen: QuerySet[Notebook]) -> None:
        for notebook in chosen:
            self._end(request, notebook, "An operator stopped the kernel. Outputs are kept; variables are gone.")
        messages.success(request, "Kernels of this server are stopped. Those of other servers: see Kernel sessions.")

    def _end(self, request: HttpRequest, notebook: Notebook, words: str) -> None:
        try:
            live.end(notebook.pk, words)
        except RillbookError as error:
            messages.error(request, f"{notebook.name}: {error.message}")

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Of members, the only ones in line here."""
        for member in formset.save(commit=False):
            members.name(member)
        for member in formset.deleted_objects:
            _remove(member)

    # --- Storage by owner ---------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        page = path("storage/", self.admin_site.admin_view(self.storage), name="notebooks_app_storage")
        return [page, *super().get_urls()]

    def storage(self, request: HttpRequest) -> HttpResponse:
        """Who stores how much. It reads the size of every output: done when asked for, and kept a while."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            _storage.clear()
            return redirect("admin:notebooks_app_storage")
        now = time.monotonic()
        if not _storage or now - _storage["at"] > STORAGE_KEPT_S:
            _storage.update(at=now, owners=usage.storage_by_owner())
        context = {
            **self.admin_site.each_context(request),
            "title": "Storage by owner",
            "opts": self.opts,
            "owners": _storage["owners"],
            "age_s": int(now - _storage["at"]),
        }
        return TemplateResponse(request, "admin/notebooks_app/storage.html", context)


_storage: dict[str, Any] = {}


@admin.register(Membership)
class MembershipAdmin(Guarded, PageAdmin):
    list_display = ("notebook", "user", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("notebook", "user")
    search_fields = ("notebook__name", "user__username")
    autocomplete_fields = ("notebook", "user")
    fields = ("notebook", "user", "role", "link", "created_at")

    def belongs_to(self, obj: Membership) -> Any:
        return obj.notebook.owner

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "notebook":
            kwargs["queryset"] = Notebook.objects.filter(owner__in=admin_people.changeable(request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Whose membership of what it is stays: to move it, remove it and add another."""
        return ("link", "created_at") if obj is None else ("notebook", "user", "link", "created_at")

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        members.name(obj)

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        _remove(obj)

    def delete_queryset(self, request: HttpRequest, queryset: Iterable[Membership]) -> None:
        for member in queryset:
            _remove(member)


@admin.register(ShareLink)
class ShareLinkAdmin(LookOnly):
    list_display = (
        "notebook", "name", "role", "allows_guests", "created_by", "created_at", "expires_at", "revoked_at", "uses",
    )  # fmt: skip
    list_filter = ("role", "allows_guests", given_filter("revoked_at", "revoked"))
    list_select_related = ("notebook", "created_by")
    search_fields = ("notebook__name", "name")
    ordering = ("-created_at",)
    exclude = ("digest",)
    actions = ("revoke",)

    @admin.action(description="Revoke (ends what they gave, at once)", permissions=["view"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ShareLink]) -> None:
        if not request.user.has_perm("notebooks_app.change_sharelink"):
            raise PermissionDenied
        found = list(chosen.filter(revoked_at=None))
        for share in found:
            sharing.revoke(share.notebook_id, share.pk)
            self.log_change(request, share, "Revoked.")
        messages.success(request, f"{len(found)} revoked.")


@admin.register(Run)
class RunAdmin(LookOnly):
    list_display = (
        "started_at", "notebook_link", "kind", "outcome", "started_by", "finished_at", "attempt_count",
    )  # fmt: skip
    list_filter = (
        fixed_filter("kind", "kind", [(kind, kind) for kind in ("requested", "run_all", "run_stale", "restart")]),
        fixed_filter("outcome", "outcome", [(word, word) for word in ("ok", "error", "interrupted", "died")]),
    )
    list_select_related = ("notebook", "started_by")
    search_fields = ("id",)
    search_help_text = "Words of the notebook's name or its owner's name; a whole id, of a run or a notebook."
    ordering = ("-started_at",)
    fields = (
        "id", "notebook_link", "kind", "outcome", "started_by", "started_at", "finished_at", "epoch", "attempt_count",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        # Joined here and for no count: the notebook's row is needed for its name alone.
        return super().get_queryset(request).defer("notebook__metadata")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Run], search_term: str
    ) -> tuple[QuerySet[Run], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        known = as_uuid(term)
        if known is not None:
            return queryset.filter(Q(pk=known) | Q(notebook=known)), False
        notebooks_named, _ = NotebookAdmin(Notebook, self.admin_site).get_search_results(
            request, Notebook.objects.order_by(), term
        )
        return queryset.filter(notebook__in=list(notebooks_named.values_list("pk", flat=True)[:FOUND_AT_MOST])), False

    @admin.display(description="notebook")
    def notebook_link(self, run: Run) -> str:
        return link(run.notebook)

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
class ConnectionAdmin(Guarded, PageAdmin):
    form = ConnectionForm
    list_display = ("name", "owner", "driver", "address", "used_by", "updated_at")
    list_filter = (
        fixed_filter("driver", "driver", [("postgresql", "PostgreSQL"), ("sqlite", "SQLite"), ("refused", "refused")]),
        given_filter("owner", "a person's own"),
    )
    list_select_related = ("owner",)
    search_fields = ("name", "owner__username")
    autocomplete_fields = ("owner",)
    fields = ("name", "owner", "dsn", "driver", "address", "refusal", "used_by", "created_at", "updated_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Whose it is stays: whoever has it uses what its DSN opens."""
        computed = ("driver", "address", "refusal", "used_by", "created_at", "updated_at")
        return computed if obj is None else ("owner", *computed)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "owner":
            kwargs["queryset"] = admin_people.changeable(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def fill(self, rows: list[Any]) -> None:
        cells = Cell.objects.alive().filter(connection__in=[row.pk for row in rows]).order_by()
        counts = dict(cells.values_list("connection").annotate(n=Count("pk")))
        for row in rows:
            row.cell_count = counts.get(row.pk, 0)

    @admin.display(description="cells")
    def used_by(self, connection: Any) -> int:
        return getattr(connection, "cell_count", 0)

    @admin.display
    def address(self, connection: Connection) -> str:
        return connection.address() if connection.secret else "-"

    @admin.display(description="never used: its DSN is refused")
    def refusal(self, connection: Connection) -> str:
        return (connection.refusal() if connection.secret else "") or "-"

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
