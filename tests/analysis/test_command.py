"""`manage.py analyze` as it is called: a process, standard input, JSON lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*options: str, source: str | bytes) -> subprocess.CompletedProcess[bytes]:
    data = source.encode() if isinstance(source, str) else source
    command = [sys.executable, str(ROOT / "manage.py"), "analyze", *options]
    return subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)


def test_a_python_source_on_standard_input() -> None:
    done = run("--lang", "python", source="b = a\nprint(b)")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"definitions": ["b"], "references": ["a"], "errors": []}


def test_sql_has_parameters_and_tables() -> None:
    done = run("--lang", "sql", source="SELECT * FROM T WHERE a = {x}")
    assert json.loads(done.stdout) == {"definitions": [], "references": ["T", "x"], "errors": []}


def test_errors_are_objects_with_kind_and_line() -> None:
    done = run("--lang", "python", source="x = 1\ny = (")
    (error,) = json.loads(done.stdout)["errors"]
    assert done.returncode == 0 and (error["kind"], error["line"]) == ("syntax", 2)


def test_one_result_a_line_with_its_id_and_bad_lines_named() -> None:
    lines = [
        json.dumps({"id": "a", "lang": "python", "code": "x = y\n"}),
        "{not json",
        "",
        json.dumps({"id": 2, "lang": "sql", "code": "SELECT * FROM t"}),
        json.dumps({"id": 3, "lang": "cobol", "code": "x"}),
        json.dumps({"id": 4, "lang": "python"}),
        json.dumps(["x"]),
        json.dumps({"id": None, "lang": "python", "code": "\ud800"}),
    ]
    done = run("--json-lines", source="\n".join(lines))
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and len(results) == 7
    assert results[0] == {"id": "a", "definitions": ["x"], "references": ["y"], "errors": []}
    assert results[1]["line"] == 2 and "line 2 is not JSON" in results[1]["error"]
    assert results[2]["references"] == ["t"]
    assert results[3] == {"id": 3, "line": 5, "error": 'line 5: "lang" must be one of python, sql, markdown'}
    assert results[4]["error"] == 'line 6: "code" must be a text'
    assert results[5]["line"] == 7 and results[6]["errors"][0]["kind"] == "syntax"


def test_bytes_that_are_no_utf_8_are_a_syntax_error() -> None:
    done = run("--lang", "python", source=b"x = '\xff'")
    assert done.returncode == 0 and json.loads(done.stdout)["errors"][0]["kind"] == "syntax"
