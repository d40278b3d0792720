"""Moves a Rillbook on AWS to the newest task definitions: the database first, then the web service.

    terraform output -json release | python deploy/release.py [--kernels] [--to TASK_DEFINITION]

A migration that fails stops the release before anything that runs has changed. `--kernels` also replaces Ray's head
and the nodes, which ends running kernels. `--to` goes back to an older web task definition, without a migration.
Needs boto3 and the rights to run and update these services; reads and prints no secret.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

POLL_S = 5.0
MIGRATE_LIMIT_S = 3600.0
ROLLOUT_LIMIT_S = 1800.0
LOG_LINES = 50


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
        self.ecs, self.logs, self.scaling = clients("ecs"), clients("logs"), clients("autoscaling")

    def run(self, *, to: str = "", kernels: bool = False) -> None:
        if not to:
            self.migrate()
        if kernels:
            self.move(self.facts["head_service"], self.facts["head_task_definition"])
            self.replace_nodes()
        self.move(self.facts["web_service"], to or self.facts["web_task_definition"])

    def migrate(self) -> None:
        """Run the migrate task once. Raises ReleaseFailed with the end of its log unless it exits with 0."""
        network = {"subnets": self.facts["subnets"], "securityGroups": self.facts["security_groups"]}
        started = self.ecs.run_task(
            cluster=self.facts["cluster"],
            taskDefinition=self.facts["migrate_task_definition"],
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": network | {"assignPublicIp": "DISABLED"}},
        )
        if not started["tasks"]:
            raise ReleaseFailed(f"The migrate task did not start: {started['failures']}")
        task = started["tasks"][0]["taskArn"]
        self.say(f"Migrating ({task.rpartition('/')[2]}) …")
        ended = self._until(MIGRATE_LIMIT_S, "the migration", lambda: self._stopped(task))
        code = ended["containers"][0].get("exitCode")
        if code != 0:
            why = ended.get("stoppedReason", "")
            raise ReleaseFailed(f"The migration ended with {code}. {why}\n{self._log_of(task)}".rstrip())
        self.say("Migrated.")

    def move(self, service: str, definition: str) -> None:
        """Move a service. Raises ReleaseFailed if its circuit breaker went back."""
        self.say(f"Moving {service} to {definition.rpartition('/')[2]} …")
        self.ecs.update_service(
            cluster=self.facts["cluster"], service=service, taskDefinition=definition, forceNewDeployment=True
        )
        self._until(ROLLOUT_LIMIT_S, f"the roll-out of {service}", lambda: self._settled(service, definition))
        self.say(f"{service} runs it.")

    def replace_nodes(self) -> None:
        """Begin to replace the nodes by ones of the newest launch template; not waited for."""
        preferences = {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200, "ScaleInProtectedInstances": "Refresh"}
        self.scaling.start_instance_refresh(
            AutoScalingGroupName=self.facts["node_group"], Preferences=preferences | {"SkipMatching": True}
        )
        self.say("Nodes are being replaced.")

    def _stopped(self, task: str) -> Any:
        found = self.ecs.describe_tasks(cluster=self.facts["cluster"], tasks=[task])["tasks"]
        return found[0] if found and found[0]["lastStatus"] == "STOPPED" else None

    def _settled(self, service: str, definition: str) -> bool:
        found = self.ecs.describe_services(cluster=self.facts["cluster"], services=[service])["services"][0]
        by_definition = {each["taskDefinition"]: each for each in found["deployments"]}
        ours = by_definition.get(definition)
        if ours is None or ours.get("rolloutState") == "FAILED":
            raise ReleaseFailed(f"{service} went back: its new tasks did not become ready. {_newest_event(found)}")
        return len(found["deployments"]) == 1 and ours.get("rolloutState") == "COMPLETED"

    def _log_of(self, task: str) -> str:
        """The last lines of a task; empty where there is no log."""
        stream = f"web/rillbook/{task.rpartition('/')[2]}"
        try:
            found = self.logs.get_log_events(
                logGroupName=self.facts["migrate_log_group"], logStreamName=stream, limit=LOG_LINES
            )
        except self.logs.exceptions.ResourceNotFoundException:
            return ""
        return "\n".join(event["message"] for event in found["events"])

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", action="store_true", help="replace head and nodes too; ends running kernels")
    parser.add_argument("--to", default="", help="an older web task definition to go back to, without a migration")
    options = parser.parse_args()
    import boto3

    facts = json.load(sys.stdin)
    session = boto3.Session(region_name=facts["region"])
    try:
        Release(facts, session.client).run(to=options.to, kernels=options.kernels)
    except ReleaseFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
