"""What a host of runtimes promises, whichever machine they live on."""

from __future__ import annotations

import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from kernels_app.feed import Feeds
    from notebooks_app.facts import CellState
    from notebooks_app.services import Author


class RuntimeHandle(Protocol):
    """One live notebook. Run commands return the run's id at once; results arrive as events."""

    async def run(
        self, versions: dict[str, int], *, by: Author, only: bool = False, revision: int | None = None
    ) -> str:
        """Run cells, each at least in the version named (0: whichever). Raises NotFound for an unknown cell.

        `revision`: the notebook's, if the caller has just read it; all edits up to it are known to the run.
        """

    async def run_all(self, *, by: Author, revision: int | None = None) -> str: ...

    async def run_stale(self, *, by: Author, revision: int | None = None) -> str: ...

    async def wait(self, run: str, timeout_s: float) -> bool:
        """Wait until a run is over and saved; False if it still goes on after `timeout_s`."""

    async def keep_files(self) -> None:
        """Wait until the files of what was shown are kept and saved, or could not be; within a bounded time."""

    async def stop(self, run: str | None = None) -> None:
        """End the whole run; queued cells return to what they were. Returns when that is decided.

        `run`: only if that request is among what goes on.
        """

    async def take_out(self, cell: str) -> None: ...

    async def restart(self, *, by: Author, run_all: bool = False) -> str | None: ...

    async def settle(self, timeout_s: float) -> bool:
        """Wait until nothing runs and all is saved."""

    async def input_reply(self, attempt: str, value: str) -> None: ...

    async def complete(self, source: str, cursor: int) -> dict[str, Any]: ...

    async def inspect(self, source: str, cursor: int) -> dict[str, Any]: ...

    async def table(self, request: dict[str, Any]) -> dict[str, Any]: ...

    async def variables(self) -> list[dict[str, Any]]: ...

    async def info(self) -> dict[str, Any]:
        """The kernel: state, detail, memory_bytes, limit_bytes, epoch."""


@dataclass(frozen=True, slots=True)
class HostNumbers:
    """What a process holds now."""

    runtimes: int
    kernels: int
    ready: int  # kernels of the pool that wait to be claimed
    memory_bytes: int  # of live kernels, as last measured
    lag_s: float  # age of the oldest unsaved output
    feeds: int


class KernelHost(Protocol):
    feeds: Feeds
    is_started: bool

    async def start(self) -> None: ...

    async def ensure(self, notebook_id: uuid.UUID) -> RuntimeHandle:
        """The notebook's runtime, made if there is none. Raises Unavailable if another server runs it."""

    async def notebook_states(self, notebook_id: uuid.UUID) -> dict[str, CellState]:
        """The states of all cells: live where the notebook's runtime is here, else as the database tells."""

    async def get(self, notebook_id: uuid.UUID) -> RuntimeHandle | None:
        """The notebook's runtime if it lives here; never starts one."""

    async def stop(self, notebook_id: uuid.UUID, reason: str) -> None: ...

    async def close(self) -> None: ...

    def keep(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have the host do it in the background, whoever asked."""

    def kernels(self) -> dict[uuid.UUID, dict[str, Any]]:
        """The kernel of each notebook whose runtime is in this process; from any thread."""

    def numbers(self) -> HostNumbers:
        """What this process holds now; from any thread."""

    def call[T](self, work: Any, timeout_s: float) -> Any:
        """Run a coroutine on the host's loop from another thread (a page, the API) and return its result."""
