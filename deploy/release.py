"""Moves a Rillbook on AWS to the newest task definitions: the database first, then the web service.

    terraform output -json release | python deploy/release.py [--kernels] [--to TASK_DEFINITION]
    terraform output -json release | python deploy/release.py --manage "doctor"
    terraform output -json release | python deploy/release.py --manage "export_notebooks --output back" --files moving

A migration that fails stops the release before anything that runs has changed. `--kernels` also replaces Ray's head
and, once web tasks have moved, all nodes, which ends running kernels; it waits until the last old node is gone and as
many new ones as always run have joined the cluster; so every process has read its secrets anew. Where an earlier one
still replaces nodes, it waits for that first. A head that does not run is started anyway, for web tasks join it. Each
release sees to it that the repository keeps the image that head and nodes run. `--to`
goes back to an older web task definition, without a migration. `--manage` runs a management command as a task of
its own, with a web task's settings, and prints what it says: nothing is released. Such a task has no files but those
that `--files` names, below a prefix of Terraform's exchange_bucket: they are its working folder, and what the command
writes there is put back (with_files.py). Needs boto3 and the rights to run and update these services, the nodes' group
and its launch template, and to tag images; reads and prints no secret.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
import time
from collections.abc import Callable
from typing import Any

POLL_S = 5.0
CONTAINER = "rillbook"  # its name in the task definitions
MIGRATE_LIMIT_S = 3600.0
COMMAND_LIMIT_S = 24 * 3600.0  # an import of a whole production
ROLLOUT_LIMIT_S = 1800.0
NODES_LIMIT_S = 3600.0
# A node that AWS calls healthy may still fetch the image: then doctor is asked again.
DOCTOR_TRIES = 5
DOCTOR_AGAIN_S = 60.0
# Of a replacement of nodes that is not over: AWS begins no second one.
UNDER_WAY = ("Pending", "InProgress", "Baking", "Cancelling", "RollbackInProgress")
GOES_ON = "What was begun at AWS goes on there; a release may be run again."
KEPT_TAG = "kernels-"  # the repository's lifecycle goes by it (terraform/modules/storage)
LOG_LINES = 50
SAID_LINES = 1000
# What reads or writes files: commands, and an option of others.
OF_FILES = {"backup_outputs", "export_notebooks", "import_notebooks", "restore_outputs", "--user-map"}


class ReleaseFailed(Exception):
    """The message says which step, and why."""


class Release:
    """`clients(name)` gives a boto3 client; `wait(seconds)` sleeps; `say(words)` tells the operator."""

    def __init__(
        self,
        facts: dict[str, Any],
        clients: Callable[[str], Any],
        wait: Callable[[float], None] = time.sleep,
        say: Callable[[str], None] = print,
    ) -> None:
        self.facts, self.wait, self.say = facts, wait, say
        self.ecs, self.logs = clients("ecs"), clients("logs")
        self.ec2, self.scaling = clients("ec2"), clients("autoscaling")
        self.ecr = clients("ecr")
        self._told = ""

    def run(self, *, to: str | None = None, kernels: bool = False) -> None:
        if kernels:  # before anything moves: what was begun under the old head must not go on under the new one
            self._until(NODES_LIMIT_S, "the nodes of an earlier release", self._is_free)
        head = self._service(self.facts["head_service"])
        moves_head = kernels or not head.get("runningCount")
        definition = self.facts["head_task_definition"] if moves_head else head["taskDefinition"]
        self.keep_image(definition, is_needed=moves_head)
        if not to:
            self.migrate()
        if moves_head:
            self.move(self.facts["head_service"], definition)
        self.move(self.facts["web_service"], to or self.facts["web_task_definition"])
        if kernels:
            refresh = self.replace_nodes()
            self._until(NODES_LIMIT_S, "new nodes", lambda: self._refreshed(refresh))
            self.meet_nodes()
            self.say("All nodes are new, and in the cluster.")

    def migrate(self) -> None:
        """Run the migrate task once. Raises ReleaseFailed with the end of its log unless it exits with 0."""
        task, code, why = self._task("migration", self.facts["migrate_task_definition"], MIGRATE_LIMIT_S)
        if code != 0:
            raise ReleaseFailed(f"The migration ended with {code}. {why}\n{self._log_of(task)}".rstrip())
        self.say("Migrated.")

    def manage(self, words: list[str], files: str = "") -> None:
        """Run a management command as a task, with a web task's settings, and say what it said.

        `files` is a prefix of the exchange bucket. Raises ReleaseFailed for paths that the task would not have.
        """
        if problem := self._without_files(words, files):
            raise ReleaseFailed(problem)
        role = ["files", f"s3://{self.facts['exchange_bucket']}/{files}"] if files else ["manage"]
        overrides = {"containerOverrides": [{"name": CONTAINER, "command": [*role, *words]}]}
        task, code, why = self._task(
            "command", self.facts["manage_task_definition"], COMMAND_LIMIT_S, overrides=overrides
        )
        self.say(self._log_of(task, SAID_LINES))
        if code != 0:
            raise ReleaseFailed(f"manage.py {words[0]} ended with {code}. {why}".rstrip())

    def move(self, service: str, definition: str) -> None:
        """Move a service. Raises ReleaseFailed if its circuit breaker went back."""
        self.say(f"Moving {service} to {definition.rpartition('/')[2]} …")
        self.ecs.update_service(
            cluster=self.facts["cluster"], service=service, taskDefinition=definition, forceNewDeployment=True
        )
        self._until(ROLLOUT_LIMIT_S, f"the roll-out of {service}", lambda: self._settled(service, definition))
        self.say(f"{service} runs it.")

    def replace_nodes(self) -> str:
        """Begin to replace all nodes by ones of the newest launch template; the id of that, not waited for.

        Those that are of it already, too: what they read when they started may have changed.
        """
        version = str(self.facts["node_template_version"])
        self.ec2.modify_launch_template(LaunchTemplateId=self.facts["node_template"], DefaultVersion=version)
        preferences = {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200, "ScaleInProtectedInstances": "Refresh"}
        begun = self.scaling.start_instance_refresh(
            AutoScalingGroupName=self.facts["node_group"], Preferences=preferences | {"SkipMatching": False}
        )
        return str(begun["InstanceRefreshId"])

    def keep_image(self, definition: str, *, is_needed: bool) -> None:
        """See to it that the repository keeps the image that head and nodes run, however many are pushed after it.

        By one more tag. Raises ReleaseFailed where there is no such image and a head is to start from it; one that is
        gone while it runs is said: what runs goes on, but a head that ends does not start again.
        """
        described = self.ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]
        repository, _, tag = described["containerDefinitions"][0]["image"].partition("/")[2].rpartition(":")
        found = self.ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])["images"]
        if not found and is_needed:
            raise ReleaseFailed(f"The repository has no image {tag}, which head and nodes are to run: push it first.")
        if not found:
            self.say(f"The repository has no image {tag} any more, which head and nodes run: release with --kernels.")
            return
        manifest = {name: found[0][name] for name in ("imageManifest", "imageManifestMediaType") if name in found[0]}
        with contextlib.suppress(self.ecr.exceptions.ImageAlreadyExistsException):
            self.ecr.put_image(repositoryName=repository, imageTag=f"{KEPT_TAG}{tag}", **manifest)

    def meet_nodes(self) -> None:
        """Return once doctor finds at least as many nodes in the cluster as always run. Raises ReleaseFailed."""
        for _ in range(DOCTOR_TRIES - 1):
            try:
                return self._doctor()
            except ReleaseFailed:
                self.say(f"Once more in {DOCTOR_AGAIN_S:.0f} s: a node may still be on its way …")
                self.wait(DOCTOR_AGAIN_S)
        self._doctor()

    def _doctor(self) -> None:
        self.manage(["doctor", "--nodes", str(self.facts["min_nodes"])])

    def _is_free(self) -> bool:
        """Whether no replacement of nodes is under way, whoever began it."""
        group = self.facts["node_group"]
        found = self.scaling.describe_instance_refreshes(AutoScalingGroupName=group)["InstanceRefreshes"]
        for each in found:
            if each["Status"] in UNDER_WAY:
                self._tell(
                    f"Nodes are still being replaced by an earlier release ({each.get('PercentageComplete', 0)} %): "
                    "waiting for that. To end it instead: aws autoscaling cancel-instance-refresh "
                    f"--auto-scaling-group-name {group}"
                )
                return False
        return True

    def _refreshed(self, refresh: str) -> bool:
        """Whether all nodes are replaced. Raises ReleaseFailed if that was given up."""
        (found,) = self.scaling.describe_instance_refreshes(
            AutoScalingGroupName=self.facts["node_group"], InstanceRefreshIds=[refresh]
        )["InstanceRefreshes"]
        if found["Status"] in UNDER_WAY:
            self._tell(f"Nodes are being replaced ({found.get('PercentageComplete', 0)} %) …")
            return False
        if found["Status"] != "Successful":
            raise ReleaseFailed(f"Not all nodes are new: {found['Status']}. {found.get('StatusReason', '')}".rstrip())
        return True

    def _without_files(self, words: list[str], files: str) -> str:
        """Why a task has not the files that the command names, and what to do; empty where it has."""
        named = [word.partition("=")[0] for word in words]
        far = [word for word in words if word.partition("=")[2].startswith("/") or word.startswith(("/", "../"))]
        if files and not self.facts["exchange_bucket"]:
            return "--files needs Terraform's exchange_bucket: name a private bucket of yours there, and apply."
        if files and far:
            return f"{far[0]} is a path of this machine: paths of the command are below --files, without a leading /."
        if not files and (found := [name for name in named if name in OF_FILES]):
            return (
                f"{found[0]} reads or writes files, and a task has none of yours. Put them below a prefix of "
                "Terraform's exchange_bucket (aws s3 sync FOLDER s3://BUCKET/PREFIX) and add --files PREFIX: the "
                "command's paths are relative to it, and what it writes is put back there."
            )
        return ""

    def _task(self, what: str, definition: str, limit_s: float, **more: Any) -> tuple[str, int | None, str]:
        """Run one task to its end: its ARN, its exit code, why it stopped. Raises ReleaseFailed if it did not start."""
        network = {"subnets": self.facts["subnets"], "securityGroups": self.facts["security_groups"]}
        started = self.ecs.run_task(
            cluster=self.facts["cluster"],
            taskDefinition=definition,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": network | {"assignPublicIp": "DISABLED"}},
            **more,
        )
        if not started["tasks"]:
            raise ReleaseFailed(f"The task of the {what} did not start: {started['failures']}")
        task = started["tasks"][0]["taskArn"]
        self.say(f"The {what} runs ({task.rpartition('/')[2]}) …")
        ended = self._until(limit_s, f"the {what}", lambda: self._stopped(task))
        return task, ended["containers"][0].get("exitCode"), ended.get("stoppedReason", "")

    def _service(self, service: str) -> dict[str, Any]:
        cluster = self.facts["cluster"]
        found = self.ecs.describe_services(cluster=cluster, services=[service])["services"]
        if not found:
            raise ReleaseFailed(f"There is no service {service} in the cluster {cluster}.")
        return found[0]

    def _stopped(self, task: str) -> Any:
        found = self.ecs.describe_tasks(cluster=self.facts["cluster"], tasks=[task])["tasks"]
        return found[0] if found and found[0]["lastStatus"] == "STOPPED" else None

    def _settled(self, service: str, definition: str) -> bool:
        found = self._service(service)
        # The newest comes first, and counts where a definition is deployed anew.
        by_definition = {each["taskDefinition"]: each for each in reversed(found["deployments"])}
        ours = by_definition.get(definition)
        if ours is None or ours.get("rolloutState") == "FAILED":
            raise ReleaseFailed(f"{service} went back: its new tasks did not become ready. {_newest_event(found)}")
        return len(found["deployments"]) == 1 and ours.get("rolloutState") == "COMPLETED"

    def _log_of(self, task: str, lines: int = LOG_LINES) -> str:
        """The last lines of a task; empty where there is no log."""
        stream = f"web/{CONTAINER}/{task.rpartition('/')[2]}"
        try:
            found = self.logs.get_log_events(
                logGroupName=self.facts["migrate_log_group"], logStreamName=stream, limit=lines
            )
        except self.logs.exceptions.ResourceNotFoundException:
            return ""
        return "\n".join(event["message"] for event in found["events"])

    def _tell(self, words: str) -> None:
        """Say it unless that was said last."""
        if words != self._told:
            self._told = words
            self.say(words)

    def _until(self, limit_s: float, what: str, ask: Callable[[], Any]) -> Any:
        waited = 0.0
        while not (answer := ask()):
            if waited >= limit_s:
                raise ReleaseFailed(f"Gave up waiting for {what} after {limit_s:.0f} s.")
            self.wait(POLL_S)
            waited += POLL_S
        return answer


def _newest_event(service: dict[str, Any]) -> str:
    events = service.get("events") or [{"message": ""}]
    return str(events[0]["message"])


def asked(words: list[str] | None = None) -> argparse.Namespace:
    """What the command line asks for. What says nothing, or two things at once, is refused: SystemExit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", action="store_true", help="replace head and nodes too; ends running kernels")
    parser.add_argument("--to", metavar="ARN", help="an older web task definition to go back to, without a migration")
    parser.add_argument("--manage", metavar="COMMAND", help="run this of manage.py, and release nothing")
    parser.add_argument("--files", metavar="PREFIX", help="of the exchange bucket: the command's folder")
    options = parser.parse_args(words)
    for name in ("to", "manage", "files"):
        given = getattr(options, name)
        if given is not None and not given.strip("/ "):
            parser.error(f"--{name} is empty: name something, or leave it out")
    if options.manage and (options.to or options.kernels):
        parser.error("--manage releases nothing: it goes with neither --to nor --kernels")
    if options.files and not options.manage:
        parser.error("--files is the folder of a command: it goes with --manage")
    if options.to and options.kernels:
        parser.error(
            "--to goes back with web tasks alone, and --kernels moves head and nodes to the newest: to go back with "
            "all, apply the older image_tag and release that"
        )
    return options


def main(words: list[str] | None = None) -> int:
    options = asked(words)
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    facts = json.load(sys.stdin)
    try:
        release = Release(facts, boto3.Session(region_name=facts["region"]).client)
        if options.manage:
            release.manage(shlex.split(options.manage), (options.files or "").strip("/"))
        else:
            release.run(to=options.to, kernels=options.kernels)
    except ReleaseFailed as error:
        print(error, file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"AWS was not reached, or refused: {error}\n{GOES_ON}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"Interrupted. {GOES_ON}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
