"""The application that stores notebooks."""

from django.apps import AppConfig


class NotebooksConfig(AppConfig):
    name = "notebooks_app"
    verbose_name = "Notebooks"

    def ready(self) -> None:
        from notebooks_app import (
            checks,  # noqa: F401  registers the system checks
            db_hooks,
        )

        db_hooks.install()
