"""What a notebook file is to us, whatever its format. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

type Json = dict[str, Any]


class FormatError(ValueError):
    """A file that is not the notebook it should be; the message names the file and the place in it."""


@dataclass
class ImportedCell:
    """One cell; `outputs` are as docs/architecture.md, section 2, has them."""

    type: str  # python | sql | markdown
    source: str
    id: str | None = None
    result_name: str = ""
    metadata: Json = field(default_factory=dict)
    outputs: list[Json] = field(default_factory=list)
    execution_count: int | None = None
    code_hidden: bool = False
    disabled: bool = False


@dataclass
class ImportedNotebook:
    name: str
    cells: list[ImportedCell] = field(default_factory=list)
    metadata: Json = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
