"""What pages use to draw a notebook on the server, in one place.

Highlighting is in highlighting.py, Markdown in markdown_html.py, outputs in output_html.py, terminal colours
in ansi.py, words about a cell's state in cell_words.py.
"""

from __future__ import annotations

from notebooks_app.ansi import ansi_html, ansi_text
from notebooks_app.error_html import error_line
from notebooks_app.highlighting import highlight, mark_line
from notebooks_app.markdown_html import markdown_html
from notebooks_app.output_html import item_html, outputs_html

__all__ = [
    "FRAME_CSP",
    "ansi_html",
    "ansi_text",
    "frame_connections",
    "frame_csp",
    "highlight",
    "error_line",
    "item_html",
    "mark_line",
    "markdown_html",
    "outputs_html",
]

# The policy of the one frame document that runs output's script (templates/frame.html). `sandbox` without
# allow-same-origin gives it an origin of its own, in which 'self' matches nothing: so our origin is named.
# Script may run, and reach nobody: no connections, no forms, no pictures but ours and its own.
FRAME_CSP = (
    "sandbox allow-scripts; "
    "default-src 'none'; "
    "script-src 'unsafe-inline' 'unsafe-eval' blob: {origin}{static}; "
    "style-src 'unsafe-inline' {origin}{static}; "
    "font-src data: {origin}{static}; "
    "img-src data: blob: {origin}{static}; "
    "media-src data: blob:; "
    "worker-src blob:; "
    "connect-src 'none'; "
    "form-action 'none'; "
    "base-uri 'none'; "
    "frame-ancestors {origin}"
)


# What that document, and those that script makes inside it, connect to at all, WebRTC included, which no directive
# above reaches: browsers that know the header (Chromium) hold to it. frame.js takes WebRTC from the document itself.
FRAME_CONNECTIONS = '("{origin}{static}*")'


def frame_connections(origin: str, static: str = "/static/") -> str:
    """The Connection-Allowlist header of the frame document (WICG)."""
    return FRAME_CONNECTIONS.format(origin=origin, static=static)


def frame_csp(origin: str, static: str = "/static/") -> str:
    """The Content-Security-Policy header of the frame document; `origin` is scheme://host[:port]."""
    return FRAME_CSP.format(origin=origin, static=static)
