"""What addresses of the API may ask, and the refusals its description names: for `asks` and `extend_schema`."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from notebooks_app import serializers

FLAGS = ("0", "1", "false", "true")


def flag_parameter(name: str, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.STR, enum=FLAGS, description=description)


def whole_parameter(name: str, description: str, *, least: int, most: int) -> OpenApiParameter:
    shape = {"type": "integer", "minimum": least, "maximum": most}
    return OpenApiParameter(name, shape, description=description)


OUTPUTS = flag_parameter("outputs", "0 leaves outputs out (they are null then)")
SOURCES = flag_parameter("sources", "0 leaves sources out (they are null then)")
CURSOR = OpenApiParameter("cursor", OpenApiTypes.STR, description="from next or previous")
LIMIT = whole_parameter("limit", "more than 200 are not given", least=1, most=(1 << 31) - 1)
OPERATION = OpenApiParameter("operation_id", OpenApiTypes.UUID, description="chosen by the caller, for retry and undo")
REFUSED: dict[Any, Any] = {400: serializers.ErrorOut, 403: serializers.ErrorOut, 404: serializers.ErrorOut}
REFUSED_CHANGE: dict[Any, Any] = {**REFUSED, 409: serializers.ErrorOut, 413: serializers.ErrorOut}
