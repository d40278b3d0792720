"""What those who watch a notebook are at this moment: for all open sockets of a process at once.

A socket outlives the request that opened it. A logout, another password, an account switched off, a membership or
link that ended: none of them reaches it by itself, so that kernels_app/feed.py asks here every second.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.utils import timezone

from notebooks_app.access import Role
from notebooks_app.models import Membership, Notebook, ShareLink


@dataclass(frozen=True)
class Seat:
    """Who sits at a socket: a session, whose person it was when it was opened, and which notebook is watched."""

    notebook_id: uuid.UUID
    session_key: str
    user_id: int | None
    password: str  # Django's session hash, which follows from the password; nothing can be learned from it
    links: frozenset[uuid.UUID] = frozenset()

    @classmethod
    def of(cls, user: Any, session: Any, notebook_id: uuid.UUID) -> Seat:
        links: frozenset[uuid.UUID] = getattr(user, "share_links", frozenset())
        password = user.get_session_auth_hash() if user.is_authenticated else ""
        return cls(notebook_id, session.session_key or "", user.pk, password, links)

    def is_held(self) -> bool:
        """Whether who sits there may still see the notebook, by the session with which they came."""
        return roles_of([self])[self] is not None


def roles_of(seats: Collection[Seat]) -> dict[Seat, Role | None]:
    """The role of each seat now; None where it must be left. Five queries, however many there are."""
    sessions = set(
        Session.objects.filter(
            session_key__in={seat.session_key for seat in seats}, expire_date__gt=timezone.now()
        ).values_list("session_key", flat=True)
    )
    roles = _Roles(seats)
    return {seat: roles.of(seat) if seat.session_key in sessions else None for seat in seats}


class _Roles:
    def __init__(self, seats: Collection[Seat]) -> None:
        notebooks = {seat.notebook_id for seat in seats}
        users = {seat.user_id for seat in seats if seat.user_id is not None}
        found = get_user_model().objects.filter(pk__in=users, is_active=True).only("password")
        self._passwords = {user.pk: user.get_session_auth_hash() for user in found}
        self._owners = dict(Notebook.objects.alive().filter(pk__in=notebooks).values_list("pk", "owner_id"))
        members = Membership.objects.live().filter(notebook__in=notebooks, user__in=users)
        rows = members.values_list("notebook", "user", "role")
        self._members = {(notebook, user): role for notebook, user, role in rows}
        links = {link for seat in seats for link in seat.links}
        shown = ShareLink.objects.live().filter(pk__in=links, allows_guests=True)
        self._links = dict(shown.values_list("pk", "notebook_id"))

    def of(self, seat: Seat) -> Role | None:
        if seat.notebook_id not in self._owners:
            return None
        if seat.user_id is None:
            is_shown = any(self._links.get(link) == seat.notebook_id for link in seat.links)
            return Role.VIEWER if is_shown else None
        if self._passwords.get(seat.user_id) != seat.password:
            return None
        if self._owners[seat.notebook_id] == seat.user_id:
            return Role.OWNER
        role = self._members.get((seat.notebook_id, seat.user_id))
        return Role[role.upper()] if role else None
