"""What a month on AWS costs for a number of people, from the sizes of terraform/ and the assumptions below.

    python -m scripts.costs            prints the table of docs/scaling.md; change what is assumed here and run it again

Prices are list prices on demand of us-east-1 as publicly known in mid 2025, in USD, without tax, discounts and support;
nothing is fetched. Habits are assumptions too: measure your own (docs/operations.md, Metrics).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

VARIABLES = Path(__file__).resolve().parent.parent / "terraform" / "variables.tf"
HOURS = 730.0  # of a month
PEOPLE = (100, 1_000, 10_000)

# --- Prices: USD an hour, but where another unit is named -----------------------------------------------------------
FARGATE_CPU, FARGATE_GIB = 0.04048, 0.004445
INSTANCES = {"m7i.xlarge": (4, 16, 0.2016), "m7i.4xlarge": (16, 64, 0.8064)}  # processors, GiB, price
DATABASES = {"db.m7g.large": (8, 0.168), "db.m7g.xlarge": (16, 0.337), "db.m7g.4xlarge": (64, 1.348)}  # GiB, one zone
CACHES = {"cache.t4g.small": 0.032, "cache.m7g.large": 0.158}
BALANCER, BALANCER_UNIT = 0.0225, 0.008
NAT, NAT_GIB = 0.045, 0.045
RDS_PROXY_CPU = 0.015
DISK_GIB_MONTH, DATABASE_GIB_MONTH, S3_GIB_MONTH, LOG_GIB = 0.08, 0.115, 0.023, 0.50
OUT_GIB = 0.09
SECRETS_KEYS_ALARMS_MONTH = 15.0

# --- Habits ---------------------------------------------------------------------------------------------------------
OPEN_SHARE = 0.2  # of all people, who have a notebook open at the busiest time
BUSY_HOURS = 250.0  # of a month, in which web tasks run at their peak; else at their least. Nodes are never taken away
NOTEBOOK_GIB = 0.7  # of an open notebook on its node: actor 0.16, kernel 0.07, and people's data
NODE_SYSTEM_GIB = 2.0  # of a node: the system, Ray, kernels that are ready
NOTEBOOK_CPUS = 0.1  # reserved (KERNEL_RAY_CPUS)
SOCKETS_PER_TASK = 250  # open notebooks of a web task with one core, half of its measured limit (docs/scaling.md)
POOL_LEAST = 1  # connections of an open notebook that nobody uses at this moment
GIB_PER_PERSON = 1.0  # outputs kept
LOG_GIB_PER_PERSON = 0.02
OUT_GIB_PER_PERSON = 0.3


@dataclass(frozen=True)
class Plan:
    """What runs for so many people, and what it costs a month."""

    people: int
    open_notebooks: int
    web_tasks: int
    nodes: int
    instance: str
    database: str
    cache: str
    connections: int
    has_pooler: bool
    costs: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.costs.values())


def plan(people: int) -> Plan:
    """The plan for this many people, none smaller than what terraform/ starts with."""
    given = defaults()
    notebooks = math.ceil(people * OPEN_SHARE)
    instance = str(given["kernel_instance_type"]) if people <= 2_000 else "m7i.4xlarge"
    cpus, gib, _ = INSTANCES[instance]
    per_node = min(int((gib - NODE_SYSTEM_GIB) / NOTEBOOK_GIB), int(cpus / NOTEBOOK_CPUS))
    nodes = max(int(given["kernel_min_nodes"]), math.ceil(notebooks / per_node) + 1)  # one may be lost
    tasks = max(int(given["web_min_tasks"]), math.ceil(notebooks / SOCKETS_PER_TASK) + 1)
    connections = tasks * int(given["database_pool_size"]) + notebooks * POOL_LEAST
    database = next(name for name, size in ((str(given["database_instance_class"]), 300), ("db.m7g.xlarge", 2_000),
                                            ("db.m7g.4xlarge", 20_000)) if people <= size)  # fmt: skip
    cache = str(given["cache_node_type"]) if people <= 2_000 else "cache.m7g.large"
    has_pooler = notebooks * int(given["database_notebook_pool_size"]) > 2_000
    costs = _costs(given, people, tasks, nodes, instance, database, cache, has_pooler)
    return Plan(people, notebooks, tasks, nodes, instance, database, cache, connections, has_pooler, costs)


def _costs(
    given: dict[str, float | str], people: int, tasks: int, nodes: int, instance: str, database: str, cache: str,
    has_pooler: bool,
) -> dict[str, float]:  # fmt: skip
    task = float(given["web_cpu"]) / 1024 * FARGATE_CPU + float(given["web_memory"]) / 1024 * FARGATE_GIB
    head = float(given["head_cpu"]) / 1024 * FARGATE_CPU + float(given["head_memory"]) / 1024 * FARGATE_GIB
    memory, hourly = DATABASES[database]
    zones = 2 if given["database_multi_az"] else 1
    node_disk = float(given["kernel_disk_gib"]) * DISK_GIB_MONTH / HOURS
    storage = max(float(given["database_storage_gib"]), people * 0.05)
    return {
        "kernel nodes": nodes * HOURS * (INSTANCES[instance][2] + node_disk),
        "web tasks and head": _scaled(tasks, int(given["web_min_tasks"]), task) + head * HOURS,
        "database": zones * (hourly * HOURS + storage * DATABASE_GIB_MONTH)
        + (RDS_PROXY_CPU * memory / 4 * HOURS if has_pooler else 0),
        "Redis": (1 + float(given["cache_replicas"])) * CACHES[cache] * HOURS,
        "network": (BALANCER + BALANCER_UNIT * max(1, people / 2_000)) * HOURS
        + float(given["zone_count"]) * NAT * HOURS + people * 0.1 * NAT_GIB + people * OUT_GIB_PER_PERSON * OUT_GIB,
        "storage, logs, rest": people * (GIB_PER_PERSON * S3_GIB_MONTH + LOG_GIB_PER_PERSON * LOG_GIB)
        + SECRETS_KEYS_ALARMS_MONTH,
    }  # fmt: skip


def _scaled(most: int, least: int, hourly: float) -> float:
    return (least * HOURS + max(0, most - least) * BUSY_HOURS) * hourly


def defaults() -> dict[str, float | str]:
    """The default of each variable of terraform/ that has a number, a text or a truth."""
    text = VARIABLES.read_text(encoding="utf-8")
    found = re.findall(r'variable "(\w+)" \{(?:[^}]|\n)*?\n  default\s+= ("[^"\n]*"|[\d.]+|true|false)\n', text)
    return {name: value.strip('"') if value[0] == '"' else _number(value) for name, value in found}


def _number(value: str) -> float:
    return {"true": 1.0, "false": 0.0}.get(value) or (float(value) if value[0].isdigit() else 0.0)


def table() -> str:
    """The plans as Markdown."""
    plans = [plan(people) for people in PEOPLE]
    rows = [
        ["people", *(f"{each.people:,}" for each in plans)],
        ["notebooks open at the peak", *(f"{each.open_notebooks:,}" for each in plans)],
        ["web tasks at the peak (1 core)", *(str(each.web_tasks) for each in plans)],
        ["kernel nodes at the peak", *(f"{each.nodes} {each.instance}" for each in plans)],
        ["PostgreSQL, two zones", *(each.database for each in plans)],
        ["its connections at rest", *(f"{each.connections:,}{', pooler' * each.has_pooler}" for each in plans)],
        ["Redis, with a replica", *(each.cache for each in plans)],
        *([name, *(f"${each.costs[name]:,.0f}" for each in plans)] for name in plans[0].costs),
        ["**a month**", *(f"**${each.total:,.0f}**" for each in plans)],
        ["a person and month", *(f"${each.total / each.people:,.2f}" for each in plans)],
    ]
    head, *rest = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "| --- |" + " ---: |" * len(plans), *rest])


if __name__ == "__main__":
    print(table())
