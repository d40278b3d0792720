"""What every template may know of the product."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def product(request: HttpRequest) -> dict[str, Any]:
    return {"rillbook_mode": settings.RILLBOOK_MODE, "signup_open": settings.SIGNUP_OPEN}
