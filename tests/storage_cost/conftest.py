"""A small and a large notebook, whose cells have run."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import scenes
from benchmarks.scenes import Scene

SMALL, LARGE = 10, 2_000


@pytest.fixture
def small(db: None) -> Scene:
    return scenes.make(scenes.make_person("small"), SMALL)


@pytest.fixture
def large(db: None) -> Scene:
    return scenes.make(scenes.make_person("large"), LARGE, output_bytes=200)


@pytest.fixture
def page_of(client: Any) -> Any:
    """Opens a notebook's page as its owner."""
    from django.contrib.auth import get_user_model

    def open_page(scene: Scene) -> bytes:
        client.force_login(get_user_model().objects.get(pk=scene.author.user_id))
        answer = client.get(f"/notebooks/{scene.notebook_id}/")
        assert answer.status_code == 200
        return answer.content

    return open_page
