"""What all views of the API share: the caller's access, the body checked, documents of cells, pages of a list."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from notebooks_app import live, reading, schema  # noqa: F401  schema: registers itself
from notebooks_app.access import Access, Role, open_notebook
from notebooks_app.authentication import scope_limit
from notebooks_app.errors import BadRequest, Forbidden, TooLarge
from notebooks_app.facts import CellState
from notebooks_app.services import Author

type Document = dict[str, Any]

PAGE_SIZE = 50
PAGE_SIZE_MAX = 200


class Pages(PageNumberPagination):
    page_size = PAGE_SIZE
    page_size_query_param = "limit"
    max_page_size = PAGE_SIZE_MAX


class ApiView(APIView):
    """A view of the API. Every refusal is an exception; api_errors.py answers it."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        size = int(request.META.get("CONTENT_LENGTH") or 0)
        if size > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise TooLarge(f"The body has {size:,} bytes; at most {settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} are read.")

    def open(self, notebook_id: uuid.UUID, role: Role, what: str) -> Access:
        """The notebook and the caller's role in it. Raises NotFound for a stranger, Forbidden below `role`."""
        access = open_notebook(self.request.user, notebook_id, limit=scope_limit(self.request))
        access.require(role, what)
        return access

    def require_scope(self, role: Role, what: str) -> None:
        """For what belongs to no notebook: a token must be worth at least `role`."""
        if scope_limit(self.request) < role:
            raise Forbidden(f"This token's scope is not enough to {what}.")

    def body(self, shape: type[Serializer[Any]]) -> dict[str, Any]:
        """The request's body as `shape` has it. Raises ValidationError naming each wrong field."""
        checked = shape(data=self.request.data)
        checked.is_valid(raise_exception=True)
        return dict(checked.validated_data)

    def author(self) -> Author:
        return Author.of(self.request.user)

    def page(self, rows: QuerySet[Any]) -> tuple[Pages, list[Any]]:
        pages = Pages()
        return pages, list(pages.paginate_queryset(rows, self.request, view=self) or [])


def flag(request: Request, name: str, *, default: bool) -> bool:
    """A yes or no in the address: 1/0, true/false."""
    value = request.query_params.get(name)
    if value is None:
        return default
    if value.lower() not in ("1", "true", "0", "false"):
        raise BadRequest(f"{name}: must be 1 or 0.")
    return value.lower() in ("1", "true")


def whole(request: Request, name: str, *, default: int, most: int) -> int:
    """A whole number from 0 to `most` in the address."""
    value = request.query_params.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= most):
        raise BadRequest(f"{name}: must be a whole number from 0 to {most}.")
    return int(value)


def operation(body: dict[str, Any]) -> uuid.UUID:
    """The operation id that the caller chose, or a new one."""
    return body.pop("operation_id", None) or uuid.uuid4()


def cell_documents(
    notebook_id: uuid.UUID,
    *,
    states: dict[str, CellState] | None = None,
    cell_ids: Iterable[uuid.UUID] | None = None,
    with_outputs: bool = True,
) -> list[Document]:
    """Cells as docs/architecture.md section 2 has them, with their number on the page, status and freshness on top.

    Outputs that were not asked for are null, which is not the same as none.
    """
    known = live.states(notebook_id) if states is None else states
    documents = reading.cell_documents(notebook_id, states=known, cell_ids=cell_ids, with_outputs=with_outputs)
    numbers = reading.cell_numbers(notebook_id) if cell_ids is not None else _counted(documents)
    for document in documents:
        document["number"] = numbers.get(document["id"])
        document["status"] = document["state"]["status"]
        document["freshness"] = document["state"]["freshness"]
        if not with_outputs:
            document["outputs"] = None
    return documents


def _counted(documents: list[Document]) -> dict[str, int]:
    return {document["id"]: number for number, document in enumerate(documents, start=1)}
