"""compose.yaml and what stands beside it: settings that exist, nothing open that need not be."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import subprocess
import sys
from base64 import b64encode
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.servers import ROOT

TEMPLATES = [ROOT / "deploy" / "nginx" / f"{name}.conf.template" for name in ("rillbook", "store")]
EXAMPLE = (ROOT / "deploy" / "compose.env.example").read_text(encoding="utf-8")
VALUES = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def filled(text: str, values: dict[str, str] | None = None) -> str:
    """As compose does, where `values` is the environment."""

    def value(found: re.Match[str]) -> str:
        given = (values or {}).get(found[1], "")
        return (found[3] if given else "") if found[2] == "+" else given or found[3] or ""

    return re.sub(r"\$\{([A-Z0-9_]+)(?::([-?+])([^}]*))?\}", value, text)


def servers(compose: dict[str, Any]) -> list[dict[str, Any]]:
    return [compose["services"][name] for name in ("web1", "web2", "migrate")]


def test_servers_are_given_settings_that_exist(compose: dict[str, Any]) -> None:
    known = set(re.findall(r"`([A-Z][A-Z_]+)`", (ROOT / "README.md").read_text(encoding="utf-8")))
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "notebook_project").glob("*.py"))
    for server in servers(compose):
        names = {name.removesuffix("_FILE") for name in server["environment"] if not name.startswith("AWS_")}
        assert len(names) > 15 and names - known == set()
        assert [name for name in names if f'"{name}"' not in code] == []


def test_secrets_come_from_files(compose: dict[str, Any]) -> None:
    for server in servers(compose):
        assert {name for name in server["environment"] if name.endswith("_FILE")} == {
            "SECRET_KEY_FILE", "CONNECTION_KEYS_FILE", "DATABASE_PASSWORD_FILE",
        }  # fmt: skip
        mounted = {f"/run/secrets/{name}" for name in server["secrets"]}
        assert mounted == {value for name, value in server["environment"].items() if name.endswith("_FILE")}


def test_servers_have_no_capability(compose: dict[str, Any]) -> None:
    for server in servers(compose):
        assert server["cap_drop"] == ["ALL"] and "no-new-privileges:true" in server["security_opt"]
        assert "privileged" not in server and "cap_add" not in server


def test_only_nginx_is_reached_from_outside(compose: dict[str, Any]) -> None:
    opened = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert opened.pop("nginx") == ["80:80", "443:443"]
    assert all(port.startswith("127.0.0.1:") for ports in opened.values() for port in ports)
    assert compose["networks"]["inside"]["internal"]
    for name in ("postgres", "redis"):
        assert compose["services"][name]["networks"] == ["inside"]


def test_everything_with_a_state_has_a_volume_and_a_fixed_version(compose: dict[str, Any]) -> None:
    for name in ("web1", "web2", "postgres", "minio"):
        volume = compose["services"][name]["volumes"][0].split(":")[0]
        assert volume in compose["volumes"]
    images = [service["image"] for service in compose["services"].values()]
    assert all(re.search(r":(\d|RELEASE|\$\{RILLBOOK_VERSION)", image) for image in images)


def test_nginx_is_given_every_name_of_its_template(compose: dict[str, Any]) -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES)
    asked = set(re.findall(r"\$\{([A-Z_]+)\}", texts))
    given = compose["services"]["nginx"]["environment"]
    assert set(given) == asked


def test_nginx_finds_the_servers_after_they_were_replaced(compose: dict[str, Any]) -> None:
    """It asks for a name once; so they have addresses, which no other container is given. So has MinIO."""
    behind = [compose["services"][name] for name in ("web1", "web2", "minio")]
    fixed = [service["networks"]["inside"]["ipv4_address"] for service in behind]
    told = compose["services"]["nginx"]["environment"]
    asked = re.findall(r"server (\S+):8000 max_fails=1 fail_timeout=5s ?;", filled(told["WEB_SERVERS"]))
    assert len(set(fixed)) == 3
    assert [*asked, filled(told["OUTPUTS_STORE"])] == [*map(filled, fixed[:2]), f"{filled(fixed[2])}:9000"]
    network = compose["networks"]["inside"]["ipam"]["config"][0]
    given = ipaddress.ip_network(filled(network["ip_range"]))
    for address in fixed:
        assert ipaddress.ip_address(filled(address)) in ipaddress.ip_network(filled(network["subnet"]))
        assert ipaddress.ip_address(filled(address)) not in given


def test_servers_write_to_their_volume_and_nowhere_else(compose: dict[str, Any]) -> None:
    """As tests/deploy/test_image.py starts them."""
    for server in servers(compose):
        assert server["read_only"] and [entry.split(":")[0] for entry in server["tmpfs"]] == ["/tmp"]


def test_servers_are_given_time_to_end_and_descriptors_for_sockets(compose: dict[str, Any]) -> None:
    for server in servers(compose):
        assert server["stop_grace_period"] == "60s" and server["ulimits"]["nofile"] >= 65536


def test_the_bucket_is_there_before_the_servers_where_minio_is(compose: dict[str, Any]) -> None:
    """Servers do not start without it; with a store elsewhere (COMPOSE_PROFILES= empty) nobody waits for MinIO."""
    bucket = compose["services"]["bucket"]
    assert bucket["profiles"] == compose["services"]["minio"]["profiles"] == ["minio"]
    assert bucket["restart"] == "no" and bucket["depends_on"] == {"minio": {"condition": "service_healthy"}}
    assert set(bucket["networks"]) <= set(compose["services"]["minio"]["networks"])
    for server in servers(compose):
        waits = server["depends_on"]["bucket"]
        assert waits == {"condition": "service_completed_successfully", "required": False}


def test_servers_of_the_example_reach_the_store_by_the_name_that_browsers_use(compose: dict[str, Any]) -> None:
    """nginx has that name among the containers, and runs before the servers, which do not start without the bucket."""
    web, nginx, store = (compose["services"][name] for name in ("web1", "nginx", "minio"))
    endpoint = urlsplit(filled(web["environment"]["OUTPUTS_ENDPOINT_URL"], VALUES))
    assert (endpoint.scheme, endpoint.port, endpoint.path) == ("https", None, "")
    aliases = [filled(each, VALUES) for each in nginx["networks"]["outside"]["aliases"]]
    assert aliases == [endpoint.hostname] == [filled(nginx["environment"]["OUTPUTS_NAME"], VALUES)]
    assert nginx["environment"]["LISTEN_HTTPS"] == "443" and "outside" in web["networks"]
    assert set(nginx["networks"]) & set(store["networks"])
    for server in servers(compose):
        assert server["depends_on"]["nginx"] == {"condition": "service_started"}


def test_nobody_waits_for_who_waits_for_them(compose: dict[str, Any]) -> None:
    """nginx waited for the servers, which wait for the store behind nginx."""
    waits = {name: set(service.get("depends_on", {})) for name, service in compose["services"].items()}
    assert waits["nginx"] == set() and waits["bucket"] == {"minio"}
    assert len(list(TopologicalSorter(waits).static_order())) == len(waits)


@pytest.mark.parametrize(("count", "runs"), [("", "1"), ("0", "0")])
def test_without_a_bucket_the_second_server_is_left_out(compose: dict[str, Any], count: str, runs: str) -> None:
    """It would not find the first one's files. nginx does not ask for it then."""
    values = VALUES | {"WEB2_COUNT": count}
    assert filled(compose["services"]["web2"]["deploy"]["replicas"], values) == runs
    told = filled(compose["services"]["nginx"]["environment"]["WEB_SERVERS"], values).split(";")[:2]
    assert [each.split()[-1] == "down" for each in told] == [False, runs == "0"]


@pytest.mark.parametrize("failing", ["", "alias", "mb"])
def test_the_bucket_is_made_by_the_names_that_servers_are_given(
    compose: dict[str, Any], tmp_path: Path, failing: str
) -> None:
    """What its shell runs, with a program that notes how it is called in place of MinIO's client."""
    client = tmp_path / "mc"
    client.write_text('#!/bin/sh\nprintf "%s|" "$@" >> "$NOTES"\n[ "$1" != "$FAILING" ]\n', encoding="utf-8")
    client.chmod(0o755)
    bucket = compose["services"]["bucket"]
    given, server = bucket["environment"], compose["services"]["web1"]["environment"]
    wanted = [server[name] for name in ("OUTPUTS_BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    assert [given[name] for name in ("BUCKET", "KEY_ID", "SECRET_KEY")] == wanted
    values = {"BUCKET": "outputs", "KEY_ID": "me", "SECRET_KEY": "a word $1 'of' mine"}
    own = {"PATH": f"{tmp_path}:/usr/bin:/bin", "NOTES": str(tmp_path / "notes"), "FAILING": failing}
    words = [word.replace("$$", "$") for word in (*bucket["entrypoint"], *bucket["command"])]
    done = subprocess.run(words, env=own | values, timeout=30, check=False)
    noted = (tmp_path / "notes").read_text(encoding="utf-8")
    signed_in = f"alias|set|--quiet|store|http://minio:9000|me|{values['SECRET_KEY']}|"
    assert noted == signed_in + ("" if failing == "alias" else "mb|--ignore-existing|store/outputs|")
    assert (done.returncode == 0) == (not failing)


def test_a_command_finds_the_files_that_a_server_without_a_bucket_keeps(compose: dict[str, Any]) -> None:
    """One server then, web1; a backup of outputs that looks into a folder of its own finds none."""
    assert compose["services"]["migrate"]["volumes"] == compose["services"]["web1"]["volumes"] == ["web1:/data"]


def test_lines_of_the_operators_page_name_services_that_are_there(compose: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in page.splitlines() if line.startswith("    docker compose ")]
    called = re.findall(r"docker compose (?:run|exec)((?: -T| --rm| --volume \S+)*) (\w+)", "\n".join(lines))
    assert {name for _, name in called} == {"migrate", "postgres", "web1"}
    for options, name in called:  # a second container of web1 would want its address
        assert name == "migrate" or "--rm" not in options
    both = [line for line in lines if "postgres pg_" in line]
    user = compose["services"]["postgres"]["environment"]["POSTGRES_USER"]
    assert len(both) == 2 and all(f"--username {user}" in line for line in both)


def lines_of_both_servers() -> list[str]:
    """What the operators' page shows for one server after the other: an upgrade, and a restart."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    return [block for block in re.findall(r"(?:^    .+\n)+", page, re.MULTILINE) if " web2\n" in block]


@pytest.mark.parametrize("failing", ["", "web1", "migrate"])
@pytest.mark.parametrize("lines", lines_of_both_servers(), ids=["upgrade", "restart"])
def test_one_server_is_replaced_after_the_other_answers_or_not_at_all(tmp_path: Path, lines: str, failing: str) -> None:
    """What is shown, word for word, with programs that note how they are called. nginx asks again after 5 s."""
    for name in ("docker", "sleep"):
        program = (
            f'#!/bin/sh\necho {name} "$@" >> "$NOTES"\n[ -z "$FAILING" ] || case "$*" in *$FAILING*) exit 1; esac\n'
        )
        (tmp_path / name).write_text(program, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    own = {"PATH": f"{tmp_path}:/usr/bin:/bin", "NOTES": str(tmp_path / "notes"), "FAILING": failing}
    done = subprocess.run(["/bin/sh", "-c", lines], env=own, timeout=30, check=False)
    noted = (tmp_path / "notes").read_text(encoding="utf-8").splitlines()
    if failing and failing in lines:
        assert done.returncode == 1 and failing in noted[-1] and not any("web2" in line for line in noted)
        return
    ups = [line.split()[-1] for line in noted if line.startswith("docker compose up --detach --wait --no-deps ")]
    assert done.returncode == 0 and ups == ["web1", "web2"] and noted[-2] == "sleep 6"


def test_the_upload_limit_is_the_servers(compose: dict[str, Any]) -> None:
    limit = int(compose["services"]["web1"]["environment"]["UPLOAD_MAX_BYTES"])
    assert compose["services"]["nginx"]["environment"]["UPLOAD_MAX"] == f"{limit // 1024**2}m"


def test_the_example_of_the_environment_names_what_is_asked(compose: dict[str, Any]) -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{([A-Z0-9_]+)[:}]", text))
    assert asked - set(VALUES) == set() and set(VALUES) - asked == {"COMPOSE_PROFILES"}
    secrets = {entry["file"] for entry in compose["secrets"].values()}
    assert all(file.removeprefix("./") in EXAMPLE for file in secrets)


NO_STORE = dict.fromkeys(("COMPOSE_PROFILES", "OUTPUTS_NAME", "OUTPUTS_BUCKET", "OUTPUTS_ENDPOINT_URL"), "")


@pytest.mark.parametrize("choice", [{}, NO_STORE | {"WEB2_COUNT": "0"}], ids=["MinIO", "no store"])
def test_servers_start_checking_with_what_they_are_given(
    compose: dict[str, Any], tmp_path: Path, choice: dict[str, str]
) -> None:
    """The example's values, secrets made as it says: settings load, and nothing is found wrong with them."""
    # Whoever leaves it empty is told by the check.
    values = VALUES | {"EMAIL_URL": "smtp://rillbook:word@mail.example.com"} | choice
    made = {"secret_key": secrets.token_hex(32), "database_password": secrets.token_hex(24)}
    made["connection_keys"] = b64encode(secrets.token_bytes(32)).decode()
    for name, value in made.items():
        (tmp_path / name).write_text(value, encoding="utf-8")
    given = {name: filled(str(value), values) for name, value in compose["services"]["web1"]["environment"].items()}
    given = {name: value.replace("/run/secrets", str(tmp_path)) for name, value in given.items()}
    own = {"PATH": os.environ["PATH"], "RILLBOOK_DATA_DIR": str(tmp_path), "KERNEL_SANDBOX": "auto"}
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy"],
        cwd=ROOT, env=given | own, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "no issues" in done.stdout + done.stderr, done.stdout + done.stderr
