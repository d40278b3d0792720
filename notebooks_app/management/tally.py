"""What became of the notebooks of one import, and its words. The loop over them is moving.py's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from notebooks_app.importing import Imported, Result

MAX_FAILURES = 50  # that are listed once more at the end
MAX_USERS = 100


@dataclass(frozen=True)
class Failure:
    """A notebook, or a folder of them, that was not imported; `user_id` is that of an old user who is nobody here."""

    source: str
    reason: str
    user_id: str = ""


@dataclass
class Tally:
    """Numbers of notebooks, by what became of them; of failures the first ones, so that memory stays bounded."""

    ignored: int = 0
    number: int = 0  # sources looked at
    failed: int = 0
    different: int = 0
    same: int = 0
    broke: str = ""  # why the sources ended early
    counts: Counter[Imported] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)  # old users who are nobody here

    @property
    def done(self) -> int:
        return self.counts.total() + self.failed

    def add(self, result: Result) -> None:
        self.counts[result.outcome] += 1
        self.different += bool(result.differences)
        self.same += not result.differences

    def fail(self, failure: Failure) -> None:
        self.failed += 1
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(failure)
        if failure.user_id:
            self.unknown[failure.user_id] += 1

    def words(self, *, verified: bool) -> str:
        parts = [f"{self.counts[one]:,} {one.value}" for one in Imported if self.counts[one]] or ["none imported"]
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.ignored:
            parts.append(f"{self.ignored:,} other files ignored")
        if verified:
            parts.append(f"{self.same:,} verified the same, {self.different:,} different")
        return f"{', '.join(parts)}."

    def failure_lines(self) -> Iterator[str]:
        """What failed, once more in one place, and the old users who need an account."""
        if self.failures:
            yield "Failed:"
        yield from (f"    {one.source}: {one.reason}" for one in self.failures)
        if self.failed > len(self.failures):
            yield f"    and {self.failed - len(self.failures):,} more, said above"
        if self.unknown:
            yield "Old users who are nobody here (user id, notebooks):"
        yield from (f"    {user_id},{count}" for user_id, count in self.unknown.most_common(MAX_USERS))
        if len(self.unknown) > MAX_USERS:
            yield f"    and {len(self.unknown) - MAX_USERS:,} more"
