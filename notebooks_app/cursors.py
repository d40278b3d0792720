"""Pages of a list by cursor: what is inserted or removed meanwhile neither repeats nor hides a row.

A cursor holds the place of a row (a time and an id), not a count. Rows are ordered by a time, newest first, then by id.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Model, Q, QuerySet
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from notebooks_app.errors import BadRequest

CURSOR_MAX_LENGTH = 300


@dataclass(frozen=True)
class Cursor:
    at: datetime
    key: str
    back: bool


def page[T: Model](
    request: Request, rows: QuerySet[T], *, by: str, limit: int
) -> tuple[list[T], dict[str, str | None]]:
    """At most `limit` rows from where the request's cursor stands, and the addresses of the pages beside it.

    Raises BadRequest for a cursor that is none. One query, of one row more than the page.
    """
    cursor = _decode(request.query_params.get("cursor"))
    is_back = cursor is not None and cursor.back
    if cursor is not None:
        compare = "gt" if is_back else "lt"
        key: Any = cursor.key
        rows = rows.filter(Q(**{f"{by}__{compare}": cursor.at}) | Q(**{by: cursor.at, f"pk__{compare}": key}))
    order = (by, "pk") if is_back else (f"-{by}", "-pk")
    found = list(rows.order_by(*order)[: limit + 1])
    more, found = len(found) > limit, found[:limit]
    if is_back:
        found.reverse()
    has_next = (more or is_back) if found else False
    has_previous = (more if is_back else cursor is not None) if found else False
    links = {
        "next": _link(request, found[-1], by, back=False) if has_next else None,
        "previous": _link(request, found[0], by, back=True) if has_previous else None,
    }
    return found, links


def _link(request: Request, row: Any, by: str, *, back: bool) -> str:
    place = [getattr(row, by).isoformat(), str(row.pk), back]
    text = base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")
    return replace_query_param(request.build_absolute_uri(), "cursor", text)


def _decode(text: str | None) -> Cursor | None:
    if text is None:
        return None
    try:
        if len(text) > CURSOR_MAX_LENGTH:
            raise ValueError
        at, key, back = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        when = datetime.fromisoformat(at)
        if when.tzinfo is None or not isinstance(back, bool):
            raise ValueError
        return Cursor(when.astimezone(UTC), str(uuid.UUID(key)), back)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, binascii.Error):
        raise BadRequest("cursor: is none of ours; use the addresses in next and previous.") from None
