"""What differs between two states of a notebook: cells that came, went, moved or changed, and how a text did. Pure.

Rows to and from these values are versions.py's.
"""

from __future__ import annotations

import difflib
import uuid
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

LINES_AT_MOST = 2_000  # of each side, without what both begin and end with
WORK_AT_MOST = 500_000  # lines and pairs of equal ones that are looked at, some 200 ns each; few texts need a tenth
LINE_AT_MOST = 2_000  # characters of a line that are shown
DIFF_AT_MOST = 256 * 1024  # characters of one cell's difference
CONTEXT = 3  # lines around a change, as diff -u has them


@dataclass(frozen=True, slots=True)
class CellSide:
    """A cell on one side, without its text: `digest` is facts.source_hash, equal where text and fields of a run are."""

    id: uuid.UUID
    type: str
    digest: str
    result_name: str
    connection: uuid.UUID | None
    disabled: bool
    code_hidden: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """Ids: `removed` in the old order, the others in the new one. A cell may be both moved and changed."""

    added: tuple[uuid.UUID, ...]
    removed: tuple[uuid.UUID, ...]
    moved: tuple[uuid.UUID, ...]
    changed: tuple[uuid.UUID, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.moved or self.changed)


@dataclass(frozen=True, slots=True)
class TextDifference:
    """`text` is a unified diff without its file names; None where the texts are too large or too different to compare.

    `work` is what comparing them took, as WORK_AT_MOST counts it.
    """

    text: str | None
    added: int = 0
    removed: int = 0
    is_cut: bool = False
    work: int = 0


def compare(old: Sequence[CellSide], new: Sequence[CellSide]) -> Difference:
    before, after = {cell.id: cell for cell in old}, {cell.id: cell for cell in new}
    kept = staying([cell.id for cell in old if cell.id in after], [cell.id for cell in new if cell.id in before])
    common = [cell.id for cell in new if cell.id in before]
    return Difference(
        added=tuple(cell.id for cell in new if cell.id not in before),
        removed=tuple(cell.id for cell in old if cell.id not in after),
        moved=tuple(cell for cell in common if cell not in kept),
        changed=tuple(cell for cell in common if before[cell] != after[cell]),
    )


def staying(old: Sequence[uuid.UUID], new: Sequence[uuid.UUID]) -> frozenset[uuid.UUID]:
    """The most cells that keep their relative order between two orders of the same cells; moving the rest suffices.

    A longest increasing subsequence, in O(n log n) by patience sorting.
    """
    place: Mapping[uuid.UUID, int] = {cell: index for index, cell in enumerate(new)}
    tops: list[int] = []  # the smallest end of an increasing run of each length
    ends: list[uuid.UUID] = []
    before: dict[uuid.UUID, uuid.UUID | None] = {}
    for cell in old:
        at = bisect_left(tops, place[cell])
        before[cell] = ends[at - 1] if at else None
        tops[at : at + 1] = [place[cell]]
        ends[at : at + 1] = [cell]
    found = set()
    last = ends[-1] if ends else None
    while last is not None:
        found.add(last)
        last = before[last]
    return frozenset(found)


def text_difference(old: str, new: str, *, most_work: int = WORK_AT_MOST) -> TextDifference:
    """A unified diff of two texts, bounded in time and size."""
    if old == new:
        return TextDifference("")
    old_lines, new_lines = old.split("\n"), new.split("\n")
    head = _common_head(old_lines, new_lines)
    tail = _common_head(old_lines[head:][::-1], new_lines[head:][::-1])
    if max(len(old_lines), len(new_lines)) - head - tail > LINES_AT_MOST:
        return TextDifference(None)
    first = max(head - CONTEXT, 0)
    old_lines = _shortened(old_lines[first : len(old_lines) - max(tail - CONTEXT, 0)])
    new_lines = _shortened(new_lines[first : len(new_lines) - max(tail - CONTEXT, 0)])
    matcher = _Matcher(old_lines, new_lines, most_work)
    try:
        lines = list(_unified(matcher, old_lines, new_lines, first))
    except _TooDifferent:
        return TextDifference(None, work=matcher.work)
    return _joined(lines, matcher.work)


def _common_head(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _shortened(lines: list[str]) -> list[str]:
    """Long lines cut, each kept different from others that begin the same."""
    return [line if len(line) <= LINE_AT_MOST else f"{line[:LINE_AT_MOST]}… ({len(line):,})" for line in lines]


class _TooDifferent(Exception):
    pass


class _Matcher(difflib.SequenceMatcher[str]):
    """difflib's own, which counts what it looks at. Raises _TooDifferent beyond `most_work`."""

    def __init__(self, old: list[str], new: list[str], most_work: int) -> None:
        super().__init__(None, old, new)
        self.most_work = most_work
        self.work = len(old) + len(new)
        places = self.b2j  # type: ignore[attr-defined]
        self._pairs = [0, *accumulate(1 + len(places.get(line, ())) for line in old)]

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        self.work += self._pairs[-1 if ahi is None else ahi] - self._pairs[alo]
        if self.work > self.most_work:
            raise _TooDifferent
        return super().find_longest_match(alo, ahi, blo, bhi)


def _unified(matcher: _Matcher, old: list[str], new: list[str], first: int) -> Iterator[str]:
    """The lines of a unified diff; `first` lines went before."""
    for group in matcher.get_grouped_opcodes(CONTEXT):
        (_, old_start, _, new_start, _), (_, _, old_end, _, new_end) = group[0], group[-1]
        yield f"@@ -{_range(first + old_start, first + old_end)} +{_range(first + new_start, first + new_end)} @@"
        for tag, low, high, new_low, new_high in group:
            if tag == "equal":
                yield from (f" {line}" for line in old[low:high])
                continue
            yield from (f"-{line}" for line in old[low:high])
            yield from (f"+{line}" for line in new[new_low:new_high])


def _range(start: int, end: int) -> str:
    """As `diff -u` has it: lines count from 1, an empty range names the line before it."""
    if end - start == 1:
        return f"{start + 1}"
    return f"{start + 1 if end > start else start},{end - start}"


def _joined(lines: list[str], work: int) -> TextDifference:
    added = sum(line.startswith("+") for line in lines)
    removed = sum(line.startswith("-") for line in lines)
    text = "\n".join(lines)
    if len(text) <= DIFF_AT_MOST:
        return TextDifference(text, added, removed, work=work)
    return TextDifference(text[:DIFF_AT_MOST].rpartition("\n")[0], added, removed, is_cut=True, work=work)
