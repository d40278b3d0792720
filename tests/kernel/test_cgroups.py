"""Tests of kernels_app/cgroups.py: on the real groups of this machine where it has any, and on trees like others'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernels_app import cgroups, checks
from kernels_app.cgroups import Group, Tree

GIB = 1024**3


def second(root: Path, *, own: str = "service/server", enabled: str = "memory pids cpu", available: str = "") -> str:
    """A machine of version 2 in a folder: returns its /proc/self/mounts."""
    for folder in (root / own, (root / own).parent):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.controllers").write_text(available or enabled)
        (folder / "cgroup.subtree_control").write_text(enabled)
    return f"cgroup2 {root} cgroup2 rw,nosuid 0 0\n"


def test_version_2_makes_groups_beside_the_servers_own(tmp_path: Path):
    found = cgroups.find(second(tmp_path), "0::/service/server\n")
    assert found == Tree(2, tuple((name, tmp_path / "service") for name in ("memory", "pids", "cpu")))


def test_version_2_writes_the_limits_and_reads_what_happened(tmp_path: Path):
    found = cgroups.find(second(tmp_path), "0::/service/server\n")
    group = Group.make(found, memory_bytes=GIB, processes=99, cpus=1.5)
    assert group is not None
    (folder,) = {Path(file).parent for file in group.files}
    values = {name: (folder / name).read_text() for name in ("memory.max", "pids.max", "cpu.max", "memory.oom.group")}
    assert values == {"memory.max": str(GIB), "pids.max": "99", "cpu.max": "150000 100000", "memory.oom.group": "1"}
    assert not group.is_out_of_memory
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    (folder / "pids.events").write_text("max 3\n")
    assert group.is_out_of_memory and group.forks_refused


def test_systemds_slices_and_groups_without_controllers_are_left_alone(tmp_path: Path):
    mounts = second(tmp_path, own="system.slice/rillbook.service", enabled="memory")
    found = cgroups.find(mounts, "0::/system.slice/rillbook.service\n")
    assert found is not None and {parent for _, parent in found.parents} == {tmp_path / "system.slice/rillbook.service"}
    (tmp_path / "empty").mkdir()
    assert cgroups.find(second(tmp_path / "empty", enabled=" "), "0::/service/server\n") is None


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path):
    mounts = ""
    for name in ("memory", "pids", "cpu"):
        (tmp_path / name / "mine").mkdir(parents=True)
        mounts += f"cgroup {tmp_path / name} cgroup rw,{name} 0 0\n"
    found = cgroups.find(mounts, "4:memory:/mine\n8:pids:/mine\n1:cpu:/mine\n0::/\n")
    assert found is not None and found.version == 1 and set(found.controllers) == {"memory", "pids", "cpu"}
    group = Group.make(found, memory_bytes=GIB, processes=9, cpus=0)
    assert group is not None and len(group.files) == 3
    written = {path.name: path.read_text() for path in tmp_path.glob("*/mine/rillbook-*/*")}
    assert written["memory.limit_in_bytes"] == str(GIB) and written["cpu.cfs_quota_us"] == "-1"


def test_a_machine_without_groups_or_where_none_may_be_made_has_no_tree(tmp_path: Path):
    assert cgroups.find("", "0::/\n") is None
    assert cgroups.find(f"cgroup {tmp_path}/gone cgroup rw,memory 0 0\n", "4:memory:/x\n") is None
    assert Group.make(None, memory_bytes=1, processes=1, cpus=0) is None


def test_a_group_that_the_system_refuses_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert Group.make(Tree(2, (("memory", tmp_path / "gone"),)), memory_bytes=1, processes=1, cpus=0) is None
    assert "no control group" in caplog.text


def test_groups_of_servers_that_are_gone_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("rillbook-4194999-abc", "rillbook-1-abc", "somebody-4194999-abc"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(cgroups, "tree", lambda: Tree(2, (("memory", tmp_path),)))
    cgroups.remove_stale()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rillbook-1-abc", "somebody-4194999-abc"]


@pytest.mark.parametrize("found", [None, Tree(2, (("memory", Path("/")), ("pids", Path("/"))))])
def test_a_bound_of_processors_that_nothing_keeps_is_said(
    found: Tree | None, monkeypatch: pytest.MonkeyPatch, settings: Any
):
    monkeypatch.setattr(cgroups, "tree", lambda: found)
    assert "KERNEL_CPUS" not in str(checks.weak_points())
    settings.KERNEL_CPUS = 1.5
    assert any(line.startswith("Not bounded: processor time (KERNEL_CPUS)") for line in checks.weak_points())


def test_where_groups_are_made_for_processor_time_or_are_switched_off_that_is_said(
    monkeypatch: pytest.MonkeyPatch, settings: Any
):
    monkeypatch.setattr(cgroups, "tree", lambda: Tree(2, (("cpu", Path("/")),)))
    settings.KERNEL_CPUS = 1.5
    assert not any("ot bounded" in line for line in checks.lines())
    settings.KERNEL_CGROUPS = False
    assert "Not bounded: processor time" in str(checks.weak_points()) and "KERNEL_CGROUPS is off" in str(checks.lines())
