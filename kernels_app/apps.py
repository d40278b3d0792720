"""The application that runs notebooks."""

from django.apps import AppConfig


class KernelsConfig(AppConfig):
    name = "kernels_app"
    verbose_name = "Kernels"
