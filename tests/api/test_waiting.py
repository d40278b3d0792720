"""Who waits for a run and may not read the notebook any more when it is over is not told what it showed; who may not
run it any more when there is a runtime does not."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone
from rest_framework.test import APIClient

from kernels_app import api, waiting
from notebooks_app.errors import Conflict
from notebooks_app.models import ApiToken, Membership, Notebook, Run
from tests.api.conftest import Client

pytestmark = pytest.mark.django_db


@pytest.fixture
def waits(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """`waits(happens)`: the run was started; `happens` while the caller waits for it."""

    def install(happens: Callable[[], Any]) -> None:
        run = Run.objects.create(notebook=notebook, started_at=timezone.now())

        def call(work: Any, timeout_s: float) -> Any:
            name = work.__name__
            work.close()
            if name == "_wait":
                happens()
                return True
            return str(run.pk)

        monkeypatch.setattr(api, "_call", call)
        monkeypatch.setattr(api, "_host", lambda: None)

    return install


def post(client: Client, notebook: Notebook) -> int:
    body = {"all": True, "wait": True}
    return int(client.post(f"/api/v1/notebooks/{notebook.pk}/runs/", body, format="json").status_code)


def test_who_still_may_is_answered(client_of: Callable[[str], Client], notebook: Notebook, waits: Any):
    waits(lambda: None)
    assert post(client_of("runner"), notebook) == 200


def test_who_was_removed_meanwhile_is_not(client_of: Callable[[str], Client], notebook: Notebook, waits: Any):
    waits(lambda: Membership.objects.filter(user__username="runner").delete())
    assert post(client_of("runner"), notebook) == 404


@pytest.mark.parametrize("name", ["owner", "runner"])
def test_who_was_deactivated_meanwhile_is_not(
    client_of: Callable[[str], Client], cast: dict[str, Any], notebook: Notebook, waits: Any, name: str
):
    waits(lambda: type(cast[name]).objects.filter(pk=cast[name].pk).update(is_active=False))
    assert post(client_of(name), notebook) in (401, 403)


def test_whose_session_ended_meanwhile_is_not(client_of: Callable[[str], Client], notebook: Notebook, waits: Any):
    waits(lambda: Session.objects.all().delete())
    assert post(client_of("runner"), notebook) in (401, 403)


@pytest.mark.parametrize("end", ["revoke", "deactivate"])
def test_whose_token_is_worth_nothing_any_more_is_not(cast: dict[str, Any], notebook: Notebook, waits: Any, end: str):
    person = cast["runner"]
    token, text = ApiToken.issue(person.pk, "t", "run")
    client = APIClient(headers={"Authorization": f"Bearer {text}"})
    if end == "revoke":
        waits(token.delete)
    else:
        waits(lambda: type(person).objects.filter(pk=person.pk).update(is_active=False))
    assert post(client, notebook) == 401


# --- Until there is a runtime ---


class Held:
    """A host whose runtime comes late; `happens` before that. What was begun then is in `begun`."""

    is_started = True

    def __init__(self) -> None:
        self.happens: Callable[[], Any] = lambda: None
        self.begun: list[str] = []

    def call(self, work: Coroutine[Any, Any, Any], timeout_s: float) -> Any:
        self.happens()
        return asyncio.run(work)

    async def ensure(self, notebook_id: uuid.UUID) -> Held:
        return self

    async def run_all(self, **_: Any) -> str:
        self.begun.append("runs")
        raise Conflict("That is all there is of this runtime.")

    async def restart(self, **_: Any) -> str:
        self.begun.append("restart")
        raise Conflict("That is all there is of this runtime.")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    made = Held()
    monkeypatch.setattr(api, "_host", lambda: made)
    monkeypatch.setattr(waiting, "LONG_S", -1.0)
    return made


def begin(client: Client, notebook: Notebook, what: str) -> int:
    body = {"all": True} if what == "runs" else {}
    return int(client.post(f"/api/v1/notebooks/{notebook.pk}/{what}/", body, format="json").status_code)


BEGINNINGS = pytest.mark.parametrize("what", ["runs", "restart"])
ENDS: dict[str, tuple[Callable[[Any], Any], int]] = {
    "removed": (lambda person: Membership.objects.filter(user=person).delete(), 404),
    "a viewer": (lambda person: Membership.objects.filter(user=person).update(role="viewer"), 403),
    "deactivated": (lambda person: type(person).objects.filter(pk=person.pk).update(is_active=False), 401),
    "signed out": (lambda person: Session.objects.all().delete(), 401),
    "revoked": (lambda person: ApiToken.objects.all().delete(), 401),
}
WAYS = {"session": "revoked", "token": "signed out"}  # how one says who one is, and what does not end that
COMMITTED = pytest.mark.django_db(transaction=True)  # what is looked at again is looked at in another thread


@BEGINNINGS
@COMMITTED
def test_who_still_may_when_there_is_a_runtime_begins(
    client_of: Callable[[str], Client], notebook: Notebook, held: Held, what: str
):
    assert begin(client_of("runner"), notebook, what) == 409
    assert held.begun == [what]


@BEGINNINGS
@COMMITTED
@pytest.mark.parametrize(("by", "end"), [(by, end) for by in WAYS for end in ENDS if WAYS[by] != end])
def test_who_may_not_any_more_when_there_is_a_runtime_begins_nothing(
    client_of: Callable[[str], Client],
    cast: dict[str, Any],
    notebook: Notebook,
    held: Held,
    what: str,
    by: str,
    end: str,
):
    person = cast["runner"]
    client = client_of("runner")
    if by == "token":
        client = APIClient(headers={"Authorization": f"Bearer {ApiToken.issue(person.pk, 't', 'run')[1]}"})
    happens, status = ENDS[end]
    held.happens = lambda: happens(person)
    assert begin(client, notebook, what) == status
    assert held.begun == []


