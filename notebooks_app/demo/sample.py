"""Makes the sample database: a small shop for coffee equipment, the same on every machine.

One DuckDB file, put in place whole and never changed after; kernels attach it read-only
(kernels_app/inside/duck.py). The server itself never queries it. The numbers come from a fixed linear
congruential generator, not from `random`, whose sequences Python does not promise.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

VERSION = 1  # counts changes of what is below; a file of another version is made anew
CUSTOMERS = 400
ORDERS = 5_000
FIRST_DAY = datetime.date(2025, 1, 1)
LAST_DAY = datetime.date(2026, 6, 30)

REGIONS = (("North", 30), ("South", 28), ("East", 24), ("West", 18))
SEGMENTS = (("Homes", 46), ("Offices", 24), ("Restaurants", 22), ("Hotels", 8))
TYPICAL_QUANTITY = {"Homes": 1, "Offices": 3, "Restaurants": 6, "Hotels": 9}
PRODUCTS = (
    ("Espresso machine E2", "Machines", "312.00", 6),
    ("Espresso machine E4", "Machines", "489.00", 4),
    ("Filter brewer F1", "Machines", "149.00", 6),
    ("Grinder, conical burr", "Grinders", "129.00", 8),
    ("Grinder, flat burr", "Grinders", "279.00", 5),
    ("Roaster 1 kg", "Roasters", "1190.00", 1),
    ("Roaster 5 kg", "Roasters", "2650.00", 1),
    ("Kettle, gooseneck", "Accessories", "59.00", 10),
    ("Scale with timer", "Accessories", "34.50", 11),
    ("Tamper 58 mm", "Accessories", "24.90", 9),
    ("Milk jug 600 ml", "Accessories", "17.50", 10),
    ("Paper filters, 100", "Consumables", "6.90", 22),
    ("Descaler, 1 l", "Consumables", "12.40", 12),
    ("Beans, Huila, 1 kg", "Beans", "21.80", 24),
    ("Beans, Sidamo, 1 kg", "Beans", "23.40", 20),
    ("Beans, Huila, 60 kg", "Beans", "588.00", 2),
)
DISCOUNTS = (("0.00", 60), ("0.05", 18), ("0.10", 12), ("0.15", 7), ("0.25", 3))
SEASON = (9, 8, 9, 8, 7, 6, 5, 6, 8, 10, 14, 17)  # of the twelve months
FIRST_NAMES = ("Ana", "Ben", "Chen", "Dora", "Emil", "Femi", "Greta", "Hugo", "Ines", "Jonas", "Kaya", "Lena")
LAST_NAMES = (
    "Berg",
    "Costa",
    "Diaz",
    "Eklund",
    "Fischer",
    "Garcia",
    "Haddad",
    "Ito",
    "Jansen",
    "Kowalski",
    "Lund",
)
BUSINESSES = {
    "Offices": ("Atelier", "Studio", "Bureau", "Works"),
    "Restaurants": ("Bistro", "Café", "Canteen", "Bakery"),
    "Hotels": ("Hotel", "Guesthouse", "Inn", "Hostel"),
}

TABLES = """
CREATE TABLE products (
    product_id INTEGER PRIMARY KEY, name VARCHAR, category VARCHAR, list_price DECIMAL(10, 2));
CREATE TABLE customers (
    customer_id INTEGER PRIMARY KEY, name VARCHAR, segment VARCHAR, region VARCHAR, customer_since DATE);
CREATE TABLE orders (
    order_id INTEGER PRIMARY KEY, customer_id INTEGER, product_id INTEGER, placed_at DATE, quantity INTEGER,
    price DECIMAL(10, 2), discount DECIMAL(4, 2), amount DECIMAL(12, 2));
CREATE TABLE rillbook_sample (version INTEGER);
"""


def ensure_sample_apart(path: Path | str) -> None:
    """`ensure_sample` in a process of its own: the libraries it needs would stay in the server, 100 MB of them.

    Raises OSError, RuntimeError with the reason.
    """
    done = subprocess.run([sys.executable, "-I", __file__, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The sample database could not be made: {done.stderr.strip()[-500:]}")


def ensure_sample(path: Path | str) -> bool:
    """Make the sample database at `path` unless this version is there. Returns whether it was made.

    The file appears whole, by a rename: kernels that hold the old one open go on with it.
    """
    target = Path(path)
    if _version(target) == VERSION:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".sample-") as folder:
        made = Path(folder) / "sample.duckdb"
        _build(made)
        made.chmod(0o644)
        os.replace(made, target)
    return True


def _version(path: Path) -> int | None:
    import duckdb

    if not path.is_file():
        return None
    with contextlib.suppress(duckdb.Error), duckdb.connect(str(path), read_only=True) as connection:
        row = connection.execute("SELECT version FROM rillbook_sample").fetchone()
        return int(row[0]) if row else None
    return None


def _build(path: Path) -> None:
    import duckdb
    import pyarrow

    draw = _draws(2026)
    customers = _customers(draw)
    tables: dict[str, Sequence[tuple[object, ...]]] = {
        "products": [(number, *product[:3]) for number, product in enumerate(PRODUCTS, start=1)],
        "customers": customers,
        "orders": _orders(draw, customers),
        "rillbook_sample": [(VERSION,)],
    }
    with duckdb.connect(str(path), config={"default_block_size": "16384"}) as connection:  # 2 MB become 0.3
        connection.execute(TABLES)
        for name, rows in tables.items():
            columns = [list(column) for column in zip(*rows, strict=True)]
            connection.register(
                "made", pyarrow.table(columns, names=[f"c{at}" for at in range(len(columns))])
            )
            connection.execute(f"INSERT INTO {name} SELECT * FROM made")
            connection.unregister("made")
        connection.execute("CHECKPOINT")


def _customers(draw: Iterator[float]) -> list[tuple[int, str, str, str, datetime.date]]:
    customers = []
    for number in range(1, CUSTOMERS + 1):
        segment = _choose(SEGMENTS, next(draw))
        last = LAST_NAMES[int(next(draw) * len(LAST_NAMES))]
        kind = BUSINESSES.get(segment, FIRST_NAMES)
        name = f"{kind[int(next(draw) * len(kind))]} {last}"
        since = FIRST_DAY - datetime.timedelta(days=int(next(draw) * 1_500))
        customers.append((number, name, segment, _choose(REGIONS, next(draw)), since))
    return customers


def _orders(
    draw: Iterator[float], customers: list[tuple[int, str, str, str, datetime.date]]
) -> list[tuple[object, ...]]:
    """Order lines by day: more before Christmas, larger for businesses, fewer pieces of what is dear."""
    days = [FIRST_DAY + datetime.timedelta(days=at) for at in range((LAST_DAY - FIRST_DAY).days + 1)]
    weighted = tuple((day, SEASON[day.month - 1]) for day in days)
    products = tuple((number, product[3]) for number, product in enumerate(PRODUCTS, start=1))
    placed = sorted(_choose(weighted, next(draw)) for _ in range(ORDERS))
    orders: list[tuple[object, ...]] = []
    for number, day in enumerate(placed, start=1):
        customer = customers[int(next(draw) * next(draw) * len(customers))]  # a few buy often, most seldom
        product = _choose(products, next(draw))
        cents = round(float(PRODUCTS[product - 1][2]) * 100)
        most = max(1, round(TYPICAL_QUANTITY[customer[2]] * (4 if cents < 10_000 else 1)))
        quantity = 1 + int(next(draw) * most)
        percent = round(float(_choose(DISCOUNTS, next(draw))) * 100)
        amount = (quantity * cents * (100 - percent) + 50) // 100
        orders.append(
            (number, customer[0], product, day, quantity, _money(cents), f"0.{percent:02d}", _money(amount))
        )
    return orders


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _choose[T](weighted: tuple[tuple[T, int], ...], drawn: float) -> T:
    left = drawn * sum(weight for _, weight in weighted)
    for value, weight in weighted:
        left -= weight
        if left < 0:
            return value
    return weighted[-1][0]


def _draws(seed: int) -> Iterator[float]:
    """Numbers from 0 to 1 (1 left out): Knuth's MMIX generator, its upper 32 bits."""
    state = seed
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield (state >> 32) / 2**32


if __name__ == "__main__":
    ensure_sample(sys.argv[1])
