"""What can go wrong with a query, in words for the person who wrote it, and the scrubbing of secrets from
them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

SHORT_SECRET = 4
MESSAGE_LIMIT = 4_000


class BrokerError(Exception):
    """A query that gave no result. `message` is for people; it never holds a password."""

    kind = "failed"

    def __init__(self, message: str, *, line: int | None = None, position: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line  # from 1, in the SQL that was sent
        self.position = position  # characters from 1, in the SQL that was sent

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "message": self.message, "line": self.line, "position": self.position}


class QueryError(BrokerError):
    """The database refused the query: its syntax, its names, its rights, its data."""

    kind = "query"


class QueryTimeout(BrokerError):
    kind = "timeout"


class QueryCancelled(BrokerError):
    kind = "cancelled"


class ConnectionRefused(BrokerError):
    """No session with the database: host, port, password, TLS, or the database does not exist."""

    kind = "connection"


class BrokerDied(BrokerError):
    """The child process ended while the query ran. The next query starts a new one."""

    kind = "died"


KINDS = {
    cls.kind: cls
    for cls in (BrokerError, QueryError, QueryTimeout, QueryCancelled, ConnectionRefused, BrokerDied)
}


def from_json(value: Mapping[str, Any]) -> BrokerError:
    cls = KINDS.get(str(value.get("kind")), BrokerError)
    return cls(str(value.get("message", "")), line=value.get("line"), position=value.get("position"))


def scrub(message: str, secrets: tuple[str, ...]) -> str:
    """The message without any of the secrets, as they are or percent-encoded, cut to a readable length."""
    forms = {
        form for secret in secrets if secret for form in (secret, quote(secret, safe=""), quote_plus(secret))
    }
    for form in sorted(forms, key=len, reverse=True):
        if len(form) < SHORT_SECRET:  # replaced inside words, it would only garble the message
            message = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "…", message)
        else:
            message = message.replace(form, "…")
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
