"""Keys of connections: rotated while servers run, resumed, looked at beforehand; and what a lost key does."""

from __future__ import annotations

import base64
import os
import signal
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from notebooks_app import crypto, rotation
from notebooks_app.models import Connection
from notebooks_app.rotation import State

pytestmark = [pytest.mark.django_db, pytest.mark.database]

FIRST, SECOND, THIRD = (base64.b64encode(os.urandom(32)).decode() for _ in range(3))
DSN = "postgresql://ana:c4nary-{}@db.example/shop"
COMMAND = "rotate_connection_keys"


@pytest.fixture
def made(settings: Any) -> list[Connection]:
    """Five connections: three under FIRST, one under SECOND, one under the key made from SECRET_KEY."""
    owner = get_user_model().objects.create_user("owner")
    found = []
    for number, keys in enumerate([[FIRST], [FIRST], [FIRST], [SECOND], []]):
        settings.CONNECTION_KEYS = keys
        connection = Connection(owner=owner, name=f"c{number}")
        connection.set_dsn(DSN.format(number))
        connection.save()
        found.append(connection)
    return found


def run(*arguments: str) -> str:
    out, err = StringIO(), StringIO()
    call_command(COMMAND, *arguments, stdout=out, stderr=err)
    return out.getvalue() + err.getvalue()


def secrets_now() -> dict[Any, bytes]:
    return {pk: bytes(secret) for pk, secret in Connection.objects.values_list("pk", "secret")}


def test_all_are_encrypted_under_the_first_key_and_older_ones_can_go(made, settings):
    settings.CONNECTION_KEYS = [SECOND, FIRST]
    told = run()
    assert "4 encrypted anew" in told and f"({crypto.first_key_id()}): 5" in told and "can be removed" in told
    settings.CONNECTION_KEYS, settings.SECRET_KEY = [SECOND], "another secret key, for cookies alone"
    for number, connection in enumerate(Connection.objects.order_by("name")):
        assert connection.dsn() == DSN.format(number)
    assert "0 encrypted anew" in run() and "c4nary" not in told


def test_a_dry_run_changes_nothing_and_says_what_is_left_under_which_key(made, settings):
    settings.CONNECTION_KEYS = [THIRD, SECOND, FIRST]
    before = secrets_now()
    told = run("--dry-run")
    assert secrets_now() == before
    assert told.count("would be encrypted anew") == 5 and "Under the first key" in told
    for row, count in ((made[0], 3), (made[3], 1), (made[4], 1)):
        assert f"Under key {crypto.key_id(bytes(row.secret))}: {count}." in told


def test_it_goes_on_where_it_was_stopped(made, settings, monkeypatch):
    settings.CONNECTION_KEYS = [THIRD, SECOND, FIRST]
    rotate = rotation.rotate

    def then_end(connection: Connection) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return rotate(connection)

    monkeypatch.setattr(rotation, "rotate", then_end)
    assert "Stopped; run it again" in run() and rotation.standing().states == {State.CURRENT: 1, State.OLD: 4}
    monkeypatch.undo()
    settings.CONNECTION_KEYS = [THIRD, SECOND, FIRST]
    assert "4 encrypted anew" in run()


def test_a_dsn_given_meanwhile_is_not_undone(made, settings):
    settings.CONNECTION_KEYS = [THIRD, SECOND, FIRST]
    stale = Connection.objects.get(pk=made[0].pk)
    made[0].set_dsn("postgresql://ana:new@db.example/shop")
    made[0].save()
    assert rotation.rotate(stale) is False
    assert Connection.objects.get(pk=made[0].pk).dsn() == "postgresql://ana:new@db.example/shop"


def test_a_lost_key_is_named_and_the_rest_is_rotated(made, settings):
    settings.CONNECTION_KEYS = [THIRD, SECOND]
    with pytest.raises(CommandError, match="3 connections do not open"):
        run()
    assert rotation.standing().states == {State.CURRENT: 2, State.LOST: 3}
    lost = Connection.objects.get(pk=made[0].pk)
    with pytest.raises(crypto.DecryptionError, match=f"id {crypto.key_id(bytes(lost.secret))}.*CONNECTION_KEYS"):
        lost.dsn()
    assert lost.address() == "postgresql://…"
    settings.CONNECTION_KEYS = [THIRD, SECOND, FIRST]
    assert "3 encrypted anew" in run()


def test_a_secret_of_another_row_or_with_a_changed_byte_does_not_open_and_is_told(made, settings):
    settings.CONNECTION_KEYS = [FIRST, SECOND]
    first, second = made[:2]
    Connection.objects.filter(pk=second.pk).update(secret=bytes(first.secret))
    with pytest.raises(crypto.DecryptionError, match="another row"):
        Connection.objects.get(pk=second.pk).dsn()
    with pytest.raises(CommandError, match="1 connections do not open"):
        run()


def test_a_malformed_key_is_an_error_that_does_not_repeat_it(made, settings):
    settings.CONNECTION_KEYS = [FIRST, "bm90IGEga2V5"]
    with pytest.raises(CommandError) as caught:
        run()
    assert "key 2" in str(caught.value) and "bm90" not in str(caught.value)


def test_reading_is_a_few_rows_at_a_time(made, settings, django_assert_num_queries, monkeypatch):
    settings.CONNECTION_KEYS = [FIRST, SECOND]
    monkeypatch.setattr(rotation, "AT_A_TIME", 2)
    with django_assert_num_queries(4):
        assert rotation.standing().states.total() == 5
