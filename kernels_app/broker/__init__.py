"""The broker: one child process that runs SQL on connections, so that no password and no result enters the
server's or a kernel's memory where user code could reach it.

    client.py    Broker: starts the child, asks it, cancels, restarts it when it died (asyncio, in the server)
    worker.py    the child: one thread a query
    addresses.py    which addresses a host name leads to, and which of them may be connected to
    postgres.py, sqlite.py    how each kind of database is asked; arrow_file.py writes what it answers
    statements.py, values.py    splitting SQL, parameters; wire.py, errors.py: messages between the two
"""

from .client import Broker, QueryResult
from .errors import (
    BrokerDied,
    BrokerError,
    ConnectionRefused,
    QueryCancelled,
    QueryError,
    QueryTimeout,
)

__all__ = [
    "Broker",
    "BrokerDied",
    "BrokerError",
    "ConnectionRefused",
    "QueryCancelled",
    "QueryError",
    "QueryResult",
    "QueryTimeout",
]
