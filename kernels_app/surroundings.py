"""What a server needs around it, asked once before it starts: database, Redis, storage, kernels' Python, folders.

Each question is answered by nothing or by a Trouble: the setting that it concerns, what is wrong, and how to mend it;
never with a secret. `manage.py serve` refuses to start on any, `manage.py doctor` tells them. What a running server
does when one of them goes away later is elsewhere (health.py, storage_line.py, leases.py).
"""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.files.storage import FileSystemStorage, storages
from django.db import connection

from kernels_app import interpreters
from kernels_app.far_words import Trouble, of_oidc, of_redis, of_storage
from kernels_app.schema_state import database_troubles
from notebooks_app import checks

ASK_S = 5
PROBE_BYTES = 64 * 1024  # a disk with less room than this is full

type Ask = Callable[[], Trouble | None]


def troubles(*, migrates: bool) -> list[Trouble]:
    """All that this server does not find. What is far is asked at once: some 5 s at most.

    `migrates`: the start brings the database's tables up to date itself, so that only newer ones are in its way.
    """
    near = [trouble for ask in NEAR if (trouble := ask())]
    if near:  # what is far may hang on what is wrong here
        return near
    with ThreadPoolExecutor(len(FAR) + 1) as threads:
        found = [threads.submit(ask) for ask in FAR]
        database = threads.submit(_ask_database, migrates=migrates)
        return [*database.result(), *(trouble for future in found if (trouble := future.result()))]


# --- Near ------------------------------------------------------------------------------------------------------------


def ask_data_folder() -> Trouble | None:
    """Whether the data folder takes a file: it may be read-only, another user's, or full."""
    return _written("RILLBOOK_DATA_DIR", Path(settings.DATA_DIR))


def _written(name: str, folder: Path) -> Trouble | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix="rillbook-start-") as file:
            file.write(b"\0" * PROBE_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Trouble(name, f"the disk of {folder} is full.", "Free some room, or name another folder.")
        return Trouble(
            name,
            f"the folder {folder} cannot be written ({error.strerror}).",
            f"Give it to the user that runs the server (uid {os.geteuid()}), or name another.",
        )
    return None


def ask_keys() -> Trouble | None:
    for message in checks.secrets_are_real(None):
        name = "CONNECTION_KEYS" if message.id == "rillbook.E002" else "SECRET_KEY"
        return Trouble(name, str(message.msg), str(message.hint))
    return None


def ask_kernel_python() -> Trouble | None:
    """Whether the interpreter of kernels runs and has what a kernel is made of."""
    python = settings.KERNEL_PYTHON
    if not python or settings.KERNEL_HOST != "local":  # nodes of a cluster have their own
        return None
    mend = "Name a Python with ipykernel (pip install ipykernel), or unset it to use the server's."
    try:
        interpreters.interpreter(python)
        run = [python, "-I", "-c", "import ipykernel"]
        subprocess.run(run, capture_output=True, timeout=interpreters.PROBE_TIMEOUT_S, check=True)
    except OSError as error:
        return Trouble("KERNEL_PYTHON", f"{python} cannot be run ({error.strerror}).", mend)
    except subprocess.SubprocessError:
        return Trouble("KERNEL_PYTHON", f"{python} does not import ipykernel.", mend)
    except ValueError as error:
        return Trouble("KERNEL_PYTHON", str(error), "Put it where kernels may see it: docs/security.md.")
    return None


def ask_static_root() -> Trouble | None:
    """In an image it is there and read-only; else it is an empty folder that is made."""
    folder = Path(settings.STATIC_ROOT)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return Trouble("STATIC_ROOT", f"the folder {folder} cannot be made ({error.strerror}).", "Name another.")
    return None


NEAR: tuple[Ask, ...] = (ask_data_folder, ask_static_root, ask_keys, ask_kernel_python)

# --- Far -------------------------------------------------------------------------------------------------------------


def _ask_database(*, migrates: bool) -> list[Trouble]:
    """In a thread of its own, whose connection ends with it."""
    try:
        return list(database_troubles(connection, migrates=migrates))
    finally:
        connection.close()


def ask_redis() -> Trouble | None:
    if not settings.REDIS_URL:
        return None
    from redis import Redis

    layer: Any = settings.CHANNEL_LAYERS["default"]
    options = dict(layer["CONFIG"]["hosts"][0])
    url = options.pop("address")
    try:
        with Redis.from_url(url, socket_timeout=ASK_S, socket_connect_timeout=ASK_S, retry=None, **options) as client:
            client.ping()
    except Exception as error:  # of Redis, TLS, the system, or the AWS identity
        return replace(of_redis(error, url), at=urlsplit(url).netloc.rpartition("@")[2])
    return None


def ask_storage() -> Trouble | None:
    storage = storages["outputs"]
    if isinstance(storage, FileSystemStorage):
        return _written("RILLBOOK_DATA_DIR", Path(storage.location))
    try:
        client = storage.connection.meta.client  # type: ignore[attr-defined]
        answer = client.head_bucket(Bucket=settings.OUTPUTS_BUCKET)
    except Exception as error:  # of botocore, TLS, or the system
        where = urlsplit(storage.endpoint_url or "").netloc  # type: ignore[attr-defined]
        return replace(of_storage(error), at=f"{settings.OUTPUTS_BUCKET} at {where or 'AWS'}")
    region = settings.OUTPUTS_REGION
    there = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", region)
    if there != region:
        return Trouble(
            "OUTPUTS_REGION", f"the bucket {settings.OUTPUTS_BUCKET} is in {there}, not in {region}.",
            f"Set OUTPUTS_REGION={there}: browsers are sent to addresses of that region.",
        )  # fmt: skip
    return None


def ask_oidc() -> Trouble | None:
    """Whether the provider describes itself, as this issuer. People have other ways to sign in while it does not."""
    found = _ask_issuer(settings.OIDC.issuer) if settings.OIDC else None
    return found and replace(found, is_bearable=True)


def _ask_issuer(issuer: str) -> Trouble | None:
    import requests

    try:
        answer = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=ASK_S)
        answer.raise_for_status()
        said = str(answer.json().get("issuer", "")).rstrip("/")
    except (requests.RequestException, ValueError, AttributeError) as error:
        return replace(of_oidc(error), at=urlsplit(issuer).netloc)
    if said != issuer:
        return Trouble("OIDC_ISSUER", "what answers there calls itself by another name.", f"Set OIDC_ISSUER={said}.")
    return None


FAR: tuple[Ask, ...] = (ask_redis, ask_storage, ask_oidc)
