"""Connections encrypted anew under the first of CONNECTION_KEYS, so that an older key can be removed.

One row at a time and only if nobody changed it meanwhile: it may stop anywhere, run again, run twice at once and beside
running servers. Encryption itself is crypto.py's.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from notebooks_app import crypto
from notebooks_app.models import Connection

AT_A_TIME = 200


class State(StrEnum):
    CURRENT = "current"  # under the first key
    OLD = "old"  # under another key that is still here
    LOST = "lost"  # its key is not here, or its bytes were changed


@dataclass(slots=True)
class Standing:
    """How many connections are in which state, and how many under each key (by its id)."""

    states: Counter[State] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)

    def add(self, connection: Connection) -> State:
        state = state_of(connection)
        self.states[state] += 1
        self.keys[crypto.key_id(bytes(connection.secret))] += 1
        return state


def connections() -> Iterator[Connection]:
    """All connections by id, read a few at a time. One made meanwhile may be missed: it is under the first key."""
    after = uuid.UUID(int=0)
    while rows := list(Connection.objects.filter(pk__gt=after).order_by("pk")[:AT_A_TIME]):
        yield from rows
        after = rows[-1].pk


def state_of(connection: Connection) -> State:
    try:
        connection.dsn()
    except crypto.DecryptionError:
        return State.LOST
    return State.OLD if crypto.needs_rotation(bytes(connection.secret)) else State.CURRENT


def rotate(connection: Connection) -> bool:
    """Encrypt one connection under the first key; False if somebody gave it another DSN since it was read.

    Raises crypto.DecryptionError where its key is gone.
    """
    before = bytes(connection.secret)
    sealed = crypto.encrypt(connection.dsn(), str(connection.pk).encode())
    return Connection.objects.filter(pk=connection.pk, secret=before).update(secret=sealed) == 1


def standing() -> Standing:
    found = Standing()
    for connection in connections():
        found.add(connection)
    return found
