#!/usr/bin/env python
"""Django's command line for Rillbook."""

import os
import sys


def main() -> None:
    version = sys.version.split()[0]
    if sys.version_info < (3, 12):  # noqa: UP036  who runs this file by hand takes whichever Python comes first
        sys.exit(f"Rillbook needs Python 3.12 or newer; this is {version}. `make run` finds one.")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notebook_project.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit(
            f"Django is not installed for {sys.executable} ({version}). Run .venv/bin/python manage.py; if that is "
            "what you did, another Python made the environment: make clean, then make run."
        )
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Rillbook does not start: {error}")
    except Exception as error:
        sys.exit(_of_database(error))


def _of_database(error: Exception) -> str:
    """What is wrong with the database, where that is why a command failed; else raises the error again."""
    from django.db import DatabaseError, connection

    if not isinstance(error, DatabaseError):
        raise error
    from kernels_app.schema_state import database_troubles

    connection.close()
    found = [str(each) for each in database_troubles(connection, migrates=False) if not each.is_bearable]
    if not found:
        raise error
    return "\n".join(found)


if __name__ == "__main__":
    main()
