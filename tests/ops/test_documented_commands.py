"""Every `manage.py …` that a page shows exists and takes what is shown; settings that are named are there."""

from __future__ import annotations

import re
import shlex
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, get_commands, load_command_class

from tests.ops.documented import PAGE, section
from tests.servers import ROOT

PAGES = [
    *(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "terraform" / "README.md", ROOT / "compose.yaml",
    *(ROOT / "notebooks_app").rglob("*.py"), *(ROOT / "kernels_app").rglob("*.py"), *(ROOT / "deploy").glob("*"),
]  # fmt: skip
CALL = re.compile(r"manage\.py\s+([a-z_]+)((?:[ \t]+(?:\[?--?[\w-]+|[^\s`|;&<>()\]'\"]+|\"[^\"]*\")\]?)*)")


def shown() -> Iterator[tuple[Path, str, str]]:
    """Each page, command and the words behind it."""
    for page in PAGES:
        if not page.is_file():
            continue
        text = page.read_text(encoding="utf-8")
        if page.suffix == ".py":  # help texts and messages name commands without arguments
            yield from ((page, name, "") for name in re.findall(r"manage\.py ([a-z_]+)`?", text))
            continue
        # In prose the call stands in backticks; in examples it is the line.
        calls = re.findall(r"`(manage\.py [^`]+)`", text)
        calls += [line[4:] for line in text.splitlines() if re.match(r"    \S*.*manage\.py ", line)]
        # The same in a task on AWS, and in a container.
        calls += [f"manage.py {words}" for words in re.findall(r'--manage "([^"…]+)"', text)]
        calls += [f"manage.py {words}" for words in re.findall(r"(?:migrate|entry\.sh) manage ([^`\n…]+)", text)]
        for call in calls:
            for found in CALL.finditer(call):
                yield page, found[1], found[2]


def words(arguments: str) -> list[str]:
    """The words as typed: brackets mean "may be left out", a dot or a dash ends a sentence."""
    plain = re.sub(r"\[(--[^\],]+)[^\]]*\]", r"\1", arguments.split("#")[0]).rstrip(" .,:")
    plain = plain.replace("${PORT:-8000}", "8000")
    return shlex.split(plain.replace("DAYS", "7").replace("--notebook ID", f"--notebook {uuid.UUID(int=1)}"))


def test_commands_that_pages_show_exist_and_take_what_is_shown():
    known, seen = get_commands(), 0
    for page, name, arguments in shown():
        where = f"{page.relative_to(ROOT)}: manage.py {name}{arguments}"
        assert name in known, where
        app = known[name]
        command = load_command_class(app, name) if isinstance(app, str) else app
        parser = command.create_parser("manage.py", name)
        parser.called_from_command_line = False  # type: ignore[attr-defined]  # then it raises
        if page.name == "operations.md" or arguments:
            try:
                parser.parse_args(words(arguments))
            except CommandError as error:
                raise AssertionError(f"{where}: {error}") from None
        seen += 1
    assert seen > 60


OURS = {
    path.stem for app in ("notebooks_app", "kernels_app") for path in (ROOT / app).glob("management/commands/[a-z]*.py")
}


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_command_of_ours_is_documented_and_explains_itself(name: str):
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES if page.suffix == ".md")
    assert re.search(rf"\b{name}\b", pages), f"no page names manage.py {name}"
    command = load_command_class(get_commands()[name], name)
    text = command.create_parser("manage.py", name).format_help()
    assert command.help and command.help[0].isupper(), name
    for action in command.create_parser("manage.py", name)._actions:
        assert action.help or action.choices, f"{name} {action.dest} has no help"
    assert "usage:" in text


# Of other programs: boto3's, CUDA's, OpenSSL's, Terraform's and its tests'; words of Linux; where a secret is a file.
ELSEWHERE = {
    "AWS_DEFAULT_REGION", "CUDA_VISIBLE_DEVICES", "SSL_CERT_FILE", "TF_CLI_CONFIG_FILE", "CAP_SYS_PTRACE",
    "CAP_SYS_RESOURCE", "PR_SET_DUMPABLE", "RLIMIT_NOFILE", "CONNECTION_KEYS_FILE",
}  # fmt: skip


@pytest.mark.parametrize("page", [page for page in PAGES if page.suffix == ".md"], ids=lambda page: page.name)
def test_settings_that_a_page_names_are_in_the_table(page: Path):
    table = section("## Settings", (ROOT / "README.md").read_text(encoding="utf-8"))
    of_rays_head = section("## Settings", (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8"))
    known = set(re.findall(r"`([A-Z][A-Z_]+)`", table)) | set(re.findall(r"`(RAY_REDIS_[A-Z]+)`", of_rays_head))
    named = set(re.findall(r"`([A-Z][A-Z]+_[A-Z_]*[A-Z])(?:=[^`]*)?`", page.read_text(encoding="utf-8")))
    assert named - known - ELSEWHERE == set()


def test_variables_of_terraform_that_pages_name_are_there():
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "terraform").rglob("*.tf")]
    known = set(re.findall(r'^(?:variable|output) "(\w+)"', "\n".join(files), re.MULTILINE)) | set(get_commands())
    known |= {"secret_key", "connection_keys", "database_password", "ray_token"}  # secrets by their purpose
    words = section("## Alarms") + (ROOT / "terraform" / "README.md").read_text(encoding="utf-8")
    named = {word for word in re.findall(r"`([a-z]+_[a-z_]+)`", words) if not word.startswith("rillbook_")}
    assert len(named) > 20 and named - known == set()


def test_metrics_that_the_operators_page_names_are_measured():
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "notebooks_app").glob("*.py"))
    code += "".join(path.read_text(encoding="utf-8") for path in (ROOT / "kernels_app").glob("*.py"))
    for name in set(re.findall(r"\brillbook_([a-z_]+[a-z])", PAGE)) - {"db_pool", "b"}:
        stem = name.removesuffix("_total")
        assert stem in code or stem.startswith("db_pool"), name
