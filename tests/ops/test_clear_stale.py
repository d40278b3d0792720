"""manage.py clear_stale_sessions: what a server that went away left open reads interrupted, and what lives is left."""

from __future__ import annotations

import io
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from kernels_app import saver
from kernels_app.records import Batch, SessionRecord
from notebooks_app import reading
from notebooks_app.models import Cell, CellRun, KernelSession, Notebook, Output, Run, StreamChunk

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def left_open(owner: Any, *, expired: timedelta, epoch: int = 3) -> Notebook:
    """A notebook whose server vanished while a cell ran, another waited, and text had been shown."""
    now = timezone.now()
    notebook = Notebook.objects.create(owner=owner, name="Left", seq=7)
    KernelSession.objects.create(
        notebook=notebook, host="gone:1:x", epoch=epoch, state="running", expires=now - expired
    )
    run = Run.objects.create(notebook=notebook, started_by=owner, started_at=now - timedelta(hours=2), epoch=epoch)
    running, queued = (
        Cell.objects.create(notebook=notebook, position=place, source="x = 1", status=status, status_epoch=epoch)
        for place, status in ((1, "running"), (2, "queued"))
    )
    attempt = CellRun.objects.create(
        run=run, cell=running, cell_version=1, source_hash="", epoch=epoch, started_at=run.started_at
    )
    Cell.objects.filter(pk=running.pk).update(last_run=attempt)
    Output.objects.create(cell=running, index=0, kind="stream", data={"name": "stdout", "text": "of the run before"})
    for text, start in (("shown ", 0), ("and kept", 6)):
        op = {"op": "text", "item": 0, "name": "stdout", "from": start, "text": text}
        StreamChunk.objects.create(cell=running, attempt=attempt.pk, ops=[op])
    assert queued.pk != running.pk
    return notebook


def clear(*arguments: str) -> str:
    out = io.StringIO()
    call_command("clear_stale_sessions", *arguments, stdout=out)
    return out.getvalue()


def open_things(notebook: Notebook) -> tuple[int, int, int]:
    return (
        Run.objects.filter(notebook=notebook, outcome="").count(),
        CellRun.objects.filter(cell__notebook=notebook, outcome="").count(),
        Cell.objects.filter(notebook=notebook).exclude(status="idle").count(),
    )


def texts(notebook: Notebook) -> list[str]:
    cell = Cell.objects.get(notebook=notebook, position=1)
    documents = reading.cell_documents(notebook.pk, states=reading.states_now(notebook.pk), cell_ids=[cell.pk])
    return [output["text"] for output in documents[0]["outputs"]]


def test_what_was_left_open_reads_interrupted_and_its_output_is_kept(owner):
    notebook = left_open(owner, expired=timedelta(hours=1))
    before = texts(notebook)
    assert "1 notebooks were cleared" in clear()
    assert open_things(notebook) == (0, 0, 0)
    assert Run.objects.get().outcome == CellRun.objects.get().outcome == "interrupted"
    assert texts(notebook) == before == ["shown and kept"]
    assert not StreamChunk.objects.exists()
    session = KernelSession.objects.get()
    assert (session.host, session.state) == ("", "stopped")


def test_browsers_that_were_away_are_told(owner):
    notebook = left_open(owner, expired=timedelta(hours=1))
    clear()
    notebook.refresh_from_db()
    assert notebook.seq == 8
    assert len(reading.cells_run_since(notebook.pk, 7)) == 2


def test_a_server_that_comes_back_writes_nothing_more(owner):
    notebook = left_open(owner, expired=timedelta(hours=1), epoch=3)
    clear()
    late = Batch(notebook.pk, 3, SessionRecord("running", "", 1))
    assert saver.write_batches([late]) == [None]
    now = timezone.now()
    assert not KernelSession.objects.renew(notebook.pk, epoch=3, now=now, ttl=timedelta(seconds=8))


def test_a_dry_run_says_the_same_and_changes_nothing(owner):
    notebook = left_open(owner, expired=timedelta(hours=1))
    said = clear("--dry-run").splitlines()[0]
    assert "lease, 1 runs, 1 attempts, 2 cells" in said
    assert open_things(notebook) == (1, 1, 2)
    assert clear().splitlines()[0] == said


def test_twice_is_as_good_as_once(owner):
    left_open(owner, expired=timedelta(hours=1))
    clear()
    assert clear() == "0 notebooks were cleared.\n"


@pytest.mark.parametrize("expired", [timedelta(minutes=-1), timedelta(minutes=2)])
def test_what_lives_or_has_only_just_ended_is_left(owner, expired):
    notebook = left_open(owner, expired=expired)
    assert clear() == "0 notebooks were cleared.\n"
    assert open_things(notebook) == (1, 1, 2)


def test_a_run_of_an_epoch_before_the_living_one_is_ended_and_the_living_is_left(owner):
    notebook = left_open(owner, expired=timedelta(hours=1), epoch=3)
    now = timezone.now()
    KernelSession.objects.update(epoch=4, host="here:1:x", expires=now + timedelta(hours=1))
    living = Run.objects.create(notebook=notebook, started_at=now - timedelta(hours=1), epoch=4)
    assert "1 runs, 1 attempts, 2 cells" in clear()
    assert Run.objects.get(outcome="").pk == living.pk
    assert KernelSession.objects.get().host == "here:1:x"


def test_notebooks_of_others_are_not_touched(owner):
    left_open(owner, expired=timedelta(hours=1))
    other = Notebook.objects.create(owner=owner, name="Other", seq=1)
    cell = Cell.objects.create(notebook=other, position=1, id=uuid.uuid4())
    clear()
    cell.refresh_from_db()
    other.refresh_from_db()
    assert (cell.run_seq, other.seq) == (0, 1)


def test_a_lease_of_no_length_is_refused():
    with pytest.raises(CommandError):
        clear("--minutes", "0")


@pytest.mark.parametrize("minutes", ["nan", "inf", "1e12", "-1"])
def test_a_length_that_no_time_has_is_refused_in_words(minutes):
    with pytest.raises(CommandError, match="--minutes: a number above 0, at most"):
        clear("--minutes", minutes)
