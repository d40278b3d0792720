"""DNS rebinding for real: the system's own resolver, asked through a name server of the attacker's.

All of it runs in a network of its own (bubblewrap), where that server is on 127.0.0.1:53 and a database's port listens
on every address of the machine: whoever connects there is seen.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSIDE = r"""
import asyncio, ipaddress, json, os, socket, struct, sys, threading
import django
django.setup()
from django.test.utils import override_settings
from kernels_app.broker import Broker, ConnectionRefused

PUBLIC, NAMES, asked, came = "203.0.113.9", json.loads(sys.argv[1]), [], []

def name_of(packet):
    at, labels = 12, []
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(labels).lower(), struct.unpack_from("!H", packet, at + 1)[0], at + 5

def answer(packet):
    name, kind, end = name_of(packet)
    asked.append([name, kind])
    turns = NAMES.get(name)
    found = [] if turns is None else turns[min(sum(each == [name, kind] for each in asked), len(turns)) - 1]
    records, owner = b"", 0xC00C
    for each in found:
        if each.startswith("="):
            target = b"".join(bytes([len(part)]) + part.encode() for part in each[1:].split(".")) + b"\0"
            records += struct.pack("!HHHIH", owner, 5, 1, 0, len(target))
            owner = 0xC000 + end + len(records)
            records += target
            continue
        address = ipaddress.ip_address(each)
        if (kind == 1) == (address.version == 4):
            records += struct.pack("!HHHIH", owner, kind, 1, 0, len(address.packed)) + address.packed
    count = sum(each.startswith("=") or (kind == 1) == (":" not in each) for each in found)
    code = 0x8180 if turns is not None else 0x8183
    return packet[:2] + struct.pack("!HHHHH", code, 1, count, 0, 0) + packet[12:end] + records

def serve_names(line):
    while True:
        packet, who = line.recvfrom(4096)
        line.sendto(answer(packet), who)

def listen(line):
    while True:
        other, who = line.accept()
        came.append(who[0])
        other.close()

names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("127.0.0.1", 53))
threading.Thread(target=serve_names, args=[names], daemon=True).start()
port = socket.create_server(("::", 5432), family=socket.AF_INET6, dualstack_ipv6=True)
threading.Thread(target=listen, args=[port], daemon=True).start()

async def ask(hosts):
    broker, said = Broker(), {}
    for host in hosts:
        asked.clear()
        try:
            await broker.run_query(f"postgresql://a:b@{host}/d", "SELECT 1", [], out_path="/tmp/out")
            said[host] = ["connected", list(asked)]
        except ConnectionRefused as error:
            said[host] = [str(error), list(asked)]
    await broker.close()
    return said

with override_settings(CONNECTION_ALLOW=[]):
    told = asyncio.run(ask(json.loads(sys.argv[2])))
seen = list(came)
with override_settings(CONNECTION_ALLOW=["loopback"]):
    asyncio.run(ask(["inner.example"]))
print(json.dumps({"told": told, "came": seen, "allowed": len(came) - len(seen)}))
"""
NAMES = {
    "rebind.example": [["203.0.113.9"], ["127.0.0.1"]],
    "mixed.example": [["127.0.0.1", "203.0.113.9", "::1", "::ffff:127.0.0.1"]],
    "alias.example": [["=inner.example", "127.0.0.1"]],
    "inner.example": [["127.0.0.1"]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    "zero.example": [["0.0.0.0"]],
    "zeros.example": [["::"]],
    "meta.example": [["169.254.169.254"]],
    "disguised.example": [["64:ff9b::7f00:1", "2002:7f00:1::"]],
    "many.example": [[f"127.0.{number}.1" for number in range(1, 20)]],
}
LITERALS = ["127.1", "2130706433", "0x7f.1", "017700000001", "localhost", "[::ffff:127.0.0.1]", "[::1]"]
OUTSIDE = ("rebind.example", "mixed.example")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the broker said of each host, what was asked of the name server, and who came to the port."""
    folder = tmp_path_factory.mktemp("etc")
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:2 attempts:1\n")
    (folder / "nsswitch.conf").write_text("passwd: files\nhosts: files dns\n")
    bwrap = shutil.which("bwrap")
    assert bwrap, "These tests need bubblewrap: apt-get install bubblewrap"
    command = [bwrap, "--dev-bind", "/", "/", "--unshare-user", "--unshare-net", "--uid", "0", "--gid", "0"]
    command += ["--cap-add", "CAP_NET_BIND_SERVICE", "--die-with-parent", "--tmpfs", "/tmp"]
    command += ["--ro-bind", str(ROOT), str(ROOT)]  # where that is below /tmp
    for name in ("resolv.conf", "nsswitch.conf"):
        command += ["--ro-bind", str(folder / name), os.path.realpath(f"/etc/{name}")]
    command += [sys.executable, "-c", INSIDE, json.dumps(NAMES), json.dumps([*NAMES, *LITERALS])]
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_no_name_and_no_spelling_leads_to_this_machine(seen: dict[str, Any]):
    assert seen["came"] == [], seen
    for host, (words, _) in seen["told"].items():
        assert ("unreachable" in words) if host in OUTSIDE else ("where connections may not lead" in words), words
    assert seen["allowed"] == 1, "the port can be reached: an operator who allows it gets there"


def test_a_name_is_asked_for_once_and_what_it_says_next_is_not_heard(seen: dict[str, Any]):
    asked = seen["told"]["rebind.example"][1]
    assert sorted(kind for name, kind in asked if name == "rebind.example") == [1, 28]
