"""The threads of notebooks_app/db.py end while others ask: nobody is refused."""

from __future__ import annotations

import asyncio

import pytest

from notebooks_app import db


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_who_asks_while_the_threads_end_gets_new_ones():
    for number in range(100):
        asked = [db.read(lambda number=number: number) for _ in range(8)]
        *found, _ = await asyncio.gather(*asked, asyncio.to_thread(db.close))
        assert found == [number] * 8
    await asyncio.to_thread(db.close)
