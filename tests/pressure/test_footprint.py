"""What the server's process holds when nothing happens."""

from __future__ import annotations

from pathlib import Path

from tests.servers import LiveServer


def test_the_data_libraries_of_kernels_are_not_in_the_server(live_server: LiveServer):
    api = live_server.api()
    assert api("GET", "notebooks/")[0] == 200
    status, made = api("POST", "notebooks/", {"name": "One"})
    assert status == 201
    api("POST", f"notebooks/{made['id']}/cells/", {"type": "python", "source": "1 + 1"})
    assert api("POST", f"notebooks/{made['id']}/runs/", {"all": True, "wait": True})[0] == 200
    assert (live_server.data_dir / "sample" / "sample.duckdb").is_file()
    maps = Path(f"/proc/{live_server.pid}/maps").read_text()
    found = {name for name in ("duckdb", "pyarrow", "pandas", "numpy", "polars", "matplotlib") if f"/{name}/" in maps}
    assert found == set()
