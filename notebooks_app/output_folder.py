"""The file system as the storage of outputs: a file is there whole or not at all.

Django's own class writes in place: a full disk or a crash leaves a part of a file under a name that promises the whole.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage

PART = ".part"


class OutputFolder(FileSystemStorage):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options, base_url=None, allow_overwrite=True)

    def _save(self, name: str, content: Any) -> str:
        path = Path(self.path(name))
        descriptor, temporary = _new_part(path)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return name

    def delete(self, name: str) -> None:
        """Delete a file, and its folder where it was the last."""
        super().delete(name)
        with contextlib.suppress(OSError):
            os.rmdir(Path(self.path(name)).parent)


def _new_part(path: Path) -> tuple[int, str]:
    """A file beside `path`, open for writing, in a folder that somebody may be removing as empty."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return tempfile.mkstemp(prefix=f"{path.name}.", suffix=PART, dir=path.parent)
