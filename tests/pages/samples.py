"""Outputs of every kind, honest and hostile, that both renderers draw in the tests."""

import base64
import struct
import zlib

TABLE_MIME = "application/vnd.rillbook.table+json"
HOSTILE = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
DASHES = "\x1b[31m" + "-" * 75 + "\x1b[39m"


def png(width: int, height: int) -> str:
    """A white picture, as base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\x00" + b"\xff" * width) * height)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


def stream(text: str, name: str = "stdout", cut: dict | None = None, files: dict | None = None) -> dict:
    return {"index": 0, "kind": "stream", "name": name, "text": text, "cut": cut, "files": files or {}}


def result(data: dict, metadata: dict | None = None, files: dict | None = None) -> dict:
    return {
        "index": 0,
        "kind": "execute_result",
        "data": data,
        "metadata": metadata or {},
        "display_id": None,
        "files": files or {},
    }


def error(ename: str, evalue: str, traceback: list[str]) -> dict:
    return {
        "index": 0,
        "kind": "error",
        "ename": ename,
        "evalue": evalue,
        "traceback": traceback,
        "files": {},
    }


def column(name: str, kind: str, numeric: bool = False) -> dict:
    return {"name": name, "type": kind, "numeric": numeric}


TABLE = {
    "handle": "t1",
    "index": [column("", "int64", True)],
    "columns": [
        column("name", "string"),
        column("price", "float64", True),
        column("tiny", "float64", True),
        column("n", "int64", True),
        column(HOSTILE, "object"),
    ],
    "rows": [
        [0, "Ada", 489.0, 1.5e-7, 12, HOSTILE],
        [1, None, 2650.125, 2.0, -7, [1, 2.5, "x"]],
        [2, "Ünïcödé", 0.0625, None, 0, True],
        [3, "<b>", -0.015625, 1e21, 9007199254740991, {"a": None}],
    ],
    "row_count": 48210,
    "column_count": 5,
    "offset": 0,
    "page_size": 4,
    "sort": [{"column": "price", "descending": True}],
}
SMALL_TABLE = {
    "handle": "",
    "columns": [column("only", "int64", True)],
    "index": [],
    "rows": [[1]],
    "row_count": 1,
    "column_count": 1,
}
MARKDOWN = f"""# Title & more

Costs $5 and $6, is $a_b^2 < c$ and `code`.

$$
\\sum_{{i=1}}^n x_i
$$

| left | right | middle |
|------|------:|:------:|
| 1    |     2 |   3    |

1. one
2. two **bold** *em* ~~gone~~ [site](https://example.org "t") [bad](javascript:alert(1))

<details><summary>More</summary>Inside <sub>x</sub></details>

{HOSTILE} <a href="data:text/html,x">d</a> <a href="java&#10;script:alert(1)">e</a>
<b style="color:red" onclick="x">f</b>
<iframe src="/"></iframe><svg><script>window.hurt=1</script></svg><p id="page-data" class="cell math">g</p>

    indented code

> quote
"""
KEY_ERROR = error(
    "KeyError",
    "'target'",
    [
        DASHES,
        "\x1b[31mKeyError\x1b[39m                  Traceback (most recent call last)",
        '\x1b[36mCell 9, line 3\x1b[39m\n      2 gap = 1\n\x1b[31;1m----> 3\x1b[0m gap["target"]',
        "File \x1b[32m/lib/pandas/core/frame.py:4102\x1b[39m, in DataFrame.__getitem__(self, key)\n   4101 x",
        "File \x1b[32m/lib/pandas/core/base.py:12\x1b[39m, in Index.get_loc(self, key)\n   12 y",
        "\x1b[31mKeyError\x1b[39m: 'target'",
    ],
)
ANSI = (
    "plain \x1b[1;31mbold red\x1b[0m \x1b[38;5;28mgreen\x1b[39m \x1b[48;2;250;100;100mon\x1b[49m "
    "\x1b[7minverse\x1b[27m \x1b[4;9mboth\x1b[24;29m \x1b[38;5;240mgrey\x1b[m \x1b[2Kgone \x1b]8;;x\x07link"
    "\x1b[97;104mbright\x1b[0m <b>&amp;</b> \x07bell\x1b[3"
)

STATIC_OUTPUTS = {
    "text": stream("hello\nworld\n"),
    "empty text": stream(""),
    "ansi": stream(ANSI),
    "stderr": stream("\x1b[33mWarning\x1b[0m: x\n", "stderr"),
    "cut": stream("head\n", cut={"omitted_bytes": 2_100_000, "omitted_lines": 41_287, "tail": "tail\n"}),
    "cut with file": stream(
        "head\n",
        cut={"omitted_bytes": 999, "omitted_lines": 1, "tail": "t"},
        files={"text/plain": {"url": "/outputs/1/2/", "size_bytes": 1234}},
    ),
    "error": KEY_ERROR,
    "error with file": KEY_ERROR | {"files": {"a/b": {"url": "/outputs/1/2/", "size_bytes": 1234}}},
    "error without frames": error("ValueError", HOSTILE + "\nsecond line", []),
    "syntax error": error(
        "SyntaxError", "bad", ["  Cell 2, line 1\n    foo bar\n        ^\nSyntaxError: bad\n"]
    ),
    "table": result({TABLE_MIME: TABLE, "text/html": "<table></table>", "text/plain": "x"}),
    "small table": result({TABLE_MIME: SMALL_TABLE}),
    "markdown": result({"text/markdown": MARKDOWN, "text/plain": "x"}),
    "latex": result({"text/latex": "$$\\int_0^1 x^2 dx$$"}),
    "inline latex": result({"text/latex": "$x<y$"}),
    "svg": result({"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg'>é{HOSTILE}</svg>"}),
    "png": result({"image/png": png(30, 20), "text/plain": "<Figure size 640x480 with 1 Axes>"}),
    "png with size": result(
        {"image/png": png(30, 20)}, {"image/png": {"width": 15, "height": 10, "alt": "A chart"}}
    ),
    "spilled png": result(
        {"text/plain": "p"}, files={"image/png": {"url": "/static/icons.svg", "size_bytes": 9}}
    ),
    "json": result({"application/json": {"a": [1, 2.5, None, True, "<b>"], "b": {}, "c": {"d": 1e-7}}}),
    "plain": result({"text/plain": "array([1, 2])\n\x1b[31mred\x1b[0m " + HOSTILE}),
    "list of lines": result({"text/plain": ["a\n", "b"]}),
    "unknown type": result({"application/x-thing": {"a": 1.5}}),
    "spilled text": result({}, files={"text/plain": {"url": "/outputs/1/2/", "size_bytes": 123_456}}),
    "html": result({"text/html": HOSTILE, "text/plain": "<Thing>"}),
    "plotly": result({"application/vnd.plotly.v1+json": {"data": []}, "text/plain": "x" * 3000}),
    "vega with picture": result({"application/vnd.vegalite.v5+json": {}, "image/png": png(3, 2)}),
    "nothing": result({}),
}
