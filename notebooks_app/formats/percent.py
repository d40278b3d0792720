"""Python files with cell marks: jupytext's percent format (`# %%`, `# %% [markdown]`), what `jupyter nbconvert --to
script` writes (`# In[3]:`), and the origin's `# %% python [cell-id]`. Pure; writing is percent_writer.py's.

Format: jupytext.readthedocs.io, "The percent format". The origin's files begin with `# Notebook: name` and `# DB: DSN`.
A DSN may hold a password: it is never part of a source or a message.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import tokenize
from dataclasses import dataclass, field, replace

from notebooks_app.formats import jupytext_magics, magics, strings
from notebooks_app.formats.base import (
    DATABASE_WARNING,
    OURS,
    FormatError,
    ImportedCell,
    ImportedNotebook,
    Json,
    check_count,
    check_size,
    result_name,
    source_text,
    title_of,
)
from notebooks_app.outputs import clean_json

# A mark needs a blank or the line's end after its percent signs: `# %%time` is a magic in a comment.
_MARK = re.compile(r"#\s*%%+(?P<words>\s.*|)\Z|# In\[[ \d]*\]:\Z")
_ORIGIN = re.compile(r"(?P<type>python|sql|markdown)\s*(?:\[(?P<id>[^\]]*)\])?\Z", re.IGNORECASE)
_KIND = re.compile(r"\[(?P<kind>markdown|md|raw)\]", re.IGNORECASE)
_KEY = re.compile(r"(?:(?<=\s)|\A)(?P<key>[A-Za-z_][\w.-]*)=")
_NAME_LINE = re.compile(r"#\s*Notebook:\s*(?P<name>.*)\Z", re.IGNORECASE)
_DATABASE_LINE = re.compile(r"\s*#\s*DB\s*:\s*(?P<dsn>.*)\Z", re.IGNORECASE)
_DSN_LINE = re.compile(r"\s*#\s*DB\s*:\s*(?P<dsn>\S+://.*)\Z", re.IGNORECASE)
_HEAD_LINE = re.compile(rb"(?P<bom>\xef\xbb\xbf)?[ \t]*#\s*(?:Notebook|DB\s*):", re.IGNORECASE)
_ENCODING_LINE = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*[-\w.]+")  # as PEP 263 has it
_MAGIC_LINE = re.compile(
    r"#\s?%{1,2}(?:autoreload|bash|cd|config|duckdb|env|html|javascript|latex|load_ext|matplotlib|pip|prun|pylab"
    r"|reload_ext|run|sql|sx|system|time|timeit|writefile)(?:\s.*)?\Z"
)
_NO_TEXT = frozenset({"idna", "punycode"})  # of names of hosts: they take a long text's length squared
_QUOTES = ('"""', "'''", 'r"""', "r'''")
QUOTE = "#|"  # before every line of a source that would be read as something else
METADATA = "metadata"  # in a mark of ours: metadata whose keys are no words, or words of ours
RESERVED = frozenset({METADATA, "id", "result_name", "disabled", "quoted"})
_JOIN_AT_MOST = 50  # chunks looked at for the end of a string that holds marks
MAX_LINES = 1_000_000
MARK_AT_MOST = 2_000  # characters of a mark that is searched for metadata


@dataclass
class _Chunk:
    """A cell of the file: its mark's words (None: what is before the first mark) and its lines."""

    words: str | None
    mark: str
    lines: list[str] = field(default_factory=list)
    of_jupytext: bool = False


def read(name: str, data: bytes, *, max_cells: int | None = None) -> ImportedNotebook:
    """The notebook in a Python file; `name` is the file's. Raises FormatError in words for who chose the file."""
    check_size(name, data)
    text = source_text(name, _decoded(name, data))
    _check_amount(name, text, max_cells)
    warnings: list[str] = []
    lines, dsn, has_database = _without_dsn(_without_interpreter(text.split("\n")))
    lines, of_jupytext = _without_header(lines)
    first, *marked = _join_strings(_chunks(lines, of_jupytext=of_jupytext))
    title, first.lines, in_words = _preamble(first.lines)
    if has_database or in_words:
        warnings.append(DATABASE_WARNING)
    if not marked:
        warnings.append("It has no # %% marks: the whole file is one cell.")
    chunks = [first, *marked] if "".join(first.lines).strip() else marked
    cells = [_cell(chunk) for chunk in chunks]
    dsn = dsn or (in_words if "=" in in_words else "")  # `host=… dbname=…` is one; "None" and other words are not
    return ImportedNotebook(name=title_of(name, title), cells=cells, warnings=warnings, dsn=dsn)


def _check_amount(name: str, text: str, max_cells: int | None) -> None:
    """Raises FormatError for more lines or marks than can be read."""
    count = text.count("\n") + 1
    if count > MAX_LINES:
        raise FormatError(f"{name}: {count:,} lines are more than the {MAX_LINES:,} that are read of a script.")
    check_count(name, sum(1 for line in text.split("\n") if _MARK.match(line)), max_cells)


def _decoded(name: str, data: bytes) -> str:
    """The text in the encoding that one of its first two lines declares (PEP 263), else UTF-8. Raises FormatError.

    A line that says the notebook's name or its DSN declares none, whatever they are.
    """
    lines = io.BytesIO(data)
    try:
        encoding, _ = tokenize.detect_encoding(lambda: _without_words(lines.readline()))
    except SyntaxError:
        encoding = "utf-8-sig"
    if encoding in _NO_TEXT:
        raise FormatError(f"{name}: files are not read in the encoding that it declares, {encoding}.")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        words = "is not UTF-8" if encoding.startswith("utf-8") else f"is not {encoding}, which the file declares"
        raise FormatError(f"{name}: line {line} {words}.") from None
    except (LookupError, ValueError):  # Python's names of encodings have some that are none of texts
        raise FormatError(f"{name}: it is not in the encoding that it declares, {encoding}.") from None


def _without_words(line: bytes) -> bytes:
    """The line; one that says the notebook's name or its DSN as an empty comment."""
    found = _HEAD_LINE.match(line)
    return (found["bom"] or b"") + b"#\n" if found else line


def has_marks(text: str) -> bool:
    return any(_MARK.match(line) for line in text.splitlines())


# --- The file into chunks --------------------------------------------------------------------------------------------


def is_special(line: str) -> bool:
    """Whether a line of a source would not be read as one: a mark, or what names a database."""
    return bool(_MARK.match(line) or _DSN_LINE.match(line))


def _without_interpreter(lines: list[str]) -> list[str]:
    """The lines without those for whoever runs the file: `#!` and the encoding, which the first two alone can be."""
    dropped = set[int]()
    for at, line in enumerate(lines[:2]):
        if _MARK.match(line) or not (line.lstrip().startswith("#") or not line.strip()):
            break
        is_ours = _NAME_LINE.match(line) or _DATABASE_LINE.match(line)
        if not is_ours and (_ENCODING_LINE.match(line) or (at == 0 and line.startswith("#!"))):
            dropped.add(at)
    return [line for at, line in enumerate(lines) if at not in dropped]


def _without_dsn(lines: list[str]) -> tuple[list[str], str, bool]:
    """The lines without those that hold a DSN, the DSN that stands before the first mark, and whether any did."""
    kept = [line for line in lines if not _DSN_LINE.match(line)]
    before = itertools.takewhile(lambda line: not _MARK.match(line), lines)
    dsn = next((found["dsn"].strip() for line in before if (found := _DSN_LINE.match(line))), "")
    return kept, dsn, len(kept) != len(lines)


def _chunks(lines: list[str], *, of_jupytext: bool) -> list[_Chunk]:
    chunks = [_Chunk(words=None, mark="", of_jupytext=of_jupytext)]
    for line in lines:
        if found := _MARK.match(line):
            words = (found["words"] or "").strip()
            chunks.append(_Chunk(words=words, mark=line, of_jupytext=of_jupytext))
        else:
            chunks[-1].lines.append(line)
    return chunks


def _join_strings(chunks: list[_Chunk]) -> list[_Chunk]:
    """Undo marks that are inside a triple-quoted string; a string that never ends joins nothing."""
    joined: list[_Chunk] = []
    at = 0
    while at < len(chunks):
        chunk, taken = chunks[at], 1
        quotes = _open_quotes(chunk, chunk.lines)
        following = chunks[at + 1 : at + 1 + _JOIN_AT_MOST] if quotes else []
        for more, after in enumerate(following, start=1):
            quotes = _open_quotes(chunk, [after.mark, *after.lines], quotes)
            if not quotes:
                lines = [line for each in following[:more] for line in (each.mark, *each.lines)]
                chunk, taken = replace(chunk, lines=chunk.lines + lines), more + 1
                break
        joined.append(chunk)
        at += taken
    return joined


def _open_quotes(chunk: _Chunk, lines: list[str], opened: str = "") -> str:
    """The quotes of a triple-quoted string of Python that is open at the end of these lines of the chunk's cell;
    `opened`: those of one that is at their beginning.
    """
    words, metadata = _metadata(chunk.words or "")
    origin = _ORIGIN.match(words)
    if origin and (origin["type"].lower() != "python" or metadata.get("quoted") is True):
        return ""
    return strings.open_quotes("\n".join(lines), opened)


def _preamble(lines: list[str]) -> tuple[str, list[str], str]:
    """What is before the first mark: the name it says, the lines that are code, what it says of a database."""
    title, kept, database = "", [], ""
    for line in lines:
        if found := _NAME_LINE.match(line):
            title = title or found["name"].strip()
        elif found := _DATABASE_LINE.match(line):
            database = database or found["dsn"].strip()
        elif not line.startswith("# jupyter nbconvert"):
            kept.append(line)
    return title, kept, database


def _without_header(lines: list[str]) -> tuple[list[str], bool]:
    """Leave out jupytext's own settings: YAML in comments between two `# ---`. Also, whether it wrote the file."""
    start = next((at for at, line in enumerate(lines) if line.strip()), None)
    if start is None or lines[start].rstrip() != "# ---":
        return lines, False
    for end in range(start + 1, len(lines)):
        if lines[end].rstrip() == "# ---":
            return lines[:start] + lines[end + 1 :], "# jupyter:" in lines[start:end]
        if not lines[end].startswith("#"):
            break
    return lines, False


# --- A chunk into a cell ---------------------------------------------------------------------------------------------


def _cell(chunk: _Chunk) -> ImportedCell:
    words, metadata = _metadata(chunk.words or "")
    if origin := _ORIGIN.match(words):
        return _origin_cell(origin["type"].lower(), (origin["id"] or "").strip() or None, chunk, metadata)
    kind = _KIND.search(words)
    title = (words[: kind.start()] + words[kind.end() :] if kind else words).strip()
    if title:
        metadata["title"] = title
    cell_id = metadata.pop("id", None)
    lines = _trimmed(chunk.lines)
    if kind:
        made = ImportedCell(type="markdown", source=_uncommented(lines))
        if kind["kind"].lower() == "raw":
            metadata[OURS] = {"cell_type": "raw"}
    else:
        made = _code_cell(chunk, lines, metadata)
    made.id = cell_id if isinstance(cell_id, str) else None
    made.metadata = metadata
    jupyter = metadata.get("jupyter")
    made.code_hidden = isinstance(jupyter, dict) and jupyter.get("source_hidden") is True
    return made


def _origin_cell(kind: str, cell_id: str | None, chunk: _Chunk, metadata: Json) -> ImportedCell:
    if metadata.pop("quoted", None) is True:
        source = "\n".join(line.removeprefix(QUOTE) for line in chunk.lines if line.startswith(QUOTE))
    else:
        lines = _trimmed(chunk.lines)
        source = _uncommented(lines) if kind == "markdown" else "\n".join(lines)
    said_id = metadata.pop("id", None)
    name, disabled = metadata.pop("result_name", ""), metadata.pop("disabled", None)
    if isinstance(metadata.get(METADATA), dict):
        metadata |= metadata.pop(METADATA)
    jupyter = metadata.get("jupyter")
    return ImportedCell(
        type=kind,
        source=source,
        id=cell_id or (said_id if isinstance(said_id, str) and said_id else None),
        result_name=result_name(name),
        disabled=disabled is True,
        code_hidden=isinstance(jupyter, dict) and jupyter.get("source_hidden") is True,
        metadata=metadata,
    )


def _code_cell(chunk: _Chunk, lines: list[str], metadata: Json) -> ImportedCell:
    """A code cell; the magics that jupytext keeps in comments are magics again."""
    language = metadata.pop("language", None)
    if isinstance(language, str) and language.isalnum():
        arguments = metadata.pop("magic_args", "")
        source = f"%%{language} {arguments}".rstrip() + "\n" + _uncommented(lines)
    else:
        lines = jupytext_magics.uncommented(lines) if chunk.of_jupytext else _with_magics(lines)
        source = "\n".join(lines)
    query = magics.read_sql(source)
    if query:
        return ImportedCell(type="sql", source=query.source, result_name=query.result_name)
    return ImportedCell(type="python", source=source)


def _with_magics(lines: list[str]) -> list[str]:
    changed = [jupytext_magics.without_mark(line) if _MAGIC_LINE.match(line) else line for line in lines]
    is_query = bool(changed) and changed[0] != lines[0] and magics.is_sql(changed[0])
    return [changed[0], *_uncommented(lines[1:]).split("\n")] if is_query else changed


def _uncommented(lines: list[str]) -> str:
    """Text that is written as comments, or as one string in triple quotes; text that is neither stays as it is."""
    whole = "\n".join(lines)
    for quotes in _QUOTES:
        if whole.startswith(quotes) and whole.endswith(quotes[-3:]) and len(whole) >= len(quotes) + 3:
            return whole[len(quotes) : -3].strip("\n")
    if not all(line.startswith("#") or not line.strip() for line in lines):
        return whole
    return "\n".join(line.removeprefix("# ") if line.startswith("# ") else line.removeprefix("#") for line in lines)


def _trimmed(lines: list[str]) -> list[str]:
    """The lines without empty ones around: they part cells."""
    text = "\n".join(lines).strip("\n")
    return [line.rstrip() if not line.strip() else line for line in text.split("\n")]


def _metadata(words: str) -> tuple[str, Json]:
    """A mark's words without its `key=JSON` pairs, and those. What is not such a pair belongs to the words."""
    if len(words) > MARK_AT_MOST:
        return words, {}
    decoder = json.JSONDecoder()
    pairs: Json = {}
    at = 0
    while found := _KEY.search(words, at):
        try:
            value, end = decoder.raw_decode(words, found.end())
        except (ValueError, RecursionError):
            at = found.end()
            continue
        pairs[found["key"]] = value
        words = f"{words[: found.start()].rstrip()} {words[end:].lstrip()}".strip()
        at = 0
    cleaned, _ = clean_json(pairs)
    return words, cleaned
