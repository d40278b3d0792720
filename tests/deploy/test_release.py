"""A release: the database first, then the web service; what fails stops it. AWS's answers are of our making."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from django.core.management import load_command_class

from deploy.release import DOCTOR_TRIES, KEPT_TAG, OF_FILES, Release, ReleaseFailed, main
from tests.servers import ROOT

WEB, OLD = "arn:aws:ecs:eu-central-1:123456789012:task-definition/r-web:8", "arn:x:task-definition/r-web:7"
TASK = "arn:aws:ecs:eu-central-1:123456789012:task/r/abc"
FACTS: dict[str, Any] = {
    "region": "eu-central-1", "cluster": "r", "web_service": "web", "web_task_definition": WEB, "subnets": ["subnet-1"],
    "migrate_task_definition": "r-migrate:8", "manage_task_definition": "r-manage:8", "exchange_bucket": "exchange",
    "head_service": "head", "head_task_definition": "r-head:8",
    "node_group": "r-nodes", "node_template": "lt-1", "node_template_version": 4, "min_nodes": 2,
    "security_groups": ["sg-1"], "migrate_log_group": "/r/web",
}  # fmt: skip


class Far:
    """AWS, as a list of calls that must come in this order, with their answers."""

    def __init__(self) -> None:
        session = boto3.Session("testing", "testing", region_name="eu-central-1")
        self._clients = {name: session.client(name) for name in ("ecs", "ecr", "logs", "ec2", "autoscaling")}
        self._stubs = {name: Stubber(client) for name, client in self._clients.items()}
        for stub in self._stubs.values():
            stub.activate()
        self.said: list[str] = []
        self.waited = 0.0

    def expects(self, service: str, call: str, answer: dict[str, Any], asked: dict[str, Any] | None = None) -> None:
        self._stubs[service].add_response(call, answer, asked)

    def client(self, name: str) -> Any:
        return self._clients[name]

    def release(self) -> Release:
        return Release(FACTS, self.client, wait=self._wait, say=self.said.append)

    def is_done(self) -> None:
        for stub in self._stubs.values():
            stub.assert_no_pending_responses()

    def _wait(self, seconds: float) -> None:
        self.waited += seconds

    def migrates(self, code: int = 0) -> None:
        self.runs_task(code, taskDefinition="r-migrate:8")

    def runs_task(self, code: int, **asked_too: Any) -> None:
        network = {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}
        asked = {"cluster": "r", "launchType": "FARGATE", "networkConfiguration": {"awsvpcConfiguration": network}}
        asked |= asked_too
        self.expects("ecs", "run_task", {"tasks": [{"taskArn": TASK}], "failures": []}, asked)
        self.expects("ecs", "describe_tasks", {"tasks": [{"lastStatus": "RUNNING"}]})
        ended = {"lastStatus": "STOPPED", "containers": [{"exitCode": code}], "stoppedReason": "Essential container"}
        self.expects("ecs", "describe_tasks", {"tasks": [ended]}, {"cluster": "r", "tasks": [TASK]})

    def head_runs(self, count: int = 1, *, moves: bool = False, is_kept: bool = False, is_there: bool = True) -> None:
        """What it runs, or is to run, is kept first: that the repository lets nobody do so stops a release."""
        asked = {"cluster": "r", "services": ["head"]}
        head = {"runningCount": count, "taskDefinition": "r-head:7"}
        self.expects("ecs", "describe_services", {"services": [head]}, asked)
        self.keeps_image("8" if moves or not count else "7", is_kept=is_kept, is_there=is_there)

    def keeps_image(self, tag: str, *, is_kept: bool, is_there: bool) -> None:
        """By a tag of its own, which the repository's lifecycle spares; in the form in which it was pushed."""
        definition = {"containerDefinitions": [{"image": f"123456789012.dkr.ecr.example.com/team/r:{tag}"}]}
        asked: dict[str, Any] = {"taskDefinition": f"r-head:{tag}"}
        self.expects("ecs", "describe_task_definition", {"taskDefinition": definition}, asked)
        manifest = {"imageManifest": "{}", "imageManifestMediaType": "application/vnd.oci.image.index.v1+json"}
        found = {"images": [manifest] if is_there else []}
        self.expects("ecr", "batch_get_image", found, {"repositoryName": "team/r", "imageIds": [{"imageTag": tag}]})
        if is_kept:
            self._stubs["ecr"].add_client_error("put_image", "ImageAlreadyExistsException")
        elif is_there:
            asked = {"repositoryName": "team/r", "imageTag": f"kernels-{tag}"} | manifest
            self.expects("ecr", "put_image", {}, asked)

    def refuses(self, service: str, call: str, code: str) -> None:
        self._stubs[service].add_client_error(call, code, "words of AWS")

    def moves(self, service: str, definition: str, *deployments: list[tuple[str, str]]) -> None:
        asked = {"cluster": "r", "service": service, "taskDefinition": definition, "forceNewDeployment": True}
        self.expects("ecs", "update_service", {}, asked)
        for state in deployments:
            listed = [{"taskDefinition": arn, "rolloutState": rollout} for arn, rollout in state]
            events = [{"message": "tasks failed"}]
            self.expects("ecs", "describe_services", {"services": [{"deployments": listed, "events": events}]})

    def replaces_nodes(self) -> None:
        """All of them, by the version of the launch template that Terraform made last."""
        self.expects("ec2", "modify_launch_template", {}, {"LaunchTemplateId": "lt-1", "DefaultVersion": "4"})
        preferences = {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200, "ScaleInProtectedInstances": "Refresh"}
        preferences["SkipMatching"] = False  # secrets may be new where the template is not
        asked = {"AutoScalingGroupName": "r-nodes", "Preferences": preferences}
        self.expects("autoscaling", "start_instance_refresh", {"InstanceRefreshId": "one"}, asked)

    def nodes_were(self, *statuses: str) -> None:
        """What became of the last replacement before this one, as it is asked for again and again."""
        for number, status in enumerate(statuses):
            found = [{"Status": status, "PercentageComplete": 50 * number}, {"Status": "Successful"}]
            asked = {"AutoScalingGroupName": "r-nodes"}
            self.expects("autoscaling", "describe_instance_refreshes", {"InstanceRefreshes": found}, asked)

    def doctor_says(self, code: int) -> None:
        override = {"name": "rillbook", "command": ["manage", "doctor", "--nodes", "2"]}
        self.runs_task(code, taskDefinition="r-manage:8", overrides={"containerOverrides": [override]})
        self.expects("logs", "get_log_events", {"events": [{"message": f"doctor says {code}"}]})

    def nodes_are(self, *statuses: str) -> None:
        asked = {"AutoScalingGroupName": "r-nodes", "InstanceRefreshIds": ["one"]}
        for status in statuses:
            found = {"InstanceRefreshes": [{"Status": status, "StatusReason": "sold out"}]}
            self.expects("autoscaling", "describe_instance_refreshes", found, asked)


@pytest.fixture
def far() -> Far:
    return Far()


def test_the_service_moves_once_the_database_is_migrated(far: Far) -> None:
    far.head_runs()
    far.migrates()
    far.moves("web", WEB, [(WEB, "IN_PROGRESS"), (OLD, "COMPLETED")], [(WEB, "COMPLETED")])
    far.release().run()
    far.is_done()
    assert far.waited == 10 and far.said[-1] == "web runs it."


def test_a_migration_that_fails_stops_the_release_with_its_log(far: Far) -> None:
    far.head_runs()
    far.migrates(code=1)
    asked = {"logGroupName": "/r/web", "logStreamName": "web/rillbook/abc", "limit": ANY}
    far.expects("logs", "get_log_events", {"events": [{"message": "relation is missing"}]}, asked)
    with pytest.raises(ReleaseFailed, match="ended with 1(.|\n)*relation is missing"):
        far.release().run()
    far.is_done()


def test_a_migration_that_does_not_start_stops_the_release(far: Far) -> None:
    far.head_runs()
    far.expects("ecs", "run_task", {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]})
    with pytest.raises(ReleaseFailed, match="RESOURCE:MEMORY"):
        far.release().run()
    far.is_done()


@pytest.mark.parametrize("state", [[(WEB, "FAILED"), (OLD, "IN_PROGRESS")], [(OLD, "COMPLETED")]])
def test_a_roll_out_that_went_back_is_a_failure(far: Far, state: list[tuple[str, str]]) -> None:
    far.head_runs()
    far.migrates()
    far.moves("web", WEB, state)
    with pytest.raises(ReleaseFailed, match="went back.*tasks failed"):
        far.release().run()
    far.is_done()


def test_going_back_migrates_nothing(far: Far) -> None:
    far.head_runs()
    far.moves("web", OLD, [(OLD, "COMPLETED")])
    far.release().run(to=OLD)
    far.is_done()


def moved_with_kernels(far: Far, *earlier: str) -> None:
    """All of a release up to the nodes, which come last."""
    far.nodes_were(*(earlier or ("Successful",)))
    far.head_runs(moves=True)
    far.migrates()
    far.moves("head", "r-head:8", [("r-head:8", "COMPLETED")])
    far.moves("web", WEB, [(WEB, "COMPLETED")])
    far.replaces_nodes()


def test_kernels_are_replaced_only_when_asked_and_waited_for(far: Far) -> None:
    moved_with_kernels(far)
    far.nodes_are("Pending", "InProgress", "Baking", "Successful")
    far.doctor_says(0)
    far.release().run(kernels=True)
    far.is_done()
    assert far.waited == 25 and far.said[-1].startswith("All nodes are new")


@pytest.mark.parametrize("status", ["Failed", "Cancelled", "RollbackSuccessful"])
def test_nodes_that_are_not_replaced_are_a_failure(far: Far, status: str) -> None:
    moved_with_kernels(far)
    far.nodes_are("InProgress", status)
    with pytest.raises(ReleaseFailed, match=f"{status}. sold out"):
        far.release().run(kernels=True)
    far.is_done()


def test_new_nodes_that_do_not_join_the_cluster_are_a_failure(far: Far) -> None:
    """AWS calls an instance healthy that runs no node: doctor counts them, for some minutes anew."""
    moved_with_kernels(far)
    far.nodes_are("Successful")
    for _ in range(DOCTOR_TRIES):
        far.doctor_says(1)
    with pytest.raises(ReleaseFailed, match=r"manage\.py doctor ended with 1"):
        far.release().run(kernels=True)
    far.is_done()
    assert "doctor says 1" in far.said and not any("All nodes are new" in words for words in far.said)


def test_nodes_that_join_a_little_later_are_met(far: Far) -> None:
    moved_with_kernels(far)
    far.nodes_are("Successful")
    far.doctor_says(1)
    far.doctor_says(0)
    far.release().run(kernels=True)
    far.is_done()
    assert far.said[-1].startswith("All nodes are new")


def test_nodes_that_an_earlier_release_still_replaces_are_waited_for_before_anything_moves(far: Far) -> None:
    moved_with_kernels(far, "InProgress", "InProgress", "Cancelling", "Cancelled")
    far.nodes_are("Successful")
    far.doctor_says(0)
    far.release().run(kernels=True)
    far.is_done()
    said = [words for words in far.said if "earlier release" in words]
    assert far.said[: len(said)] == said and "(0 %)" in said[0] and "(50 %)" in said[1]
    assert "aws autoscaling cancel-instance-refresh --auto-scaling-group-name r-nodes" in said[0]


def test_a_web_service_that_goes_back_leaves_the_nodes_alone(far: Far) -> None:
    far.nodes_were("Successful")
    far.head_runs(moves=True)
    far.migrates()
    far.moves("head", "r-head:8", [("r-head:8", "COMPLETED")])
    far.moves("web", WEB, [(OLD, "COMPLETED")])
    with pytest.raises(ReleaseFailed, match="went back"):
        far.release().run(kernels=True)
    far.is_done()


@pytest.mark.parametrize(("is_kept", "is_there"), [(True, True), (False, False)])
def test_an_image_that_is_kept_already_or_gone_stops_no_release(far: Far, is_kept: bool, is_there: bool) -> None:
    far.head_runs(is_kept=is_kept, is_there=is_there)
    far.migrates()
    far.moves("web", WEB, [(WEB, "COMPLETED")])
    far.release().run()
    far.is_done()
    gone = [words for words in far.said if "no image 7 any more" in words]
    assert len(gone) == (not is_there)


def test_a_head_that_does_not_run_is_started_before_web_tasks_join_it(far: Far) -> None:
    """As after the first apply, which found no image."""
    far.head_runs(0)
    far.migrates()
    far.moves("head", "r-head:8", [("r-head:8", "COMPLETED")])
    far.moves("web", WEB, [(WEB, "COMPLETED")])
    far.release().run()
    far.is_done()


@pytest.mark.parametrize("kernels", [True, False])
def test_an_image_that_was_not_pushed_stops_a_release_that_moves_the_head(far: Far, kernels: bool) -> None:
    if kernels:
        far.nodes_were("Successful")
    far.head_runs(int(kernels), moves=kernels, is_there=False)
    with pytest.raises(ReleaseFailed, match="no image 8, .*push it first"):
        far.release().run(kernels=kernels)
    far.is_done()


def test_the_same_definition_deployed_anew_is_judged_by_its_newest_deployment(far: Far) -> None:
    far.head_runs()
    far.migrates()
    far.moves("web", WEB, [(WEB, "FAILED"), (WEB, "COMPLETED")])
    with pytest.raises(ReleaseFailed, match="went back"):
        far.release().run()
    far.is_done()


def main_with(far: Far, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of the program, to which AWS is `far`."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(FACTS)))
    monkeypatch.setattr(boto3, "Session", lambda **named: SimpleNamespace(client=far.client))
    return main(list(words))


@pytest.mark.parametrize("code", ["ExpiredTokenException", "AccessDeniedException"])
def test_what_aws_refuses_is_a_sentence(
    far: Far, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    far.refuses("autoscaling", "describe_instance_refreshes", code)
    assert main_with(far, monkeypatch, "--kernels") == 1
    told = capsys.readouterr().err
    assert code in told and "words of AWS" in told and "goes on there" in told and "Traceback" not in told


def test_an_interrupted_release_says_what_goes_on(
    far: Far, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*asked: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Release, "run", interrupted)
    assert main_with(far, monkeypatch) == 130 and "goes on there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", ""], "--to is empty"),
        (["--manage", " "], "--manage is empty"),
        (["--manage", "export_notebooks --output back", "--files", ""], "--files is empty"),
        (["--manage", "export_notebooks --output back", "--files", "/"], "--files is empty"),
        (["--files", "moving"], "it goes with --manage"),
        (["--to", OLD, "--kernels"], "apply the older image_tag"),
        (["--manage", "doctor", "--kernels"], "releases nothing"),
        (["--manage", "doctor", "--to", OLD], "releases nothing"),
    ],
)
def test_a_line_that_says_nothing_or_two_things_at_once_does_nothing(
    far: Far, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """An empty variable of a script released the newest in place of going back."""
    with pytest.raises(SystemExit) as refused:
        main_with(far, monkeypatch, *words)
    assert refused.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("code", [0, 1])
def test_a_command_runs_as_a_task_and_says_what_it_said(far: Far, code: int) -> None:
    override = {"name": "rillbook", "command": ["manage", "empty_bin", "--older-than", "7"]}
    far.runs_task(code, taskDefinition="r-manage:8", overrides={"containerOverrides": [override]})
    far.expects("logs", "get_log_events", {"events": [{"message": "2 notebooks"}, {"message": "are gone"}]})
    failure = pytest.raises(ReleaseFailed, match="empty_bin ended with 1") if code else contextlib.nullcontext()
    with failure:
        far.release().manage(["empty_bin", "--older-than", "7"])
    far.is_done()
    assert far.said[-1] == "2 notebooks\nare gone"


def test_a_command_that_names_files_runs_where_they_are(far: Far) -> None:
    words = ["import_notebooks", "old", "--user-map", "users.csv"]
    override = {"name": "rillbook", "command": ["files", "s3://exchange/moving", *words]}
    far.runs_task(0, taskDefinition="r-manage:8", overrides={"containerOverrides": [override]})
    far.expects("logs", "get_log_events", {"events": []})
    far.release().manage(words, "moving")
    far.is_done()


@pytest.mark.parametrize(
    ("line", "files", "bucket", "said"),
    [
        ("export_notebooks --output back", "", "exchange", "export_notebooks .*add --files PREFIX"),
        ("import_dynamodb notebooks --user-map=users.csv", "", "exchange", "--user-map .*add --files PREFIX"),
        ("import_notebooks /old/notebooks", "moving", "exchange", "/old/notebooks is a path of this machine"),
        ("export_notebooks --output=/back", "moving", "exchange", "--output=/back is a path of this machine"),
        ("backup_outputs outputs", "backup", "", "exchange_bucket"),
    ],
)
def test_a_command_whose_files_a_task_has_not_is_refused(
    far: Far, line: str, files: str, bucket: str, said: str
) -> None:
    release = far.release()
    release.facts = FACTS | {"exchange_bucket": bucket}
    with pytest.raises(ReleaseFailed, match=said):
        release.manage(line.split(), files)


def test_each_command_and_option_of_ours_that_names_a_file_is_known() -> None:
    """raynode starts a member of a cluster, which no task of a command is."""
    found = set()
    for path in ROOT.glob("*_app/management/commands/[a-z]*.py"):
        parser = load_command_class(path.parents[2].name, path.stem).create_parser("manage.py", path.stem)
        for action in parser._actions:
            if action.type is Path or action.metavar in ("PATH", "FOLDER", "FILE") or action.dest == "folder":
                is_always = action.required or not action.option_strings
                found.add(path.stem if is_always else action.option_strings[0])
    assert found - {"--folder"} == OF_FILES


def test_waiting_has_an_end(far: Far) -> None:
    release = far.release()
    with pytest.raises(ReleaseFailed, match="Gave up waiting for a word after 20 s"):
        release._until(20, "a word", lambda: None)
    assert far.waited == 20


def test_terraform_tells_all_that_a_release_needs() -> None:
    outputs = (ROOT / "terraform" / "outputs.tf").read_text(encoding="utf-8").split('output "release"')[1]
    assert set(re.findall(r"^    (\w+) +=", outputs, re.MULTILINE)) == set(FACTS)


def test_the_repository_keeps_images_by_the_tag_that_a_release_gives() -> None:
    storage = (ROOT / "terraform" / "modules" / "storage" / "main.tf").read_text(encoding="utf-8")
    assert re.findall(r'tagPrefixList += \["(.+)"\]', storage) == [KEPT_TAG]
