"""What processes hold and ask of PostgreSQL and Redis: memory and CPU by /proc, traffic by the services' counts."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

MIB = 1024 * 1024


class Memory:
    """Proportional memory and CPU of web processes, and of what is below them (kernels, brokers), at named moments."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self.noted: dict[str, dict[str, float]] = {}

    def note(self, moment: str) -> None:
        if self._pids:
            table = parents()
            web = sum(pss(pid) for pid in self._pids)
            below = sum(pss(pid) for root in self._pids for pid in descendants(root, table))
            self.noted[moment] = {
                "web_mib": web / MIB,
                "below_mib": below / MIB,
                "web_cpu_s": sum(cpu_s(pid) for pid in self._pids),
                "own_cpu_s": time.process_time(),
                "at": time.monotonic(),
            }


def derived(noted: dict[str, dict[str, float]], browsers: int, notebooks: int) -> dict[str, float]:
    """MiB of a web process without work, of a connection, of an open notebook in the server and in its kernel."""
    idle, before, connected, kernels = (noted[name] for name in ("idle", "before", "connected", "kernels"))
    return {
        "web processes before anybody, MiB": idle["web_mib"],
        "a connection (notebook opened with it), MiB": (connected["web_mib"] - before["web_mib"]) / browsers,
        "an open notebook in the web process, MiB": (kernels["web_mib"] - connected["web_mib"]) / notebooks,
        "its kernel, MiB": (kernels["below_mib"] - connected["below_mib"]) / notebooks,
        "web processes at the end, MiB": noted["worked"]["web_mib"],
        **_cpu(noted["kernels"], noted["worked"]),
    }


def _cpu(start: dict[str, float], end: dict[str, float]) -> dict[str, float]:
    seconds = end["at"] - start["at"]
    return {
        "processors that the web processes used while people worked": (end["web_cpu_s"] - start["web_cpu_s"]) / seconds,
        "processors that the browsers used": (end["own_cpu_s"] - start["own_cpu_s"]) / seconds,
    }


class Traffic:
    """What PostgreSQL and Redis counted from here on; both are ours alone."""

    def __init__(self, client: Any, database: Any) -> None:
        self._client, self._database = client, database
        self.start()

    def start(self) -> None:
        self._started = time.monotonic()
        self._before = self._read()

    def since(self) -> dict[str, float]:
        """What was asked a second since `start`, and what is held now."""
        seconds, now = time.monotonic() - self._started, self._read()
        counted = {f"{name} a second": (now[name] - self._before[name]) / seconds for name in now}
        with self._database.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rillbook'")
            counted["database connections"] = float(cursor.fetchone()[0])
        counted["redis clients"] = float(self._client.info("clients")["connected_clients"]) - 1
        counted["redis memory, MiB"] = self._client.info("memory")["used_memory"] / MIB
        return counted

    def _read(self) -> dict[str, float]:
        stats = self._client.info("stats")
        with self._database.cursor() as cursor:
            cursor.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
            committed = float(cursor.fetchone()[0])
        return {
            "redis commands": float(stats["total_commands_processed"]),
            "redis bytes in": float(stats["total_net_input_bytes"]),
            "redis bytes out": float(stats["total_net_output_bytes"]),
            "database transactions": committed,
        }


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss(pid: int) -> int:
    """Bytes, shared pages in proportion; 0 for a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def parents() -> dict[int, int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return {int(pid): int(parent) for pid, parent in (line.split() for line in listed.splitlines())}


def descendants(root: int, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    grown = {root}
    while grown:
        grown = {pid for pid, parent in parents.items() if parent in grown} - found
        found |= grown
    return found
