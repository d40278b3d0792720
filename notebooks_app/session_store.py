"""Sessions in the database, as Django's; a cookie that no server of ours made is asked for nowhere.

Django asks the database for any text of eight characters; what a browser sends may hold NUL, which PostgreSQL refuses.
"""

from __future__ import annotations

import re
from typing import Any

from django.contrib.sessions.backends import db

_KEY = re.compile(r"[a-z0-9]{32}")


class SessionStore(db.SessionStore):
    def _validate_session_key(self, key: Any) -> bool:
        return isinstance(key, str) and _KEY.fullmatch(key) is not None
