"""Pages over the real URLs: who sees what, the first notebooks, forms, export and import."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from notebooks_app import notebooks, services
from notebooks_app.formats import ImportedCell, ImportedNotebook
from notebooks_app.models import Cell, Membership, Notebook, OutputFile
from notebooks_app.services import Author

pytestmark = pytest.mark.django_db


def sign_in(client: Any, user: Any) -> Any:
    client.force_login(user, backend="notebooks_app.accounts.PasswordBackend")
    return client


def test_a_new_user_finds_the_demo_and_a_blank_notebook_once(client, owner):
    sign_in(client, owner)
    first, second = client.get("/"), client.get("/")
    assert [row["kind"] for row in first.context["notebooks"]] == ["demo", "blank"]
    assert Notebook.objects.filter(owner=owner).count() == 2
    assert second.status_code == 200


def test_the_list_says_how_cells_are_and_offers_what_the_person_may_do(client, owner, editor, viewer, monkeypatch):
    made = notebooks.create_notebook(owner, "Shared")
    Membership.objects.create(notebook=made, user=editor, role="editor")
    Membership.objects.create(notebook=made, user=viewer, role="viewer")
    shown = {}
    for person in (owner, editor, viewer):
        page = sign_in(client, person).get("/", {"q": "Shared"}).content.decode()
        assert "Never run" in page
        row = page[page.index('<ul class="list">') :]
        shown[person.username] = (">You<" in row, "Rename" in row, "Delete" in row)
    assert shown == {"owner": (True, True, True), "editor": (False, True, False), "viewer": (False, False, False)}
    monkeypatch.setattr(notebooks, "DEMO_VERSION", 99)
    assert "Update available" in sign_in(client, owner).get("/", {"q": "Demo"}).content.decode()


def test_a_deleted_demo_does_not_come_back(client, owner):
    sign_in(client, owner).get("/")
    demo = Notebook.objects.get(owner=owner, kind="demo")
    client.post(reverse("notebook_delete", args=[demo.id]))
    assert [row["kind"] for row in client.get("/").context["notebooks"]] == ["blank"]


def test_an_older_demo_offers_the_newer_one_and_keeps_what_was_changed(client, owner, monkeypatch):
    sign_in(client, owner).get("/")
    demo = Notebook.objects.get(owner=owner, kind="demo")
    page = reverse("notebook", args=[demo.id])
    assert b"A newer demo is available" not in client.get(page).content
    monkeypatch.setattr(notebooks, "DEMO_VERSION", 99)
    assert b"A newer demo is available" in client.get(page).content
    services.rename_notebook(demo.id, "Mine", author=Author.of(owner), operation_id=demo.id)
    client.post(reverse("demo_reset", args=[demo.id]))
    assert Notebook.objects.get(owner=owner, kind="demo").demo_version == 99
    assert Notebook.objects.get(pk=demo.id).name == "Mine (my copy)"


@pytest.mark.parametrize("name", ["notebook", "notebook_export"])
def test_a_stranger_does_not_find_a_notebook(client, owner, stranger, name):
    made = notebooks.create_notebook(owner, "Private")
    address = reverse(name, args=[made.id])
    assert sign_in(client, stranger).get(address).status_code == 404
    assert sign_in(client, owner).get(address).status_code == 200


@pytest.mark.parametrize("name", ["notebook_rename", "notebook_delete", "demo_reset"])
def test_a_stranger_changes_nothing(client, owner, stranger, name):
    made = notebooks.create_notebook(owner, "Private")
    assert sign_in(client, stranger).post(reverse(name, args=[made.id]), {"name": "Taken"}).status_code == 404
    made.refresh_from_db()
    assert (made.name, made.deleted_at) == ("Private", None)


def test_nobody_is_sent_to_sign_in(client, owner):
    made = notebooks.create_notebook(owner, "Private")
    for address in ("/", reverse("notebook", args=[made.id])):
        answer = client.get(address)
        assert answer.status_code == 302
        assert answer.url.startswith("/accounts/login/")


def test_the_number_of_queries_of_a_page_does_not_grow_with_its_cells(client, owner, django_assert_max_num_queries):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def count(cells: int) -> int:
        made = notebooks.create_notebook(owner, f"{cells} cells")
        Cell.objects.bulk_create(
            Cell(notebook=made, position=(n + 2) << 20, source="x = 1", source_hash="h", analysis_hash="h")
            for n in range(cells)
        )
        client.get(reverse("notebook", args=[made.id]))
        with CaptureQueriesContext(connection) as queries:
            assert client.get(reverse("notebook", args=[made.id])).status_code == 200
        return len(queries)

    sign_in(client, owner)
    assert count(30) == count(300)


def test_far_cells_of_a_long_notebook_are_light_and_reachable_without_javascript(client, owner):
    made = notebooks.create_notebook(owner, "Long")
    Cell.objects.bulk_create(
        Cell(notebook=made, position=(n + 2) << 20, source=f"cell_{n} = {n}\nsecond_line = 1") for n in range(120)
    )
    text = sign_in(client, owner).get(reverse("notebook", args=[made.id])).content.decode()
    assert text.count('class="cell is-far"') == 101
    assert "second_line" not in text[text.index('class="cell is-far"') : text.index("<template")]
    later = client.get(reverse("notebook", args=[made.id]) + "?from=81").content.decode()
    assert re.search(r'<section class="cell" id="cell-[0-9a-f-]+" data-cell="[0-9a-f-]+" data-number="100"', later)


def test_a_page_of_a_thousand_cells_is_small(client, owner):
    """docs: performance.md, goal 6: at most 3,000 elements and 1 MB."""
    rest = f"\n# {'words ' * 50}"
    cells = [ImportedCell(type="python", source=f"value_{n} = {n}\nprint(value_{n}){rest}") for n in range(1, 1001)]
    made = notebooks.import_notebook(owner, ImportedNotebook(name="Long", cells=cells))
    answer = sign_in(client, owner).get(reverse("notebook", args=[made.id]))
    assert len(answer.content) < 700_000
    assert len(re.findall(rb"<[a-z]", answer.content)) < 3_000


def test_headings_of_far_text_cells_are_in_the_outline(client, owner):
    cells = [ImportedCell(type="python", source="1")] * 50
    cells.append(ImportedCell(type="markdown", source="words\n\n## Far `away`\n```\n# no heading\n```\n### Deeper #"))
    made = notebooks.import_notebook(owner, ImportedNotebook(name="Long", cells=cells))
    text = sign_in(client, owner).get(reverse("notebook", args=[made.id])).content.decode()
    outline = text[text.index('data-part="outline"') : text.index("</ul>", text.index('data-part="outline"'))]
    assert re.findall(r'outline-title">([^<>]+)<', outline) == ["Far away", "Deeper"]


def test_a_notebook_goes_out_and_comes_in_again(client, owner):
    sign_in(client, owner).get("/")
    demo = Notebook.objects.get(owner=owner, kind="demo")
    exported = client.get(reverse("notebook_export", args=[demo.id]))
    assert exported["Content-Disposition"] == 'attachment; filename="demo.ipynb"'
    upload = SimpleUploadedFile("demo.ipynb", exported.content)
    page = client.post(reverse("notebook_import"), {"file": upload})
    made = Notebook.objects.get(pk=page.url.strip("/").split("/")[-1])
    old, new = ([(cell.type, cell.source, cell.result_name) for cell in n.cells.in_order()] for n in (demo, made))
    assert new == old
    assert json.loads(exported.content)["nbformat"] == 4


def test_a_notebook_goes_out_as_a_page_that_is_a_file_and_never_shown_by_us(client, owner):
    sign_in(client, owner).get("/")
    demo = Notebook.objects.get(owner=owner, kind="demo")
    exported = client.get(reverse("notebook_export", args=[demo.id]), {"format": "html"})
    assert exported["Content-Disposition"] == 'attachment; filename="demo.html"'
    assert "sandbox" in exported["Content-Security-Policy"] and exported["Cache-Control"].count("no-store")
    text = exported.content.decode()
    assert text.index("Content-Security-Policy") < text.index("<title>") and "<script" not in text
    assert text.count('<section class="page-cell"') == demo.cells.count()


def test_a_file_that_is_no_notebook_is_refused_in_words_and_nothing_is_stored(client, owner):
    sign_in(client, owner)
    answer = client.post(
        reverse("notebook_import"), {"file": SimpleUploadedFile("x.ipynb", b"no")}, follow=True
    )
    assert "this is not a notebook" in answer.content.decode()
    assert not Notebook.objects.filter(name="x").exists()


def test_the_frame_of_outputs_has_a_policy_and_an_origin_of_its_own(client):
    answer = client.get(reverse("output_frame"))
    policy = answer["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts;")
    assert "allow-same-origin" not in policy
    assert "connect-src 'none'" in policy


def test_a_page_has_a_strict_policy(client, owner):
    policy = sign_in(client, owner).get("/")["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy


def test_the_printed_link_signs_in_and_a_forged_one_does_not(client, owner):
    from django.core import signing

    from notebooks_app.views import WELCOME_SALT

    assert client.get(reverse("welcome", args=["forged"]), follow=True).redirect_chain[-1][0].startswith("/accounts/")
    key = signing.dumps(owner.pk, salt=WELCOME_SALT)
    client.get(reverse("welcome", args=[key]))
    assert client.get("/").status_code == 200


def test_signing_up_can_be_switched(client, settings):
    settings.SIGNUP_OPEN = False
    assert b'name="password1"' not in client.get("/accounts/signup/").content
    settings.SIGNUP_OPEN = True
    assert b'name="password1"' in client.get("/accounts/signup/").content
    password = "a quite long passphrase"
    client.post("/accounts/signup/", {"username": "newbie", "password1": password, "password2": password})
    assert [row["kind"] for row in client.get("/").context["notebooks"]] == ["demo", "blank"]


def test_the_server_says_that_it_lives_and_is_ready(client):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json()["status"] == "ok"


def with_large_outputs(owner: Any, cells: int) -> Notebook:
    text = {"text": "line of text\n" * 20_000, "cut": None, "files": {}}
    large = {"kind": "stream", "name": "stdout", "index": 0, **text}
    made = ImportedNotebook(name="n", cells=[ImportedCell("python", "x", outputs=[large]) for _ in range(cells)])
    return notebooks.import_notebook(owner, made)


def test_the_exported_ipynb_has_large_outputs_in_a_fixed_number_of_queries(client, owner):
    sign_in(client, owner)
    counts = []
    for cells in (1, 5):
        made = with_large_outputs(owner, cells)
        assert OutputFile.objects.filter(output__cell__notebook=made).count() == cells
        with CaptureQueriesContext(connection) as captured:
            answer = client.get(reverse("notebook_export", args=[made.pk]))
        counts.append(len(captured))
        found = json.loads(answer.content)
        assert {"".join(cell["outputs"][0]["text"]) for cell in found["cells"]} == {"line of text\n" * 20_000}
    assert counts[0] == counts[1]


def test_an_export_whose_large_outputs_cannot_be_had_is_no_part_of_one(client, owner):
    sign_in(client, owner)
    made = with_large_outputs(owner, 1)
    storages["outputs"].delete(OutputFile.objects.get().key)
    answer = client.get(reverse("notebook_export", args=[made.pk]))
    assert answer.status_code == 503 and b"cannot be read" in answer.content
