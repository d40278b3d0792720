"""Answers kept for requests that carry an `Idempotency-Key`, so that a retry gets the first one and does nothing.

A key belongs to a person and to the token or session that sent it. It is claimed before the work and answered after
it. A claim is a lease that its server prolongs while it is at work: once that is over, the same request takes it over.
Which requests keep keys is api_base.py's matter.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
import time
from datetime import timedelta

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from notebooks_app import crypto
from notebooks_app.errors import BadRequest, RillbookError
from notebooks_app.models import IdempotentAnswer
from notebooks_app.models.session import LeaseClock

log = logging.getLogger("rillbook.idempotency")

KEPT = timedelta(hours=24)
LEASE = timedelta(seconds=15)
RENEW_S = 5.0
ABANDONED_AFTER = timedelta(minutes=10)  # of a claim without a lease: longer than any request may take
ANSWER_MAX_BYTES = 4 * 1024 * 1024  # larger answers are not kept: the change's operation id guards a retry
REMOVED_AT_ONCE = 100
HEADERS_KEPT = ("ETag", "Location")
METHODS = ("POST", "PUT", "PATCH", "DELETE")

_KEY = re.compile(r"[\x21-\x7e]{1,200}\Z")


class AnotherRequest(RillbookError):
    code = "idempotency_key_reused"
    status = 422


class AtWork(RillbookError):
    code = "in_progress"
    status = 409
    retry_after_s = 1


class Replay(Exception):
    """The request was answered before: carries that answer."""

    def __init__(self, response: Response) -> None:
        self.response = response


def key_of(request: HttpRequest) -> str | None:
    """The request's key, None without one. Raises BadRequest for one that is none."""
    key = request.headers.get("Idempotency-Key")
    if key is None or request.method not in METHODS:
        return None
    if not _KEY.match(key):
        raise BadRequest("Idempotency-Key: must be 1 to 200 visible ASCII characters.")
    return key


def digest_of(request: HttpRequest, *, by: str) -> str:
    """What tells one request from another: method, address, body, and by what token or session its caller is known.
    Keyed, for a body may hold a password.
    """
    parts = (by, request.method or "", request.get_full_path(), request.headers.get("If-Match", ""))
    head = "\n".join(parts).encode("utf-8", "surrogatepass")
    return salted_hmac("rillbook.idempotency", head + b"\n" + request.body, algorithm="sha256").hexdigest()


def claim(user_id: int, key: str, digest: str) -> IdempotentAnswer:
    """Take the key for this request. Raises Replay, AnotherRequest (422) or AtWork (409)."""
    _remove_old()
    try:
        with transaction.atomic():
            row = IdempotentAnswer.objects.create(
                user_id=user_id, key=key, request_digest=digest, held_until=LeaseClock() + LEASE
            )
            return _hold(row)
    except IntegrityError:
        pass
    found = IdempotentAnswer.objects.filter(user_id=user_id, key=key).first()
    if found is None:  # the first request failed in this moment
        raise AtWork("The first request with this Idempotency-Key has just ended; send it again.")
    if _take_over(found, digest):
        return _hold(found)
    if found.request_digest != digest:
        raise AnotherRequest("This Idempotency-Key was used for another request in the last 24 hours.")
    if found.status == 0:
        raise AtWork("The first request with this Idempotency-Key is still at work.")
    raise Replay(_answer_of(found))


def _take_over(row: IdempotentAnswer, digest: str) -> bool:
    """Claim a key whose day is over, or whose request lost its server. One conditional statement decides."""
    now = timezone.now()
    is_lost = Q(held_until__lte=LeaseClock()) | Q(held_until=None, created_at__lte=now - ABANDONED_AFTER)
    is_over = Q(created_at__lte=now - KEPT) | Q(is_lost, status=0, request_digest=digest)
    fields = {"request_digest": digest, "status": 0, "body": None, "headers": {}, "created_at": now}
    taken = IdempotentAnswer.objects.filter(is_over, pk=row.pk).update(held_until=LeaseClock() + LEASE, **fields)
    if taken:
        row.request_digest, row.status, row.created_at = digest, 0, now
    return bool(taken)


# Claims of this process that are at work, and the thread that prolongs them while there are any.
_held: set[int] = set()
_renewer: threading.Thread | None = None
_lock = threading.Lock()


def _hold(row: IdempotentAnswer) -> IdempotentAnswer:
    global _renewer
    with _lock:
        _held.add(row.pk)
        if _renewer is None:
            _renewer = threading.Thread(target=_renew_while_held, name="idempotency leases", daemon=True)
            _renewer.start()
    return row


def _let_go(row: IdempotentAnswer) -> None:
    with _lock:
        _held.discard(row.pk)


def _renew_while_held() -> None:
    global _renewer
    while True:
        time.sleep(RENEW_S)  # first: most requests are over by then
        with _lock:
            if not _held:
                _renewer = None
                return
        try:
            renew()
        except DatabaseError as error:
            log.warning("the leases of Idempotency-Keys were not prolonged: %s", type(error).__name__)
        finally:
            connection.close()


def renew() -> None:
    """Prolong the claims that this process has at work."""
    with _lock:
        ids = list(_held)
    IdempotentAnswer.objects.filter(pk__in=ids, status=0).update(held_until=LeaseClock() + LEASE)


def keep(row: IdempotentAnswer, response: Response, *, is_secret: bool = False) -> None:
    """Keep the answer of a claimed key; nothing where the server failed, or where the answer is very large."""
    _let_go(row)
    text = JSONRenderer().render(response.data).decode() if response.data is not None else "null"
    if response.status_code >= 500 or len(text) > ANSWER_MAX_BYTES:
        release(row)
        return
    headers = {name: response.headers[name] for name in HEADERS_KEPT if name in response.headers}
    body = {"sealed": _seal(text, row)} if is_secret else {"plain": json.loads(text)}
    IdempotentAnswer.objects.filter(pk=row.pk, status=0).update(
        status=response.status_code, body=body, headers=headers
    )


def release(row: IdempotentAnswer) -> None:
    """Give the key back: the request did nothing that must not happen again."""
    _let_go(row)
    IdempotentAnswer.objects.filter(pk=row.pk, status=0).delete()


def _answer_of(row: IdempotentAnswer) -> Response:
    body = row.body or {}
    data = json.loads(_open(body["sealed"], row)) if "sealed" in body else body.get("plain")
    response = Response(data, status=row.status)
    for name, value in row.headers.items():
        response[name] = value
    response["Idempotency-Replayed"] = "true"
    return response


def _seal(text: str, row: IdempotentAnswer) -> str:
    """An answer that holds a token is not kept in the clear."""
    return base64.b64encode(crypto.encrypt(text, f"answer {row.pk}".encode())).decode()


def _open(sealed: str, row: IdempotentAnswer) -> str:
    return crypto.decrypt(base64.b64decode(sealed), f"answer {row.pk}".encode())


def _remove_old() -> None:
    """A few of those that are over, so that the table stays as small as a day's requests."""
    old = IdempotentAnswer.objects.filter(created_at__lt=timezone.now() - KEPT).order_by("created_at")
    ids = list(old.values_list("pk", flat=True)[:REMOVED_AT_ONCE])
    if ids:
        IdempotentAnswer.objects.filter(pk__in=ids).delete()
