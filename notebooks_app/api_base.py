"""What all views of the API share: the caller's access, the body checked, documents of cells, pages of a list."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, ClassVar, cast

from django.db.models import Model, QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import NotAuthenticated
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from notebooks_app import bodies, cursors, etags, idempotency, live, reading
from notebooks_app.access import Access, Role, open_notebook
from notebooks_app.authentication import caller_of, scope_limit, token_of
from notebooks_app.errors import BadRequest, Forbidden, PreconditionFailed, TooLarge
from notebooks_app.facts import CellState
from notebooks_app.models import ApiToken, Change, IdempotentAnswer, Notebook
from notebooks_app.schema import ApiSchema
from notebooks_app.services import Accepted, Author
from notebooks_app.standing import Seat
from notebooks_app.text import shown

type Document = dict[str, Any]

PAGE_SIZE = 50
PAGE_SIZE_MAX = 200
MAX_WHOLE = (1 << 31) - 1
NO_BODY = (b"", b"{}")
SAME_OPERATION = uuid.UUID("6f0e5d0c-6b1f-4c6e-9a55-8f0b6b1f0f5e")  # namespace of the second part of one request
BY_KEY = uuid.UUID("0a8f5c86-6f0e-4e0c-8a0c-2f4a7c0f9d11")  # namespace of operations named by an Idempotency-Key


class Negotiation(DefaultContentNegotiation):
    """By the Accept header alone: `?format=` is a question like any other."""

    settings: Any = SimpleNamespace(URL_FORMAT_OVERRIDE=None)


class ApiView(APIView):
    """A view of the API. Every refusal is an exception; api_errors.py answers it."""

    schema = ApiSchema()
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    content_negotiation_class = Negotiation
    asks: ClassVar[dict[str, list[OpenApiParameter]]] = {}  # what an address may ask, by method; all else is refused
    guarded: ClassVar[frozenset[str]] = frozenset()  # methods that heed If-Match
    is_tagged = False  # whether GET answers an ETag
    bodiless: ClassVar[frozenset[str]] = frozenset({"GET", "HEAD", "DELETE"})  # methods that take no body
    answers_secret = False  # whether an answer holds what must not be kept in the clear
    _key: tuple[str, str] | None = None  # the request's Idempotency-Key, and the digest of the request
    _claimed: IdempotentAnswer | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Say who calls, bound what was sent, and read the request's Idempotency-Key."""
        super().initial(request, *args, **kwargs)
        if getattr(self, str(request.method).lower(), None) is None or request.method in ("OPTIONS", "TRACE"):
            self.http_method_not_allowed(request)
        size = _bound_body(request)
        self._check_query(request)
        if size and request.method in self.bodiless and request._request.body.strip() not in NO_BODY:
            raise BadRequest(f"body: {request.method} takes none here; what it may ask is in the address.")
        unheeded = {"If-Match", "If-None-Match"} & set(request.headers)
        if unheeded and request.method in idempotency.METHODS and request.method not in self.guarded:
            raise BadRequest(f"{min(unheeded)}: nothing here is guarded by it.")
        key = idempotency.key_of(request._request)
        if key is not None:
            self._key = (key, idempotency.digest_of(request._request, by=caller_of(request)))
        if request.method == "DELETE":
            self._claim()  # what is gone by now is not found by a retry, and the first answer tells nothing

    def _claim(self) -> None:
        """Take the request's key, once its caller is known to be allowed what it asks. Raises Replay."""
        if self._key is not None and self._claimed is None:
            self._claimed = idempotency.claim(cast(int, self.request.user.pk), *self._key)

    def _check_query(self, request: Request) -> None:
        """Raises BadRequest naming what the address asks and this method does not know, or asks twice."""
        method = "GET" if request.method == "HEAD" else str(request.method)
        known = sorted(parameter.name for parameter in self.asks.get(method, ()))
        for name, values in request.query_params.lists():
            if name not in known:
                has = f"known are {', '.join(known)}" if known else "there is none here"
                raise BadRequest(f"{shown(name)}: the address asks for what is not known; {has}.")
            if len(values) > 1:
                raise BadRequest(f"{name}: is given {len(values)} times.")
            if "\x00" in values[0]:
                raise BadRequest(f"{name}: holds a NUL character.")

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, idempotency.Replay):
            return exc.response
        try:
            return super().handle_exception(exc)
        except BaseException:
            if self._claimed is not None:
                idempotency.release(self._claimed)
            raise

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        claimed, self._claimed = self._claimed, None
        if claimed is not None:
            idempotency.keep(claimed, response, is_secret=self.answers_secret)
        return super().finalize_response(request, response, *args, **kwargs)

    def open(self, notebook_id: uuid.UUID, role: Role, what: str) -> Access:
        """The notebook and the caller's role in it. Raises NotFound for a stranger, Forbidden below `role`."""
        access = open_notebook(self.request.user, notebook_id, limit=scope_limit(self.request))
        access.require(role, what)
        self._claim()
        return access

    def open_again(self, notebook_id: uuid.UUID, role: Role, what: str) -> Access:
        """As `open`, for a caller who has waited: also whether the token or session still holds. Raises
        NotAuthenticated, AuthenticationFailed."""
        if isinstance(self.request.auth, ApiToken):
            token_of(self.request)
            return self.open(notebook_id, role, what)
        access = self.open(notebook_id, role, what)
        if not Seat.of(self.request.user, self.request._request.session, notebook_id).is_held():
            raise NotAuthenticated
        return access

    def require_scope(self, role: Role, what: str) -> None:
        """For what belongs to no notebook: a token must be worth at least `role`."""
        if scope_limit(self.request) < role:
            raise Forbidden(f"This token's scope is not enough to {what}.")
        self._claim()

    def body(self, shape: type[Serializer[Any]]) -> dict[str, Any]:
        """The request's body as `shape` has it. Raises ValidationError naming each wrong field."""
        data = self.request.data
        if not isinstance(data, Mapping):
            raise BadRequest("body: must be a JSON object.")
        checked = shape(data=data)
        checked.is_valid(raise_exception=True)
        return dict(checked.validated_data)

    def operation(self, body: dict[str, Any]) -> uuid.UUID:
        """The operation id that the caller chose, one that follows from its Idempotency-Key, or a new one."""
        chosen = body.pop("operation_id", None)
        if chosen is None and self._claimed is not None:
            # So that a retry changes nothing even where the server went away between the change and its answer.
            return uuid.uuid5(BY_KEY, f"{self._claimed.user_id} {self._claimed.request_digest} {self._claimed.key}")
        return chosen or uuid.uuid4()

    def guard(self, notebook_id: uuid.UUID, operation_id: uuid.UUID | None, number: Callable[[], int]) -> None:
        """Refuse unless the request's If-Match and If-None-Match allow an edit of what is at `number()`.

        Call inside the edit's transaction: the notebook's row is locked first, so that nothing comes between. A retry
        of a known operation is let through to its first answer. Raises PreconditionFailed (412), BadRequest.
        """
        wanted, unwanted = (self.request.headers.get(name) for name in ("If-Match", "If-None-Match"))
        if wanted is None and unwanted is None:
            return
        Notebook.objects.select_for_update().filter(pk=notebook_id).values_list("pk", flat=True).first()
        if operation_id and Change.objects.filter(notebook_id=notebook_id, operation_id=operation_id).exists():
            return
        now = number()
        try:
            is_wrong = wanted is not None and not etags.matches(wanted, now)
        except ValueError as error:
            raise BadRequest(f"If-Match: {error}.") from None
        try:
            is_wrong = is_wrong or (unwanted is not None and etags.matches(unwanted, now))
        except ValueError as error:
            raise BadRequest(f"If-None-Match: {error}.") from None
        if is_wrong:
            raise PreconditionFailed(f"It is at {now} now, which the request's conditions exclude.", version=now)

    def tagged(self, tag: str, read: Callable[[], Any]) -> Response:
        """What was asked for with its ETag; 304, without reading it, where the caller has it."""
        known = self.request.headers.get("If-None-Match")
        has_it = known is not None and etags.is_fresh(known, tag)
        response = Response(status=304) if has_it else Response(read())
        response["ETag"] = tag
        response["Cache-Control"] = "private, no-store"
        return response

    def author(self) -> Author:
        return Author.of(self.request.user)

    def page[T: Model](self, rows: QuerySet[T], *, by: str) -> tuple[Document, list[T]]:
        """`count`, `next` and `previous` of a list, newest `by` first, and the rows where the cursor stands."""
        found, links = cursors.page(self.request, rows, by=by, limit=limit_of(self.request))
        return {"count": rows.count(), **links}, found


def _bound_body(request: Request) -> int:
    """How many bytes the body has. Raises TooLarge over the limit, also where the request did not say its length."""
    limit = bodies.most_bytes()
    plain: Any = request._request
    said = plain.META.get("CONTENT_LENGTH") or ""
    if said.isascii() and said.isdigit():
        size = int(said)
    else:
        plain._body = plain.read(limit + 1)
        size = len(plain._body)
        plain.META["CONTENT_LENGTH"] = str(size)  # else the framework takes a body of unknown length for none
    if size > limit:
        raise TooLarge(bodies.refusal_of(limit))
    return size


def limit_of(request: Request, *, most: int = PAGE_SIZE_MAX) -> int:
    """How many rows a page has: `limit`, from 1; more than `most` are not given."""
    return min(whole(request, "limit", default=PAGE_SIZE, least=1, most=MAX_WHOLE), most)


def flag(request: Request, name: str, *, default: bool) -> bool:
    """A yes or no in the address: 1/0, true/false."""
    value = request.query_params.get(name)
    if value is None:
        return default
    if value.lower() not in ("1", "true", "0", "false"):
        raise BadRequest(f"{name}: must be 1 or 0.")
    return value.lower() in ("1", "true")


def parts(request: Request) -> dict[str, bool]:
    """Which large parts of cells the address asks for."""
    return {
        "with_outputs": flag(request, "outputs", default=True),
        "with_sources": flag(request, "sources", default=True),
    }


def whole(request: Request, name: str, *, default: int, most: int, least: int = 0) -> int:
    """A whole number from `least` to `most` in the address."""
    value = request.query_params.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 20 and least <= int(value) <= most):
        raise BadRequest(f"{name}: must be a whole number from {least} to {most}.")
    return int(value)


def numbers(accepted: Accepted, operation_id: uuid.UUID) -> Document:
    return {"seq": accepted.seq, "revision": accepted.revision, "operation_id": str(operation_id)}


def second(operation_id: uuid.UUID) -> uuid.UUID:
    """The operation id of the second of two changes that one request makes: the same again on a retry."""
    return uuid.uuid5(SAME_OPERATION, str(operation_id))


def text_id(value: uuid.UUID | None) -> str | None:
    return str(value) if value is not None else None


def cell_documents(
    notebook_id: uuid.UUID,
    *,
    states: dict[str, CellState] | None = None,
    cell_ids: Iterable[uuid.UUID] | None = None,
    with_outputs: bool = True,
    with_sources: bool = True,
    from_bin: bool = False,
) -> list[Document]:
    """Cells as docs/architecture.md section 2 has them, with their number on the page, status and freshness on top.

    Outputs and sources that were not asked for are null, which is not the same as none; so is the number of a cell in
    the bin.
    """
    known = live.states(notebook_id) if states is None else states
    documents = reading.cell_documents(
        notebook_id, states=known, cell_ids=cell_ids, with_outputs=with_outputs, from_bin=from_bin
    )
    numbers = reading.cell_numbers(notebook_id) if cell_ids is not None else _counted(documents)
    for document in documents:
        document["number"] = numbers.get(document["id"])
        document["status"] = document["state"]["status"]
        document["freshness"] = document["state"]["freshness"]
        if not with_outputs:
            document["outputs"] = None
        if not with_sources:
            document["source"] = None
    return documents


def _counted(documents: list[Document]) -> dict[str, int]:
    return {document["id"]: number for number, document in enumerate(documents, start=1)}
