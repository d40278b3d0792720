"""Rows and their querysets: what people may see, numbers without gaps, the lease. On SQLite and PostgreSQL."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from notebooks_app import services
from notebooks_app.models import ApiToken, Cell, Change, Connection, KernelSession, Membership, Notebook

pytestmark = [pytest.mark.database, pytest.mark.django_db]

TTL = timedelta(seconds=8)
DSN = "postgresql://reader:s3cret-word@db.example.com:5432/shop"


@pytest.fixture
def owner():
    return get_user_model().objects.create_user("owner")


@pytest.fixture
def stranger():
    return get_user_model().objects.create_user("stranger")


@pytest.fixture
def notebook(owner):
    return Notebook.objects.create(owner=owner, name="Sales")


def in_threads(count: int, work: Callable[[int], None]) -> list[BaseException]:
    """Run `work` in threads at once; what they raised."""
    raised: list[BaseException] = []
    start = threading.Barrier(count)

    def one(number: int) -> None:
        try:
            start.wait(10)
            work(number)
        except BaseException as error:
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return raised


# --- Who sees what ---------------------------------------------------------------------------------------------------


def test_a_person_sees_their_own_notebooks_and_those_they_are_a_member_of(owner, stranger, notebook):
    shared = Notebook.objects.create(owner=stranger, name="Shared")
    Membership.objects.create(notebook=shared, user=owner, role="viewer")
    Notebook.objects.create(owner=stranger, name="Private")
    assert {item.name for item in Notebook.objects.visible_to(owner)} == {"Sales", "Shared"}
    assert not Notebook.objects.visible_to(None).exists()


def test_the_role_of_each_listed_notebook_comes_with_the_list(owner, stranger, notebook):
    shared = Notebook.objects.create(owner=stranger, name="Shared")
    Membership.objects.create(notebook=shared, user=owner, role="runner")
    found = Notebook.objects.visible_to(owner).with_role(owner)
    assert {item.name: item.member_role for item in found} == {"Sales": None, "Shared": "runner"}


def test_a_user_gets_the_demo_once_and_again_after_it_was_deleted(owner):
    first = Notebook.objects.create(owner=owner, name="Demo", kind="demo")
    with pytest.raises(IntegrityError), transaction.atomic():
        Notebook.objects.create(owner=owner, name="Demo", kind="demo")
    Notebook.objects.filter(pk=first.pk).update(deleted_at=timezone.now())
    Notebook.objects.create(owner=owner, name="Demo", kind="demo")


# --- Constraints -----------------------------------------------------------------------------------------------------


def test_two_cells_cannot_stand_in_one_place(notebook):
    Cell.objects.create(notebook=notebook, position=5)
    with pytest.raises(IntegrityError), transaction.atomic():
        Cell.objects.create(notebook=notebook, position=5)
    other = Notebook.objects.create(owner=notebook.owner, name="Other")
    Cell.objects.create(notebook=other, position=5)


@pytest.mark.parametrize(("field", "value"), [("type", "perl"), ("status", "paused")])
def test_a_cell_with_an_unknown_word_is_refused_by_the_database(notebook, field, value):
    with pytest.raises(IntegrityError), transaction.atomic():
        Cell.objects.create(notebook=notebook, position=1, **{field: value})


def test_a_number_of_the_log_and_an_operation_are_used_once(notebook):
    row = {"notebook": notebook, "revision": 1, "kind": "cell.edited", "event": {}}
    operation = uuid.uuid4()
    Change.objects.create(seq=1, operation_id=operation, **row)
    for seq, operation_id in ((1, uuid.uuid4()), (2, operation)):
        with pytest.raises(IntegrityError), transaction.atomic():
            Change.objects.create(seq=seq, operation_id=operation_id, **row)


def test_a_name_of_a_connection_is_used_once_by_its_owner(owner, stranger):
    Connection.objects.create(owner=owner, name="shop", driver="postgresql", secret=b"")
    Connection.objects.create(owner=stranger, name="shop", driver="postgresql", secret=b"")
    with pytest.raises(IntegrityError), transaction.atomic():
        Connection.objects.create(owner=owner, name="shop", driver="postgresql", secret=b"")


# --- Secrets ---------------------------------------------------------------------------------------------------------


def test_a_dsn_is_kept_encrypted_and_opens_only_in_its_row(owner):
    first, second = (Connection(owner=owner, name=name) for name in ("a", "b"))
    first.set_dsn(DSN)
    first.save()
    kept = Connection.objects.get(pk=first.pk)
    assert kept.dsn() == DSN
    assert b"s3cret" not in bytes(kept.secret)
    second.secret = kept.secret
    with pytest.raises(ValueError, match="belongs to another row"):
        second.dsn()


def test_a_person_cannot_name_a_file_of_the_server_but_an_operator_can(owner):
    with pytest.raises(ValueError, match="operator"):
        Connection(owner=owner, name="file").set_dsn("sqlite:////etc/passwd")
    Connection(owner=None, name="file").set_dsn("sqlite:////srv/shop.db")


def test_a_token_is_found_by_its_text_until_it_expires_or_its_person_is_inactive(owner):
    token, text = ApiToken.issue(owner.pk, "cron", "run")
    assert text not in str(ApiToken.objects.filter(pk=token.pk).values().get())
    assert ApiToken.find(text) == token
    assert ApiToken.find(text + "x") is None
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())
    assert ApiToken.find(text) is None
    ApiToken.objects.filter(pk=token.pk).update(expires_at=None)
    get_user_model().objects.filter(pk=owner.pk).update(is_active=False)
    assert ApiToken.find(text) is None


# --- The lease -------------------------------------------------------------------------------------------------------


def claim(notebook, host="here:1:a", now=None):
    return KernelSession.objects.claim(notebook.pk, host=host, now=now or timezone.now(), ttl=TTL)


def test_a_lease_is_held_by_one_until_it_runs_out(notebook):
    now = timezone.now()
    assert claim(notebook, "a", now) == 1
    assert claim(notebook, "b", now + TTL / 2) is None
    assert claim(notebook, "b", now + TTL) == 2


def test_a_lease_is_renewed_by_its_epoch_also_late_but_not_after_another_took_it(notebook):
    now = timezone.now()
    epoch = claim(notebook, "a", now)
    assert KernelSession.objects.renew(notebook.pk, epoch=epoch, now=now + TTL * 3, ttl=TTL)
    assert claim(notebook, "b", now + TTL * 3.5) is None
    assert claim(notebook, "b", now + TTL * 4) == epoch + 1
    assert not KernelSession.objects.renew(notebook.pk, epoch=epoch, now=now + TTL * 4, ttl=TTL)


def test_a_released_lease_is_free_at_once_and_is_not_renewed(notebook):
    now = timezone.now()
    epoch = claim(notebook, "a", now)
    KernelSession.objects.release(notebook.pk, epoch=epoch, now=now)
    assert not KernelSession.objects.renew(notebook.pk, epoch=epoch, now=now, ttl=TTL)
    assert claim(notebook, "b", now) == epoch + 1


def test_the_release_of_one_who_was_replaced_changes_nothing(notebook):
    now = timezone.now()
    old = claim(notebook, "a", now)
    claim(notebook, "b", now + TTL)
    KernelSession.objects.release(notebook.pk, epoch=old, now=now + TTL)
    session = KernelSession.objects.get(notebook=notebook)
    session.read_at = now + TTL
    assert (session.host, session.is_live()) == ("b", True)


def test_outputs_of_a_replaced_runtime_get_no_number(notebook):
    now = timezone.now()
    old = claim(notebook, "a", now)
    assert Notebook.objects.next_run_seq(notebook.pk, epoch=old) == 1
    new = claim(notebook, "b", now + TTL)
    assert Notebook.objects.next_run_seq(notebook.pk, epoch=old) is None
    assert Notebook.objects.next_run_seq(notebook.pk, epoch=new) == 2


@pytest.mark.django_db(transaction=True)
def test_of_many_that_claim_a_lease_at_once_one_gets_it(notebook):
    got: list[int | None] = []
    raised = in_threads(6, lambda number: got.append(claim(notebook, f"host:{number}")))
    assert raised == []
    assert sorted(got, key=str) == [1, None, None, None, None, None]


@pytest.mark.django_db(transaction=True)
def test_numbers_have_no_gaps_when_edits_and_outputs_meet(owner, notebook):
    """Eight threads of edits and runs: every number is given once, in the log or to a batch of outputs."""
    epoch = claim(notebook)
    author = services.Author.of(owner)
    batches: list[int | None] = []

    def work(number: int) -> None:
        for _ in range(5):
            if number % 2:
                services.insert_cell(
                    notebook.pk, uuid.uuid4(), after=None, cell_type="python", author=author, operation_id=uuid.uuid4()
                )
            else:
                with transaction.atomic():
                    batches.append(Notebook.objects.next_run_seq(notebook.pk, epoch=epoch))

    assert in_threads(8, work) == []
    logged = list(Change.objects.filter(notebook=notebook).order_by("seq").values_list("seq", "revision"))
    assert sorted([seq for seq, _ in logged] + batches) == list(range(1, 41))
    assert [revision for _, revision in logged] == list(range(1, 21))
    notebook.refresh_from_db()
    assert (notebook.seq, notebook.revision) == (40, 20)
