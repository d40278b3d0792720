"""Who else may do what in a notebook: adding, changing and removing members. One function each; announced at once."""

from __future__ import annotations

import uuid
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import Q

from notebooks_app import events
from notebooks_app.errors import BadRequest, Conflict, NotFound
from notebooks_app.models import Membership, Notebook

NOBODY = "There is no such person here. Give the exact username or e-mail address of an account."


def find_person(text: str) -> Any:
    """The one active person of this exact username or e-mail address. Raises NotFound, in the same words for all else.

    Anybody may claim an address: it counts once it is verified. Where the operator makes the accounts and no mail is
    sent, it counts as it stands.
    """
    people = get_user_model().objects.filter(is_active=True)
    found = people.filter(username=text).first()
    if found is not None:
        return found
    verified = EmailAddress.objects.filter(email__iexact=text, verified=True)
    named = Q(pk__in=verified.values("user_id"))
    if settings.ACCOUNT_EMAIL_VERIFICATION == "none" and not settings.SIGNUP_OPEN:
        named |= Q(email__iexact=text) & ~Q(email="")
    matches = list(people.filter(named)[:2])
    if len(matches) != 1:
        raise NotFound(NOBODY)
    return matches[0]


def add(notebook: Notebook, person: Any, role: str) -> Membership:
    """Name a person (or one who came by a link). Raises BadRequest for the owner, Conflict for who is named."""
    if person.pk == notebook.owner_id:
        raise BadRequest("user: is the owner of this notebook.")
    try:
        with transaction.atomic():
            Membership.objects.filter(notebook=notebook, user=person).exclude(link=None).delete()
            made = Membership.objects.create(notebook=notebook, user=person, role=role)
    except IntegrityError:
        raise Conflict("This person is a member already; change the role instead.") from None
    events.announce_access(notebook.pk, person.pk)
    return made


def change(notebook_id: uuid.UUID, user_id: int, role: str) -> Membership:
    """Give a member another role, from this moment on. Raises NotFound."""
    with transaction.atomic():
        live = Membership.objects.live().select_related("user")
        member = live.filter(notebook_id=notebook_id, user_id=user_id).first()
        if member is None:
            raise NotFound("There is no such member.")
        member.role, member.link = role, None  # named from now on: no longer bound to the link they came by
        member.save(update_fields=["role", "link"])
        events.announce_access(notebook_id, user_id)
    return member


def remove(notebook_id: uuid.UUID, user_id: int) -> None:
    """End a membership: sockets of the person close at once. Raises NotFound."""
    with transaction.atomic():
        gone, _ = Membership.objects.filter(notebook_id=notebook_id, user_id=user_id).delete()
        if not gone:
            raise NotFound("There is no such member.")
        events.announce_access(notebook_id, user_id)
