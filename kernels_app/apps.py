"""The application that runs notebooks."""

from django.apps import AppConfig


class KernelsConfig(AppConfig):
    name = "kernels_app"
    verbose_name = "Kernels"

    def ready(self) -> None:
        from kernels_app import (  # noqa: F401  registers the system checks, and hears of deleted notebooks
            checks,
            leftovers,
        )
