"""A release: the database first, then the web service; what fails stops it. AWS's answers are of our making."""

from __future__ import annotations

import re
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from deploy.release import Release, ReleaseFailed
from tests.servers import ROOT

WEB, OLD = "arn:aws:ecs:eu-central-1:123456789012:task-definition/r-web:8", "arn:x:task-definition/r-web:7"
TASK = "arn:aws:ecs:eu-central-1:123456789012:task/r/abc"
FACTS: dict[str, Any] = {
    "region": "eu-central-1", "cluster": "r", "web_service": "web", "web_task_definition": WEB, "subnets": ["subnet-1"],
    "migrate_task_definition": "r-migrate:8", "head_service": "head", "head_task_definition": "r-head:8",
    "node_group": "r-nodes", "security_groups": ["sg-1"], "migrate_log_group": "/r/web",
}  # fmt: skip


class Far:
    """AWS, as a list of calls that must come in this order, with their answers."""

    def __init__(self) -> None:
        session = boto3.Session("testing", "testing", region_name="eu-central-1")
        self._clients = {name: session.client(name) for name in ("ecs", "logs", "autoscaling")}
        self._stubs = {name: Stubber(client) for name, client in self._clients.items()}
        for stub in self._stubs.values():
            stub.activate()
        self.said: list[str] = []
        self.waited = 0.0

    def expects(self, service: str, call: str, answer: dict[str, Any], asked: dict[str, Any] | None = None) -> None:
        self._stubs[service].add_response(call, answer, asked)

    def release(self) -> Release:
        return Release(FACTS, self._clients.__getitem__, wait=self._wait, say=self.said.append)

    def is_done(self) -> None:
        for stub in self._stubs.values():
            stub.assert_no_pending_responses()

    def _wait(self, seconds: float) -> None:
        self.waited += seconds

    def migrates(self, code: int = 0) -> None:
        network = {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}
        asked = {
            "cluster": "r", "taskDefinition": "r-migrate:8", "launchType": "FARGATE",
            "networkConfiguration": {"awsvpcConfiguration": network},
        }  # fmt: skip
        self.expects("ecs", "run_task", {"tasks": [{"taskArn": TASK}], "failures": []}, asked)
        self.expects("ecs", "describe_tasks", {"tasks": [{"lastStatus": "RUNNING"}]})
        ended = {"lastStatus": "STOPPED", "containers": [{"exitCode": code}], "stoppedReason": "Essential container"}
        self.expects("ecs", "describe_tasks", {"tasks": [ended]}, {"cluster": "r", "tasks": [TASK]})

    def moves(self, service: str, definition: str, *deployments: list[tuple[str, str]]) -> None:
        asked = {"cluster": "r", "service": service, "taskDefinition": definition, "forceNewDeployment": True}
        self.expects("ecs", "update_service", {}, asked)
        for state in deployments:
            listed = [{"taskDefinition": arn, "rolloutState": rollout} for arn, rollout in state]
            events = [{"message": "tasks failed"}]
            self.expects("ecs", "describe_services", {"services": [{"deployments": listed, "events": events}]})


@pytest.fixture
def far() -> Far:
    return Far()


def test_the_service_moves_once_the_database_is_migrated(far: Far) -> None:
    far.migrates()
    far.moves("web", WEB, [(WEB, "IN_PROGRESS"), (OLD, "COMPLETED")], [(WEB, "COMPLETED")])
    far.release().run()
    far.is_done()
    assert far.waited == 10 and far.said[-1] == "web runs it."


def test_a_migration_that_fails_stops_the_release_with_its_log(far: Far) -> None:
    far.migrates(code=1)
    asked = {"logGroupName": "/r/web", "logStreamName": "web/rillbook/abc", "limit": ANY}
    far.expects("logs", "get_log_events", {"events": [{"message": "relation is missing"}]}, asked)
    with pytest.raises(ReleaseFailed, match="ended with 1(.|\n)*relation is missing"):
        far.release().run()
    far.is_done()


def test_a_migration_that_does_not_start_stops_the_release(far: Far) -> None:
    far.expects("ecs", "run_task", {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]})
    with pytest.raises(ReleaseFailed, match="RESOURCE:MEMORY"):
        far.release().run()
    far.is_done()


@pytest.mark.parametrize("state", [[(WEB, "FAILED"), (OLD, "IN_PROGRESS")], [(OLD, "COMPLETED")]])
def test_a_roll_out_that_went_back_is_a_failure(far: Far, state: list[tuple[str, str]]) -> None:
    far.migrates()
    far.moves("web", WEB, state)
    with pytest.raises(ReleaseFailed, match="went back.*tasks failed"):
        far.release().run()
    far.is_done()


def test_going_back_migrates_nothing(far: Far) -> None:
    far.moves("web", OLD, [(OLD, "COMPLETED")])
    far.release().run(to=OLD)
    far.is_done()


def test_kernels_are_replaced_only_when_asked(far: Far) -> None:
    far.migrates()
    far.moves("head", "r-head:8", [("r-head:8", "COMPLETED")])
    far.expects("autoscaling", "start_instance_refresh", {}, {"AutoScalingGroupName": "r-nodes", "Preferences": ANY})
    far.moves("web", WEB, [(WEB, "COMPLETED")])
    far.release().run(kernels=True)
    far.is_done()


def test_waiting_has_an_end(far: Far) -> None:
    release = far.release()
    with pytest.raises(ReleaseFailed, match="Gave up waiting for a word after 20 s"):
        release._until(20, "a word", lambda: None)
    assert far.waited == 20


def test_terraform_tells_all_that_a_release_needs() -> None:
    outputs = (ROOT / "terraform" / "outputs.tf").read_text(encoding="utf-8").split('output "release"')[1]
    assert set(re.findall(r"^    (\w+) +=", outputs, re.MULTILINE)) == set(FACTS)
