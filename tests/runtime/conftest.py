"""One real host and kernel a test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from django.contrib.auth import get_user_model
from django.core.cache import cache

from notebooks_app import db
from tests.runtime.lab import Lab, close_lab, open_lab


@pytest.fixture
def data_dir(settings, tmp_path):
    settings.KERNEL_WORK_DIR = tmp_path / "work"
    settings.SAMPLE_DATABASE = tmp_path / "sample" / "sample.duckdb"
    settings.STORAGES = settings.STORAGES | {
        "outputs": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "outputs"), "base_url": None},
        }
    }
    cache.clear()
    return tmp_path


@pytest_asyncio.fixture
async def lab(transactional_db, data_dir) -> AsyncIterator[Lab]:
    user = await db.write(lambda: get_user_model().objects.create_user("ana"))
    opened = await open_lab(user)
    yield opened
    await close_lab(opened)
