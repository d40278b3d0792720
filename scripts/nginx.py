"""The supplied nginx configuration (deploy/nginx), filled in and run: for trying a cluster, and for tests.

What it says is the template's; whose servers stand behind it is the caller's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent.parent / "deploy" / "nginx" / "rillbook.conf.template"
HASHED = "hash $rillbook_key consistent;"  # the process that has a notebook's kernel
ROUND_ROBIN = ""
READY_S = 30
MAIN = """
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
daemon off;
events {{ worker_connections 1024; }}
http {{
    default_type application/octet-stream;
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/rillbook.conf;
}}
"""


class PlainNginx:
    """nginx by the template, but over plain HTTP: nobody's browser trusts a certificate made for a try."""

    def __init__(
        self, folder: Path, port: int, web_ports: Sequence[int], *, base_path: str = "", balance: str = ROUND_ROBIN
    ) -> None:
        self.folder, self.port, self.base_path = folder, port, base_path
        self.url = f"http://127.0.0.1:{port}{base_path}"
        values = {
            "SERVER_NAME": "127.0.0.1 localhost",
            "LISTEN_HTTP": "",
            "LISTEN_HTTPS": f"127.0.0.1:{port}",
            "TLS_CERTIFICATE": "",
            "TLS_KEY": "",
            "BASE_PATH": base_path,
            "UPLOAD_MAX": "64m",
            "BALANCE": balance,
            # On one machine a process that is gone refuses at once: nobody need be left out for a while.
            "WEB_SERVERS": " ".join(f"server 127.0.0.1:{each} max_fails=0;" for each in web_ports),
        }
        folder.mkdir(parents=True, exist_ok=True)
        text = fill(without_tls(TEMPLATE.read_text(encoding="utf-8")), values)
        (folder / "rillbook.conf").write_text(text, encoding="utf-8")
        (folder / "nginx.conf").write_text(main_file(folder), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers. Raises RuntimeError with nginx's own words."""
        with (self.folder / "access.log").open("ab") as out:
            command = [nginx(), "-c", str(self.folder / "nginx.conf")]
            self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        until = time.monotonic() + READY_S
        while not self._answers():
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(f"nginx did not start:\n{(self.folder / 'access.log').read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)

    def statuses(self) -> list[int]:
        """The status of each answer so far."""
        log = (self.folder / "access.log").read_text(encoding="utf-8")
        return [int(found) for found in re.findall(r'" (\d{3}) \d+ [\d.]+ \w+$', log, re.MULTILINE)]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


def without_tls(template: str) -> str:
    """The template without its redirect to HTTPS and without certificates."""
    start = template.index("server {")
    end = template.index("server {", start + 1)
    text = template[:start] + template[end:]
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("ssl_")]
    return "\n".join(lines).replace("${LISTEN_HTTPS} ssl;", "${LISTEN_HTTPS};") + "\n"


def fill(template: str, values: dict[str, str]) -> str:
    """As the nginx image's envsubst: the names that are given, and no others."""
    return re.sub(r"\$\{([A-Z_]+)\}", lambda found: values[found[1]], template)


def main_file(folder: Path) -> str:
    """Workers of root's nginx stay root: folders of a try are closed to others."""
    return MAIN.format(folder=folder, user="user root;" if os.getuid() == 0 else "")


def nginx() -> str:
    """Where nginx is. Raises RuntimeError saying how to get it."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if program is None:
        raise RuntimeError("nginx is needed: apt-get install nginx, or brew install nginx")
    return program
