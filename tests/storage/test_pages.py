"""A notebook's page in Chromium while its outputs are in a bucket, or held because the bucket is away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.servers import LiveServer
from tests.storage.conftest import BUCKET
from tests.wires import Wire

RUN_S = 60_000
PICTURE = """import struct, zlib, random
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
rows = b"".join(b"\\x00" + random.Random(row).randbytes(400 * 3) for row in range(300))
png = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 400, 300, 8, 2, 0, 0, 0))
png += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
from IPython.display import Image
Image(png)"""
DOCUMENT = """from IPython.display import HTML
HTML("<h3 id='there'>Drawn in its frame</h3>" + "<!-- " + "x" * 200_000 + " -->")"""
TEXT = "for number in range(60_000): print(f'line {number:06}')"


def server_with(endpoint: str, folder: Path) -> LiveServer:
    return LiveServer(
        folder, OUTPUTS_BUCKET=BUCKET, OUTPUTS_ENDPOINT_URL=endpoint, OUTPUTS_TIMEOUT_S="3",
        AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_EC2_METADATA_DISABLED="true",
    )  # fmt: skip


def run_all(page: Any, server: LiveServer, folder: Path) -> str:
    """Import the notebook, run it in the page; its path."""
    cells = [
        {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
        for source in (PICTURE, DOCUMENT, TEXT)
    ]
    path = folder / "large.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}))
    found = re.search(r"/notebooks/[0-9a-f-]{36}/", server.manage("import_notebooks", str(path)))
    assert found is not None
    page.goto(server.url + found[0])
    page.locator('[data-part="saved-words"]', has_text="Saved, online").wait_for(timeout=RUN_S)
    page.click('[data-action="run_all"]')
    for number in (1, 2, 3):
        page.locator(f'section.cell[data-number="{number}"][data-state="current"]').wait_for(timeout=RUN_S)
    return found[0]


def see_all(page: Any) -> None:
    """The picture is drawn, the document is in its frame, the text is shown whole."""
    width = "() => document.querySelector('section.cell img.output-image')?.naturalWidth"
    for _ in range(200):
        if page.evaluate(width) == 400:
            break
        page.wait_for_timeout(50)
    assert page.evaluate(width) == 400
    page.frame_locator('section.cell[data-number="2"] iframe').locator("#there").wait_for(timeout=RUN_S)
    page.locator('section.cell[data-number="3"] .output-cut a').click()
    page.locator('section.cell[data-number="3"] .output-text', has_text="line 030000").wait_for(timeout=RUN_S)


@pytest.fixture(scope="module")
def bucket(s3_url: str) -> str:
    """The endpoint of a bucket that lets other origins' scripts read, as docs/operations.md says."""
    client = boto3.client(
        "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    client.create_bucket(Bucket=BUCKET)
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "AllowedHeaders": []}
    client.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})
    return s3_url


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def test_large_outputs_are_shown_from_a_bucket(page: Any, bucket: str, tmp_path: Path):
    server = server_with(bucket, tmp_path)
    try:
        refused: list[str] = []
        page.on("console", lambda line: refused.append(line.text) if "Content Security" in line.text else None)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.login_url)
        path = run_all(page, server, tmp_path)
        see_all(page)
        page.goto(server.url + path)  # the same again, drawn by the server
        see_all(page)
        signed = [url for url in asked if url.startswith(f"{bucket}/{BUCKET}/")]
        assert len({url.split("?")[0] for url in signed}) == 3 and all("X-Amz-Signature" in url for url in signed)
        assert refused == []
        assert "data:image/png;base64" not in page.content()
    finally:
        server.stop()


def test_large_outputs_are_shown_while_the_bucket_is_away(page: Any, bucket: str, tmp_path: Path):
    wire = Wire(int(bucket.rpartition(":")[2]))
    server = server_with(f"http://127.0.0.1:{wire.port}", tmp_path)
    wire.cut()
    try:
        page.goto(server.login_url)
        path = run_all(page, server, tmp_path)
        see_all(page)
        page.goto(server.url + path)
        see_all(page)
    finally:
        server.stop()
