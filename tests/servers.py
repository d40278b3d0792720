"""The real server as a process of its own, for tests of what a user runs."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.cookiejar
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from scripts.with_postgres import free_port

ROOT = Path(__file__).resolve().parent.parent
READY_S = 60
CONNECTION_KEY = base64.b64encode(hashlib.sha256(b"connection key of a tests' server").digest()).decode()
# Signs people in as their browsers would be: prints the name and the value of each one's session cookie, and a token.
SIGN_IN = """
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from notebooks_app.models import ApiToken
for username in {usernames!r}:
    user, _ = get_user_model().objects.get_or_create(username=username)
    session = SessionStore()
    session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
    session[BACKEND_SESSION_KEY] = "notebooks_app.accounts.PasswordBackend"
    session.create()
    print(settings.SESSION_COOKIE_NAME, session.session_key, ApiToken.issue(user.pk, "test", "edit", None)[1])
"""
# Several commands in one process: starting one takes longer than what most of them do.
IN_TURN = """
import io, json, sys
import django
django.setup()
from django.core.management import call_command
said = []
for command in json.loads(sys.argv[1]):
    out = io.StringIO()
    call_command(*command, stdout=out)
    said.append(out.getvalue().strip())
print("\\n" + json.dumps(said))
"""


class LiveServer:
    """`manage.py serve` on a free port, with a data folder of its own."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._tokens: dict[str, str] = {}
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def prefix(self) -> list[str]:
        """A command that becomes the server's."""
        return []

    @property
    def login_url(self) -> str:
        """The URL that the server printed: it signs the first user in."""
        lines = [line for line in self.log().splitlines() if line.startswith("URL: ")]
        return lines[-1].removeprefix("URL: ")

    def start(self) -> None:
        with (self.data_dir / "server.log").open("ab") as log:
            command = [*self.prefix, sys.executable, "manage.py", "serve", "--port", str(self.port)]
            # Ctrl-C is the caller's, who ends it in order.
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment(), stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + READY_S
        while not self._answers():
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(f"The server did not start:\n{self.log()}")
            time.sleep(0.05)

    def environment(self) -> dict[str, str]:
        own = {
            "RILLBOOK_DATA_DIR": str(self.data_dir),
            "DJANGO_SETTINGS_MODULE": "notebook_project.settings",
            "KERNEL_POOL_SIZE": "0",  # most tests need no kernel, or one: none is started on stock
        }
        kept = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
        if self._environment.get("RILLBOOK_MODE") == "multi":
            own |= {"CONNECTION_KEYS": CONNECTION_KEY}
        return kept | own | self._environment

    def stop(self) -> None:
        """SIGTERM; SIGKILL if that is not heard within 30 s."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def restart(self) -> None:
        self.stop()
        self.start()

    def log(self) -> str:
        return (self.data_dir / "server.log").read_text(encoding="utf-8", errors="replace")

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environment(), capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout.strip()

    def manage_in_turn(self, *commands: list[str]) -> list[str]:
        """What each command wrote, all run by one process."""
        done = subprocess.run(
            [sys.executable, "-c", IN_TURN, json.dumps(commands)],
            cwd=ROOT, env=self.environment(), capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        said: list[str] = json.loads(done.stdout.splitlines()[-1])
        return said

    def session_cookies(self, username: str = "me") -> dict[str, str]:
        """The cookie, by its name, of a new session of this person, who is made if there is none."""
        return self.sessions_of(username)[username]

    def sessions_of(self, *usernames: str) -> dict[str, dict[str, str]]:
        """As `session_cookies`, of several people by one command; `api` has a token of each of them then."""
        said = self.manage("shell", "--no-imports", "-c", SIGN_IN.format(usernames=usernames)).splitlines()
        cookies: dict[str, dict[str, str]] = {}
        for username, (name, value, token) in zip(usernames, map(str.split, said), strict=True):
            cookies[username] = {name: value}
            self._tokens.setdefault(username, token)
        return cookies

    def api(self, username: str = "me") -> Api:
        """A client of the API with this person's token; `session_cookies` makes people."""
        if username not in self._tokens:
            made = self._token_of_first_user() if username == "me" else None
            self._tokens[username] = made or self.manage("create_token", username, "--scope", "edit").splitlines()[-1]
        return Api(self.url, self._tokens[username])

    def sign_in(self) -> dict[str, str]:
        """The cookies of the first user's browser, by the URL that the server printed."""
        jar = http.cookiejar.CookieJar()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        opener.open(self.login_url, timeout=60).read()
        return {cookie.name: cookie.value or "" for cookie in jar}

    def _token_of_first_user(self) -> str | None:
        """A token as the page makes it: seconds sooner than by a command. None where no URL signs in (multi mode)."""
        if self._environment.get("RILLBOOK_MODE") == "multi" or "HTTPS" in self._environment:
            return None
        cookies = self.sign_in()
        api = Api(self.url, "")
        api.headers = {
            "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
            "X-CSRFToken": cookies["rillbook-csrf"], "Content-Type": "application/json",
        }  # fmt: skip
        status, made = api("POST", "tokens/", {"name": "tests", "scope": "edit"})
        assert status == 201, made
        return str(made["token"])

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False


class Api:
    """A small client of /api/v1/: `api("POST", "notebooks/", {...}) -> (status, body)`."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self.token = token
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def __call__(self, method: str, path: str, body: Any = None, timeout_s: float = 60) -> tuple[int, Any]:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self._url}/api/v1/{path}", data=data, headers=self.headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return answer.status, _json(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _json(error.read())


def _json(data: bytes) -> Any:
    return json.loads(data) if data else None


@contextlib.contextmanager
def temporary_redis() -> Iterator[str]:
    """A redis-server on a free loopback port that keeps nothing on disk; its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("These tests need Redis: apt-get install redis-server, or brew install redis")
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    null = subprocess.DEVNULL
    server = subprocess.Popen([program, *options], stdout=null, stderr=null, start_new_session=True)
    try:
        url = f"redis://127.0.0.1:{port}/0"
        _wait_for_redis(url, server)
        yield url
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10)
        server.kill()


def _wait_for_redis(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 10
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > until or server.poll() is not None:
                    raise
                time.sleep(0.02)
