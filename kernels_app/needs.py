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
    """The standard; of a person whose kernels may be larger (admin, kernel limits), as much more memory."""
    common = standard()
    owner = Notebook.objects.values("owner_id").filter(pk=notebook_id)
    row = KernelLimits.objects.filter(pk__in=owner).first()
    if row is None or not row.memory_mib or not settings.KERNEL_MEMORY_BYTES:
        return common
    share = common.memory_bytes / settings.KERNEL_MEMORY_BYTES
    return Needs(common.cpus, max(common.memory_bytes, int(row.memory_mib * MIB * share)), common.gpus)
