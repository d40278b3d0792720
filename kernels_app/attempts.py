"""The attempts of a live notebook: what each has shown so far, and what of it is not saved yet.

Outputs are made by notebooks_app/outputs.py; rows by saver.py. Everything here happens on the server's loop but the
copying of large items.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from kernels_app import spill
from kernels_app.messages import MAX_DURATION_MS
from kernels_app.records import AttemptRecord, Batch, OutputRecord
from kernels_app.schedule import CellView, RecordFinished, RecordRunning, RecordValues
from kernels_app.spool import SpoolError, copy_spooled
from kernels_app.throttle import VALUE_BYTES, Throttle, cost
from kernels_app.whole_texts import WholeTexts
from notebooks_app import db, facts, metrics
from notebooks_app.files import NotKept
from notebooks_app.models import Cell, CellRun
from notebooks_app.output_ops import merge_ops
from notebooks_app.outputs import MAX_SAME_DISPLAY, Bundle, OutputLog, canonical_mime, clean_text, display_id_of

log = logging.getLogger("rillbook.outputs")

TAILS_EVERY_S = 0.25  # the tail of a text that is cut is told this often, however fast it moves on
WAITING_MAX = 16  # frames
REPEATED_BYTES = 1024 * 1024  # of a frame's updates, in the items that show them beside the latest of each display
SPOOLED_SHARE = 4  # so many bytes of a large item, which a thread copies, cost as much as one of a message
CLAIM_BYTES = 48 * 1024  # that each file counts for at least, there or not: those of ours have 64 KiB of text or base64
CLAIMS_MAX = 300  # files of a frame: one of ours, 64 KiB long, names fewer
LAST_FILES_S = 20.0  # so long the files of a kernel that is gone are looked for

CHUNKS_BYTES = 512 * 1024  # more than this, and than the outputs themselves, in pieces: they are saved as a whole
QUIET_S = 1.0  # so long after the last late word an ended cell's pieces become its outputs,
QUIET_BYTES_A_S = 64 * 1024  # and longer where those are large

ENDED_SIZE = 8 * 1024 * 1024  # characters of ended and saved outputs that are held for what comes late
ENDED_MANY = 5_000
TIDY_EVERY_S = 5.0
SMALL = 64 * 1024  # outputs that are forgotten only where they are many

_TOO_MUCH = "More large outputs were not kept: those of one run of a cell may hold {:,.0f} MiB."
_TOO_MANY = f"More than {CLAIMS_MAX} large outputs came at once: those after them were not kept."
_GONE = "The kernel is gone, and with it a large output."
_NOT_STORED = "This output is large, and the storage for large outputs did not take it."

APPENDING = frozenset({"text", "cut"})

type Json = dict[str, Any]
type Take = Callable[[list[Json]], None]
type Stored = Callable[[Callable[[], Awaitable[Json]]], Awaitable[Json]]


@dataclass(slots=True)
class _Frame:
    entries: list[Json]
    work: Path | None  # None: the kernel is gone, and its files are not looked for
    take: Take


class AttemptBook:
    def __init__(self, notebook_id: uuid.UUID, tell: Take, mark_dirty: Callable[[], None], stored: Stored) -> None:
        self._notebook_id = notebook_id
        self.output_bytes = settings.OUTPUT_CELL_MAX_BYTES  # of one attempt; the kernel's profile may say less or more
        self.throttle = Throttle(0, lambda: None)  # the kernel's, once there is one
        self._tell = tell
        self._mark_dirty = mark_dirty
        self._stored = stored  # again and again, while the database is away
        self._records: dict[str, AttemptRecord] = {}  # running, or ended and not saved
        self._last: dict[str, AttemptRecord] = {}  # cell -> its last attempt that started
        self._logs: dict[str, OutputLog] = {}
        self._cells: dict[str, str] = {}  # attempt -> cell, of every log
        self._texts: dict[str, WholeTexts] = {}
        self._durations: dict[str, int] = {}
        self._notes: dict[str, str] = {}
        self._refusals: dict[str, tuple[str, ...]] = {}
        self._buffer: list[tuple[str, Json]] = []
        self._repeats_left = REPEATED_BYTES
        self._dirty: set[str] = set()
        self._dirty_outputs: set[str] = set()
        self._ops: dict[str, list[Json]] = {}
        self._chunk_bytes: dict[str, int] = {}  # of attempts whose outputs are partly saved in pieces
        self._late_later: asyncio.TimerHandle | None = None
        self._fold_later: asyncio.TimerHandle | None = None
        self._behind: set[str] = set()  # attempts whose tails have moved on since they were told
        self._tails_at = 0.0
        self._tails_later: asyncio.TimerHandle | None = None
        self._tidy_at = 0.0
        self._spooled: dict[str, int] = {}  # bytes of large items shown by each attempt
        self._waiting: deque[_Frame] = deque()
        self._copier: asyncio.Task[None] | None = None

    # --- What is known of attempts ------------------------------------------------------------------------------

    def learn(self, cells: Iterable[Cell], known: Mapping[str, facts.CellFacts]) -> None:
        """Remember the last attempts of cells that are new to us, from their rows."""
        for cell in cells:
            cell_id = str(cell.id)
            if cell_id not in known and cell.last_run is not None and cell_id not in self._last:
                self._last[cell_id] = _record_of(cell.last_run, cell_id, cell.execution_count)

    def expect(self, attempt: str, cell: str) -> None:
        """An attempt began: what it shows goes to its own log."""
        if attempt not in self._logs:
            texts = WholeTexts(self.output_bytes)
            self._texts[attempt] = texts
            self._logs[attempt] = OutputLog(
                attempt,
                inline_limit=settings.OUTPUT_INLINE_LIMIT,
                on_text=texts.write,
                on_clear=texts.clear,
                on_repeat=self._repeats,
            )
            self._cells[attempt] = cell

    def start(self, action: RecordRunning, number: int) -> None:
        self.expect(action.attempt, action.cell)
        record = AttemptRecord(
            id=action.attempt,
            cell=action.cell,
            version=action.version,
            source_hash=action.source_hash,
            run=action.runs[0] if action.runs else None,
            number=number,
            reason=action.reason.as_json(),
            inputs=dict(action.inputs),
            started_at=timezone.now(),
        )
        self._forget(self._last.get(action.cell))
        self._records[action.attempt] = self._last[action.cell] = record
        self._dirty.add(action.attempt)

    def finish(self, action: RecordFinished) -> None:
        record = self._records.get(action.attempt)
        if record is None:
            return
        self._tell_tails()
        record.outcome = action.outcome.value
        record.inputs, record.values = dict(action.inputs), dict(action.values)
        record.warnings = _warnings(action.undeclared) + self._refusals.pop(action.attempt, ())
        record.note = self._notes.pop(action.attempt, "")
        record.finished_at = timezone.now()
        measured = self._durations.pop(action.attempt, None)
        passed = (record.finished_at - record.started_at).total_seconds() if record.started_at else 0
        # The clock may have been set meanwhile: what it says passed is then no time that the database takes.
        taken = measured if measured is not None else int(passed * 1000)
        record.duration_ms = min(max(taken, 0), MAX_DURATION_MS)
        metrics.cell_ended(record.outcome, record.duration_ms)
        self._dirty.add(action.attempt)
        self._logs[action.attempt].finish()
        self._dirty_outputs.add(action.attempt)
        self._keep_texts(action.attempt)

    def revalue(self, action: RecordValues) -> None:
        """Another cell bound a name of this attempt's cell: the values it stands for are these now."""
        record = self._last.get(action.cell)
        if record is not None and record.id == action.attempt:
            record.values = dict(action.values)
            self._records[record.id] = record
            self._dirty.add(record.id)

    def note(self, attempt: str, text: str) -> None:
        """A line the attempt says about itself; it may come in one frame with its start."""
        self._notes[attempt] = clean_text(text)[:500]

    def warn(self, attempt: str, text: str) -> None:
        """What is said of the attempt besides its output."""
        self._refusals[attempt] = (*self._refusals.get(attempt, ()), text)

    def note_durations(self, entries: Iterable[Json]) -> None:
        """How long attempts took that are about to end; a plan's end says it once more of each."""
        for entry in entries:
            attempt, measured = entry["attempt"], entry.get("duration_ms")
            if isinstance(measured, (int, float)) and attempt in self._cells and not self._has_ended(attempt):
                self._durations[attempt] = int(measured)

    def last(self, cell: str) -> AttemptRecord | None:
        return self._last.get(cell)

    def cell_of(self, attempt: str) -> str | None:
        return self._cells.get(attempt)

    def fields(self, cell: str, view: CellView) -> Json:
        """What a cell's state tells of its attempt, as arguments of facts.CellState."""
        last = self._last.get(cell)
        told: Json = {}
        if last is not None:
            told = {
                "attempt": last.id,
                "outcome": facts.Outcome(last.outcome) if last.outcome else None,
                "started_at": last.started_at,
                "finished_at": last.finished_at,
                "duration_ms": last.duration_ms,
                "execution_count": last.number,
                "reason": last.reason or None,
                "warnings": last.warnings + self._refusals.get(last.id, ()),
                "note": last.note,
            }
        if view.reason is not None:
            told["reason"] = view.reason.as_json()
        return told

    def _forget(self, record: AttemptRecord | None) -> None:
        """The cell has a newer attempt: what the old one showed is replaced."""
        if record is None:
            return
        self._forget_output(record.id)

    def _forget_output(self, attempt: str) -> None:
        for held in (self._logs, self._refusals, self._cells, self._ops, self._chunk_bytes, self._spooled,
                     self._durations, self._notes):  # fmt: skip
            held.pop(attempt, None)
        self._behind.discard(attempt)
        self._dirty_outputs.discard(attempt)
        texts = self._texts.pop(attempt, None)
        if texts is not None:
            texts.clear()

    def forget_saved(self) -> None:
        """Of ended and saved attempts, hold as much as late output may still need: the latest, and small ones.

        What a thread says after its cell's output was forgotten is left out: the cells that came since hold 8 MiB.
        """
        if time.monotonic() < self._tidy_at:
            return
        self._tidy_at = time.monotonic() + TIDY_EVERY_S
        ended = [attempt for attempt in self._logs if self._is_settled(attempt)]
        size = sum(self._logs[attempt].inline_size for attempt in ended)
        count = len(ended)
        for attempt in ended:  # the first to begin goes first
            if size <= ENDED_SIZE and count <= ENDED_MANY:
                return
            if self._logs[attempt].inline_size > SMALL or count > ENDED_MANY:
                size -= self._logs[attempt].inline_size
                count -= 1
                self._forget_output(attempt)

    def _is_settled(self, attempt: str) -> bool:
        """Whether it has ended and the database holds all of it."""
        texts = self._texts.get(attempt)
        waits = texts is not None and texts.task is not None and not texts.task.done()
        held = (self._records, self._dirty_outputs, self._ops, self._chunk_bytes, self._behind)
        return self._has_ended(attempt) and not waits and not any(attempt in some for some in held)

    # --- Entries ------------------------------------------------------------------------------------------------

    def put(self, attempt: str | None, entry: Json) -> None:
        if attempt is not None and attempt in self._logs:
            self._buffer.append((attempt, entry))

    def flush(self) -> list[Json]:
        """Events of what was put since the last flush."""
        buffer, self._buffer = self._buffer, []
        self._repeats_left = REPEATED_BYTES
        groups: list[tuple[str, list[Json]]] = []
        for attempt, entry in buffer:
            if not groups or groups[-1][0] != attempt:
                groups.append((attempt, []))
            groups[-1][1].append(entry)
        told: list[Json] = []
        for attempt, entries in groups:
            told += self._fed(attempt, entries)
        return told + self._tails_if_due()

    def feed(self, attempt: str, entries: list[Json]) -> None:
        """Entries that the server itself makes (queries)."""
        for entry in entries:
            self.put(attempt, entry)
        self._tell(self.flush())

    def _fed(self, attempt: str, entries: list[Json]) -> list[Json]:
        output = self._logs[attempt]
        told = self._event(attempt, output.feed(entries, with_tails=False))
        if output.is_behind:
            self._behind.add(attempt)
        while output.unclaimed:
            told += self._update_elsewhere(output.unclaimed.popleft())
        return told

    def _tails_if_due(self) -> list[Json]:
        """Events of the tails that moved on, or none yet: then they follow by themselves."""
        if not self._behind or self._tails_later is not None:
            return []
        loop = asyncio.get_running_loop()
        due = self._tails_at + TAILS_EVERY_S
        if loop.time() >= due:
            return self._tails()
        self._tails_later = loop.call_at(due, self._tell_tails)
        return []

    def _tails(self) -> list[Json]:
        self._tails_at = asyncio.get_running_loop().time()
        behind, self._behind = self._behind, set()
        return [
            event
            for attempt in behind & set(self._logs)
            for event in self._event(attempt, self._logs[attempt].tail_ops())
        ]

    def _tell_tails(self) -> None:
        if self._tails_later is not None:
            self._tails_later.cancel()
            self._tails_later = None
        if self._behind:
            self._tell(self._tails())
            self._mark_dirty()

    def close(self) -> None:
        """The runtime is at its end: nothing is told or kept any more; what is saved in pieces is saved as a whole."""
        for timer in (self._tails_later, self._late_later, self._fold_later):
            if timer is not None:
                timer.cancel()
        self._tails_later = self._late_later = self._fold_later = None
        for task in (self._copier, *(texts.task for texts in self._texts.values())):
            if task is not None:  # what could not be kept until now
                task.cancel()
        self._fold()

    def _update_elsewhere(self, entry: Json) -> list[Json]:
        """update_display reaches the latest displays of that id in all other cells."""
        display_id = display_id_of(entry) or ""
        self.throttle.charge(VALUE_BYTES * len(self._logs))  # that are looked through
        latest_first = (
            (attempt, item)
            for attempt, output in reversed(self._logs.items())
            for item in reversed(output.find_display(display_id))
        )
        found = list(itertools.islice(latest_first, MAX_SAME_DISPLAY))
        if not found:
            return []
        bundle = self._logs[found[0][0]].bundle(entry)
        shown: dict[str, list[int]] = {}
        for attempt, item in found[: 1 + self._repeats(bundle, len(found) - 1)]:
            shown.setdefault(attempt, []).append(item)
        return [
            event
            for attempt, items in shown.items()
            for event in self._event(attempt, self._logs[attempt].show_update(bundle, items))
        ]

    def _repeats(self, bundle: Bundle, count: int) -> int:
        """How many of so many items more are changed by an update, which what came from the kernel does not tell."""
        output, size = bundle
        each = cost(size, output)
        most = min(count, self._repeats_left // each)
        self._repeats_left -= most * each
        self.throttle.charge(most * each)
        return most

    def _event(self, attempt: str, ops: list[Json]) -> list[Json]:
        if not ops:
            return []
        self._ops.setdefault(attempt, []).extend(ops)
        if self._has_ended(attempt):
            if all(op["op"] in APPENDING for op in ops):
                self._save_late()
            else:  # a display that is shown anew, or the file of a long text: its rows are written anew
                self._dirty_outputs.add(attempt)
                self._mark_dirty()
        return [{"type": "output.ops", "cell": self._cells[attempt], "attempt": attempt, "ops": ops}]

    def _save_late(self) -> None:
        """What a thread says after its cell ended is saved in pieces, as while it ran: what was shown is not written
        again for every line. The pieces become its outputs when it is quiet."""
        loop = asyncio.get_running_loop()
        if self._late_later is None:
            self._mark_dirty()
            self._late_later = loop.call_later(TAILS_EVERY_S, self._save_pieces)
        if self._fold_later is not None:
            self._fold_later.cancel()
        size = sum(self._logs[attempt].inline_size for attempt in self._chunk_bytes if attempt in self._logs)
        self._fold_later = loop.call_later(QUIET_S + size / QUIET_BYTES_A_S, self._fold)

    def _save_pieces(self) -> None:
        self._late_later = None
        self._mark_dirty()

    def _fold(self) -> None:
        self._fold_later = None
        self._dirty_outputs |= {attempt for attempt in self._chunk_bytes if self._has_ended(attempt)}
        self._mark_dirty()

    def _has_ended(self, attempt: str) -> bool:
        record = self._last.get(self._cells[attempt])
        return record is not None and record.id == attempt and bool(record.outcome)

    def unsaved_outputs(self, cell: str) -> list[Json] | None:
        """A cell's outputs as its live attempt shows them; None where the database knows as much."""
        last = self._last.get(cell)
        output = self._logs.get(last.id) if last is not None else None
        if last is None or output is None:
            return None
        outputs = output.outputs()
        return outputs if outputs or last.outcome else None

    def outputs_of(self, cells: Iterable[str]) -> dict[str, tuple[str, list[Json]]]:
        """Attempt and outputs of those cells whose last attempt has a log."""
        found = {cell: self.unsaved_outputs(cell) for cell in cells}
        return {cell: (self._last[cell].id, outputs) for cell, outputs in found.items() if outputs is not None}

    def unsaved_cells(self) -> set[str]:
        """Cells with attempts or outputs that no batch has taken yet."""
        attempts = self._dirty | self._dirty_outputs | set(self._ops)
        return {self._cells[attempt] for attempt in attempts if attempt in self._cells}

    # --- Large items --------------------------------------------------------------------------------------------

    def tidy(self, entries: list[Json]) -> None:
        """Give MIME types their one spelling."""
        for entry in entries:
            for part in ("data", "spool"):
                if entry.get(part):
                    entry[part] = {canonical_mime(mime): value for mime, value in entry[part].items()}

    def must_wait(self, entries: list[Json]) -> bool:
        return bool(self._waiting) or any(entry.get("spool") for entry in entries)

    def later(self, entries: list[Json], work: Path | None, take: Take) -> None:
        """Take entries once their files are copied, in order."""
        self._waiting.append(_Frame(entries, work, take))
        if self._copier is None or self._copier.done():
            self._copier = asyncio.create_task(self._copy(), name="large outputs")

    def waiting(self) -> list[Json]:
        """Entries that wait for files, or behind such that do."""
        return [entry for frame in self._waiting for entry in frame.entries]

    @property
    def is_behind(self) -> bool:
        """Whether so many frames wait for files that the kernel should wait with more."""
        return len(self._waiting) >= WAITING_MAX

    async def drained(self) -> None:
        """Return when no entry waits for its files."""
        if self._copier is not None:
            await asyncio.wait([self._copier])

    async def kernel_ended(self) -> None:
        """The kernel is gone: return when none of its entries waits for files, which are looked for a while longer."""
        if self._copier is None:
            return
        frames, throttle = tuple(self._waiting), self.throttle
        await asyncio.wait([self._copier], timeout=LAST_FILES_S)
        for frame in frames:
            frame.work = None
        throttle.let_go()
        await self.drained()

    async def settled(self) -> None:
        """Return when the files of what was shown are kept, or failed to be; within a bounded time."""
        tasks = [texts.task for texts in self._texts.values() if texts.task is not None]
        if self._copier is not None:
            tasks.append(self._copier)
        if tasks:
            await asyncio.wait(tasks, timeout=2 * settings.OUTPUTS_TIMEOUT_S + 5)

    async def _copy(self) -> None:
        while self._waiting:
            frame, claims = self._waiting[0], 0
            taken: list[Json] = []
            for entry in frame.entries:
                taken.append(entry)
                if entry.get("spool"):
                    claims += len(entry["spool"])
                    taken += await self._take_spool(entry, frame, is_too_many=claims > CLAIMS_MAX)
            self._waiting.popleft()
            frame.take(taken)

    async def _take_spool(self, entry: Json, frame: _Frame, *, is_too_many: bool) -> list[Json]:
        """Keep an entry's files; what is to be said where that failed and the entry shows something else."""
        files: Json = {}
        notes: list[str] = []
        for mime, spooled in entry.pop("spool").items():
            try:
                if is_too_many or frame.work is None:
                    raise SpoolError(_TOO_MANY if is_too_many else _GONE)
                files[mime] = await self._keep_spooled(entry, frame.work, spooled["file"], mime)
            except (SpoolError, NotKept) as error:
                notes.append(str(error))
            except Exception:
                log.exception("a large output of notebook %s could not be stored", self._notebook_id)
                notes.append(_NOT_STORED)
        entry["files"] = files
        if notes and not entry["data"]:
            entry["data"]["text/plain"] = notes.pop(0)
        return [{"t": "notice", "attempt": entry["attempt"], "text": note} for note in dict.fromkeys(notes)]

    async def _keep_spooled(self, entry: Json, work: Path, name: str, mime: str) -> Json:
        """Raises SpoolError, too, where an attempt shows more large items than it may. Updates take the place of what
        they add to, and are bounded by the notebook's own limit; what was copied in vain counts for all."""
        attempt, cap = str(entry["attempt"]), self.output_bytes
        self.throttle.charge(CLAIM_BYTES)
        if (waiting := self.throttle.wait()) is not None:
            await waiting
        if self._spooled.get(attempt, 0) >= cap:
            await asyncio.to_thread(spill.drop_spooled, work, name)
            raise SpoolError(_TOO_MUCH.format(cap / 1024**2))
        is_free = False
        with tempfile.TemporaryFile() as copy:
            try:
                copied = await db.upload(lambda: copy_spooled(work, name, cap, copy.write))
                kept = await self._keep(lambda: spill.keep_copy(self._notebook_id, mime, copy, copied))
                is_free = entry["t"] == "update" and copied.size_bytes >= CLAIM_BYTES
                return kept
            finally:
                size = copy.seek(0, os.SEEK_END)
                self.throttle.charge(max(0, size // SPOOLED_SHARE - CLAIM_BYTES))
                counted = 0 if is_free else max(size, CLAIM_BYTES)
                self._spooled[attempt] = self._spooled.get(attempt, 0) + counted

    async def _keep(self, keep: Callable[[], Json]) -> Json:
        return await self._stored(lambda: db.upload(keep))

    def _keep_texts(self, attempt: str) -> None:
        texts = self._texts[attempt]
        if texts.files:
            task = asyncio.create_task(self._upload_texts(attempt, texts), name="whole texts")
            texts.task = task

    async def _upload_texts(self, attempt: str, texts: WholeTexts) -> None:
        for item, file in texts.files.items():
            try:
                kept = await self._keep(lambda file=file: spill.keep_file(self._notebook_id, "text/plain", file))
            except Exception as error:
                if not isinstance(error, NotKept):
                    log.exception("a long text of notebook %s could not be stored", self._notebook_id)
                self._say_not_kept(attempt, str(error) if isinstance(error, NotKept) else _NOT_STORED)
                continue
            output = self._logs.get(attempt)
            if output is not None:
                self._tell(self._event(attempt, output.set_file(item, "text/plain", kept)))
        texts.clear()

    def _say_not_kept(self, attempt: str, why: str) -> None:
        output = self._logs.get(attempt)
        if output is not None:
            self._tell(self._event(attempt, output.feed([{"t": "notice", "text": why}])))

    # --- Saving -------------------------------------------------------------------------------------------------

    def fill(self, batch: Batch) -> None:
        """Move what is unsaved into the batch, as copies that do not change any more."""
        dirty, self._dirty = self._dirty, set()
        for attempt in dirty:
            record = self._records.get(attempt)
            if record is not None:
                batch.attempts[attempt] = replace(record)
                if record.outcome:
                    del self._records[attempt]
        outputs, self._dirty_outputs = self._dirty_outputs, set()
        for attempt in outputs & set(self._logs):
            self._fill_whole(batch, attempt)
        ops, self._ops = self._ops, {}
        for attempt, made in ops.items():
            if made and attempt in self._logs:
                self._fill_piece(batch, attempt, merge_ops(made))

    def _fill_whole(self, batch: Batch, attempt: str) -> None:
        cell, log_ = self._cells[attempt], self._logs[attempt]
        batch.outputs[cell] = OutputRecord(cell, attempt, tuple(log_.outputs()))
        self._ops.pop(attempt, None)
        self._chunk_bytes.pop(attempt, None)

    def _fill_piece(self, batch: Batch, attempt: str, ops: list[Json]) -> None:
        """Append to what is saved; once the pieces are more than the whole, save that: what is stored is bounded."""
        size = self._chunk_bytes.get(attempt, 0) + len(json.dumps(ops))
        if size > max(CHUNKS_BYTES, self._logs[attempt].inline_size):
            self._fill_whole(batch, attempt)
        else:
            self._chunk_bytes[attempt] = size
            batch.chunks.append((self._cells[attempt], attempt, ops))


def _warnings(undeclared: frozenset[str]) -> tuple[str, ...]:
    if not undeclared:
        return ()
    names = ", ".join(sorted(undeclared)[:10])
    return (f"{names}: bound in a way that the graph cannot see (exec, globals). Cells that use it do not follow.",)


def _record_of(run: CellRun, cell: str, execution_count: int | None) -> AttemptRecord:
    return AttemptRecord(
        id=str(run.id),
        cell=cell,
        version=run.cell_version,
        source_hash=run.source_hash,
        number=execution_count,
        reason=run.reason,
        inputs=run.inputs,
        values=run.values,
        warnings=tuple(run.warnings),
        note=run.note,
        outcome=run.outcome,
        started_at=run.started_at,
        finished_at=run.finished_at,
        duration_ms=run.duration_ms,
    )
