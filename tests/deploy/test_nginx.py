"""The supplied nginx configuration, run by a real nginx in front of two real servers, below a path of its host."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import gzip
import http.client
import io
import ipaddress
import json
import secrets
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
import websockets
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.nginx import HASHED, fill, main_file, nginx
from scripts.with_postgres import free_port
from tests.servers import ROOT, LiveServer
from tests.storage.far_sides import moto_server

BASE = "/rillbook"
UPLOAD_MAX = 8 * 1024 * 1024
UNREACHED = "max_fails=0"  # asked at each request, though nobody listens


TEMPLATES = ROOT / "deploy" / "nginx"
STORE_NAME = "localhost"


def as_image_does(folder: Path) -> str:
    """The main file: nginx's image writes whole lines of requests wherever nothing else is said."""
    text = main_file(folder)
    assert text.count("access_log off;") == 1
    return text.replace("access_log off;", f"access_log {folder}/image.log;")


class Proxy:
    """nginx on free ports, with the templates' names filled in as its image does. `store` is that of outputs."""

    def __init__(self, folder: Path, servers: list[LiveServer], store: str = "127.0.0.1:1") -> None:
        self.folder, self.servers = folder, servers
        self.http_port, self.port = free_port(), free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.context = _certificate(folder)
        values = {
            "SERVER_NAME": "127.0.0.1",
            "LISTEN_HTTP": f"127.0.0.1:{self.http_port}",
            "LISTEN_HTTPS": f"127.0.0.1:{self.port}",
            "TLS_CERTIFICATE": str(folder / "certificate.pem"),
            "TLS_KEY": str(folder / "key.pem"),
            "BASE_PATH": BASE,
            "UPLOAD_MAX": str(UPLOAD_MAX),
            "BALANCE": HASHED,
            "WEB_SERVERS": " ".join(f"server 127.0.0.1:{each.port} max_fails=1 fail_timeout=5s;" for each in servers)
            or f"server 127.0.0.1:1 {UNREACHED};",
            "OUTPUTS_NAME": STORE_NAME,
            "OUTPUTS_STORE": store,
        }
        (folder / "rillbook.conf").write_text(fill(both_templates(), values), encoding="utf-8")
        (folder / "nginx.conf").write_text(as_image_does(folder), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "access.log").open("ab") as out:
            self._process = subprocess.Popen([nginx(), "-c", str(self.folder / "nginx.conf")], stdout=out, stderr=out)
        until = time.monotonic() + 30
        while True:
            try:
                self.get("/health")
                return
            except OSError:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise RuntimeError((self.folder / "error.log").read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)

    def ask(
        self, method: str, path: str, body: bytes | None = None, timeout_s: float = 60, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout_s, context=self.context)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer, answer.read()

    def get(self, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        return self.ask("GET", f"{BASE}{path}", **headers)

    def log(self) -> str:
        return (self.folder / "access.log").read_text(encoding="utf-8")

    def log_of_the_image(self) -> str:
        """What is written by what the main file says, errors too."""
        paths = [self.folder / name for name in ("image.log", "error.log")]
        return "".join(path.read_text(encoding="utf-8") for path in paths if path.exists())


def both_templates() -> str:
    """In the order in which the image includes them."""
    return "".join(path.read_text(encoding="utf-8") for path in sorted(TEMPLATES.glob("*.conf.template")))


def _certificate(folder: Path) -> ssl.SSLContext:
    """A certificate of 127.0.0.1 in `folder`, and what trusts it alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(STORE_NAME)]
    made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "certificate.pem").write_bytes(pem)
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    return ssl.create_default_context(cadata=pem.decode())


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, postgres: str, redis_server: str) -> Iterator[list[LiveServer]]:
    """Two processes of one Rillbook for a team, as compose.yaml runs them."""
    made: list[LiveServer] = []
    environment = {
        "RILLBOOK_MODE": "multi", "SECRET_KEY": secrets.token_urlsafe(48), "DATABASE_URL": postgres,
        "CONNECTION_KEYS": base64.b64encode(secrets.token_bytes(32)).decode(),
        "REDIS_URL": redis_server,
        "BEHIND_PROXY": "true", "BASE_PATH": BASE, "ALLOWED_HOSTS": "127.0.0.1", "UPLOAD_MAX_BYTES": str(UPLOAD_MAX),
        "LOG_FORMAT": "json", "KERNEL_POOL_SIZE": "0",
    }  # fmt: skip
    for number in (1, 2):
        made.append(LiveServer(tmp_path_factory.mktemp(f"web{number}"), **environment))
    yield made
    for server in made:
        server.stop()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, servers: list[LiveServer]) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("nginx")
    made = Proxy(folder, servers)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def cookies(servers: list[LiveServer], proxy: Proxy) -> dict[str, str]:
    return servers[0].session_cookies("me")


@pytest.fixture(scope="module")
def cookie(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


@pytest.fixture(scope="module")
def token(servers: list[LiveServer], cookies: dict[str, str]) -> str:
    return "Bearer " + servers[0].manage("create_token", "me", "--scope", "edit").splitlines()[-1]


@pytest.fixture(scope="module")
def notebook(proxy: Proxy, token: str) -> str:
    return make_notebook(proxy, token)


def make_notebook(proxy: Proxy, token: str) -> str:
    answer, body = call(proxy, token, "POST", "notebooks/", {"name": "Behind nginx"})
    assert answer.status == 201, body
    return json.loads(body)["id"]


def call(proxy: Proxy, token: str, method: str, path: str, body: Any = None) -> tuple[http.client.HTTPResponse, bytes]:
    data = json.dumps(body).encode() if body is not None else None
    return proxy.ask(method, f"{BASE}/api/v1/{path}", data, Authorization=token, Content_Type="application/json")


@pytest.mark.parametrize(("base", "second"), [("", ""), ("/rillbook", "down"), ("/a/b", "")])
def test_the_configuration_is_valid_at_the_root_and_below_a_path(tmp_path: Path, base: str, second: str) -> None:
    """With one server as with two."""
    _certificate(tmp_path)
    names = {"SERVER_NAME": "books.example.com", "LISTEN_HTTP": "127.0.0.1:8080", "LISTEN_HTTPS": "127.0.0.1:8443"}
    names |= {"TLS_CERTIFICATE": f"{tmp_path}/certificate.pem", "TLS_KEY": f"{tmp_path}/key.pem", "UPLOAD_MAX": "64m"}
    each = "server 127.0.0.1:800{} max_fails=1 fail_timeout=5s {};"
    names |= {"BASE_PATH": base, "BALANCE": HASHED, "WEB_SERVERS": each.format(0, "") + each.format(1, second)}
    names |= {"OUTPUTS_NAME": "outputs.invalid", "OUTPUTS_STORE": "172.29.84.13:9000"}  # as without a store here
    (tmp_path / "rillbook.conf").write_text(fill(both_templates(), names), encoding="utf-8")
    (tmp_path / "nginx.conf").write_text(main_file(tmp_path), encoding="utf-8")
    done = subprocess.run(
        [nginx(), "-t", "-c", str(tmp_path / "nginx.conf")], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


def test_plain_http_is_sent_to_https(proxy: Proxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.http_port, timeout=10)
    connection.request("GET", f"{BASE}/?page=2", headers={"Host": "127.0.0.1"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, f"https://127.0.0.1{BASE}/?page=2")


def test_every_address_of_a_page_lies_below_the_base_path(proxy: Proxy, cookie: str, notebook: str) -> None:
    answer, body = proxy.get(f"/notebooks/{notebook}/", Cookie=cookie)
    assert answer.status == 200
    page = body.decode()
    addresses = [part.split('"')[0] for mark in ('href="', 'src="', 'action="') for part in page.split(mark)[1:]]
    local = [address for address in addresses if address.startswith("/")]
    assert len(local) > 10 and [address for address in local if not address.startswith(f"{BASE}/")] == []
    assert f'"{BASE}/ws/notebooks/{notebook}/"' in page


def test_signing_in_comes_back_below_the_base_path(proxy: Proxy) -> None:
    answer, _ = proxy.get("/")
    assert answer.status == 302 and answer.headers["Location"].startswith(f"{BASE}/accounts/login/?next={BASE}/")


def test_outside_the_base_path_there_is_nothing(proxy: Proxy) -> None:
    assert proxy.ask("GET", "/")[0].status == 404
    assert proxy.ask("GET", "/health")[0].status == 404


def test_probes_answer_and_metrics_do_not(proxy: Proxy) -> None:
    assert proxy.get("/ready")[0].status == 200
    assert proxy.get("/metrics")[0].status == 404


def test_texts_are_compressed(proxy: Proxy) -> None:
    answer, body = proxy.get("/static/vendor/codemirror.js", Accept_Encoding="gzip")
    assert answer.status == 200 and answer.headers["Content-Encoding"] == "gzip"
    assert len(gzip.decompress(body)) > 2 * len(body)


def test_a_socket_speaks_and_a_cell_runs(proxy: Proxy, cookie: str, token: str) -> None:
    made = make_notebook(proxy, token)
    _, body = call(proxy, token, "POST", f"notebooks/{made}/cells/", {"type": "python", "source": "print(6 * 7)"})
    cell = json.loads(body)

    async def run() -> list[str]:
        url = f"wss://{proxy.host}{BASE}/ws/notebooks/{made}/"
        headers = {"Cookie": cookie}
        origin: Any = f"https://{proxy.host}"
        seen = ""
        async with websockets.connect(
            url, ssl=proxy.context, origin=origin, additional_headers=headers, max_size=None
        ) as socket:
            wanted = {"cell": cell["id"], "version": cell["version"]}
            await socket.send(json.dumps({"type": "hello", "id": "1", "cursor": None, "lost": False}))
            await socket.send(json.dumps({"type": "run", "id": "2", "cells": [wanted]}))
            while '"run.finished"' not in seen:
                seen += str(await asyncio.wait_for(socket.recv(), 60))
        return [word for word in ("42", "run.finished") if word in seen]

    assert asyncio.run(run()) == ["42", "run.finished"]


def test_a_socket_of_another_origin_is_refused(proxy: Proxy, cookie: str, notebook: str) -> None:
    async def connect() -> None:
        url = f"wss://{proxy.host}{BASE}/ws/notebooks/{notebook}/"
        origin: Any = "https://evil.example.com"
        await websockets.connect(url, ssl=proxy.context, origin=origin, additional_headers={"Cookie": cookie})

    with pytest.raises(websockets.exceptions.InvalidStatus):
        asyncio.run(connect())


def test_large_files_are_addressed_below_the_base_path(proxy: Proxy, token: str) -> None:
    made = make_notebook(proxy, token)
    source = "from IPython.display import display; display({'text/html': '<p>' + 'x' * 200000}, raw=True)"
    _, body = call(proxy, token, "POST", f"notebooks/{made}/cells/", {"type": "python", "source": source})
    cell = json.loads(body)["id"]
    answer, body = call(proxy, token, "POST", f"notebooks/{made}/runs/", {"cells": [cell], "wait": True})
    assert answer.status == 200, body
    _, body = call(proxy, token, "GET", f"notebooks/{made}/cells/{cell}/")
    address = json.loads(body)["outputs"][0]["files"]["text/html"]["url"]
    assert address.startswith(f"{BASE}/outputs/{made}/")
    answer, file = proxy.ask("GET", address, Authorization=token)
    assert answer.status == 200 and len(file) > 200_000


def test_a_request_may_wait_for_a_run(proxy: Proxy, token: str) -> None:
    made = make_notebook(proxy, token)
    source = "import time; time.sleep(2); 'waited'"
    _, body = call(proxy, token, "POST", f"notebooks/{made}/cells/", {"type": "python", "source": source})
    wanted = {"cells": [json.loads(body)["id"]], "wait": True}
    answer, body = call(proxy, token, "POST", f"notebooks/{made}/runs/", wanted)
    assert answer.status == 200 and not json.loads(body)["timed_out"] and b"waited" in body


def test_a_large_upload_passes_and_a_larger_one_is_refused(proxy: Proxy, token: str, notebook: str) -> None:
    source = "x = '" + "y" * (UPLOAD_MAX // 2) + "'"
    path = f"notebooks/{notebook}/cells/"
    answer, body = call(proxy, token, "POST", path, {"type": "python", "source": source})
    assert answer.status == 201, body[:300]
    answer, _ = call(proxy, token, "POST", path, {"type": "python", "source": "z" * (2 * UPLOAD_MAX)})
    assert answer.status == 413


def test_the_server_knows_the_browsers_address_whatever_it_claims(
    proxy: Proxy, servers: list[LiveServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As nginx sets them: seen by a server of ours in place of Rillbook."""
    seen = through(proxy, {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http", "X-Real-IP": "6.6.6.6"})
    assert seen["x-forwarded-for"] == "127.0.0.1" and seen["x-forwarded-proto"] == "https"
    assert "x-real-ip" not in seen and "forwarded" not in seen and seen["host"] == proxy.host


def through(proxy: Proxy, headers: dict[str, str]) -> dict[str, str]:
    """The headers that arrive behind a proxy configured the same, by their names in small letters."""
    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as stack:
        folder = proxy.folder / "headers"
        folder.mkdir()
        (folder / "headers").mkdir()
        other = Proxy.__new__(Proxy)
        other.__dict__ |= proxy.__dict__ | {"folder": folder, "http_port": free_port(), "port": free_port()}
        text = (proxy.folder / "rillbook.conf").read_text(encoding="utf-8")
        for server in proxy.servers:
            text = text.replace(f"127.0.0.1:{server.port} ", f"127.0.0.1:{listening.getsockname()[1]} ")
        text = text.replace(f":{proxy.port} ssl", f":{other.port} ssl").replace(
            f":{proxy.http_port};", f":{other.http_port};"
        )
        (folder / "rillbook.conf").write_text(text, encoding="utf-8")
        (folder / "nginx.conf").write_text(as_image_does(folder), encoding="utf-8")
        heard: list[bytes] = []

        def answer() -> None:
            for _ in range(2):
                near, _ = listening.accept()
                with near:
                    heard.append(near.recv(65536))
                    near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        stack.callback(other.stop)
        other.start()
        connection = http.client.HTTPSConnection("127.0.0.1", other.port, timeout=10, context=proxy.context)
        connection.request("GET", f"{BASE}/", headers=headers | {"Host": proxy.host})
        assert connection.getresponse().status == 200
        thread.join(10)
    lines = [line.split(": ", 1) for line in heard[1].decode().split("\r\n")[1:] if ": " in line]
    return {name.lower(): value for name, value in lines}


def test_all_that_concerns_a_notebook_goes_to_one_process(proxy: Proxy, token: str, servers: list[LiveServer]) -> None:
    for _ in range(4):
        made = make_notebook(proxy, token)
        for _ in range(3):
            assert call(proxy, token, "GET", f"notebooks/{made}/")[0].status == 200
        assert sorted(answers_of(server, made) for server in servers) == [0, 3]


def answers_of(server: LiveServer, notebook: str) -> int:
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return sum(line.get("notebook_id") == notebook and line.get("route") == "api_notebook" for line in lines)


SECRET_PATHS = ("/welcome/a-key-of-one-time/", "/accounts/confirm-email/another-key/?next=words", "/share/a-third-key/")


def told_of_secrets(log: str) -> list[str]:
    return [word for word in ("a-key-of-one-time", "another-key", "words", "a-third-key") if word in log]


def test_one_time_links_are_not_in_the_access_log(proxy: Proxy) -> None:
    for path in SECRET_PATHS:
        proxy.get(path)
    log = proxy.log()
    assert f"{BASE}/welcome/..." in log and told_of_secrets(log) == []
    assert told_of_secrets(proxy.log_of_the_image()) == []


def test_one_time_links_that_are_sent_to_https_are_not_logged(proxy: Proxy) -> None:
    """A mail's link that was typed without the s."""
    for path in SECRET_PATHS:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.http_port, timeout=10)
        connection.request("GET", f"{BASE}{path}", headers={"Host": "127.0.0.1"})
        assert connection.getresponse().status == 301
        connection.close()
    assert told_of_secrets(proxy.log() + proxy.log_of_the_image()) == []


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Callable[[str], Proxy]]:
    """nginx whose servers are away, before the store that is named."""
    with contextlib.ExitStack() as stack:

        def start(store: str) -> Proxy:
            proxy = Proxy(tmp_path, [], store)
            stack.callback(proxy.stop)
            proxy.start()
            return proxy

        yield start


def test_one_time_links_are_not_logged_where_every_server_refuses(alone: Callable[[str], Proxy]) -> None:
    proxy = alone("127.0.0.1:1")
    assert [proxy.get(path)[0].status for path in SECRET_PATHS] == [502] * 3
    assert " 502 " in proxy.log() and told_of_secrets(proxy.log() + proxy.log_of_the_image()) == []


def test_outputs_are_kept_and_fetched_by_signed_urls_through_nginx(alone: Callable[[str], Proxy]) -> None:
    """moto in MinIO's place, asked by the one name, for servers and for browsers."""
    with moto_server() as url:
        proxy = alone(urlsplit(url).netloc)
        store = client_of(proxy)
        store.create_bucket(Bucket="outputs")
        data = secrets.token_bytes(12 * 1024**2)  # in parts
        store.upload_fileobj(io.BytesIO(data), "outputs", KEY)
        signed = urlsplit(store.generate_presigned_url("get_object", Params={"Bucket": "outputs", "Key": KEY}))
        answer, body = proxy.ask("GET", f"{signed.path}?{signed.query}", Host=signed.netloc)
        assert (answer.status, body) == (200, data)
        # The store's own administration is not for everybody, and the pages' name does not lead to the store.
        assert proxy.ask("GET", "/minio/admin/v3/info", Host=signed.netloc)[0].status == 404
        assert proxy.ask("GET", f"{signed.path}?{signed.query}")[0].status == 404
    assert "Signature" not in proxy.log() + proxy.log_of_the_image()


def test_what_is_signed_reaches_the_store_as_it_was_sent(alone: Callable[[str], Proxy]) -> None:
    """Method, path, query and host, none of them written anew: else no signature is good."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        proxy = alone(f"127.0.0.1:{listening.getsockname()[1]}")
        heard: list[str] = []

        def answer() -> None:
            near, _ = listening.accept()
            with near:
                heard.extend(near.recv(65536).decode().split("\r\n"))
                near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        store = client_of(proxy)
        url = store.generate_presigned_url("get_object", Params={"Bucket": "outputs", "Key": KEY})
        sent = urlsplit(url)
        assert "%" in sent.path and proxy.ask("GET", f"{sent.path}?{sent.query}", Host=sent.netloc)[0].status == 200
        thread.join(30)
    assert heard[0].split()[:2] == ["GET", f"{sent.path}?{sent.query}"] and f"Host: {sent.netloc}" in heard


KEY = "a notebook/50% of+two//\u00fc.html"


def client_of(proxy: Proxy) -> Any:
    """As the server's own (notebook_project/outputs.py)."""
    config = Config(signature_version="s3v4", s3={"addressing_style": "path"})
    return boto3.Session("testing", "testing", region_name="us-east-1").client(
        "s3",
        endpoint_url=f"https://{STORE_NAME}:{proxy.port}",
        verify=str(proxy.folder / "certificate.pem"),
        config=config,
    )


def test_doctor_finds_the_way_open(proxy: Proxy, servers: list[LiveServer]) -> None:
    trusted = {"SSL_CERT_FILE": str(proxy.folder / "certificate.pem")}
    done = subprocess.run(
        [str(ROOT / ".venv/bin/python"), "manage.py", "doctor", "--json", "--url", f"https://{proxy.host}{BASE}"],
        cwd=ROOT, env=servers[0].environment() | trusted, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    parts = {(each["part"], each["level"]) for each in json.loads(done.stdout)}
    assert ("socket", "ok") in parts and ("way", "ok") in parts, done.stdout
    assert ("way", "fail") not in parts


def test_when_a_process_ends_the_other_answers(proxy: Proxy, token: str, servers: list[LiveServer]) -> None:
    made = [make_notebook(proxy, token) for _ in range(6)]  # on either process
    servers[1].stop()
    try:
        for notebook in made:
            answer, _ = call(proxy, token, "GET", f"notebooks/{notebook}/")
            assert answer.status == 200
    finally:
        servers[1].start()


def test_a_browser_opens_a_notebook_below_the_base_path(
    proxy: Proxy, token: str, cookies: dict[str, str], chromium: Any
) -> None:
    """Modules, bundles, the frame of HTML and the socket are all found; nothing is asked outside the base path."""
    made = make_notebook(proxy, token)
    shown = "<p id=told></p><script>told.textContent = 'forty-' + 'two'</script>"
    source = f"from IPython.display import HTML; HTML({shown!r})"
    call(proxy, token, "POST", f"notebooks/{made}/cells/", {"type": "python", "source": source})
    context = chromium.new_context(ignore_https_errors=True)
    context.add_cookies(
        [
            {"name": name, "value": value, "url": f"https://{proxy.host}", "secure": True}
            for name, value in cookies.items()
        ]
    )
    page = context.new_page()
    asked: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "response", lambda response: response.status >= 400 and problems.append(f"{response.status} {response.url}")
    )
    try:
        page.goto(f"https://{proxy.host}{BASE}/notebooks/{made}/")
        page.locator(".cell .source").first.click()
        page.locator(".cm-editor").wait_for(timeout=60_000)
        page.keyboard.press("Shift+Enter")
        told = page.frame_locator(".cell iframe").first.locator("#told")
        told.get_by_text("forty-two").wait_for(timeout=60_000)
    finally:
        context.close()
    own = [url for url in asked if url.startswith(f"https://{proxy.host}")]
    assert len(own) > 10 and [url for url in own if not url.startswith(f"https://{proxy.host}{BASE}/")] == []
    assert problems == []
