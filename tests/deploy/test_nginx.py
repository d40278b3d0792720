"""The supplied nginx configuration, run by a real nginx in front of two real servers, below a path of its host."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import gzip
import http.client
import ipaddress
import json
import secrets
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.nginx import HASHED, fill, main_file, nginx
from scripts.with_postgres import free_port
from tests.servers import ROOT, LiveServer

BASE = "/rillbook"
UPLOAD_MAX = 8 * 1024 * 1024


class Proxy:
    """nginx on free ports, with the template's names filled in as its image does."""

    def __init__(self, folder: Path, servers: list[LiveServer]) -> None:
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
            "WEB_SERVERS": " ".join(f"server 127.0.0.1:{each.port} max_fails=1 fail_timeout=5s;" for each in servers),
        }
        template = (ROOT / "deploy" / "nginx" / "rillbook.conf.template").read_text(encoding="utf-8")
        (folder / "rillbook.conf").write_text(fill(template, values), encoding="utf-8")
        (folder / "nginx.conf").write_text(main_file(folder), encoding="utf-8")
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


def _certificate(folder: Path) -> ssl.SSLContext:
    """A certificate of 127.0.0.1 in `folder`, and what trusts it alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = made.add_extension(addresses, critical=False)
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


@pytest.mark.parametrize("base", ["", "/rillbook", "/a/b"])
def test_the_configuration_is_valid_at_the_root_and_below_a_path(tmp_path: Path, base: str) -> None:
    _certificate(tmp_path)
    names = {"SERVER_NAME": "books.example.com", "LISTEN_HTTP": "127.0.0.1:8080", "LISTEN_HTTPS": "127.0.0.1:8443"}
    names |= {"TLS_CERTIFICATE": f"{tmp_path}/certificate.pem", "TLS_KEY": f"{tmp_path}/key.pem", "UPLOAD_MAX": "64m"}
    names |= {"BASE_PATH": base, "BALANCE": HASHED, "WEB_SERVERS": "server 127.0.0.1:8000 max_fails=1 fail_timeout=5s;"}
    template = (ROOT / "deploy" / "nginx" / "rillbook.conf.template").read_text(encoding="utf-8")
    (tmp_path / "rillbook.conf").write_text(fill(template, names), encoding="utf-8")
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
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as stack:
        folder = proxy.folder / "headers"
        folder.mkdir()
        (folder / "headers").mkdir()
        other = Proxy.__new__(Proxy)
        other.__dict__ |= proxy.__dict__ | {"folder": folder, "http_port": free_port(), "port": free_port()}
        text = (proxy.folder / "rillbook.conf").read_text(encoding="utf-8")
        for server in proxy.servers:
            text = text.replace(f"127.0.0.1:{server.port} ", f"127.0.0.1:{listening.getsockname()[1]} ")
        text = text.replace(f":{proxy.port} ", f":{other.port} ").replace(
            f":{proxy.http_port};", f":{other.http_port};"
        )
        (folder / "rillbook.conf").write_text(text, encoding="utf-8")
        (folder / "nginx.conf").write_text(main_file(folder), encoding="utf-8")
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


def test_one_time_links_are_not_in_the_access_log(proxy: Proxy) -> None:
    proxy.get("/welcome/a-key-of-one-time/")
    proxy.get("/accounts/confirm-email/another-key/?next=words")
    log = proxy.log()
    assert f"{BASE}/welcome/..." in log and "a-key-of-one-time" not in log
    assert "another-key" not in log and "words" not in log


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
