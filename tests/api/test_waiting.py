"""Who waits for a run and may not read the notebook any more when it is over is not told what it showed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone
from rest_framework.test import APIClient

from kernels_app import api
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
