"""How often a password may be tried: counted in the database before it is looked at, also when many come at once.

A browser that has signed in to an account holds a signed device cookie, and its attempts are counted apart: a stranger
who uses up the account's attempts locks out strangers, not its owner (OWASP, "Slow down online guessing attacks with
device cookies"). Addresses are what trusted proxies tell (notebook_project/proxy.py), never what a header claims.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from notebooks_app.models import AttemptCount

REMOVED_AT_ONCE = 20  # expired rows that an attempt removes: more than the two it may add
DEVICE_SALT = "rillbook.device"
DEVICE_AGE_S = 365 * 24 * 3600


@dataclass(frozen=True)
class Limit:
    """At most `most` attempts under `key` in any stretch of `period_s`."""

    key: str
    most: int
    period_s: int

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.key.encode("utf-8", "replace")).hexdigest()


class TooManyAttempts(PermissionDenied):
    """Nothing more may be tried for `wait_s` seconds."""

    def __init__(self, wait_s: float) -> None:
        super().__init__("Too many attempts.")
        self.wait_s = wait_s


def take(limit: Limit) -> float:
    """Count one attempt; when, in seconds since the epoch. Raises TooManyAttempts, which is not counted."""
    now = time.time()
    with transaction.atomic():
        row = _locked(limit, now) or _locked(limit, now)  # an expired row may be removed between its two queries
        assert row is not None
        # Those far ahead were counted before the clock was set back: they would lock people out for as long.
        times = [each for each in row.times if abs(now - each) < limit.period_s]
        if len(times) >= limit.most:
            raise TooManyAttempts(times[0] + limit.period_s - now)
        _row(limit, [*times, now], now).save(force_update=True)
    return now


def give_back(limit: Limit, at: float, *, forget_all: bool = False) -> None:
    """An attempt was no failure: it does not count; nor do those before it, if they are to be forgotten."""
    with transaction.atomic():
        row = AttemptCount.objects.select_for_update().filter(pk=limit.digest).first()
        if row is not None:
            row.times = [] if forget_all else [each for each in row.times if each != at]
            row.save(update_fields=["times"])


def _row(limit: Limit, times: list[float], now: float) -> AttemptCount:
    expires_at = timezone.now() + timedelta(seconds=limit.period_s)
    return AttemptCount(key=limit.digest, times=times, expires_at=expires_at)


def _locked(limit: Limit, now: float) -> AttemptCount | None:
    AttemptCount.objects.bulk_create([_row(limit, [], now)], ignore_conflicts=True)
    return AttemptCount.objects.select_for_update().filter(pk=limit.digest).first()


def remove_expired() -> None:
    """Remove the rows that expired first, a few at a time, so that names that are guessed never fill the table. What
    another attempt has locked is left to the next one.
    """
    with transaction.atomic():
        expired = AttemptCount.objects.filter(expires_at__lte=timezone.now()).order_by("expires_at")
        keys = list(expired.select_for_update(skip_locked=True).values_list("pk", flat=True)[:REMOVED_AT_ONCE])
        if keys:
            AttemptCount.objects.filter(pk__in=keys).delete()


# --- Passwords --------------------------------------------------------------------------------------------------------


@contextmanager
def attempt(request: HttpRequest | None, account: str) -> Iterator[Any]:
    """One look at a password of `account`; the block calls what it is given once the password was right.

    Raises TooManyAttempts before the block is entered.
    """
    remove_expired()
    limits = limits_of(request, account)
    taken: list[tuple[Limit, float]] = []
    try:
        for limit in limits:
            taken.append((limit, take(limit)))
    except TooManyAttempts:
        for limit, at in taken:
            give_back(limit, at)
        raise

    def was_right() -> None:
        for number, (limit, at) in enumerate(taken):
            give_back(limit, at, forget_all=number == 0)  # an address may have tried others' passwords too

    yield was_right


def limits_of(request: HttpRequest | None, account: str) -> list[Limit]:
    """What an attempt counts towards: the account (or this device of it), then the address."""
    device = device_of(request, account)
    who = f"device {account} {device}" if device else f"account {account}"
    limits = [Limit(who, settings.SIGN_IN_ACCOUNT_ATTEMPTS, settings.SIGN_IN_ACCOUNT_SECONDS)]
    if request is not None:
        limits.append(Limit(f"address {address_of(request)}", settings.SIGN_IN_ADDRESS_ATTEMPTS, 3600))
    return limits


def address_of(request: HttpRequest) -> str:
    """Where a request comes from, as a key: an IPv4 address, or the /64 network that one IPv6 customer has."""
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return "unknown"
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address if address.version == 4 else address.ipv4_mapped)


# --- Devices ----------------------------------------------------------------------------------------------------------


def device_of(request: HttpRequest | None, account: str) -> str:
    """The id of this browser, if it has signed in to the account before; else nothing."""
    text = request.COOKIES.get(settings.DEVICE_COOKIE_NAME, "") if request is not None else ""
    try:
        known = signing.loads(text, salt=DEVICE_SALT, max_age=DEVICE_AGE_S)
    except signing.BadSignature:
        return ""
    return str(known["device"]) if known["account"] == account else ""


def remember_device(response: HttpResponseBase, account: str) -> None:
    """Let this browser's later attempts for the account count apart from strangers'."""
    device = secrets.token_urlsafe(16)
    response.set_cookie(
        settings.DEVICE_COOKIE_NAME,
        signing.dumps({"device": device, "account": account}, salt=DEVICE_SALT),
        max_age=DEVICE_AGE_S,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
