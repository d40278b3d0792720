"""What the kernels of a notebook may take: the settings, and what the admin says of the notebook's owner.

How a limit is kept is the sandbox's, the kernel's and the host's work. `of_notebook` reads the database.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from django.conf import settings

from kernels_app.models import KernelLimits
from kernels_app.provisioner import Profile
from kernels_app.sandbox import Rung
from notebooks_app.models import KernelSession, Notebook

KIB, MIB = 1024, 1024**2
SAMPLE_INSIDE = "/data/sample"
_LIVE = ("starting", "idle", "running", "paused")


class NoRoom(RuntimeError):
    """There are as many kernels as there may be; the message is for who asked for one more."""


@dataclass(frozen=True, slots=True)
class Allowance:
    owner: int
    kernels: int  # at once, of this owner; 0: no bound
    profile: Profile


def profile() -> Profile:
    """What all kernels of this server have in common, from the settings."""
    sample = settings.SAMPLE_DATABASE
    made = Profile(
        sandbox=settings.KERNEL_SANDBOX,
        python=settings.KERNEL_PYTHON,
        network=settings.KERNEL_NETWORK,
        memory_bytes=settings.KERNEL_MEMORY_BYTES,
        cpus=settings.KERNEL_CPUS,
        cpu_s=settings.KERNEL_CPU_SECONDS,
        processes=settings.KERNEL_PROCESSES,
        files=settings.KERNEL_FILES,
        disk_bytes=settings.KERNEL_DISK_BYTES,
        run_s=settings.KERNEL_RUN_SECONDS,
        idle_s=settings.KERNEL_IDLE_SECONDS,
        output_bytes=settings.OUTPUT_CELL_MAX_BYTES,
        output_rate_bytes=settings.OUTPUT_RATE_BYTES,
        use_cgroups=settings.KERNEL_CGROUPS,
        readonly={SAMPLE_INSIDE: sample.parent},
    )
    where = f"{SAMPLE_INSIDE}/{sample.name}" if made.rung is Rung.BUBBLEWRAP else str(sample)
    return _with_cap(replace(made, env={"RILLBOOK_SAMPLE_DB": where}))


def _with_cap(made: Profile) -> Profile:
    """The kernel leaves out what is over the cap before it is sent; the server keeps to it as well."""
    return replace(made, env={**made.env, "RILLBOOK_OUTPUT_CAP_BYTES": str(made.output_bytes)})


def of_notebook(notebook_id: uuid.UUID, common: Profile) -> Allowance:
    """What the notebook's owner is allowed: `common` itself where the admin says nothing else."""
    owner = Notebook.objects.values_list("owner_id", flat=True).get(pk=notebook_id)
    if is_trusted(notebook_id):
        common = _with_cluster(common)
    row = KernelLimits.objects.filter(pk=owner).first()
    if row is None:
        return Allowance(owner, settings.KERNELS_PER_USER, common)
    fields = {
        "memory_bytes": row.memory_mib and row.memory_mib * MIB,
        "cpus": row.cpus,
        "cpu_s": row.cpu_seconds,
        "processes": row.processes,
        "files": row.files,
        "disk_bytes": row.disk_mib and row.disk_mib * MIB,
        "run_s": row.run_seconds,
        "idle_s": row.idle_seconds,
        "output_bytes": row.output_mib and row.output_mib * MIB,
        "output_rate_bytes": row.output_kib_a_second and row.output_kib_a_second * KIB,
    }
    changed = {name: value for name, value in fields.items() if value is not None}
    kernels = settings.KERNELS_PER_USER if row.kernels is None else row.kernels
    return Allowance(owner, kernels, _with_cap(replace(common, **changed)))


def is_trusted(notebook_id: uuid.UUID) -> bool:
    """Whether an operator lets this notebook's code command the cluster that runs it."""
    return settings.KERNEL_HOST == "ray" and notebook_id in settings.RAY_TRUSTED_NOTEBOOKS


def _with_cluster(common: Profile) -> Profile:
    """With what `ray.init("auto")` needs. Ray runs tasks of whoever has its token as the server's own user, so that a
    sandbox around the kernel would stop nothing: there is none."""
    given = {"RAY_ADDRESS": settings.RAY_ADDRESS, "RAY_AUTH_MODE": "token"}
    given |= {name: os.environ[name] for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH") if name in os.environ}
    where = str(settings.SAMPLE_DATABASE)
    env = {**common.env, "RILLBOOK_SAMPLE_DB": where, **given}
    return replace(common, sandbox="none", network=True, env=env)


def check_room(
    notebook_id: uuid.UUID,
    allowance: Allowance,
    here: Iterable[tuple[uuid.UUID, int]],
    hosted: Collection[uuid.UUID] = (),
) -> None:
    """Raise NoRoom if one more kernel is one too many. `here`: notebooks (and owners) with a kernel in this process.
    `hosted`: all notebooks of this process, which knows better than their rows, for those are saved a little later.

    Of others that ask at the same time, those who asked before count: as many get in as there is room for. (Two of two
    machines in the same instant may miss each other: one kernel more is borne.)
    """
    live = KernelSession.objects.live().filter(state__in=_LIVE).asked_before(notebook_id).exclude(pk__in=hosted)
    held = dict(live.values_list("notebook_id", "notebook__owner_id")) | dict(here)
    held.pop(notebook_id, None)
    mine = sum(owner == allowance.owner for owner in held.values())
    if allowance.kernels and mine >= allowance.kernels:
        raise NoRoom(f"{_count(mine)} of this owner's notebooks, as many as may run at once: stop one of them first.")
    if settings.KERNELS_MAX and len(held) >= settings.KERNELS_MAX:
        where = "in this cluster" if settings.KERNEL_HOST == "ray" else "on this server"
        raise NoRoom(f"{_count(len(held))} {where}, as many as it takes: try again when one has stopped.")


def _count(number: int) -> str:
    return "There is one kernel" if number == 1 else f"There are {number} kernels"
