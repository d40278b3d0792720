"""Who else may do what in a notebook: adding, changing and removing members. One function each; announced at once.

Every change of a membership, those by links included (sharing.py), is made inside `changing`.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import Q

from notebooks_app import events, services
from notebooks_app.errors import BadRequest, Conflict, NotFound
from notebooks_app.models import Membership, Notebook

NOBODY = "There is no such person here. Give the exact username or e-mail address of an account."


def find_person(text: str) -> Any:
    """The one active person of this exact username or e-mail address. Raises NotFound, in the same words for all else.

    An address is first of all its who verified it. Anybody may claim one: it counts otherwise where operators say whose
    it is.
    """
    people = get_user_model().objects.filter(is_active=True)
    verified = EmailAddress.objects.filter(email__iexact=text, verified=True)
    claimed = Q(email__iexact=text) & ~Q(email="") if are_addresses_given() else Q(pk__in=[])
    for way in (Q(pk__in=verified.values("user_id")), claimed, Q(username=text)):
        matches = list(people.filter(way)[:2])
        if len(matches) == 1:
            return matches[0]
    raise NotFound(NOBODY)


def are_addresses_given() -> bool:
    """Whether operators say which address is whose: they make all accounts, and no mail tells."""
    return settings.ACCOUNT_EMAIL_VERIFICATION == "none" and not settings.SIGNUP_OPEN


@contextmanager
def changing(notebook_id: uuid.UUID, user_ids: Collection[int]) -> Iterator[None]:
    """One transaction that changes what these people are in a notebook.

    Their connections leave the notebook's cells unless they may edit it before and after: who comes back is not bound
    to what others do with their databases, until they attach them again.
    """
    with transaction.atomic():
        before = _editors(notebook_id, user_ids)
        yield
        stayed = before & _editors(notebook_id, user_ids)
        services.detach_connections(notebook_id, set(user_ids) - stayed)


def _editors(notebook_id: uuid.UUID, user_ids: Collection[int]) -> set[int]:
    live = Membership.objects.live().filter(notebook_id=notebook_id, user_id__in=user_ids)
    return set(live.filter(role=Membership.Role.EDITOR).values_list("user_id", flat=True))


def add(notebook: Notebook, person: Any, role: str) -> Membership:
    """Name a person (or one who came by a link). Raises BadRequest for the owner, Conflict for who is named."""
    if person.pk == notebook.owner_id:
        raise BadRequest("user: is the owner of this notebook.")
    try:
        with changing(notebook.pk, [person.pk]):
            Membership.objects.filter(notebook=notebook, user=person).exclude(link=None).delete()
            made = Membership.objects.create(notebook=notebook, user=person, role=role)
    except IntegrityError:
        raise Conflict("This person is a member already; change the role instead.") from None
    events.announce_access(notebook.pk, person.pk)
    return made


def change(notebook_id: uuid.UUID, user_id: int, role: str) -> Membership:
    """Give a member another role, from this moment on. Raises NotFound."""
    live = Membership.objects.live().select_related("user")
    member = live.filter(notebook_id=notebook_id, user_id=user_id).first()
    if member is None:
        raise NotFound("There is no such member.")
    member.role = role
    name(member)
    return member


def name(member: Membership) -> None:
    """Save a member as named from now on: no longer bound to the link they came by."""
    with changing(member.notebook_id, [member.user_id]):
        member.link = None
        member.save(update_fields=None if member._state.adding else ["role", "link"])
        events.announce_access(member.notebook_id, member.user_id)


def remove(notebook_id: uuid.UUID, user_id: int) -> None:
    """End a membership: sockets of the person close at once. Raises NotFound."""
    with changing(notebook_id, [user_id]):
        gone, _ = Membership.objects.filter(notebook_id=notebook_id, user_id=user_id).delete()
        if not gone:
            raise NotFound("There is no such member.")
        events.announce_access(notebook_id, user_id)
