"""Whose an imported notebook is: from the user id of its old system to an account here.

In this order: the mapping file, a social account of that uid, an account of that name if the operator says that names
may be believed (anybody may have chosen one), and the account that the operator named for all others.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from allauth.socialaccount.models import SocialAccount
from django.contrib.auth import get_user_model

from notebooks_app.errors import BadRequest

PREFIXES = ("demo-", "blank-")
HEADINGS = frozenset(["username", "user"])


class UnknownUser(BadRequest):
    """The old user is nobody here."""

    def __init__(self, user_id: str) -> None:
        words = f"Its user id {user_id[:100]!r} is nobody's here: name its account in --user-map, or --owner."
        super().__init__(words)
        self.user_id = user_id


class BadUserMap(ValueError):
    """A mapping file that is none; the message names the place."""


def user_id_of(notebook_id: str, user_id: str) -> str:
    """The old user id: said, or part of the id that the two notebooks of each user had (`demo-…`, `blank-…`)."""
    if user_id:
        return user_id
    return next((notebook_id.removeprefix(prefix) for prefix in PREFIXES if notebook_id.startswith(prefix)), "")


@dataclass
class Owners:
    """Accounts by old user id; each is looked up once."""

    mapping: Mapping[str, Any] = field(default_factory=dict)  # old user id -> account
    fallback: Any = None
    by_name: bool = False
    _known: dict[str, Any] = field(default_factory=dict)

    def owner_of(self, user_id: str) -> Any:
        """The account. Raises UnknownUser or another BadRequest, which say what to do."""
        if user_id not in self._known:
            self._known[user_id] = self._find(user_id)
        return self._known[user_id]

    def _find(self, user_id: str) -> Any:
        found = (self.mapping.get(user_id) or _social(user_id) or self._named(user_id)) if user_id else None
        if found is not None:
            return found
        if self.fallback is not None:
            return self.fallback
        if not user_id:
            raise BadRequest("It does not say whose it is: give --owner.")
        raise UnknownUser(user_id)

    def _named(self, user_id: str) -> Any:
        return get_user_model().objects.filter(username=user_id).first() if self.by_name else None


def _social(user_id: str) -> Any:
    """The account that signs in with this uid. Raises BadRequest where two providers have it for two people."""
    found = list(SocialAccount.objects.filter(uid=user_id).select_related("user").order_by("pk"))
    if len({account.user_id for account in found}) > 1:
        raise BadRequest(f"The user id {user_id[:100]!r} is that of several accounts: name one in --user-map.")
    return found[0].user if found else None


def read_user_map(path: Path) -> dict[str, Any]:
    """Accounts by old user id from a JSON object, or from CSV lines `user id,username`.

    Raises BadUserMap, OSError.
    """
    text = path.read_bytes().decode("utf-8-sig", "replace").replace("\x00", "\ufffd")
    named = _from_json(path.name, text) if text.lstrip().startswith("{") else _from_csv(path.name, text)
    users = get_user_model().objects.in_bulk(sorted(set(named.values())), field_name="username")
    if missing := sorted(set(named.values()) - set(users)):
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise BadUserMap(f"{path.name}: there is no user {', '.join(map(repr, missing[:5]))}{more}.")
    return {user_id: users[name] for user_id, name in named.items()}


def _from_json(name: str, text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadUserMap(f"{name}: not JSON: {error}.") from None
    if not all(isinstance(value, str) for value in found.values()):
        raise BadUserMap(f"{name}: each user id must have one username, as text.")
    return found


def _from_csv(name: str, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, row in enumerate(_rows(name, text), start=1):
        fields = [field.strip() for field in row]
        if not any(fields) or (number == 1 and fields[-1].lower() in HEADINGS):
            continue
        if len(fields) != 2 or not all(fields):
            raise BadUserMap(f"{name}: line {number} is not `user id,username`.")
        if found.setdefault(fields[0], fields[1]) != fields[1]:
            raise BadUserMap(f"{name}: line {number} gives {fields[0]!r} a second username.")
    return found


def _rows(name: str, text: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""))
    except csv.Error as error:
        raise BadUserMap(f"{name}: not CSV: {error}.") from None
