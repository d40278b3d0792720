"""Who may do what. Everything starts from what the person may see; a stranger's id is not found."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from notebooks_app.errors import Forbidden, NotFound
from notebooks_app.models import Membership, Notebook

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class Role(IntEnum):
    """In rising order of rights: each may do all that the ones before it may."""

    VIEWER = 1
    RUNNER = 2
    EDITOR = 3
    OWNER = 4


@dataclass(frozen=True)
class Access:
    """A notebook as one person sees it."""

    notebook: Notebook
    role: Role

    def require(self, role: Role, what: str) -> None:
        if self.role < role:
            raise Forbidden(f"To {what} you must be {role.name.lower()} of this notebook.")


def open_notebook(user: Any, notebook_id: uuid.UUID | str, *, limit: Role = Role.OWNER) -> Access:
    """The notebook and the person's role in it, in one step. Raises NotFound for what the person may not see.

    `limit` caps the role: an API token may hold less than its person.
    """
    try:
        notebook_id = uuid.UUID(str(notebook_id))
    except ValueError:
        raise NotFound("There is no such notebook.") from None
    notebook = Notebook.objects.visible_to(user).alive().filter(pk=notebook_id).first()
    if notebook is None:
        raise NotFound("There is no such notebook.")
    return Access(notebook, min(_role(user, notebook), limit))


def _role(user: User, notebook: Notebook) -> Role:
    if not user.is_authenticated:
        return Role.VIEWER  # a guest: sharing.py
    if notebook.owner_id == user.pk:
        return Role.OWNER
    role = Membership.objects.live().filter(notebook=notebook, user=user).values_list("role", flat=True).first()
    if role is None:  # it ended just now
        raise NotFound("There is no such notebook.")
    return Role[role.upper()]
