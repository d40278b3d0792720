"""System checks: combinations of settings that would surprise an operator, each with a way to mend it."""

from __future__ import annotations

import base64
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

SAMPLE_KEYS = ("django-insecure", "changeme", "change-me", "secret", "example")


@register()
def secrets_are_real(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.RILLBOOK_MODE == "multi" and settings.SECRET_KEY.lower().startswith(SAMPLE_KEYS):
        found.append(
            Error(
                "SECRET_KEY is a sample.",
                hint="Make one: python -c 'import secrets; print(secrets.token_urlsafe(48))'",
                id="rillbook.E001",
            )
        )
    for number, key in enumerate(settings.CONNECTION_KEYS, start=1):
        try:
            length = len(base64.b64decode(key, validate=True))
        except ValueError:
            length = 0
        if length != 32:
            found.append(
                Error(
                    f"Key {number} of CONNECTION_KEYS is not base64 of 32 bytes.",
                    hint="Make one: openssl rand -base64 32",
                    id="rillbook.E002",
                )
            )
    return found
