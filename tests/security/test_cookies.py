"""The cookies that are set: few, and with HTTPS such as no other host can plant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

NAMES = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "DEVICE_COOKIE_NAME")
SHOW = """
import json
from notebook_project import settings
print(json.dumps({name: getattr(settings, name) for name in %r}))
"""


@pytest.mark.django_db
def test_signing_in_and_out_sets_these_cookies_and_no_others(owner: Any):
    client = Client()
    client.get("/accounts/login/")
    client.post("/accounts/login/", {"login": "owner", "password": "wrong"})
    client.post("/accounts/login/", {"login": "owner", "password": "a long enough password"})
    client.post("/accounts/logout/")  # which leaves a message
    assert {name for name, cookie in client.cookies.items() if cookie.value} <= {getattr(settings, n) for n in NAMES}
    assert "signed out" in client.get("/accounts/login/").content.decode()


def test_with_https_each_of_them_is_of_this_host_alone(tmp_path: Path):
    environment = os.environ | {"HTTPS": "true", "RILLBOOK_DATA_DIR": str(tmp_path)}
    shown = subprocess.run(
        [sys.executable, "-c", SHOW % (NAMES,)], env=environment, capture_output=True, check=True, text=True, timeout=60
    )
    names = json.loads(shown.stdout)
    assert set(names) == set(NAMES)
    assert all(name.startswith("__Host-") for name in names.values())
