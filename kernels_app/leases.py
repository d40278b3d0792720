"""The lease of a notebook's runtime, as a host of this machine takes, keeps and finds it.

The conditional statements are the model's (notebooks_app/models/session.py); whose kernel lives is hosts/local.py's.
"""

from __future__ import annotations

import os
import socket
import uuid
from datetime import datetime, timedelta

from django.conf import settings

from notebooks_app.models import KernelSession
from notebooks_app.models.session import KernelSessionQuerySet, LeaseClock


def new_host_name(token: str = "") -> str:
    """`machine:pid:token`, unique for each incarnation of a runtime."""
    return f"{socket.gethostname()}:{os.getpid()}:{token or uuid.uuid4().hex[:12]}"


def token_of(host: str) -> str:
    """Of a host name: in a cluster, the name of the actor that holds the notebook."""
    return host.rpartition(":")[2]


type Holder = tuple[int, datetime]  # epoch and end of a lease


def claim(notebook_id: uuid.UUID, host: str, *, silent: Holder | None = None) -> tuple[int, KernelSession] | None:
    """Take the lease if nobody who lives holds it; the new epoch and the row, or None.

    `silent`: a holder that has not moved for as long as a lease lasts.
    """
    free_dead(KernelSession.objects.filter(notebook_id=notebook_id))
    epoch = KernelSession.objects.claim(notebook_id, host=host, ttl=_ttl(), silent=silent)
    return (epoch, KernelSession.objects.get(notebook_id=notebook_id)) if epoch is not None else None


def renew(notebook_id: uuid.UUID, epoch: int) -> bool:
    """Prolong the lease; False if another runtime has taken it."""
    return KernelSession.objects.renew(notebook_id, epoch=epoch, ttl=_ttl())


def holder(notebook_id: uuid.UUID) -> Holder | None:
    """Epoch and end of the present lease: if they move, whoever holds it lives."""
    return KernelSession.objects.filter(notebook_id=notebook_id).values_list("epoch", "expires").first()


def end(notebook_id: uuid.UUID, silent: Holder) -> None:
    """End a lease that has not moved for as long as one lasts, however its end is dated."""
    held = KernelSession.objects.filter(notebook_id=notebook_id, epoch=silent[0], expires=silent[1])
    held.update(expires=LeaseClock())


def free_dead(sessions: KernelSessionQuerySet | None = None) -> None:
    """End leases (all, or those given) of processes of this machine that are no more: nobody need wait for them."""
    rows = sessions if sessions is not None else KernelSession.objects.all()
    live = rows.live().values_list("notebook_id", "host")
    for notebook_id, held in live:
        name, _, rest = held.partition(":")
        pid = rest.partition(":")[0]
        if name == socket.gethostname() and pid.isdigit() and int(pid) != os.getpid() and not _is_alive(int(pid)):
            KernelSession.objects.filter(notebook_id=notebook_id, host=held).update(expires=LeaseClock())


def _ttl() -> timedelta:
    return timedelta(seconds=settings.LEASE_SECONDS)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
