"""Says in words how the notebooks of the list are: what needs somebody, and how long ago it was edited."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from notebooks_app.cell_words import ICONS, WORDS

NEEDS = ("running", "queued", "failed", "stopped", "blocked", "stale")  # what is told first

def counts_view(counts: Mapping[str, int]) -> tuple[str, str, str] | None:
    """State, icon, words for how many cells are in which state; None when nothing is known."""
    known = {state: number for state, number in counts.items() if number and state in WORDS}
    told = [state for state in NEEDS if state in known][:2]
    if told == ["stale"] and len(known) == 1:
        return "stale", ICONS["stale"], "All stale"
    if told:
        return told[0], ICONS[told[0]], ", ".join(f"{known[state]} {state}" for state in told)
    if "new" in known:
        return "new", "new", f"{known['new']} not run" if "current" in known else "Never run"
    return ("current", "check", "All current") if "current" in known else None


def ago_words(when: datetime, now: datetime) -> str:
    """How long ago, as short as one says it: now, 5 min ago, 3 h ago, yesterday, 4 days ago, 12 Feb 2026."""
    seconds = (now - when).total_seconds()
    if seconds < 60:
        return "now"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    days = (now.date() - when.date()).days
    if days == 0 or seconds < 6 * 3600:
        return f"{int(seconds // 3600)} h ago"
    if days < 7:
        return "yesterday" if days == 1 else f"{days} days ago"
    return f"{when.day} {when:%b}" if when.year == now.year else f"{when.day} {when:%b %Y}"
