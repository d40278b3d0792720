"""What the OpenAPI schema says of every operation: our two ways of signing in, refusals, Idempotency-Key."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[\\x21-\\x7e]{1,200}$"},
    OpenApiParameter.HEADER,
    description="1 to 200 visible ASCII characters: a retry with the same one gets the first answer, for 24 hours",
)
TAGS = {"type": "string", "pattern": r'^(\*|(W/)?"[\x21\x23-\x7e]*"(, *(W/)?"[\x21\x23-\x7e]*")*)$'}
IF_MATCH = OpenApiParameter("If-Match", TAGS, OpenApiParameter.HEADER, description="* or ETags: else 412")
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", TAGS, OpenApiParameter.HEADER, description="ETags the caller has: 304"
)
ALWAYS = (400, 401, 403, 404, 405, 406, 503)
WRITING = (409, 413, 415, 422)


# Text as a field takes it: with NUL it is refused. A name is one line that is not blank.
TEXT = {"type": "string", "pattern": "^[^\\x00]*$"}
NAME = {"type": "string", "minLength": 1, "pattern": "^[^\\x00]*[^\\x00-\\x20\\x7f\\s][^\\x00]*$"}


class ApiSchema(AutoSchema):
    """Adds what every operation may answer, and what our fields refuse."""

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> dict[str, Any]:
        from notebooks_app.serializers import Body

        found = super()._map_basic_serializer(serializer, direction)
        return found | {"additionalProperties": False} if isinstance(serializer, Body) else found

    def _map_serializer_field(self, field: Any, direction: Any, bypass_extensions: bool = False) -> Any:
        from notebooks_app.serializers import MAX_TIMEOUT_S, Name, Seconds, Text

        found = super()._map_serializer_field(field, direction, bypass_extensions)
        if isinstance(field, Name):
            return found | NAME | {"maxLength": field.length}
        if isinstance(field, Text):
            return found | TEXT
        if isinstance(field, Seconds):
            return found | {"minimum": 0, "maximum": MAX_TIMEOUT_S}
        return found

    def get_override_parameters(self) -> list[Any]:
        found = [*super().get_override_parameters(), *getattr(self.view, "asks", {}).get(self.method, ())]
        if self.method == "GET":
            return found + [IF_NONE_MATCH] if getattr(self.view, "is_tagged", False) else found
        return [*found, IDEMPOTENCY_KEY, *([IF_MATCH] if self._is_guarded() else [])]

    def _is_guarded(self) -> bool:
        return self.method in getattr(self.view, "guarded", ())

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        from notebooks_app.serializers import ErrorOut

        bodies = super()._get_response_bodies(direction)
        for status in ALWAYS + (WRITING if self.method != "GET" else ()):
            if str(status) not in bodies:
                bodies[str(status)] = self._get_response_for_code(ErrorOut, str(status), direction=direction)
        if self._is_guarded():
            bodies["412"] = self._get_response_for_code(ErrorOut, "412", direction=direction)
        if self.method == "GET" and getattr(self.view, "is_tagged", False):
            bodies["304"] = {"description": "The caller has what it would get."}
        return bodies


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "notebooks_app.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "rill_…"}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "notebooks_app.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
