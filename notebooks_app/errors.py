"""What can go wrong for a caller, one class per decision it can make. As API answers: api_errors.py."""

from __future__ import annotations

from typing import Any


class RillbookError(Exception):
    """A refusal that is told to the person or program that asked. Nothing was written."""

    code = "bad_request"
    status = 400

    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message)
        self.message = message
        self.more = more

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, **self.more}


class BadRequest(RillbookError):
    """A field is missing or wrong; the message names it."""


class NotFound(RillbookError):
    code = "not_found"
    status = 404


class Forbidden(RillbookError):
    code = "forbidden"
    status = 403


class Conflict(RillbookError):
    """The edit was made on an older version; `since` carries what has happened, so that the caller can rebase."""

    code = "conflict"
    status = 409


class OperationReused(RillbookError):
    """A retry is told by its operation id: under one of another change nothing was done, and no answer is its own."""

    code = "operation_id_reused"
    status = 422

    def __init__(self) -> None:
        super().__init__("This operation_id was used for another change; make a new one for each.")


class PreconditionFailed(RillbookError):
    """The request's If-Match or If-None-Match excludes what is there now."""

    code = "precondition_failed"
    status = 412


class TooLarge(RillbookError):
    code = "too_large"
    status = 413


class KernelDied(RillbookError):
    code = "kernel_died"
    status = 503


class Unavailable(RillbookError):
    code = "unavailable"
    status = 503


def database_away(error: Exception) -> Unavailable:
    """What is told where the database failed (OperationalError, InterfaceError), by what it says of the reason."""
    if is_disk_full(error):
        return Unavailable("The server's disk is full; nothing was changed. Try again when there is room.")
    return Unavailable("The database does not answer; nothing was changed. Try again.")


def is_disk_full(error: Exception) -> bool:
    """Whether the database failed for want of room."""
    words = str(error).lower()
    return any(part in words for part in _DISK_FULL)


_DISK_FULL = ("disk is full", "no space left", "disk full", "disk i/o error")  # SQLite's words, and PostgreSQL's
