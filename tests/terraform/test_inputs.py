"""Terraform's own tests (terraform/tests): the example is accepted, each wrong input is refused."""

from __future__ import annotations

import json
import re

import pytest

from tests.terraform.working import EXAMPLE, SOURCE, Terraform

OWN = SOURCE / "tests" / "inputs.tftest.hcl"


def test_terraforms_own_tests_pass(workspace: Terraform) -> None:
    done = workspace.run("test", "-json", f"-var-file={EXAMPLE}", timeout_s=300, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    summary = next(line["test_summary"] for line in lines if line["type"] == "test_summary")
    wanted = OWN.read_text(encoding="utf-8").count('\nrun "')
    problems = [line["diagnostic"] for line in lines if line["type"] == "diagnostic"]
    assert (summary["status"], summary["passed"]) == ("pass", wanted), problems[:5]


def test_each_validated_input_is_tried_with_a_wrong_value() -> None:
    variables = (SOURCE / "variables.tf").read_text(encoding="utf-8").split('variable "')[1:]
    validated = {each.split('"')[0] for each in variables if "validation {" in each}
    assert validated == set(re.findall(r"var\.(\w+)", OWN.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "known_by_operators",
    ["region", "domain_name", "certificate_arn", "alarm_emails", "image_tag", "monthly_budget_usd"],
)
def test_nothing_is_guessed_that_only_the_operator_knows(known_by_operators: str) -> None:
    block = (SOURCE / "variables.tf").read_text(encoding="utf-8").split(f'variable "{known_by_operators}"')[1]
    assert "\n  default" not in block.split("\nvariable")[0]
