"""Landlock: a process gives up, for itself and all its children, every file that it does not name.

The system calls by number, as glibc has no names for them (linux/landlock.h, Documentation/userspace-api/landlock.rst).
Standard library only: launch/enter.py uses it in a bare interpreter; kernels_app/sandbox.py asks for `abi`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Any

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL_DEV, _REFER = 1 << 14, 1 << 15, 1 << 13
_MAKE_DEVICES = (1 << 6) | (1 << 11)  # character and block
_FIRST_FILES = (1 << 13) - 1  # ABI 1
_FILES_SINCE = {2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
_NETWORK = 3  # TCP bind and connect: ABI 4
_SCOPES = 3  # abstract sockets and signals: ABI 6
NETWORK_ABI, SCOPE_ABI = 4, 6

_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
RIGHTS = {
    "read": _EXECUTE | _READ_FILE | _READ_DIR,
    "write": _FIRST_FILES & ~_MAKE_DEVICES | _REFER | _TRUNCATE,
    "device": _READ_FILE | _WRITE_FILE,
    "driver": _READ_FILE | _WRITE_FILE | _IOCTL_DEV,
}

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def abi() -> int:
    """The version of Landlock that this system has; 0: none, or switched off."""
    version = _libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    return max(0, int(version))


def make_ruleset(recipe: dict[str, Any]) -> int:
    """A descriptor of rules: {"paths": [[path, key of RIGHTS], ...], "network": bool}. Paths not there are left out.

    Raises OSError if the system does not do it.
    """
    version = abi()
    files = _FIRST_FILES
    for since, right in _FILES_SINCE.items():
        files |= right if version >= since else 0
    network = _NETWORK if version >= NETWORK_ABI and not recipe.get("network") else 0
    told = _Ruleset(files, network, _SCOPES if version >= SCOPE_ABI else 0)
    size = 8 if version < NETWORK_ABI else 16 if version < SCOPE_ABI else 24
    ruleset = _libc.syscall(_CREATE, ctypes.byref(told), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "Landlock makes no rules")
    for path, kind in recipe["paths"]:
        with contextlib.suppress(FileNotFoundError):
            _allow(ruleset, path, RIGHTS[kind] & files)
    return int(ruleset)


def restrict_self(ruleset: int) -> None:
    """Hold this thread, and all that it becomes, to the rules. Needs no_new_privs. Raises OSError."""
    if _libc.syscall(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0)) != 0:
        raise OSError(ctypes.get_errno(), "Landlock does not restrict this process")
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        told = _Beneath(rights if os.path.isdir(path) else rights & _FILE_RIGHTS, folder)
        added = _libc.syscall(
            _ADD, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(told), ctypes.c_uint32(0)
        )
        if added != 0:
            raise OSError(ctypes.get_errno(), f"Landlock does not take {path}")
    finally:
        os.close(folder)
