"""The sample database: the same everywhere, small, made once, and read-only to whoever queries it."""

import hashlib
import os

import duckdb
import pytest

from kernels_app.inside import duck
from notebooks_app.demo.sample import ensure_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "made" / "sample.duckdb"
    assert ensure_sample(path)
    return path


def test_it_is_made_once_and_anew_for_another_version(sample, tmp_path):
    assert not ensure_sample(sample)
    assert os.listdir(sample.parent) == ["sample.duckdb"] and sample.stat().st_size < 2_000_000
    other = tmp_path / "sample.duckdb"
    other.write_bytes(b"not a database")
    assert ensure_sample(other) and not ensure_sample(other)


def test_every_machine_has_the_same_numbers(sample):
    with duckdb.connect(str(sample), read_only=True) as file:
        rows = file.execute("SELECT * FROM orders ORDER BY order_id").fetchall()
    assert len(rows) == 5000
    assert hashlib.sha256(repr(rows).encode()).hexdigest()[:16] == "5f34ad4e707d30ad"


def test_a_cell_queries_it_by_name_and_cannot_change_it(sample, monkeypatch):
    monkeypatch.setenv("RILLBOOK_SAMPLE_DB", str(sample))
    sql = (
        "SELECT segment, sum(amount) AS net FROM sample.orders JOIN sample.customers USING "
        "(customer_id) GROUP BY 1"
    )
    frame, info = duck.run(sql, [], [], {})
    assert sorted(frame.segment) == ["Homes", "Hotels", "Offices", "Restaurants"] and info["rows"] == 4
    with pytest.raises(duck.SqlError, match="read-only"):
        duck.run("DELETE FROM sample.orders", [], [], {})


def test_orders_fit_their_customers_and_prices(sample):
    with duckdb.connect(str(sample), read_only=True) as file:
        wrong = """SELECT count(*) FROM orders o LEFT JOIN customers c USING (customer_id) LEFT JOIN
            products p USING (product_id)
            WHERE c.name IS NULL OR p.list_price <> o.price OR abs(amount - quantity * price * (1 - discount)) > 0.01"""
        assert file.execute(wrong).fetchone() == (0,)
