"""Encrypts the few secrets we keep: AES-256-GCM under a ring of keys that can be rotated.

A sealed value is: version (1 byte), key id (4 bytes), nonce (12 bytes), ciphertext and tag. The associated
data (the row's id) is authenticated with it, so that a secret copied to another row does not open. What is
secret, and when, is the caller's matter (models/connection.py).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
KEY_BYTES = 32
KEY_ID_BYTES = 4
NONCE_BYTES = 12
HEAD_BYTES = 1 + KEY_ID_BYTES + NONCE_BYTES
DERIVATION = b"rillbook connection secrets v1"


class DecryptionError(ValueError):
    """The secret cannot be opened: its key is not in CONNECTION_KEYS, or the bytes are not what was
    written."""


def encrypt(plain: str, associated: bytes, *, keys: Sequence[str] | None = None) -> bytes:
    """The text sealed under the first key, for the row that `associated` names."""
    key = _ring(keys)[0]
    nonce = os.urandom(NONCE_BYTES)
    head = VERSION + _key_id(key) + nonce
    return head + AESGCM(key).encrypt(nonce, plain.encode("utf-8"), head + associated)


def decrypt(sealed: bytes, associated: bytes, *, keys: Sequence[str] | None = None) -> str:
    """The text again, by whichever key of the ring sealed it. Raises DecryptionError, which says what is missing."""
    head, body = sealed[:HEAD_BYTES], sealed[HEAD_BYTES:]
    if len(head) < HEAD_BYTES or head[:1] != VERSION:
        raise DecryptionError("The stored secret is not in a form this version knows.")
    key = next((key for key in _ring(keys) if _key_id(key) == head[1 : 1 + KEY_ID_BYTES]), None)
    if key is None:
        raise DecryptionError(f"The key that sealed the secret (id {key_id(sealed)}) is not among CONNECTION_KEYS.")
    try:
        return AESGCM(key).decrypt(head[-NONCE_BYTES:], body, head + associated).decode("utf-8")
    except (InvalidTag, UnicodeDecodeError):
        raise DecryptionError("The stored secret was changed, or belongs to another row.") from None


def needs_rotation(sealed: bytes, *, keys: Sequence[str] | None = None) -> bool:
    """Whether another key than the first sealed it: encrypt it again before that key is removed."""
    return sealed[1 : 1 + KEY_ID_BYTES] != _key_id(_ring(keys)[0])


def key_id(sealed: bytes) -> str:
    """Which key sealed it, as eight hexadecimal digits: it tells keys apart and nothing about them."""
    return sealed[1 : 1 + KEY_ID_BYTES].hex()


def first_key_id(keys: Sequence[str] | None = None) -> str:
    """The id of the key that encrypts now."""
    return _key_id(_ring(keys)[0]).hex()


def _ring(keys: Sequence[str] | None) -> list[bytes]:
    """The first encrypts. Keys made from SECRET_KEY and its fallbacks go on decrypting what they sealed."""
    if keys is not None:
        return [_key(text, number) for number, text in enumerate(keys, start=1)]
    from django.conf import settings

    texts = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    made = (hmac.new(text.encode(), DERIVATION, hashlib.sha256).digest() for text in texts)
    return [*(_key(text, number) for number, text in enumerate(settings.CONNECTION_KEYS, start=1)), *made]


def _key(text: str, number: int) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"CONNECTION_KEYS: key {number} is not base64 of {KEY_BYTES} bytes.")
    return key


def _key_id(key: bytes) -> bytes:
    """Tells keys apart without telling anything about them."""
    return hashlib.sha256(b"rillbook key id" + key).digest()[:KEY_ID_BYTES]
