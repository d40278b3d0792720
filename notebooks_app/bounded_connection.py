"""Connections to PostgreSQL that do not wait for ever, and a pool that finds its way back by itself.

PostgreSQL ends a statement that takes too long and says so (`statement_timeout`). A database that is frozen, or behind
a proxy or a network that swallows what is sent, says nothing: without an end of our own every thread that asks it
would be lost until the server is started anew.

After an outage psycopg's pool tries each of its old connections, seconds apart, and waits ever longer before it makes
new ones. Ours throws all away when one is found broken, and asks again for each request that waits.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool

GRACE_S = 5.0  # beyond what the database itself may take
WAIT_S = 5.0  # for a connection, before a request is refused


class BoundedConnection(psycopg.Connection[Any]):
    """`limit_s`: how long an answer may take; None: as long as it likes."""

    limit_s: float | None = None

    def wait[T](self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for an answer as psycopg does. Raises OperationalError, and the connection is closed, at the limit."""
        try:
            return super().wait(gen, interval, self.limit_s if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()  # an answer may still come: to a question that nobody has asked
            raise


def bounded(statement_timeout_s: int) -> type[psycopg.Connection[Any]]:
    """The class of connections whose statements the database ends after so many seconds; 0: who knows."""
    if not statement_timeout_s:
        return BoundedConnection
    return type("BoundedConnection", (BoundedConnection,), {"limit_s": statement_timeout_s + GRACE_S})


def pool_options(*, max_size: int, statement_timeout_s: int) -> dict[str, Any]:
    """Arguments of psycopg's ConnectionPool. `statement_timeout_s`: what the database itself allows; 0: who knows."""
    return {
        "min_size": 1,
        "max_size": max_size,
        "timeout": WAIT_S,
        "max_idle": 300,
        "reconnect_timeout": WAIT_S,  # then who asks next makes it try at once
        "connection_class": bounded(statement_timeout_s),
        "check": check,
    }


def check(connection: BoundedConnection) -> None:
    """Try a connection as it is taken. Where it is broken, those that wait with it are too: none of them is tried."""
    limit_s, connection.limit_s = connection.limit_s, WAIT_S
    try:
        ConnectionPool.check_connection(connection)
    except psycopg.OperationalError:
        pool = getattr(connection, "_pool", None)
        if pool is not None:
            pool.drain()
        raise
    finally:
        connection.limit_s = limit_s
