"""Exports over HTTP: what a notebook of large outputs, many who ask, or a picture of one can cost the server."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from notebooks_app import export_answers, exporting, notebooks
from notebooks_app.formats import ImportedCell, ImportedNotebook
from notebooks_app.models import Notebook, Output, OutputFile

pytestmark = pytest.mark.django_db

PLOTLY = "application/vnd.plotly.v1+json"


def text(size: int) -> dict[str, Any]:
    return {"kind": "stream", "name": "stdout", "index": 0, "text": "x" * size, "cut": None, "files": {}}


def shown(**data: Any) -> dict[str, Any]:
    return {"kind": "display_data", "index": 0, "data": data, "metadata": {}, "display_id": None, "files": {}}


def made(owner: Any, *outputs: dict[str, Any]) -> Notebook:
    cells = [ImportedCell("python", "x", outputs=[output]) for output in outputs]
    return notebooks.import_notebook(owner, ImportedNotebook(name="n", cells=cells))


def signed_in(person: Any) -> Client:
    client = Client()
    client.force_login(person)
    return client


def exported(owner: Any, notebook: Notebook, **query: str) -> Any:
    return signed_in(owner).get(reverse("notebook_export", args=[notebook.pk]), query)


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the files that are read."""
    sizes: list[int] = []
    read = exporting.read_file
    monkeypatch.setattr(exporting, "read_file", lambda file: sizes.append(file.size_bytes) or read(file))
    return sizes


class TestSize:
    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(export_answers, "MOST_BYTES", 1_000_000)

    def test_of_an_imported_error_without_room_the_ends_are_there_and_where_it_is_kept(self, owner):
        lines = [f"line {number} {'x' * 100}" for number in range(20_000)]
        error = {"kind": "error", "ename": "E", "evalue": "v", "traceback": lines, "index": 0}
        found = json.loads(exporting.text_of(made(owner, error), "ipynb", exporting.Room(1_000_000)))
        told = found["cells"][0]["outputs"][0]["traceback"]
        assert told[0] == lines[0] and lines[-1] in told and "It is kept at" in told[-1]
        whole = json.loads(exporting.text_of(made(owner, error), "ipynb"))
        assert whole["cells"][0]["outputs"][0]["traceback"] == lines

    @pytest.mark.parametrize("ending", ["ipynb", "html"])
    def test_outputs_without_room_are_not_read_and_the_file_says_where_they_are(self, owner, read_bytes, ending):
        notebook = made(owner, text(3_000_000), text(200_000), shown(**{"text/html": "y" * 900_000, "text/plain": "t"}))
        answer = exported(owner, notebook, format=ending)
        assert answer.status_code == 200 and read_bytes == [200_000]
        words = answer.content.decode()
        for file in OutputFile.objects.exclude(size_bytes=200_000):
            assert (
                words.count(f"of {file.size_bytes:,} bytes is too large for this file. It is kept at {file.url}]") == 1
            )
            assert "bytes left out]" not in words

    def test_what_was_shown_beside_a_large_item_stays(self, owner):
        notebook = made(owner, shown(**{"text/html": "y" * 2_000_000, "text/plain": "a table"}))
        data = json.loads(exported(owner, notebook).content)["cells"][0]["outputs"][0]["data"]
        assert list(data) == ["text/plain"]
        assert data["text/plain"][0] == "a table\n" and data["text/plain"][1].startswith(
            "[text/html of 2,000,000 bytes"
        )

    def test_many_values_of_json_have_less_room_than_their_bytes(self, owner):
        notebook = made(owner, shown(**{PLOTLY: {"data": [0] * 50_000}}), shown(**{PLOTLY: {"data": ["z" * 99_000]}}))
        found = [cell["outputs"][0]["data"] for cell in json.loads(exported(owner, notebook).content)["cells"]]
        assert [list(data) for data in found] == [["text/plain"], [PLOTLY]]

    @pytest.mark.parametrize("depth", [300, 100_000])
    def test_json_that_is_nested_deep_ends_no_export(self, owner, monkeypatch, depth):
        notebook = made(owner, shown(**{PLOTLY: {"data": ["z" * 99_000]}}))
        monkeypatch.setattr(export_answers, "MOST_BYTES", 64_000_000)
        monkeypatch.setattr(exporting, "read_file", lambda file: b"[" * depth + b"]" * depth)
        answer = exported(owner, notebook)
        assert (answer.status_code, b"too large for this file" in answer.content) == (
            (200, True) if depth < 1_000 else (503, False)
        )

    def test_rows_without_room_are_refused_before_they_are_read(self, owner):
        notebook = made(owner, text(1000))
        Output.objects.update(size_bytes=1_000_001)
        answer = exported(owner, notebook)
        assert (answer.status_code, answer.content) == (
            503, b"It shows too many outputs for one file. Clear some, or ask who runs the server.\n",
        )  # fmt: skip

    def test_whoever_runs_the_server_gets_all(self, owner, read_bytes):
        exporting.load(made(owner, text(3_000_000)))
        assert read_bytes == [3_000_000]


class TestAtOnce:
    @pytest.fixture(autouse=True)
    def _no_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(export_answers, "WAIT_S", 0)
        monkeypatch.setattr(HttpResponse, "close", lambda self: None)  # which closes the test's connection too

    def ask(self, person: Any, notebook: Notebook) -> Any:
        """An answer that is not sent yet."""
        request = RequestFactory().get("/")
        request.user = person
        return export_answers.answer(request, notebook, "ipynb")

    def test_a_person_has_one_under_way_until_it_is_sent(self, owner, editor):
        notebook = made(owner, text(10))
        first = self.ask(owner, notebook)
        refused, others = self.ask(owner, notebook), self.ask(editor, notebook)
        assert [one.status_code for one in (first, refused, others)] == [200, 503, 200]
        assert refused.content.decode().strip() == export_answers.BUSY
        first.close()
        assert self.ask(owner, notebook).status_code == 200

    def test_a_process_holds_a_few_texts(self, owner, editor, viewer, monkeypatch):
        monkeypatch.setattr(export_answers, "AT_ONCE", 2)
        notebook = made(owner, text(10))
        answers = [self.ask(person, notebook) for person in (owner, editor, viewer)]
        assert [one.status_code for one in answers] == [200, 200, 503]

    def test_an_answer_that_nobody_takes_gives_its_place_back(self, owner):
        notebook = made(owner, text(10))
        for _ in range(3):
            assert self.ask(owner, notebook).status_code == 200
            gc.collect()

    def test_one_is_written_at_a_time_and_a_failure_gives_its_place_back(self, owner, monkeypatch):
        notebook = made(owner, text(10))
        with export_answers._one_writes:
            assert self.ask(owner, notebook).status_code == 503
        with monkeypatch.context() as broken:
            broken.setattr(exporting, "text_of", lambda *given: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                self.ask(owner, notebook)
        assert self.ask(owner, notebook).status_code == 200


@pytest.mark.parametrize(
    ("dest", "status"), [("image", 403), ("iframe", 403), ("video", 403), ("document", 200), ("empty", 200)]
)
def test_a_picture_or_frame_exports_nothing(owner, dest: str, status: int):
    notebook = made(owner, text(10))
    path = reverse("notebook_export", args=[notebook.pk])
    assert signed_in(owner).get(path, headers={"Sec-Fetch-Dest": dest}).status_code == status
