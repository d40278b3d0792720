"""What a server needs and does not find around it: start-up and doctor name the setting, what is wrong, the mend."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.db import ConnectionHandler, connections
from django.db.migrations.recorder import MigrationRecorder

from kernels_app import doctor, surroundings
from kernels_app.far_words import Trouble
from kernels_app.management.commands import serve
from kernels_app.schema_state import database_troubles
from notebook_project import outputs
from notebook_project.env import env_database
from notebook_project.oidc import Provider
from scripts.with_postgres import free_port
from tests.ops.apart import apart, empty_database
from tests.ops.far_sides import Pair, http, listening, mute, postgres_refusing, saying, tls
from tests.servers import ROOT
from tests.storage.conftest import BUCKET, s3_url

__all__ = ["s3_url"]
SECRET = "s3cret-w0rd"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """Certificates for localhost: nobody's, one that has expired, one for another host."""
    folder = tmp_path_factory.mktemp("pairs")
    return {
        "nobody's": Pair(folder), "expired": Pair(folder, days=-1), "another's": Pair(folder, host="db.example.com"),
    }  # fmt: skip


BAD_TLS = [("nobody's", "signed by nobody"), ("expired", "has expired"), ("another's", "for another name")]


def hold(trouble: Trouble | None, setting: str, words: str) -> None:
    assert trouble is not None
    assert trouble.setting == setting and words in trouble.words, str(trouble)
    assert trouble.mend and len(str(trouble)) < 250 and SECRET not in str(trouble)


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


def database(monkeypatch: pytest.MonkeyPatch, url: str, *, migrates: bool = True) -> Trouble | None:
    monkeypatch.setenv("DATABASE_URL", url)
    wrapper = ConnectionHandler({"default": env_database("DATABASE_URL", Path("unused"))})["default"]
    return next(database_troubles(wrapper, migrates=migrates), None)


def url(port: int, more: str = "") -> str:
    return f"postgresql://ana:{SECRET}@localhost:{port}/shop{more}"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("?sslmod=require", "libpq knows no parameter sslmod"),
        ("?sslmode=strict", "sslmode has no such value"),
        ("", "nothing listens there"),
    ],
)
def test_a_database_url_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch, more: str, words: str):
    hold(database(monkeypatch, url(free_port(), more)), "DATABASE_URL", words)


def test_a_host_of_no_name(monkeypatch: pytest.MonkeyPatch):
    hold(database(monkeypatch, f"postgresql://ana:{SECRET}@nowhere.invalid/shop"), "DATABASE_URL", "of that name")


@pytest.mark.parametrize(
    ("code", "said", "setting", "words"),
    [
        ("28P01", 'password authentication failed for user "ana"', "DATABASE_URL", "password is wrong"),
        ("28000", 'no pg_hba.conf entry for host "10.0.0.1", user "ana"', "DATABASE_URL", "is not let in"),
        ("3D000", 'database "shop" does not exist', "DATABASE_URL", "no database shop"),
        ("28000", 'role "ana" does not exist', "DATABASE_URL", "no user ana"),
        ("53300", "sorry, too many clients already", "DATABASE_POOL_SIZE", "no more connections"),
        ("57P03", "the database system is starting up", "DATABASE_URL", "still starting"),
        ("42501", 'permission denied for database "shop"', "DATABASE_URL", "may not use"),
    ],
)
def test_a_database_that_refuses(monkeypatch: pytest.MonkeyPatch, code: str, said: str, setting: str, words: str):
    with listening(postgres_refusing(code, said)) as port:
        hold(database(monkeypatch, url(port)), setting, words)


@pytest.mark.parametrize(("pair", "words"), BAD_TLS)
def test_a_database_with_a_bad_certificate(pairs, monkeypatch: pytest.MonkeyPatch, pair: str, words: str):
    trusted = "" if pair == "nobody's" else f"&sslrootcert={pairs[pair].path}"
    own = trusted or f"&sslrootcert={pairs['expired'].path}"
    with listening(tls(pairs[pair], is_postgres=True)) as port:
        found = database(monkeypatch, url(port, f"?sslmode=verify-full{own}"))
    hold(found, "DATABASE_URL", words)
    assert found is not None and found.at == f"localhost:{port}"


def test_an_authority_whose_file_is_not_there(pairs, monkeypatch: pytest.MonkeyPatch):
    with listening(tls(pairs["expired"], is_postgres=True)) as port:
        found = database(monkeypatch, url(port, "?sslmode=verify-full&sslrootcert=/nowhere.pem"))
    hold(found, "DATABASE_URL", "sslrootcert is not there")


def test_a_database_that_speaks_no_tls_or_is_none(monkeypatch: pytest.MonkeyPatch):
    with listening(postgres_refusing("x", "x")) as port:
        hold(database(monkeypatch, url(port, "?sslmode=require")), "DATABASE_URL", "speaks no TLS")
    with listening(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        hold(database(monkeypatch, url(port)), "DATABASE_URL", "no PostgreSQL")
    monkeypatch.setenv("DATABASE_CONNECT_TIMEOUT_S", "2")
    with listening(mute) as port:
        hold(database(monkeypatch, url(port)), "DATABASE_URL", "in time")


@pytest.mark.django_db
@pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
def test_a_database_of_another_version(engine: str, monkeypatch, request: pytest.FixtureRequest, tmp_path: Path):
    where = empty_database(engine, "of_another_version", request, tmp_path)

    def troubles(migrates: bool) -> list[Trouble]:
        return list(database_troubles(connections["default"], migrates=migrates))

    def look() -> None:
        [lacking] = troubles(False)
        hold(lacking, "DATABASE_URL", "lacks")
        assert troubles(True) == []
        columns = "id integer, app varchar(99), name varchar(99), applied timestamp"
        with connections["default"].cursor() as cursor:
            cursor.execute(f"CREATE TABLE django_migrations ({columns})")
            row = "1, 'notebooks_app', '0999_to_come', '2026-01-01 00:00:00'"
            cursor.execute(f"INSERT INTO django_migrations VALUES ({row})")  # noqa: S608
        try:
            [newer] = troubles(True)
            hold(newer, "DATABASE_URL", "notebooks_app.0999_to_come is not known")
        finally:
            with connections["default"].cursor() as cursor:
                cursor.execute("DROP TABLE django_migrations")

    apart(look, where, monkeypatch)


@pytest.mark.django_db
def test_a_file_that_is_no_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "x.sqlite3").write_bytes(b"not a database, but long enough to be read as its head" * 40)
    hold(database(monkeypatch, f"sqlite:///{tmp_path}/x.sqlite3"), "RILLBOOK_DATA_DIR", "damaged")


# --- Redis -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def redis_at(settings: Any) -> Any:
    def ask(address: str, **more: object) -> Trouble | None:
        settings.REDIS_URL = address
        settings.CHANNEL_LAYERS = {"default": {"CONFIG": {"hosts": [{"address": address, **more}]}}}
        return surroundings.ask_redis()

    return ask


def test_a_redis_that_answers_is_no_trouble(redis_at: Any, redis_server: str):
    assert redis_at(redis_server) is None
    hold(redis_at(redis_server.replace("redis://", f"redis://ana:{SECRET}@")), "REDIS_URL", "refuses the user")
    hold(redis_at(redis_server.removesuffix("/0") + "/99"), "REDIS_URL", "no database of that number")


def test_a_redis_that_is_not_there(redis_at: Any, monkeypatch: pytest.MonkeyPatch):
    hold(redis_at(f"redis://:{SECRET}@127.0.0.1:{free_port()}/0"), "REDIS_URL", "nothing listens")
    hold(redis_at("redis://nowhere.invalid/0"), "REDIS_URL", "of that name")
    monkeypatch.setattr(surroundings, "ASK_S", 0.5)
    with listening(mute) as port:
        hold(redis_at(f"redis://127.0.0.1:{port}/0"), "REDIS_URL", "in time")
        found = redis_at(f"rediss://127.0.0.1:{port}/0")
        assert "with TLS?" in found.mend


@pytest.mark.parametrize(("pair", "words"), BAD_TLS)
def test_a_redis_with_a_bad_certificate(pairs, redis_at: Any, pair: str, words: str):
    trusted = pairs["another's" if pair == "nobody's" else pair].path
    with listening(tls(pairs[pair])) as port:
        hold(redis_at(f"rediss://localhost:{port}/0?ssl_ca_certs={trusted}"), "REDIS_URL", words)
        if pair == "expired":
            hold(redis_at(f"redis://localhost:{port}/0"), "REDIS_URL", "ends the connection")


# --- Storage ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket_at(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def ask(endpoint: str, name: str = BUCKET, *, has_key: bool = True) -> Trouble | None:
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(variable, SECRET) if has_key else monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        given = {"BUCKET": name, "ENDPOINT_URL": endpoint, "ADDRESSING": "path", "TIMEOUT_S": 2}
        for attribute, value in given.items():
            monkeypatch.setattr(outputs, attribute, value)
        settings.OUTPUTS_BUCKET = name
        settings.STORAGES = settings.STORAGES | {"outputs": outputs.storage(Path("unused"))}
        return surroundings.ask_storage()

    return ask


def test_a_bucket_that_is_there_and_one_that_is_not(bucket_at: Any, s3_url: str):
    import boto3

    keys = {"aws_access_key_id": SECRET, "aws_secret_access_key": SECRET}
    client = boto3.client("s3", endpoint_url=s3_url, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="is-there")
    client.create_bucket(Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert bucket_at(s3_url, "is-there") is None
    hold(bucket_at(s3_url, "no-such-bucket"), "OUTPUTS_BUCKET", "no bucket of that name")
    hold(bucket_at(s3_url, "No Bucket!"), "OUTPUTS_BUCKET", "no name of a bucket")
    hold(bucket_at(s3_url, "is-there", has_key=False), "OUTPUTS_BUCKET", "no credentials")
    hold(bucket_at(s3_url, "elsewhere"), "OUTPUTS_REGION", "is in eu-west-1, not in us-east-1")


@pytest.mark.parametrize(
    ("status", "setting", "words"),
    [
        (403, "OUTPUTS_BUCKET", "refuses the credentials"),
        (301, "OUTPUTS_REGION", "another region"),
        (400, "OUTPUTS_REGION", "another region"),
        (501, "OUTPUTS_ENDPOINT_URL", "answers 501"),
    ],
)
def test_a_storage_that_refuses(bucket_at: Any, status: int, setting: str, words: str):
    with http(status, x_amz_bucket_region="eu-west-1") as endpoint:
        hold(bucket_at(endpoint), setting, words)


def test_a_storage_that_is_not_there(bucket_at: Any):
    hold(bucket_at(f"http://127.0.0.1:{free_port()}"), "OUTPUTS_ENDPOINT_URL", "nothing listens")
    hold(bucket_at("http://nowhere.invalid"), "OUTPUTS_ENDPOINT_URL", "of that name")


@pytest.mark.parametrize(("pair", "words"), BAD_TLS)
def test_a_storage_with_a_bad_certificate(pairs, bucket_at: Any, monkeypatch, pair: str, words: str):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(pairs["another's" if pair == "nobody's" else pair].path))
    with listening(tls(pairs[pair])) as port:
        hold(bucket_at(f"https://localhost:{port}"), "OUTPUTS_ENDPOINT_URL", words)


# --- OpenID Connect --------------------------------------------------------------------------------------------------


@pytest.fixture
def issuer_at(settings: Any) -> Any:
    def ask(issuer: str) -> Trouble | None:
        settings.OIDC = Provider(issuer, "a", SECRET, "Example", True, ())
        return surroundings.ask_oidc()

    return ask


def test_an_issuer_that_is_none(issuer_at: Any):
    hold(issuer_at(f"http://127.0.0.1:{free_port()}"), "OIDC_ISSUER", "nothing listens")
    for status, body in ((404, b""), (200, b"<html>"), (200, b"[]")):
        with http(status, body) as address:
            hold(issuer_at(address), "OIDC_ISSUER", "describes itself")
    with http(200, b'{"issuer": "https://id.example.com"}') as address:
        hold(issuer_at(address), "OIDC_ISSUER", "another name")


@pytest.mark.parametrize(("pair", "words"), BAD_TLS)
def test_an_issuer_with_a_bad_certificate(pairs, issuer_at: Any, monkeypatch, pair: str, words: str):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pairs["another's" if pair == "nobody's" else pair].path))
    with listening(tls(pairs[pair])) as port:
        hold(issuer_at(f"https://localhost:{port}"), "OIDC_ISSUER", words)


# --- This machine ----------------------------------------------------------------------------------------------------


def test_what_is_wrong_on_this_machine(settings: Any, tmp_path: Path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    settings.DATA_DIR = tmp_path / "file" / "data"
    hold(surroundings.ask_data_folder(), "RILLBOOK_DATA_DIR", "cannot be written (Not a directory)")
    settings.STATIC_ROOT = tmp_path / "file" / "static"
    hold(surroundings.ask_static_root(), "STATIC_ROOT", "cannot be made")
    settings.CONNECTION_KEYS = ["dG9vIHNob3J0"]
    hold(surroundings.ask_keys(), "CONNECTION_KEYS", "32 bytes")


@pytest.mark.parametrize(("program", "words"), [("/nowhere/python", "cannot be run"), ("/bin/false", "not import")])
def test_a_python_for_kernels_that_is_none(settings: Any, program: str, words: str):
    settings.KERNEL_PYTHON = program
    hold(surroundings.ask_kernel_python(), "KERNEL_PYTHON", words)


# --- Real starts -----------------------------------------------------------------------------------------------------


def start(*arguments: str, wrap: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` with this environment; it must end by itself."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    own = {"DJANGO_SETTINGS_MODULE": "notebook_project.settings", "AWS_EC2_METADATA_DISABLED": "true"}
    return subprocess.run(
        [*wrap, sys.executable, "manage.py", *arguments],
        cwd=ROOT, env=kept | own | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess[str], *names: str) -> None:
    """Ended with 1, each setting named, a line or two each, no trace, no secret."""
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said and SECRET not in said
    lines = done.stderr.strip().splitlines()
    assert len(lines) <= len(names) + 2, said
    for name in names:
        assert any(name in line for line in lines), said


def test_a_start_with_everything_unreachable_names_all_of_it_and_leaves_nothing(tmp_path: Path):
    port, away = free_port(), free_port()
    done = start(
        "serve", "--port", str(port), RILLBOOK_DATA_DIR=str(tmp_path),
        DATABASE_URL=f"postgresql://ana:{SECRET}@127.0.0.1:{away}/shop", REDIS_URL=f"redis://:{SECRET}@127.0.0.1:{away}/0",
        OUTPUTS_BUCKET="outputs", OUTPUTS_ENDPOINT_URL=f"http://127.0.0.1:{away}",
        AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY=SECRET,
    )  # fmt: skip
    refused(done, "DATABASE_URL", "REDIS_URL", "OUTPUTS_ENDPOINT_URL")
    assert f"127.0.0.1:{away}" in done.stderr and "URL:" not in done.stdout
    nothing_is_left(port, tmp_path)


def nothing_is_left(port: int, folder: Path) -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert {path.name for path in folder.iterdir()} <= {"secret_key", "static"}
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            assert str(folder).encode() not in entry.read_bytes(), entry.parent.name
        except OSError:
            continue


def test_a_start_with_a_setting_that_is_none(tmp_path: Path):
    refused(start("serve", RILLBOOK_DATA_DIR=str(tmp_path), KERNEL_FILES="many"), "KERNEL_FILES")


def test_a_command_on_a_database_that_was_not_migrated(tmp_path: Path):
    done = start("create_token", "me", RILLBOOK_DATA_DIR=str(tmp_path))
    refused(done, "DATABASE_URL")
    assert "manage.py migrate" in done.stderr


@pytest.mark.django_db
def test_a_migration_of_a_newer_database_is_refused():
    MigrationRecorder.Migration.objects.create(app="notebooks_app", name="0999_from_the_future")
    with pytest.raises(CommandError, match="newer Rillbook"):
        call_command("migrate")


@pytest.mark.parametrize(("host", "port", "why"), [("nowhere.invalid", 8000, "address"), ("127.0.0.1", 99999, "port")])
def test_a_port_or_an_address_that_is_none(host: str, port: int, why: str):
    with pytest.raises(CommandError, match=f"Port {port} of {host} cannot be used: .*{why}"):
        serve._listening(host, port)


def test_a_port_that_is_taken_and_the_next_free_one(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"Port {port} of 127.0.0.1 cannot be used: Address already in use"):
            serve._listening("127.0.0.1", port)
    assert serve._listening("127.0.0.1", None) in range(8000, 8000 + serve.PORTS_TRIED)


def test_a_start_on_a_full_disk(tmp_path: Path):
    """A file system of 128 KiB, of this process alone."""
    bwrap = shutil.which("bwrap")
    assert bwrap is not None
    size = ("--size", str(128 * 1024), "--tmpfs", str(tmp_path))
    fill = f'head -c 100000 /dev/zero > {tmp_path}/filler; exec "$@"'
    wrap = (bwrap, "--dev-bind", "/", "/", *size, "/bin/sh", "-c", fill, "sh")
    refused(start("serve", "--port", str(free_port()), wrap=wrap, RILLBOOK_DATA_DIR=str(tmp_path)), "RILLBOOK_DATA_DIR")


def test_a_start_by_a_user_who_may_not_write(tmp_path: Path):
    if os.geteuid():
        tmp_path.chmod(0o500)
        wrap: tuple[str, ...] = ()
    else:
        wrap = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
        shutil.chown(tmp_path, 12345)
    done = start("serve", "--port", str(free_port()), wrap=wrap, RILLBOOK_DATA_DIR=str(tmp_path))
    refused(done, "RILLBOOK_DATA_DIR")


def test_another_python_than_the_environments(tmp_path: Path):
    bare = subprocess.run(
        [os.path.realpath(sys.executable), "-I", "manage.py", "serve"],
        cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    refused(bare, "Django is not installed for")
    assert ".venv/bin/python manage.py" in bare.stderr and "make run" in bare.stderr


@pytest.mark.django_db
def test_doctor_names_the_same_with_the_mend(
    settings: Any, redis_at: Any, bucket_at: Any, issuer_at: Any, tmp_path: Path
):
    away = f"127.0.0.1:{free_port()}"
    redis_at(f"redis://:{SECRET}@{away}/0")
    bucket_at(f"http://{away}")
    issuer_at(f"http://{away}")
    settings.KERNEL_PYTHON = "/nowhere/python"
    (tmp_path / "file").write_text("", encoding="utf-8")
    settings.DATA_DIR = tmp_path / "file" / "data"
    for part, setting in (
        ("channel layer", "REDIS_URL"), ("storage", "OUTPUTS_ENDPOINT_URL"), ("kernel", "KERNEL_PYTHON"),
        ("sign-in", "OIDC_ISSUER"), ("disk", "RILLBOOK_DATA_DIR"),
    ):  # fmt: skip
        [found] = doctor.CHECKS[part]()
        assert found.level is doctor.Level.FAIL and found.words.startswith(setting) and found.mend, found
        assert SECRET not in f"{found.words} {found.mend}"


@pytest.mark.django_db
def test_doctor_tells_of_a_newer_database():
    MigrationRecorder.Migration.objects.create(app="notebooks_app", name="0999_from_the_future")
    found = [each for each in doctor.check_database() if each.level is doctor.Level.FAIL]
    assert "0999_from_the_future" in found[0].words and "Deploy that release" in found[0].mend


def test_a_provider_that_is_away_is_told_and_keeps_nobody_from_starting(
    issuer_at: Any, monkeypatch: pytest.MonkeyPatch
):
    trouble = issuer_at(f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(surroundings, "_ask_database", lambda migrates: [])
    command, said = serve.Command(), io.StringIO()
    command.stderr = OutputWrapper(said)
    command._ask_around(migrates=True)
    assert said.getvalue().strip() == f"Warning: {trouble}"


@pytest.mark.parametrize("is_there", [True, False])
def test_a_redis_that_is_away_or_refuses_keeps_a_server_from_starting(
    redis_at: Any, redis_server: str, monkeypatch: pytest.MonkeyPatch, is_there: bool
):
    at = redis_server.replace("redis://", f"redis://ana:{SECRET}@")
    redis_at(at if is_there else f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setattr(surroundings, "_ask_database", lambda migrates: [])
    with pytest.raises(CommandError, match="- REDIS_URL .*(refuses the user|nothing listens)"):
        serve.Command()._ask_around(migrates=True)


def test_parts_that_doctor_looks_at_are_those_of_the_page():
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for part in doctor.CHECKS:
        assert part.split()[0] in page, part
