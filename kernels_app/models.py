"""What an operator allows a person's kernels, where that is not what the settings say; what is counted of a cluster."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from kernels_app import amounts


def _number(words: str, least: int = 1, most: int = 10_000_000) -> models.PositiveIntegerField:
    bounds = [MinValueValidator(least), MaxValueValidator(most)]
    return models.PositiveIntegerField(null=True, blank=True, validators=bounds, help_text=words)


def whole_or_share(gpus: float) -> None:
    """As KERNEL_RAY_GPUS."""
    if words := amounts.trouble(gpus, is_whole_above_one=True):
        raise ValidationError(f"It {words}")


class KernelLimits(models.Model):
    """Empty fields: the settings hold. What counts is the notebook's owner, whoever runs it."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="kernel_limits"
    )
    memory_mib = _number("Memory of one kernel in MiB (KERNEL_MEMORY_BYTES).", least=512)
    cpus = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0.1), MaxValueValidator(1024)],
        help_text="Processors of one kernel, where control groups can be made (KERNEL_CPUS).",
    )  # fmt: skip
    processes = _number("Processes and threads of one kernel (KERNEL_PROCESSES).", least=32)
    files = _number("Files that one process of a kernel has open at once (KERNEL_FILES).", least=256)
    disk_mib = _number("All files of one notebook in MiB (KERNEL_DISK_BYTES).")
    cpu_seconds = _number("Processor time of one process in seconds; 0: without end (KERNEL_CPU_SECONDS).", least=0)
    run_seconds = _number("How long one cell may run; 0: without end (KERNEL_RUN_SECONDS).", least=0)
    idle_seconds = _number("After how long without use a kernel stops; 0: never (KERNEL_IDLE_SECONDS).", least=0)
    output_mib = _number("Output of one run of a cell in MiB (OUTPUT_CELL_MAX_BYTES).")
    output_kib_a_second = _number(
        "Output of one kernel in KiB a second, for long; 0: as fast as it comes (OUTPUT_RATE_BYTES).", least=0
    )
    kernels = _number("Kernels at once; 0: as many as the server takes (KERNELS_PER_USER).", least=0)

    gpus = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(64), whole_or_share],
        help_text="GPUs that each kernel reserves on a cluster; 0: none (KERNEL_RAY_GPUS).",
    )  # fmt: skip

    class Meta:
        verbose_name = verbose_name_plural = "kernel limits"

    def __str__(self) -> str:
        return f"Kernel limits of {self.user}"


class KernelDeaths(models.Model):
    """How many kernels of a cluster died, by reason (deaths.Death.kind); web servers tell it as a metric."""

    reason = models.CharField(max_length=40, primary_key=True)
    count = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.reason}: {self.count}"

    @classmethod
    def add(cls, reason: str) -> None:
        cls.objects.get_or_create(reason=reason)
        cls.objects.filter(reason=reason).update(count=models.F("count") + 1)
