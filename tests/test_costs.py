"""The table of costs in docs/scaling.md is the one that scripts/costs.py computes from terraform/."""

from __future__ import annotations

from pathlib import Path

from scripts import costs

ROOT = Path(__file__).resolve().parent.parent


def test_the_table_in_the_documentation_is_computed() -> None:
    assert costs.table() in (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_sizes_are_those_of_terraform() -> None:
    given = costs.defaults()
    assert (given["web_cpu"], given["kernel_instance_type"], given["database_multi_az"]) == (1024, "m7i.xlarge", 1)


def test_nodes_cost_all_hours_for_scaling_takes_none_away() -> None:
    found = costs.plan(1_000)
    assert found.nodes > costs.defaults()["kernel_min_nodes"]
    assert found.costs["kernel nodes"] >= found.nodes * costs.HOURS * costs.INSTANCES[found.instance][2]


def test_more_people_need_no_less_and_each_costs_no_more() -> None:
    plans = [costs.plan(people) for people in (100, 500, 1_000, 5_000, 10_000)]
    totals = [each.total for each in plans]
    assert totals == sorted(totals)
    a_person = [each.total / each.people for each in plans]
    assert a_person == sorted(a_person, reverse=True)
