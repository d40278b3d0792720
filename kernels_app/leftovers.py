"""The files of a notebook's kernel go with the notebook: once it is deleted for ever, its work folder is removed.

By whoever deletes it (a page, the API, the admin, `empty_bin`), on the machine where that happens. In the background: a
folder may hold as many files as a kernel liked. Which folders there are is folders.py's.
"""

from __future__ import annotations

import threading
import uuid
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from kernels_app.folders import Folders
from notebooks_app.models import Notebook


@receiver(post_delete, sender=Notebook, dispatch_uid="kernels_app.leftovers")
def notebook_deleted(instance: Notebook, **kwargs: Any) -> None:
    transaction.on_commit(partial(remove_files, instance.pk))


def remove_files(notebook_id: uuid.UUID) -> threading.Thread | None:
    """Begin to delete the notebook's work folder, if there is one; the thread that does."""
    folders = Folders(settings.KERNEL_WORK_DIR)
    if not folders.notebook(str(notebook_id)).exists():
        return None
    thread = threading.Thread(target=folders.remove_notebook, args=[str(notebook_id)], name="leftovers")
    thread.start()
    return thread
