"""How long each side of a proxy waits: the proxies' configurations held against the server's own times."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kernels_app.api import SAVED_S, START_S
from kernels_app.ending import KEPT_S
from notebooks_app.serializers import MAX_TIMEOUT_S
from tests.servers import ROOT

NGINX = (ROOT / "deploy" / "nginx" / "rillbook.conf.template").read_text(encoding="utf-8")
BALANCER = (ROOT / "terraform" / "modules" / "compute" / "main.tf").read_text(encoding="utf-8")
# Twisted's time is given to a connection when it is made: asked of one, once the server listens.
LISTENS = """
import django
django.setup()
from daphne.endpoints import build_endpoint_description_strings
from kernels_app.ending import GracefulServer

def listens():
    from twisted.internet import reactor
    print("kept", server.http_factory.buildProtocol(None).timeOut)
    reactor.callWhenRunning(reactor.stop)

endpoints = build_endpoint_description_strings(host="127.0.0.1", port=0)
server = GracefulServer(application=None, endpoints=endpoints, ready_callable=listens)
server.run()
"""


def seconds(text: str, pattern: str) -> int:
    """The one number that is said. Raises ValueError where it is not said once."""
    (found,) = re.findall(pattern, text, re.MULTILINE)
    return int(found)


def longest_silences() -> dict[str, int]:
    """For how long a proxy waits for a word of the server while a request is under way."""
    return {
        "nginx": seconds(NGINX, r"^ +proxy_read_timeout +(\d+)s;"),
        "balancer": seconds(BALANCER, r"^ +idle_timeout += (\d+)$"),
    }


@pytest.mark.parametrize("proxy", ["nginx", "balancer"])
def test_a_proxy_waits_for_a_run_as_long_as_the_api_grants_one(proxy: str) -> None:
    assert longest_silences()[proxy] > MAX_TIMEOUT_S + START_S + SAVED_S


def test_the_server_keeps_an_idle_connection_longer_than_any_proxy_does() -> None:
    """The load balancer's idle_timeout is that of its connections to tasks too."""
    assert longest_silences()["balancer"] < KEPT_S
    assert seconds(NGINX, r"^ +keepalive_timeout +(\d+)s;") < KEPT_S


@pytest.mark.parametrize(("behind", "kept"), [("true", KEPT_S), ("false", 60)])
def test_connections_of_a_proxy_are_kept_and_others_are_not(tmp_path: Path, behind: str, kept: int) -> None:
    """Where browsers come themselves, whoever opens a connection and says nothing is left alone no longer."""
    given = {"RILLBOOK_DATA_DIR": str(tmp_path), "BEHIND_PROXY": behind}
    done = subprocess.run(
        [sys.executable, "-c", LISTENS],
        cwd=ROOT, env={"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "notebook_project.settings"} | given,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert f"kept {kept}\n" in done.stdout, done.stderr
