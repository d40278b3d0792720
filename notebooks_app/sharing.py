"""Share links: making, opening and revoking them. Who comes in by one is a guest, or a member for as long as it lives.

A person whom the owner named keeps the role given there, whatever links they hold. The rows are models/share.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from notebooks_app import events, members
from notebooks_app.errors import BadRequest, NotFound
from notebooks_app.models import Membership, Notebook, ShareLink

SESSION_LINKS = "share_links"  # ids of the links that a guest has opened
SESSION_WAITING = "share_waiting"  # id of the link that waits for a sign-in
GUEST_LINKS_MAX = 50
NO_LINK = "There is no such link. It may have ended: ask who gave it to you."


class Guest(AnonymousUser):
    """Somebody without an account who holds share links: may view what they open."""

    def __init__(self, links: Collection[str]) -> None:
        self.share_links = frozenset(uuid.UUID(link) for link in links)

    def get_full_name(self) -> str:
        return "Guest"


def person_of(user: Any, session: Any) -> Any:
    """The person of a request or socket: who is signed in, else a guest with the session's links, else nobody."""
    if user.is_authenticated or session is None or session.session_key is None:
        return user
    links = session.get(SESSION_LINKS)
    return Guest(links) if links else user


def create(
    notebook: Notebook,
    *,
    role: str,
    name: str = "",
    allows_guests: bool = False,
    expires_at: datetime | None = None,
    by: Any = None,
) -> tuple[ShareLink, str]:
    """A new link and its text, which is shown this once. Raises BadRequest."""
    if allows_guests and role != Membership.Role.VIEWER:
        raise BadRequest("allows_guests: only a viewer's link opens without an account.")
    if expires_at is not None and expires_at <= timezone.now():
        raise BadRequest("expires_at: is in the past.")
    return ShareLink.issue(
        notebook=notebook, role=role, name=name, allows_guests=allows_guests, expires_at=expires_at, created_by=by
    )


def revoke(notebook_id: uuid.UUID, link_id: uuid.UUID) -> None:
    """End a link and what it gave: sockets of those who came by it close at once. Raises NotFound."""
    with transaction.atomic():
        came = Membership.objects.filter(notebook_id=notebook_id, link_id=link_id)
        with members.changing(notebook_id, list(came.values_list("user_id", flat=True))):
            link = ShareLink.objects.filter(notebook_id=notebook_id, pk=link_id, revoked_at=None)
            if not link.update(revoked_at=timezone.now()):
                raise NotFound("There is no such link.")
            came.delete()
        events.announce_access(notebook_id, None)


def links_of(notebook_id: uuid.UUID) -> list[ShareLink]:
    """The links that were not revoked, newest first; those that ran out too."""
    return list(ShareLink.objects.filter(notebook_id=notebook_id, revoked_at=None).order_by("-created_at", "id"))


# --- Opening ----------------------------------------------------------------------------------------------------------


def find(text: str) -> ShareLink:
    """The live link of this text. Raises NotFound, in the same words for all else."""
    link = ShareLink.find(text)
    if link is None:
        raise NotFound(NO_LINK)
    return link


def find_waiting(session: Any) -> ShareLink:
    """The link that this session opened and did not take yet. Raises NotFound."""
    link = ShareLink.objects.live().filter(pk=session.get(SESSION_WAITING), notebook__deleted_at=None).first()
    if link is None:
        raise NotFound(NO_LINK)
    return link


def wait(link: ShareLink, session: Any) -> None:
    """Let the session remember a link, until its person signed in or said yes."""
    session[SESSION_WAITING] = str(link.pk)


def gives(link: ShareLink, user: Any) -> bool:
    """Whether the link would give this person more than they have: nothing to who owns or was named."""
    if link.notebook.owner_id == user.pk:
        return False
    kept = Membership.objects.live().filter(notebook_id=link.notebook_id, user=user).first()
    return kept is None or (kept.link_id is not None and RANK[kept.role] < RANK[link.role])


def enter(link: ShareLink, user: Any, session: Any) -> None:
    """Let a person in by a link, as a member if it gives them anything, and count that."""
    session.pop(SESSION_WAITING, None)
    with transaction.atomic():
        link.count_use()
        if gives(link, user):
            _join(link, user)


def enter_as_guest(link: ShareLink, session: Any) -> None:
    """Let somebody without an account view what the link opens, and count that."""
    known = [held for held in session.get(SESSION_LINKS, []) if held != str(link.pk)]
    session[SESSION_LINKS] = [*known, str(link.pk)][-GUEST_LINKS_MAX:]
    link.count_use()


RANK = {"viewer": 1, "runner": 2, "editor": 3}


def _join(link: ShareLink, user: Any) -> None:
    """Make the person a member by this link, in the place of what ended or gave less."""
    try:
        with members.changing(link.notebook_id, [user.pk]):
            Membership.objects.filter(notebook_id=link.notebook_id, user=user).exclude(link=None).delete()
            Membership.objects.create(notebook_id=link.notebook_id, user=user, role=link.role, link=link)
    except IntegrityError:
        return  # by another window, at the same moment
    events.announce_access(link.notebook_id, user.pk)
