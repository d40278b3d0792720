"""`python -I -S enter.py <descriptor>`: carries out the recipe (JSON) in that descriptor, then becomes its `argv`.

In this order: die with the server, cgroups, OOM score, limits, mounts that a foreign uid can reach, the uid, Landlock,
seccomp, exec. A step that fails ends the program (code 70) before anything of a user runs: no kernel starts with less
than it was meant to have. Steps that are missing in the recipe are left out:

    parent      pid of the server
    cgroups     files to write our pid into
    oom_score   0 to 1000
    limits      {number of the resource: value}
    stage       {"root": folder, "binds": [[source, name below it], ...]} (needs root)
    uid         the uid and gid to become (needs root)
    landlock    see landlock.py
    seccomp     base64 of a BPF program; with seccomp_by = "descriptor" bubblewrap finds it in SECCOMP_FD
    supervise   stay as the parent, and end all that the kernel leaves behind
    argv, env, cwd
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any

SECCOMP_FD = 198  # out of the way of what the kernel opens; bubblewrap reads and closes it
FAILED = 70
CLOSED_FROM = 3
CPU_GRACE_S = 5  # from SIGXCPU, which says why a process ends, to SIGKILL, which does not

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_CLONE_NEWNS = 0x20000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 0x1000, 0x4000, 0x40000
_libc = ctypes.CDLL(None, use_errno=True)


def main(argv: list[str]) -> None:
    descriptor = int(argv[1])
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        recipe = json.load(file)
    _close_others()
    _prepare(recipe)
    if recipe.get("supervise"):
        from supervise import supervise  # type: ignore[import-not-found]

        supervise(lambda: _become(recipe), uid=recipe.get("uid"))
    _become(recipe)


def _prepare(recipe: dict[str, Any]) -> None:
    """What root or the server's user may do and a kernel may not."""
    die_with(recipe.get("parent"), signal.SIGTERM if recipe.get("supervise") else signal.SIGKILL)
    for path in recipe.get("cgroups", ()):
        with open(path, "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    if "oom_score" in recipe:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(recipe["oom_score"]))
    if "stage" in recipe:
        stage(recipe["stage"]["root"], recipe["stage"]["binds"])


def _become(recipe: dict[str, Any]) -> None:
    """Give up everything, and become the program."""
    ruleset = None
    if "landlock" in recipe:
        import landlock  # type: ignore[import-not-found]

        ruleset = landlock.make_ruleset(recipe["landlock"])
        os.umask(0o077)  # the machine's /dev/shm is the other kernels', too
    os.chdir(recipe["cwd"])
    for number, value in recipe.get("limits", {}).items():
        _limit(int(number), value)
    if recipe.get("uid"):
        drop_to(recipe["uid"])
    die_with(os.getppid() if recipe.get("supervise") else recipe.get("parent"), signal.SIGKILL)
    _call(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if ruleset is not None:
        landlock.restrict_self(ruleset)
    if "seccomp" in recipe:
        _filter(base64.b64decode(recipe["seccomp"]), by_descriptor=recipe.get("seccomp_by") == "descriptor")
    os.closerange(CLOSED_FROM, SECCOMP_FD)
    os.execvpe(recipe["argv"][0], recipe["argv"], recipe["env"])


def die_with(parent: int | None, number: int) -> None:
    """Get a signal when the parent ends; end now if it is gone already."""
    _call(_libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0), "parent death signal")
    if parent and os.getppid() != parent:
        sys.exit("The server that started this kernel is gone.")


def drop_to(uid: int) -> None:
    """Become this uid and gid for good, without other groups."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def stage(root: str, binds: list[list[str]]) -> None:
    """In a private mount namespace, show folders and files at paths that any uid can walk to."""
    _call(_libc.unshare(_CLONE_NEWNS), "a mount namespace")
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    for source, name in binds:
        target = f"{root}/{name}"
        if os.path.isdir(source):
            os.mkdir(target, 0o755)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(source, target, None, _MS_BIND | _MS_REC)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [word.encode() if word is not None else None for word in (source, target, kind, data)]
    _call(_libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]), f"mount {source} at {target}")


def _limit(number: int, value: int) -> None:
    most, hard = value + CPU_GRACE_S if number == resource.RLIMIT_CPU else value, resource.getrlimit(number)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(number, (min(value, most), most))


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_char_p)]


def _filter(program: bytes, *, by_descriptor: bool) -> None:
    if by_descriptor:
        made = os.memfd_create("seccomp", 0)
        os.write(made, program)
        os.lseek(made, 0, os.SEEK_SET)
        os.dup2(made, SECCOMP_FD, inheritable=True)
        return
    told = _Program(len(program) // 8, program)
    _call(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(told), 0, 0), "seccomp")


def _close_others() -> None:
    """No descriptor of the server's goes in; a folder's least of all (risks.md, 24)."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= CLOSED_FROM:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(name))


def _call(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


if __name__ == "__main__":
    sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]
    try:
        main(sys.argv)
    except Exception as error:  # whatever it is: nothing of a user has run, and nothing will
        print(f"The kernel's sandbox could not be entered: {error}", file=sys.stderr)
        os._exit(FAILED)
