"""What a notebook reserves on the node that runs its kernel. Reads the database; knows nothing of Ray."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.conf import settings

from kernels_app.models import KernelLimits
from notebooks_app.models import Notebook

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Needs:
    """Admission only: what a kernel may take at most is the sandbox's to keep."""

    cpus: float
    memory_bytes: int
    gpus: float

    def resources(self) -> dict[str, float]:
        """As options of an actor."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": self.memory_bytes}

    def __str__(self) -> str:
        words = [f"{self.cpus:g} CPUs", f"{self.memory_bytes // MIB} MiB"]
        return ", ".join(words + ([f"{self.gpus:g} GPUs"] if self.gpus else []))


def standard() -> Needs:
    return Needs(settings.KERNEL_RAY_CPUS, settings.KERNEL_RAY_MEMORY_BYTES, settings.KERNEL_RAY_GPUS)


def of_notebook(notebook_id: uuid.UUID) -> Needs:
    """The standard; what the admin says of the owner's kernels: as much more memory as they may have, other GPUs."""
    common = standard()
    owner = Notebook.objects.values("owner_id").filter(pk=notebook_id)
    row = KernelLimits.objects.filter(pk__in=owner).first()
    if row is None:
        return common
    memory_bytes = common.memory_bytes
    if row.memory_mib and settings.KERNEL_MEMORY_BYTES:
        share = common.memory_bytes / settings.KERNEL_MEMORY_BYTES
        memory_bytes = max(memory_bytes, int(row.memory_mib * MIB * share))
    return Needs(common.cpus, memory_bytes, common.gpus if row.gpus is None else row.gpus)
