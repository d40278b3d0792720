"""One moto, workspace, plan and apply for all tests of this folder, which one worker runs (../conftest.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.terraform.applied import RealApply
from tests.terraform.planned import Planned
from tests.terraform.working import Terraform, moto_server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto_server(tmp_path_factory.mktemp("moto") / "log") as url:
        yield url


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory, moto: str) -> Terraform:
    return Terraform(tmp_path_factory.mktemp("terraform"), moto)


@pytest.fixture(scope="session", autouse=True)
def apply(request: pytest.FixtureRequest, workspace: Terraform, moto: str) -> Iterator[RealApply | None]:
    """Begun before the first test of this folder, if one will ask for it: it mostly waits."""
    if not any("applied" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield None
        return
    begun = RealApply(workspace, moto)
    yield begun
    begun.stop()


@pytest.fixture(scope="session")
def applied(apply: RealApply) -> RealApply:
    """The same, once everything is made."""
    apply.state()
    return apply


@pytest.fixture(scope="session")
def plan_json(workspace: Terraform) -> dict[str, Any]:
    return workspace.plan()


@pytest.fixture(scope="session")
def plan(plan_json: dict[str, Any]) -> Planned:
    return Planned(plan_json)
