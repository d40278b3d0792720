"""A server that is an ordinary user, as it should be: both rungs hold without any help of root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import item
from tests.readable import make_environment, readable_folder
from tests.security import test_nameless as nameless

PROJECT = Path(__file__).resolve().parents[2]
USER = 60_590  # nobody's; not of the range for kernels
SERVER = """
import asyncio, json, os, sys, tempfile
from pathlib import Path
from kernels_app import limits, provisioner, sandbox
from kernels_app.kernel import Kernel
from kernels_app.provisioner import Profile

ATTACK = '''
import ctypes, errno, fcntl, json, os, resource, socket, subprocess
server, secret = %r, %r
found = {}
def attempt(name, work):
    try: found[name] = str(work())
    except OSError as error: found[name] = errno.errorcode[error.errno]
attempt('kill', lambda: os.kill(server, 9))
attempt('environ', lambda: open(f'/proc/{server}/environ').read())
attempt('memory', lambda: open(f'/proc/{server}/mem', 'rb').read(1))
attempt('descriptors', lambda: os.listdir(f'/proc/{server}/fd'))
attempt('limits', lambda: resource.prlimit(server, resource.RLIMIT_NOFILE, (3, 3)))
attempt('affinity', lambda: os.sched_setaffinity(server, {0}))
attempt('priority', lambda: os.setpriority(os.PRIO_USER, 0, 19))
attempt('secret', lambda: open(secret).read())
ours = next(at for at in ('/opt/rillbook/inside/owned', os.path.dirname(secret) + '/code/kernels_app/inside/owned')
            if os.path.exists(at))
attempt('lease', lambda: fcntl.fcntl(os.open(ours, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_WRLCK))
libc = ctypes.CDLL(None, use_errno=True)
def watch():
    if libc.inotify_add_watch(libc.inotify_init(), secret.encode(), 2) < 0:
        raise OSError(ctypes.get_errno(), 'refused')
attempt('watch', watch)
for change in (lambda: os.chmod(secret, 0o777), lambda: os.fchmod(os.open(ours, os.O_RDONLY), 0o777),
               lambda: os.utime(secret, (0, 0)), lambda: os.chown(secret, -1, os.getgid()),
               lambda: os.setxattr(secret, 'user.x', b'1')):
    try: change()  # whatever it says: the file is looked at afterwards
    except OSError: pass
attempt('connect', lambda: socket.create_connection(('127.0.0.1', 1), 2))
attempt('shared memory', lambda: os.listdir('/dev/shm/..') and open('/dev/shm/../../etc/shadow').read())
subprocess.run(['sh', '-c', 'setsid sleep 1000 & setsid sleep 1000 &'])
print(json.dumps(found))
'''

async def main():
    rung, secret, item = sys.argv[1:]
    provisioner.register()
    verdict = sandbox.verdict(rung)
    assert verdict.rung == rung, verdict.why
    kernel = await Kernel.start(Profile(sandbox=rung, start_timeout_s=60), Path(tempfile.mkdtemp()))
    entries = []
    kernel.on_entries = entries.extend
    await kernel.run_plan('p', [json.loads(item) | {'source': ATTACK % (os.getpid(), secret)}])
    await kernel.kill()
    for _ in range(100):  # the last folder of it may still be on its way to be deleted
        if limits.tree(os.getpid())[1:]:
            await asyncio.sleep(0.1)
    text = ''.join(entry['text'] for entry in entries if entry['t'] == 'stream')
    print(json.dumps({'found': json.loads(text), 'left': limits.tree(os.getpid())[1:], 'niced': os.nice(0),
                      'said': sandbox.protections(rung)}))

asyncio.run(main())
"""

DEATHS = """
import asyncio, json, sys, tempfile
from pathlib import Path
from kernels_app import kernel as kernel_module, provisioner
from kernels_app.kernel import Kernel, KernelDied
from kernels_app.provisioner import Profile

async def main():
    rung, sources, item = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
    provisioner.register()
    kernel_module.DISK_WATCH_S = 0.2
    bounds = {'disk_bytes': 50 << 20, 'memory_bytes': 512 << 20, 'use_cgroups': False, 'start_timeout_s': 60}
    for source in sources:
        kernel = await Kernel.start(Profile(sandbox=rung, **bounds), Path(tempfile.mkdtemp()))
        try:
            async with asyncio.timeout(30):
                await kernel.run_plan('p', [item | {'source': source}])
            print('alive')
        except (KernelDied, TimeoutError) as died:
            print(getattr(died, 'death', died))
        await kernel.kill()

asyncio.run(main())
"""
OPENLY = "import numpy, subprocess\nsubprocess.run(['sleep', '1'])\nopen('f', 'w').write('x' * 1000)\n"
SECRETLY = "import ctypes\nctypes.CDLL(None).prctl(4, 0)\n" + nameless.UNLINKED


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Any:
    """Run the server's part as an ordinary user; what it printed."""
    with readable_folder() as folder:
        python = make_environment(folder) if os.geteuid() == 0 else sys.executable
        for part in ("kernels_app", "notebooks_app"):
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(PROJECT / part, folder / "code" / part, ignore=ignored)
        (folder / "tmp").mkdir()
        (folder / "tmp").chmod(0o777)
        secret = folder / "secret_key"
        secret.write_text("canary")
        owned = folder / "code" / "kernels_app" / "inside" / "owned"
        owned.write_text("code of the server's own uid")
        for path in (secret, owned):
            if os.geteuid() == 0:
                os.chown(path, USER, USER)
            path.chmod(0o600)
        os.utime(secret, (1_000_000, 1_000_000))

        def run(*words: str, script: str = SERVER) -> list[str]:
            user = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
            env = {"PATH": os.environ["PATH"], "HOME": str(folder / "tmp"), "PYTHONPATH": str(folder / "code")}
            env["TMPDIR"] = env["HOME"]
            command = [python, "-c", script, *words, json.dumps(item("a", ""))]
            done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=120, **user)
            assert done.returncode == 0, done.stderr
            return done.stdout.splitlines()

        def attack(rung: str) -> Any:
            told = json.loads(run(rung, str(secret))[-1])
            files = {path.name: path.stat() for path in (secret, owned)}
            return told | {
                "modes": {name: oct(found.st_mode & 0o777) for name, found in files.items()},
                "time": files["secret_key"].st_mtime,
                "attributes": os.listxattr(secret),
            }

        yield attack, run


@pytest.mark.parametrize("rung", ["bubblewrap", "landlock"])
def test_the_servers_own_uid_gives_a_kernel_nothing(server: Any, rung: str):
    told = server[0](rung)
    refused = {"EPERM", "EACCES", "ENOENT", "ESRCH", "ECONNREFUSED"}
    assert {name: answer for name, answer in told["found"].items() if answer not in refused} in (
        {}, {"priority": "None"},  # in a process namespace of its own, PRIO_USER means those in it
    )  # fmt: skip
    assert told["found"].get("priority") == "None" or rung == "landlock"
    assert told["niced"] == 0 and told["left"] == []
    assert told["modes"] == {"secret_key": "0o600", "owned": "0o600"}
    assert (told["time"], told["attributes"]) == (1_000_000, [])
    assert any("the server's own uid" in line for line in told["said"])


@pytest.mark.parametrize("rung", ["bubblewrap", "landlock"])
def test_what_has_no_name_is_counted_by_a_server_that_is_no_root(server: Any, rung: str):
    sources = [OPENLY, nameless.UNLINKED, nameless.MAPPED_DISK, nameless.MEMFD, nameless.MAPPED_MEMORY, SECRETLY]
    openly, *disk, memfd, memory, secretly = server[1](rung, json.dumps(sources), script=DEATHS)
    assert openly == "alive"
    assert len(disk) == 2 and all("The notebook's files take more than" in death for death in disk), disk
    assert "ran out of memory" in memfd and "ran out of memory" in memory
    assert "hid which files" in secretly or (rung == "bubblewrap" and "take more than" in secretly)
