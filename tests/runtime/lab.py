"""A notebook on a bench: cells by name, a real host, a real kernel, the real database."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

from kernels_app.hosts.local import LocalKernelHost
from kernels_app.runtime import Runtime
from notebooks_app import db, events, reading, services
from notebooks_app.access import Role
from notebooks_app.models import Cell, Notebook
from notebooks_app.services import Author
from notebooks_app.standing import Seat

WAIT_S = 20.0


class Listener:
    """A socket's place in the feed: keeps what it is told."""

    def __init__(self) -> None:
        self.cursor: int | None = None
        self.frames: list[dict[str, Any]] = []

    def send_text(self, text: str) -> None:
        self.frames.append(json.loads(text))

    def send_frames(self, texts: list[str]) -> None:
        for text in texts:
            self.send_text(text)

    def person(self) -> dict[str, Any]:
        return {"id": 1, "name": "Ana"}

    def window(self) -> dict[str, Any]:
        return {"window": "w", "person": 1, "cell": None, "selection": None}

    @property
    def seat(self) -> Seat:
        return Seat(uuid.UUID(int=0), "", None, "")

    def access_is(self, role: Role | None) -> None:
        """Nobody's socket: it stays whatever happens."""

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for frame in self.frames for event in frame.get("events", ()) if event["type"] == kind]


class Lab:
    def __init__(self, host: LocalKernelHost, notebook: Notebook, author: Author) -> None:
        self.host, self.notebook, self.author = host, notebook, author
        self.cells: dict[str, uuid.UUID] = {}
        self.listener = Listener()

    async def add(self, **sources: str) -> None:
        """Append cells; a source that begins with SELECT is SQL with its name as the result's."""
        for name, source in sources.items():
            cell_type = "sql" if source.startswith("SELECT") else "python"
            after = list(self.cells.values())[-1] if self.cells else None
            self.cells[name] = uuid.uuid4()
            await self._write(
                services.insert_cell,
                self.cells[name],
                after=after,
                cell_type=cell_type,
                source=source,
                result_name=name if cell_type == "sql" else "",
            )

    async def edit(self, name: str, source: str) -> None:
        version = await db.read(lambda: Cell.objects.values_list("version", flat=True).get(pk=self.cells[name]))
        await self._write(services.edit_cell, self.cells[name], version=version, source=source)

    async def update(self, name: str, **fields: Any) -> None:
        await self._write(services.update_cell, self.cells[name], fields)

    async def delete(self, name: str) -> None:
        await self._write(services.delete_cells, [self.cells.pop(name)])

    async def _write(self, service: Any, *args: Any, **more: Any) -> Any:
        return await db.write(
            lambda: service(self.notebook.id, *args, author=self.author, operation_id=uuid.uuid4(), **more)
        )

    async def runtime(self) -> Runtime:
        return await self.host.ensure(self.notebook.id)

    async def run(self, *names: str) -> list[str]:
        """Run cells (none named: all) and wait; the names of those that started, in order."""
        runtime = await self.runtime()
        if names:
            run = await runtime.run({str(self.cells[name]): 0 for name in names}, by=self.author)
        else:
            run = await runtime.run_all(by=self.author)
        assert await runtime.wait(run, WAIT_S), "the run is not over"
        return await self.order(run)

    async def order(self, run: str) -> list[str]:
        from notebooks_app.models import CellRun, Run

        def read() -> list[str]:
            attempts = Run.objects.get(pk=run).attempts
            cells = {
                str(pk): str(cell) for pk, cell in CellRun.objects.filter(pk__in=attempts).values_list("pk", "cell_id")
            }
            return [cells[attempt] for attempt in attempts]

        names = {str(cell): name for name, cell in self.cells.items()}
        return [names[cell] for cell in await db.read(read)]

    async def states(self) -> dict[str, dict[str, Any]]:
        found = await self.host.notebook_states(self.notebook.id)
        return {name: found[str(cell)].as_json() for name, cell in self.cells.items()}

    async def freshness(self) -> dict[str, str]:
        return {name: state["freshness"] for name, state in (await self.states()).items()}

    async def outputs(self, name: str) -> list[dict[str, Any]]:
        """What the database holds."""
        await self.host.saver.flush()
        return (await db.read(lambda: reading.outputs_of([self.cells[name]]))).get(self.cells[name], [])

    async def text(self, name: str) -> str:
        """The plain text of a cell's outputs."""
        return "".join(
            output.get("text") or output.get("data", {}).get("text/plain", "") for output in await self.outputs(name)
        )

    async def until(self, name: str, status: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while (await self.states())[name]["status"] != status:
                await asyncio.sleep(0.01)

    async def listen(self) -> Listener:
        feed = await self.host.feeds.open(self.notebook.id)
        feed.add(self.listener)
        await feed.greet(self.listener, None)
        return self.listener


async def open_lab(user: Any, name: str = "Lab") -> Lab:
    host = LocalKernelHost()
    events.use_loop(asyncio.get_running_loop())
    await host.start()
    notebook = await db.write(lambda: Notebook.objects.create(owner=user, name=name))
    return Lab(host, notebook, Author(user.pk, user.username))


async def close_lab(lab: Lab) -> None:
    await lab.host.close()
    events.use_loop(None)
