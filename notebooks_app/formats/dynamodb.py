"""Items of the predecessor's DynamoDB tables to the legacy document (legacy.py). Pure: items are plain Python values as
boto3's deserializer gives them (Decimal, set, Binary); reading tables is notebooks_app/dynamodb.py's.

An item with `cells` is of the first design, one with `cell_count` of the second, whose cells are rows of a table of
their own; during dual writing an item has both, and the rows win. What was empty may be absent.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from notebooks_app.formats.base import FormatError, Json

_ITEM_KEYS = frozenset(["notebook_id", "cells", "cell_count"])
_ROW_KEYS = frozenset(["notebook_id", "position", "cell_id"])

type Item = Mapping[str, Any]


def needs_rows(item: Item) -> bool:
    """Whether the item's cells are, or may be, in the table of cells."""
    return item.get("cell_count") is not None or not isinstance(item.get("cells"), list)


def document(where: str, item: Item, rows: Sequence[Item] | None, warnings: list[str], *, now: datetime) -> Json:
    """The legacy document of an item and its rows in order of position (None: there is no table of cells).

    Raises FormatError; adds to `warnings` what disagrees.
    """
    if not isinstance(item.get("notebook_id"), str):
        raise FormatError(f"{where}: the item has no notebook_id.")
    found = {key: plain(value) for key, value in item.items() if key not in _ITEM_KEYS}
    found["id"] = item["notebook_id"]
    _check_ttl(found.get("ttl"), warnings, now)
    found["cells"] = _cells(where, item, rows, warnings)
    return found


def _cells(where: str, item: Item, rows: Sequence[Item] | None, warnings: list[str]) -> list[Any]:
    inside, count = item.get("cells"), _count(where, item)
    has_cells = isinstance(inside, list)
    if rows is None:
        if count is not None or not has_cells:
            raise FormatError(f"{where}: its cells are in a table of their own, which was not named.")
        return plain(inside)
    if not rows and has_cells and inside and (count is None or count > 0):
        if count is not None:
            warnings.append(
                f"It says {count} cells and the table of cells has none: the {len(inside)} of its old form are taken."
            )
        return plain(inside)
    if count is not None and count != len(rows):
        warnings.append(f"It says {count} cells; the table of cells has {len(rows)}, which are taken.")
    return [_row(row) for row in sorted(rows, key=lambda row: _position(where, row))]


def _count(where: str, item: Item) -> int | None:
    """What the item says of how many cells it has. Raises FormatError."""
    count = item.get("cell_count")
    if count is not None and (not isinstance(count, int | Decimal) or isinstance(count, bool) or count != int(count)):
        raise FormatError(f"{where}: cell_count is not a whole number.")
    return None if count is None else int(count)


def _position(where: str, row: Item) -> int | Decimal:
    position = row.get("position")
    if not isinstance(position, int | Decimal) or not Decimal(position).is_finite():
        raise FormatError(f"{where}: a row of the table of cells has no position.")
    return position


def _row(row: Item) -> Json:
    """A row of the table of cells as a cell of the document. Its place is its order; the number itself is not kept."""
    found = {key: plain(value) for key, value in row.items() if key not in _ROW_KEYS}
    return found | {"id": plain(row.get("cell_id"))}


def _check_ttl(ttl: Any, warnings: list[str], now: datetime) -> None:
    if isinstance(ttl, int | float) and 0 < ttl < now.timestamp():
        when = datetime.fromtimestamp(ttl, UTC).date().isoformat()
        warnings.append(f"Its ttl passed on {when}: DynamoDB would have deleted it at some time since.")


def plain(value: Any) -> Any:
    """A value of DynamoDB as JSON has it: whole Decimals are ints, others floats, sets sorted lists, bytes base64."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=lambda item: (str(type(item)), item))
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    data = getattr(value, "value", value)  # boto3's Binary
    return base64.b64encode(bytes(data)).decode() if isinstance(data, bytes | bytearray) else value
