"""What the lists of the admin have in common: pages that cost what is on them, however long the table is."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import DataError
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

PER_PAGE = 50
COUNTED_AT_MOST = 10_000


class BoundedPaginator(Paginator):
    """Counts no further than anybody pages: who wants more searches or filters."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return rows.order_by()[:COUNTED_AT_MOST].count()


class FilledList(ChangeList):
    """Lets its admin compute columns for the rows of the page, once they are known."""

    def get_results(self, request: HttpRequest) -> None:
        """Raises IncorrectLookupParameters for an address with a time or a number that the database cannot hold."""
        try:
            super().get_results(request)
            self.result_list = list(self.result_list)  # type: ignore[assignment]
        except (OverflowError, DataError) as error:
            raise IncorrectLookupParameters from error
        self.model_admin.fill(self.result_list)  # type: ignore[attr-defined]


class PageAdmin(admin.ModelAdmin):
    """An admin whose computed columns are filled a page at a time."""

    list_per_page = PER_PAGE
    list_max_show_all = PER_PAGE
    show_full_result_count = False  # a second COUNT over the whole table
    show_facets = admin.ShowFacets.NEVER  # a COUNT for each choice of each filter
    paginator = BoundedPaginator

    class Media:
        css = {"all": ("css/admin_lists.css",)}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FilledList

    def fill(self, rows: list[Any]) -> None:
        """Set on each row what its columns show. Called with a page of rows, and with the one of a row's own page."""

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            self.fill([found])
        return found


class LookOnly(PageAdmin):
    """Rows that only the server writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class FixedFilter(admin.SimpleListFilter):
    """A filter whose choices are known: Django's own reads them from the whole table."""

    choices_known: Iterable[tuple[str, str]] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return self.choices_known

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in dict(self.choices_known):
            return queryset
        return queryset.filter(**{str(self.parameter_name): self.value()})


def fixed_filter(field: str, words: str, choices: Iterable[tuple[str, str]]) -> type[FixedFilter]:
    return type(f"{field.title()}Filter", (FixedFilter,), {
        "title": words, "parameter_name": field, "choices_known": tuple(choices),
    })  # fmt: skip


class GivenFilter(FixedFilter):
    """Whether a field is filled."""

    choices_known = (("yes", "Yes"), ("no", "No"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in dict(self.choices_known):
            return queryset
        return queryset.filter(**{f"{self.parameter_name}__isnull": self.value() == "no"})


def given_filter(field: str, words: str) -> type[GivenFilter]:
    return type(f"{field.title()}Given", (GivenFilter,), {"title": words, "parameter_name": field})


def as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        return None


def link(row: Model | None, words: str | None = None) -> SafeString | str:
    """To a row's own page."""
    if row is None:
        return "-"
    meta = row._meta
    address = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', address, words or str(row))


def list_link(model: type[Model], words: str, **query: Any) -> SafeString:
    """To a list that shows what belongs to a row."""
    meta = model._meta
    address = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    return format_html('<a href="{}?{}">{}</a>', address, urlencode(query), words)
