"""A person's connection serves a notebook while they may edit it; who comes back is asked again."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from notebooks_app import binning, members, restoring, services, sharing, versions
from notebooks_app.errors import RillbookError
from notebooks_app.models import Cell, Change, Connection, Membership, Notebook, ShareLink
from notebooks_app.services import Author

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def leave(notebook: Notebook, editor: Any) -> None:
    client = APIClient()
    client.force_login(editor)
    assert client.delete(f"/api/v1/notebooks/{notebook.pk}/members/{editor.pk}/").status_code == 204


def demote(notebook: Notebook, editor: Any) -> None:
    members.change(notebook.pk, editor.pk, "runner")


def revoke(notebook: Notebook, editor: Any) -> None:
    link, _ = sharing.create(notebook, role="editor")
    Membership.objects.filter(user=editor).update(link=link)
    sharing.revoke(notebook.pk, link.pk)


def expire(notebook: Notebook, editor: Any) -> None:
    link, _ = sharing.create(notebook, role="editor")
    Membership.objects.filter(user=editor).update(link=link)
    ShareLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def by_the_admin(fields: dict[str, str]) -> Callable[[Notebook, Any], None]:
    def end(notebook: Notebook, editor: Any) -> None:
        client = Client()
        client.force_login(get_user_model().objects.create_superuser("operator"))
        member = Membership.objects.get(user=editor)
        page = "delete" if "post" in fields else "change"
        assert client.post(f"/admin/notebooks_app/membership/{member.pk}/{page}/", fields).status_code == 302

    return end


def name_again(notebook: Notebook, editor: Any) -> None:
    if Membership.objects.filter(user=editor, link=None).exists():
        members.change(notebook.pk, editor.pk, "editor")
    else:
        members.add(notebook, editor, "editor")


def come_by_a_link(notebook: Notebook, editor: Any) -> None:
    Membership.objects.filter(user=editor, link=None).delete()
    link, _ = sharing.create(notebook, role="editor")
    sharing.enter(link, editor, {})


ENDINGS = {
    "left": leave,
    "demoted": demote,
    "link revoked": revoke,
    "link expired": expire,
    "removed by an operator": by_the_admin({"post": "yes"}),
    "demoted by an operator": by_the_admin({"role": "viewer"}),
}


class Lent:
    """A notebook with the editor's connection in a cell, in one of the bin, in a version, and as its default."""

    def __init__(self, owner: Any, editor: Any) -> None:
        self.owner, self.editor = owner, editor
        self.notebook = Notebook.objects.create(owner=owner, name="Sales")
        Membership.objects.create(notebook=self.notebook, user=editor, role="editor")
        self.database = Connection(owner=editor, name="theirs")
        self.database.set_dsn("postgresql://u:p@db.example.com/x")
        self.database.save()
        self.cells = [self.insert(), self.insert()]
        self.do(services.delete_cells, [self.cells[1]])
        self.do(services.update_notebook, {"connection": str(self.database.pk)})
        self.version = versions.name_version(self.notebook.pk, "v", author=Author.of(owner))

    def do(self, service: Callable[..., Any], *given: Any) -> Any:
        return service(self.notebook.pk, *given, author=Author.of(self.editor), operation_id=uuid.uuid4())

    def insert(self) -> uuid.UUID:
        cell = uuid.uuid4()
        services.insert_cell(
            self.notebook.pk, cell, after=None, cell_type="sql", source="select 1", connection=self.database.pk,
            author=Author.of(self.editor), operation_id=uuid.uuid4(),
        )  # fmt: skip
        return cell

    def uses(self) -> int:
        """How often the notebook names the connection, in the bin too."""
        cells = Cell.objects.filter(notebook=self.notebook, connection=self.database).count()
        return cells + Notebook.objects.filter(connection=self.database).count()


@pytest.fixture
def lent(owner: Any, editor: Any) -> Lent:
    made = Lent(owner, editor)
    assert made.uses() == 3
    return made


@pytest.mark.parametrize("back", [name_again, come_by_a_link])
@pytest.mark.parametrize("how", ENDINGS)
def test_who_may_edit_again_has_lent_nothing(lent: Lent, how: str, back: Callable[..., None]):
    ENDINGS[how](lent.notebook, lent.editor)
    back(lent.notebook, lent.editor)
    assert Membership.objects.live().get(user=lent.editor).role == "editor"
    assert lent.uses() == 0


def test_nothing_that_others_take_back_lends_it_again(lent: Lent):
    leave(lent.notebook, lent.editor)
    members.add(lent.notebook, lent.editor, "editor")
    who = Author.of(lent.owner)
    for change in Change.objects.filter(notebook=lent.notebook):
        try:
            services.undo(lent.notebook.pk, change.operation_id, new_operation_id=uuid.uuid4(), author=who)
        except RillbookError:
            continue
    restoring.restore_version(lent.notebook.pk, lent.version.pk, author=who, operation_id=uuid.uuid4())
    binning.restore_cells(lent.notebook.pk, None, author=who, operation_id=uuid.uuid4())
    assert lent.uses() == 0


def test_who_stays_an_editor_goes_on_lending(lent: Lent):
    link, _ = sharing.create(lent.notebook, role="editor")
    Membership.objects.filter(user=lent.editor).update(link=link)
    members.change(lent.notebook.pk, lent.editor.pk, "editor")
    sharing.enter(link, lent.editor, {})
    assert lent.uses() == 3


def test_that_a_connection_went_is_told_as_an_edit(lent: Lent):
    members.remove(lent.notebook.pk, lent.editor.pk)
    told = Change.objects.filter(notebook=lent.notebook, author=lent.editor).order_by("-seq")[:2]
    assert {change.kind for change in told} == {"cell.updated", "notebook.updated"}


def test_revoking_a_link_costs_the_same_however_many_came_by_it(owner: Any):
    notebook = Notebook.objects.create(owner=owner, name="Open")

    def cost(count: int) -> int:
        link, _ = sharing.create(notebook, role="editor")
        for number in range(count):
            person = get_user_model().objects.create(username=f"{count} {number}")
            Membership.objects.create(notebook=notebook, user=person, role="editor", link=link)
        with CaptureQueriesContext(connection) as captured:
            sharing.revoke(notebook.pk, link.pk)
        return len(captured)

    assert cost(2) == cost(12)
