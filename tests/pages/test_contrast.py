"""Every text and shape token is legible on the surfaces it is used on, light and dark (WCAG 2.2 AA).

Also that the first five chart colours differ for eyes with a colour-vision deficiency.
"""

import itertools
import re
from pathlib import Path

import pytest

CSS = (Path(__file__).resolve().parents[2] / "static" / "css" / "tokens.css").read_text(encoding="utf-8")
TOKENS = dict(re.findall(r"(--[\w-]+):\s*([^;]+);", CSS))
PAPERS = ["color-page", "color-sunken", "color-raised", "color-hover", "color-active"]
CODE = ["color-page", "color-sunken", "tint-failed", "color-selected"]
TEXT = 4.5
SHAPE = 3.0
SYNTAX = ["keyword", "string", "number", "comment", "function", "definition", "type", "operator", "parameter"]
ANSI = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"]
TINTS = ["tint-stale", "tint-failed", "tint-blocked"]

PAIRS = [
    ("color-text", [*PAPERS, "color-selected", *TINTS], TEXT),
    ("color-text-muted", [*PAPERS, "color-selected", "tint-stale", "tint-failed"], TEXT),
    ("color-accent", [*PAPERS, "color-selected"], TEXT),
    ("color-accent-strong", [*PAPERS, "color-selected"], TEXT),
    ("color-on-accent", ["color-accent", "color-accent-strong"], TEXT),
    ("color-page", ["color-text"], TEXT),
    ("color-danger", [*PAPERS, "tint-failed"], TEXT),
    ("color-on-danger", ["color-danger"], TEXT),
    ("state-current", [*PAPERS, "tint-current"], TEXT),
    ("state-stale", [*PAPERS, "tint-stale"], TEXT),
    ("state-blocked", [*PAPERS, "tint-blocked"], TEXT),
    *[(f"syntax-{name}", CODE, TEXT) for name in SYNTAX],
    *[(f"ansi-{bright}{name}", ["color-page"], TEXT) for bright in ("", "bright-") for name in ANSI],
    *[("color-on-person", [f"person-{number}"], TEXT) for number in range(1, 6)],
    ("color-line-strong", ["color-page", "color-sunken", "color-raised"], SHAPE),
    ("color-focus", [*PAPERS, "color-selected"], SHAPE),
    *[(f"chart-{number}", ["color-page"], SHAPE) for number in range(1, 8)],
]

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
type Matrix = tuple[tuple[float, float, float], ...]
DEFICIENCIES: dict[str, Matrix] = {
    "protan": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deutan": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritan": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
MIN_CHART_DISTANCE = 8.0  # CIE76 distance between any two of the first five


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("name", "surfaces", "least"), PAIRS)
def test_a_token_is_legible_on_its_surfaces(name: str, surfaces: list[str], least: float, theme: str) -> None:
    for surface in surfaces:
        assert contrast(resolve(name, theme), resolve(surface, theme)) >= least, surface


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_chart_colours_differ_for_every_eye(deficiency: str, theme: str) -> None:
    matrix = DEFICIENCIES[deficiency]
    colours = [linear(resolve(f"chart-{number}", theme)) for number in range(1, 6)]
    seen = [[sum(m * c for m, c in zip(row, rgb, strict=True)) for row in matrix] for rgb in colours]
    for one, other in itertools.combinations(map(lab, seen), 2):
        assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 >= MIN_CHART_DISTANCE


def resolve(name: str, theme: str) -> str:
    """The colour a token has in a theme, as #rrggbb."""
    value = TOKENS[f"--{name}"].strip()
    if match := re.fullmatch(r"light-dark\((.+),\s*(.+)\)", value):
        value = match.group(1 if theme == "light" else 2).strip()
    if match := re.fullmatch(r"var\(--([\w-]+)\)", value):
        return resolve(match.group(1), theme)
    return value


def linear(colour: str) -> list[float]:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    weights = (0.2126, 0.7152, 0.0722)
    shades = [sum(w * c for w, c in zip(weights, linear(colour), strict=True)) for colour in (one, other)]
    return (max(shades) + 0.05) / (min(shades) + 0.05)


def lab(rgb: list[float]) -> tuple[float, float, float]:
    """CIELAB of linear RGB."""
    r, g, b = (min(max(c, 0), 1) for c in rgb)
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (c ** (1 / 3) if c > 0.008856 else 7.787 * c + 16 / 116 for c in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)
