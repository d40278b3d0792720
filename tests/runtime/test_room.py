"""Who gets a kernel where as many are asked for at once as there is room for, or more."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from kernels_app import allowances, leases
from kernels_app.allowances import Allowance, NoRoom
from notebooks_app.models import KernelSession, Notebook

pytestmark = pytest.mark.django_db

LIMIT = 3


@pytest.fixture(params=["KERNELS_PER_USER", "KERNELS_MAX"])
def notebooks(settings: Any, request: pytest.FixtureRequest) -> list[uuid.UUID]:
    """More notebooks than may have a kernel: of one owner, or all."""
    settings.KERNELS_PER_USER = settings.KERNELS_MAX = 0
    setattr(settings, request.param, LIMIT)
    owner = get_user_model().objects.create_user("owner")
    return [Notebook.objects.create(owner=owner, name=str(number)).pk for number in range(LIMIT + 2)]


def opened(notebook: uuid.UUID) -> uuid.UUID:
    """By a process of its own, as on a cluster: it has the lease, and no kernel."""
    assert leases.claim(notebook, leases.new_host_name()) is not None
    return notebook


def starts(notebook: uuid.UUID) -> None:
    epoch = KernelSession.objects.values_list("epoch", flat=True).get(pk=notebook)
    KernelSession.objects.starts(notebook, epoch=epoch)


def told(notebook: uuid.UUID, state: str) -> None:
    KernelSession.objects.filter(pk=notebook).update(state=state)


def gets_in(notebook: uuid.UUID, hosted: Collection[uuid.UUID] = ()) -> bool:
    found: Allowance = allowances.of_notebook(notebook, allowances.profile())
    try:
        allowances.check_room(notebook, found, [], hosted)
    except NoRoom:
        return False
    return True


def test_of_many_opened_at_once_as_many_get_in_as_there_is_room_for(notebooks: list[uuid.UUID]):
    for notebook in map(opened, notebooks):
        starts(notebook)
    assert [gets_in(notebook) for notebook in notebooks] == [True] * LIMIT + [False] * 2


def test_those_that_asked_in_the_same_moment_have_an_order(notebooks: list[uuid.UUID]):
    for notebook in map(opened, notebooks):
        starts(notebook)
    KernelSession.objects.update(started_at=KernelSession.objects.get(pk=notebooks[0]).started_at)
    assert sum(gets_in(notebook) for notebook in notebooks) == LIMIT


def test_what_is_open_without_a_kernel_takes_no_room(notebooks: list[uuid.UUID]):
    last = [opened(notebook) for notebook in notebooks][-1]
    starts(last)
    assert gets_in(last)


def test_a_kernel_that_is_started_anew_asks_anew(notebooks: list[uuid.UUID]):
    again, *others = [opened(notebook) for notebook in notebooks[: LIMIT + 1]]
    starts(again)
    told(again, "dead")
    for notebook in others:
        starts(notebook)
        assert gets_in(notebook)
    starts(again)
    assert not gets_in(again)


def test_what_a_process_knows_of_its_own_notebooks_counts_and_not_what_was_saved_of_them(notebooks: list[uuid.UUID]):
    for notebook in map(opened, notebooks):
        starts(notebook)
    assert not gets_in(notebooks[-1])
    assert gets_in(notebooks[-1], hosted=notebooks)


def test_who_lost_the_lease_does_not_ask_for_who_has_it(notebooks: list[uuid.UUID]):
    opened(notebooks[0])
    KernelSession.objects.starts(notebooks[0], epoch=77)
    assert KernelSession.objects.get(pk=notebooks[0]).started_at is None
