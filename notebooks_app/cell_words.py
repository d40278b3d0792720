"""Says in words what a cell's state means: the gutter's three lines, the run button, the notes.

Pure: takes the cell dicts of docs/architecture.md section 2, returns plain values and escaped HTML for
templates/_cell.html. The browser says the same for live changes; the sentences are listed in
templates/README.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

Cell = Mapping[str, Any]
Numbers = Mapping[str, int]

WORDS = {
    "new": "Not run",
    "queued": "Queued",
    "running": "Running",
    "current": "Current",
    "stale": "Stale",
    "failed": "Failed",
    "stopped": "Stopped",
    "blocked": "Blocked",
    "disabled": "Disabled",
}
ICONS = {state: state for state in WORDS} | {"current": "check", "stopped": "stop"}
TYPES = {"python": "Python", "sql": "SQL", "markdown": "Text"}
NAMES_SHOWN = 5  # of what a cell defines, and of what it uses
MORE_NAMES = '<button class="text-button" type="button" data-action="names" aria-label="{} more names">+{}</button>'


@dataclass(frozen=True, slots=True)
class CellView:
    """What _cell.html shows of a cell beside its source and output."""

    state: str  # the one state shown: a key of WORDS, or "" for text
    word: str
    icon: str
    label: str  # accessible name of the whole cell
    type_word: str
    run: str  # what the gutter's button does: run | stop | take_out | none
    run_label: str
    run_icon: str
    times: SafeString
    definitions: SafeString
    references: SafeString
    notes: SafeString


def numbers_of(cells: Iterable[Cell]) -> dict[str, int]:
    """The 1-based number of each cell, by its id."""
    return {str(cell["id"]): cell["number"] for cell in cells}


def definers_of(cells: Iterable[Cell]) -> dict[str, str]:
    """The id of the cell that defines a name; the first one where several do."""
    found: dict[str, str] = {}
    for cell in cells:
        for name in cell.get("definitions") or ():
            found.setdefault(name, str(cell["id"]))
    return found


def shown_state(cell: Cell) -> str:
    """The one state a reader sees: where the cell is, else disabled, else whether its output is current; a cell that
    somebody stopped did not fail."""
    if cell["type"] == "markdown":
        return ""
    state = cell["state"]
    if state["status"] != "idle":
        return str(state["status"])
    if cell.get("disabled") or state.get("disabled_by"):
        return "disabled"
    if state["freshness"] == "failed" and state.get("outcome") == "interrupted" and not state.get("errors"):
        return "stopped"
    return str(state["freshness"])


def view_of(cell: Cell, numbers: Numbers, definers: Mapping[str, str]) -> CellView:
    """Everything _cell.html needs to know of a cell's state."""
    shown = shown_state(cell)
    number = cell.get("number") or ""
    word = WORDS.get(shown, "")
    type_word = TYPES.get(str(cell["type"]), str(cell["type"]))
    run, run_label, run_icon = _run_button(shown, number)
    definitions = references = notes = mark_safe("")
    if not cell.get("far"):  # a far cell shows none of these; most of a long notebook is far
        own = str(cell["id"])
        definitions = _names(cell.get("definitions") or (), {}, own, "name")
        references = _names(_own_references(cell, definers), definers, own, "name is-used")
        notes = notes_html(cell, numbers)
    return CellView(
        state=shown,
        word=word,
        icon=ICONS.get(shown, ""),
        label=", ".join(part for part in (f"Cell {number}", type_word, word) if part),
        type_word=type_word,
        run=run,
        run_label=run_label,
        run_icon=run_icon,
        times=_times(cell, shown, numbers),
        definitions=definitions,
        references=references,
        notes=notes,
    )


def notes_html(cell: Cell, numbers: Numbers) -> SafeString:
    """The lines under the source: errors, why it waits, why it is stale, why it ran, warnings."""
    if cell["type"] == "markdown":
        return mark_safe("")
    state = cell["state"]
    lines: list[str] = [_error_note(error, numbers) for error in state.get("errors") or ()]
    lines.append(_state_note(cell, shown_state(cell), numbers))
    if state.get("note"):
        lines.append(_note("is-result", "", conditional_escape(state["note"])))
    lines += [_note("is-warning", "warning", conditional_escape(text)) for text in state.get("warnings") or ()]
    return mark_safe("".join(line for line in lines if line))  # noqa: S308 - every part is escaped


def duration_words(duration_ms: int | None) -> str:
    """A duration as a person says it: 0.42 s, 12.4 s, 1 min 12 s, 2 h 5 min; empty when it is not known."""
    if duration_ms is None:
        return ""
    seconds = duration_ms / 1000
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def _own_references(cell: Cell, definers: Mapping[str, str]) -> list[str]:
    """References that some other cell defines: builtins and imports of the cell itself are no news."""
    own = str(cell["id"])
    return [name for name in cell.get("references") or () if definers.get(name, own) != own]


def _names(names: Sequence[str], definers: Mapping[str, str], own: str, css: str) -> SafeString:
    """Links to where they are defined; of many only the first, and a button for the others (cell.js has it too)."""
    pieces = [
        format_html(
            '<a class="{}" href="#cell-{}" data-name="{}">{}</a>', css, definers.get(name, own), name, name
        )
        for name in names[:NAMES_SHOWN]
    ]
    if more := len(names) - len(pieces):
        pieces.append(format_html(MORE_NAMES, more, more))
    return mark_safe(" ".join(pieces))  # noqa: S308 - format_html escaped each


def _run_button(shown: str, number: object) -> tuple[str, str, str]:
    if shown == "running":
        return "stop", f"Stop cell {number}", "stop"
    if shown == "queued":
        return "take_out", f"Take cell {number} out of the queue", "close"
    if shown == "disabled":
        return "none", f"Run cell {number}", "play"
    return ("run", f"Run cell {number} (Ctrl+Enter)", "play") if shown else ("", "", "")


def _times(cell: Cell, shown: str, numbers: Numbers) -> SafeString:
    state = cell["state"]
    if shown == "queued":
        return format_html("{} in line", ordinal(state["place"])) if state.get("place") else mark_safe("")
    if shown == "running":
        return format_html('<span data-part="elapsed" data-since="{}"></span>', state.get("started_at") or "")
    if shown == "blocked":
        waits = [numbers[ref["cell"]] for ref in state.get("blocked_by") or () if ref["cell"] in numbers]
        return format_html("by cell {}", waits[0]) if waits else mark_safe("")
    if shown in ("", "new", "disabled"):
        return mark_safe("")
    return _finish(duration_words(state.get("duration_ms")), state.get("finished_at"))


def _finish(duration: str, finished_at: str | None) -> SafeString:
    if not finished_at:
        return format_html("{}", duration)
    clock = datetime.fromisoformat(finished_at).strftime("%H:%M")
    gap = " · " if duration else ""
    return format_html(
        '{}<span class="cell-finish">{}<time datetime="{}">{}</time></span>',
        duration,
        gap,
        finished_at,
        clock,
    )


NOTE_END = (
    '<span class="note-end"><button class="text-button" type="button" data-action="{}">{}</button></span>'
)


def _note(css: str, icon: str, text: SafeString | str, action: tuple[str, str] | None = None) -> SafeString:
    drawn = (
        format_html(
            '<svg class="icon is-small" aria-hidden="true"><use href="{}#icon-{}"></use></svg>',
            sprite(),
            icon,
        )
        if icon
        else ""
    )
    end = format_html(NOTE_END, *action) if action else ""
    return format_html('<p class="{}">{}<span>{}</span>{}</p>', f"cell-note {css}".strip(), drawn, text, end)


@lru_cache(maxsize=1)
def sprite() -> str:
    """The address of the icons; `{% icon %}` and the notes use the same."""
    from django.templatetags.static import static

    return static("icons.svg")


def _error_note(error: Mapping[str, Any], numbers: Numbers) -> SafeString:
    text = conditional_escape(error["message"])
    links = [_cell_link(cell, numbers) for cell in error.get("cells") or () if cell in numbers]
    if links:
        text = format_html("{} {}", text, mark_safe(", ".join(links)))  # noqa: S308 - escaped by _cell_link
    return _note("is-failed", "failed", text)


def _state_note(cell: Cell, shown: str, numbers: Numbers) -> SafeString | str:
    state = cell["state"]
    if shown == "disabled":
        return _disabled_note(cell, numbers)
    if shown in ("running", "queued"):
        reason = _reason(state.get("reason"), numbers, "Runs")
        return _note("", "cause", reason) if reason else ""
    if shown == "blocked":
        return _blocked_note(state.get("blocked_by") or (), numbers)
    if shown == "stale":
        return _note(
            "is-stale", "stale", _stale_because(state.get("stale_because"), numbers), ("run", "Run now")
        )
    if shown == "stopped":
        return _note("", "stop", "Stopped before its end.", ("run", "Run again"))
    if state.get("outcome") == "died":
        return _note("is-failed", "memory", "The kernel ended while this cell ran.")
    reason = _reason(state.get("reason"), numbers, "Ran")
    return _note("", "cause", reason) if reason else ""


def _disabled_note(cell: Cell, numbers: Numbers) -> SafeString:
    if cell.get("disabled"):
        return _note("", "", "Disabled: runs skip it.", ("enable", "Enable"))
    by = [_cell_link(other, numbers) for other in cell["state"]["disabled_by"] if other in numbers]
    joined = mark_safe(", ".join(by)) if by else "a cell it needs"  # noqa: S308 - escaped by _cell_link
    return _note("", "", format_html("Runs skip it, because it needs {}, which is disabled.", joined))


def _blocked_note(blocked_by: Iterable[Mapping[str, str]], numbers: Numbers) -> SafeString | str:
    waits = [
        format_html("<code>{}</code> from {}", ref["name"], _cell_link(ref["cell"], numbers))
        for ref in blocked_by
        if ref["cell"] in numbers
    ]
    if not waits:
        return ""
    text = format_html("Waits for {}.", mark_safe(", ".join(waits)))  # noqa: S308 - format_html escaped each
    return _note("is-blocked", "blocked", text)


def _stale_because(because: Mapping[str, Any] | None, numbers: Numbers) -> SafeString | str:
    kind = because["kind"] if because else "unknown"
    if kind == "edited":
        return "Older than the code."
    if kind == "interrupted":
        return "The last run was stopped."
    name = (because or {}).get("name") or ""
    if kind == "upstream" and because and because.get("cell") in numbers:
        return format_html("Older than <code>{}</code> from {}.", name, _cell_link(because["cell"], numbers))
    if kind == "upstream" and name:
        return format_html("<code>{}</code> is not defined any more.", name)
    return "May be older than what it was made from."


def _reason(reason: Mapping[str, Any] | None, numbers: Numbers, verb: str) -> SafeString | str:
    if not reason or reason["kind"] not in ("changed", "needed") or reason.get("cell") not in numbers:
        return ""
    by = format_html(" · {}", reason["by"]) if reason.get("by") else ""
    cell, name = _cell_link(reason["cell"], numbers), reason.get("name") or ""
    if reason["kind"] == "changed":
        return format_html("{} because <code>{}</code> changed in {}{}", verb, name, cell, by)
    return format_html("{} because {} needs <code>{}</code>{}", verb, cell, name, by)


def _cell_link(cell: str, numbers: Numbers) -> SafeString:
    return format_html('<a href="#cell-{}" data-goto="{}">cell {}</a>', cell, cell, numbers.get(cell, "?"))
