"""A newer demo in the place of a person's one: what they did in it is kept, and only what they did not touch goes."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from notebooks_app import notebooks, services
from notebooks_app.errors import NotFound
from notebooks_app.models import Change, KernelSession, Notebook
from notebooks_app.services import Author

pytestmark = [pytest.mark.database, pytest.mark.django_db]


@pytest.fixture
def demo(owner: Any, client: Client, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """The owner's demo, of the version before the newest, with the owner signed in."""
    notebooks.ensure_first_notebooks(owner)
    monkeypatch.setattr(notebooks, "DEMO_VERSION", 99)
    client.force_login(owner, backend="notebooks_app.accounts.PasswordBackend")
    return Notebook.objects.get(owner=owner, kind="demo")


def reset(client: Client, demo: Notebook) -> Any:
    return client.post(reverse("demo_reset", args=[demo.pk]))


def test_a_demo_that_nobody_changed_goes_to_the_bin_and_its_kernel_ends(client: Client, owner: Any, demo: Notebook):
    now = timezone.now()
    epoch = KernelSession.objects.claim(demo.pk, host="other server", now=now, ttl=timedelta(seconds=30))
    assert reset(client, demo).status_code == 302
    demo.refresh_from_db()
    assert demo.deleted_at is not None
    assert not KernelSession.objects.renew(demo.pk, epoch=epoch or 0, now=now, ttl=timedelta(seconds=30))
    assert Notebook.objects.get(owner=owner, kind="demo").demo_version == 99


def test_a_changed_demo_stays_with_its_kernel_under_a_name_that_its_readers_are_told(
    client: Client, owner: Any, demo: Notebook
):
    services.rename_notebook(demo.pk, "x" * 200, author=Author.of(owner), operation_id=uuid.uuid4())
    now = timezone.now()
    epoch = KernelSession.objects.claim(demo.pk, host="other server", now=now, ttl=timedelta(seconds=30))
    reset(client, demo)
    demo.refresh_from_db()
    assert (demo.kind, demo.deleted_at, demo.name) == ("normal", None, "x" * 190 + " (my copy)")
    assert Change.objects.get(notebook=demo, seq=demo.seq).event["name"] == demo.name
    assert KernelSession.objects.renew(demo.pk, epoch=epoch or 0, now=now, ttl=timedelta(seconds=30))


def test_a_demo_of_the_old_system_is_kept_though_its_file_tells_no_revision(client: Client, owner: Any, tmp_path: Path):
    cells = [{"id": "c1", "type": "python", "code": "months_of_work = 1"}]
    (tmp_path / "demo-owner.json").write_text(json.dumps({"id": "demo-owner", "cells": cells}))
    call_command("import_notebooks", str(tmp_path), "--owner", "owner")
    imported = Notebook.objects.get(owner=owner, kind="demo")
    assert (imported.revision, imported.demo_version) == (0, None)
    client.force_login(owner, backend="notebooks_app.accounts.PasswordBackend")
    assert reset(client, imported).status_code == 302
    imported.refresh_from_db()
    assert (imported.kind, imported.deleted_at) == ("normal", None)
    assert [cell.source for cell in imported.cells.all()] == ["months_of_work = 1"]


def test_a_second_click_makes_no_second_demo(client: Client, owner: Any, demo: Notebook):
    answers = [reset(client, demo).status_code for _ in range(2)]
    assert answers == [302, 404]
    as_read_before = Notebook(pk=demo.pk, owner=owner, kind="demo", revision=5)
    with pytest.raises(NotFound):
        notebooks.reset_demo(as_read_before)
    assert Notebook.objects.filter(owner=owner, kind="demo").count() == 1
