"""One moto and one plan for the fast tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.terraform.planned import Planned
from tests.terraform.working import Terraform, moto_server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto_server(tmp_path_factory.mktemp("moto") / "log") as url:
        yield url


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory, moto: str) -> Terraform:
    return Terraform(tmp_path_factory.mktemp("terraform"), moto)


@pytest.fixture(scope="session")
def plan_json(workspace: Terraform) -> dict[str, Any]:
    return workspace.plan()


@pytest.fixture(scope="session")
def plan(plan_json: dict[str, Any]) -> Planned:
    return Planned(plan_json)
