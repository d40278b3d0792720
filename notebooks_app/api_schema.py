"""The API's OpenAPI description as anybody may read it, made once in a process: it costs as much as many answers.

What it says of an operation is schema.py's.
"""

from __future__ import annotations

import hashlib
import threading
from functools import cache

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request

from notebooks_app import etags

_making = threading.Lock()


class Schema(SpectacularAPIView):
    """The same for everybody, whatever the address asks; as YAML or JSON."""

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        renderer = request.accepted_renderer
        with _making:  # who comes first, with many others at once, makes it for all
            body, tag = _described(str(renderer.format))
        known = request.headers.get("If-None-Match")
        if known is not None and etags.is_fresh(known, tag):
            return HttpResponse(status=304, headers={"ETag": tag})
        charset = f"; charset={renderer.charset}" if renderer.charset else ""
        return HttpResponse(
            body,
            content_type=f"{renderer.media_type}{charset}",
            headers={"ETag": tag, "Content-Disposition": f'inline; filename="Rillbook.{renderer.format}"'},
        )


@cache
def _described(form: str) -> tuple[bytes, str]:
    """The bytes and their ETag."""
    renderer = OpenApiYamlRenderer() if form == "yaml" else OpenApiJsonRenderer()
    body: bytes = renderer.render(SchemaGenerator().get_schema(request=None, public=True))
    return body, f'"{hashlib.sha256(body).hexdigest()}"'
