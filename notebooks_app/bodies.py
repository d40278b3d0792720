"""How large the body of a request may be, by where it goes. The server counts (kernels_app/incoming.py)."""

from __future__ import annotations

from urllib.parse import unquote

from django.conf import settings

from notebooks_app.errors import TooLarge

PAGE_BYTES = 2_621_440  # forms of pages; Django's own default for them
FORM_BYTES = 64 * 1024  # what a form puts around its files
IMPORT_PATH = "/notebooks/import/"
API_PATH = "/api/"
UNFINISHED = 16  # of the largest bodies, that may be on their way at once


def most_bytes() -> int:
    """UPLOAD_MAX_BYTES: of a request of the API, and of the files of an import together."""
    return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)


def unfinished_bytes() -> int:
    """Of all bodies together that a process has begun to read."""
    return UNFINISHED * most_bytes()


def limit_of(address: str, *, is_nameless: bool) -> int:
    """The most bytes that are taken with a request to this address (quoted and below BASE_PATH, as it was sent).

    `is_nameless`: it brought neither a session nor a token, so that the API will refuse it.
    """
    path = _path_of(address)
    if path.startswith(API_PATH):
        return PAGE_BYTES if is_nameless else most_bytes()
    return most_bytes() + FORM_BYTES if path == IMPORT_PATH else PAGE_BYTES


def is_api(address: str) -> bool:
    """Whether who asks this address reads JSON."""
    return _path_of(address).startswith(API_PATH)


def refusal_of(limit: int) -> str:
    """What is said to who sent more."""
    return f"The body has more than the {limit:,} bytes that are read."


def check_file(size: int) -> None:
    """Raises TooLarge for one file of an import, before it is read."""
    if size > most_bytes():
        raise TooLarge(f"{size:,} bytes are more than the {most_bytes():,} that can be imported.")


def _path_of(address: str) -> str:
    return unquote(address.partition("?")[0]).removeprefix(settings.BASE_PATH)
