"""What a log record tells: who and what it is about, and never sources, outputs, DSNs or tokens.

`About` is where a piece of work stands (request, user, notebook, run); it follows asyncio tasks and threads by a
context variable. `Facts` puts it on each record. Exceptions are written by type and place: their texts may quote
values, so that only those whose words are ours, and all where DEBUG is on, are written out. Middleware is in
middleware.py.
"""

from __future__ import annotations

import contextvars
import logging
import re
import traceback
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty
from pythonjsonlogger.json import JsonFormatter

from notebooks_app.errors import RillbookError

FIELDS = ("request_id", "user_id", "notebook_id", "run_id")
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,80}")
SAID_AT_MOST = 300

# The last net: what a path, a URL or an exception of a library might carry.
SECRETS = (
    (re.compile(r"\brill_[A-Za-z0-9_-]{16,}"), "rill_…"),
    (re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]{0,40}://[^\s/:@'\"]*):[^\s/@'\"]+@"), r"\1:…@"),
    (re.compile(r"(/welcome/|/share/|/accounts/confirm-email/|/accounts/password/reset/key/)[^\s/'\"]+"), r"\1…"),
    (re.compile(r"(?i)\b(authorization|cookie|x-amz-signature|x-amz-credential)(\s*[=:]\s*)[^\s&;'\"]+"), r"\1\2…"),
)

type ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


@dataclass(frozen=True, slots=True)
class About:
    """What the present work is about. A request tells more the further it has come: it is asked at each record."""

    request_id: str = ""
    user_id: int | None = None
    notebook_id: str = ""
    run_id: str = ""
    request: HttpRequest | None = None

    def facts(self) -> dict[str, Any]:
        """The fields that are known, by name. Never makes a query."""
        found = {"request_id": self.request_id, "user_id": self.user_id}
        found |= {"notebook_id": self.notebook_id, "run_id": self.run_id}
        if self.request is not None:
            found |= _facts_of(self.request)
        return {name: value for name, value in found.items() if value not in (None, "")}


NOTHING = About()
_about: contextvars.ContextVar[About] = contextvars.ContextVar("rillbook_about", default=NOTHING)


def about() -> About:
    return _about.get()


def enter(now: About) -> contextvars.Token[About]:
    """Say what the work from here on is about; `leave` with what is returned."""
    return _about.set(now)


def leave(token: contextvars.Token[About]) -> None:
    _about.reset(token)


def narrow(**fields: Any) -> None:
    """Add facts to the present work's."""
    _about.set(replace(_about.get(), **fields))


def context_of(notebook_id: uuid.UUID | None = None) -> contextvars.Context:
    """A context for a task that outlives the request it was started in."""
    context = contextvars.copy_context()
    context.run(_about.set, About(notebook_id=str(notebook_id) if notebook_id else ""))
    return context


def request_id(given: str | None) -> str:
    """The id that a proxy or client gave, if it is a sane one; else a new one."""
    return given if given and REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _facts_of(request: HttpRequest) -> dict[str, Any]:
    found: dict[str, Any] = {}
    user = request.__dict__.get("user")
    if user is not None and not (isinstance(user, LazyObject) and user._wrapped is empty):  # type: ignore[attr-defined]
        found["user_id"] = user.pk
    match = getattr(request, "resolver_match", None)
    for name in ("notebook_id", "run_id"):
        if match is not None and name in match.kwargs:
            found[name] = str(match.kwargs[name])
    return found


class Facts(logging.Filter):
    """Puts the facts on each record, and replaces exceptions among its arguments by what may be said of them."""

    def filter(self, record: logging.LogRecord) -> bool:
        facts = about().facts()
        for name in FIELDS:
            if getattr(record, name, None) in (None, ""):
                setattr(record, name, facts.get(name, ""))
            else:
                value = getattr(record, name)
                setattr(record, name, value if isinstance(value, int) else str(value))
        if record.name == "asyncio":  # its further lines show exceptions and arguments as they are
            record.msg, record.args = (record.getMessage().splitlines() or [""])[0], ()
        if record.name == "django.security.DisallowedHost":  # anybody can send it, as often as they like: one line
            record.msg, record.args, record.exc_info = record.getMessage()[:SAID_AT_MOST], (), None
        if isinstance(record.args, tuple):
            record.args = tuple(say(arg) if isinstance(arg, BaseException) else arg for arg in record.args)
        if isinstance(record.msg, BaseException):
            record.msg = say(record.msg)
        return True


class LineFormatter(logging.Formatter):
    """A line for people: time, level, logger, message, then the facts that are known."""

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        facts = " ".join(
            f"{name.removesuffix('_id')}={value}" for name in FIELDS if (value := getattr(record, name, ""))
        )
        line = super().formatMessage(record)
        return f"{line} [{facts}]" if facts else line

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return explain(ei)


class JsonLines(JsonFormatter):
    """One JSON object a line: time, level, logger, message, the ids that are known, exception."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "exception"},
            json_ensure_ascii=False,
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return explain(ei)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {
            name: scrub(value) if isinstance(value, str) else value
            for name, value in log_data.items()
            if name not in UNWANTED and value not in (None, "")
        }


# What Django hangs on its records: objects whose text tells addresses and headers.
UNWANTED = ("request", "server_time", "params", "sql", "taskName")


def explain(exc_info: ExcInfo) -> str:
    """A traceback without the values that exceptions quote: places, types, and words that are ours."""
    error = exc_info[1]
    if error is None:
        return ""
    if settings.DEBUG:
        return "".join(traceback.format_exception(error))
    lines: list[str] = []
    for link in _chain(error):
        lines += ["Traceback (most recent call last):\n"] if link.__traceback__ else []
        lines += traceback.format_tb(link.__traceback__)
        lines.append(f"{say(link)}\n")
    return "".join(lines).rstrip()


def say(error: BaseException) -> str:
    """An exception in one line: its type, and what it says only where it cannot quote a value."""
    name = type(error).__name__
    if settings.DEBUG:
        return f"{name}: {error}"
    words = _words(error)
    return f"{name}: {words}" if words else name


def _words(error: BaseException) -> str:
    cause = error.__cause__
    sqlstate = getattr(error, "sqlstate", None) or getattr(cause, "sqlstate", None)
    if sqlstate:
        return f"SQLSTATE {sqlstate}"
    if isinstance(error, OSError) and error.errno is not None:
        return f"[Errno {error.errno}] {error.strerror}"
    if type(error).__module__.startswith(("sqlite3", "django.db")) or isinstance(error, RillbookError):
        return _first_line(error)
    return _first_line(error) if type(error).__name__ in OURS else ""


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:SAID_AT_MOST]


# Exceptions of kernels_app whose words come from the server alone.
OURS = frozenset({"KernelDied", "KernelStartTimeout", "KernelSilent", "BrokerDied", "TimeoutError", "CommandError"})


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and what led to it, oldest first."""
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in found:
        found.insert(0, link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return found


def scrub(text: str) -> str:
    """The text without tokens, passwords in URLs and keys in paths."""
    for pattern, instead in SECRETS:
        text = pattern.sub(instead, text)
    return text


def configuration(*, form: str, level: str, requests: bool) -> dict[str, Any]:
    """Django's LOGGING. `level` is of our own loggers: libraries write bodies, headers and SQL with its values below
    WARNING, and are kept there."""
    libraries = level if logging.getLevelName(level) > logging.WARNING else "WARNING"
    formatter = "notebooks_app.logs.JsonLines" if form == "json" else "notebooks_app.logs.LineFormatter"
    line = {} if form == "json" else {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
    console = {
        "class": "logging.StreamHandler",
        "formatter": "chosen",
        "filters": ["facts"],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"facts": {"()": "notebooks_app.logs.Facts"}},
        "formatters": {"chosen": {"()": formatter, **line}},
        "handlers": {"console": console},
        "root": {"handlers": ["console"], "level": libraries},
        "loggers": {
            "rillbook": {"level": level},
            "rillbook.request": {"level": level if requests else "WARNING"},
            # Its own handlers mail or print whole requests.
            "django": {"level": libraries, "handlers": [], "propagate": True},
            "django.server": {"level": libraries, "handlers": [], "propagate": True},
        },
    }
