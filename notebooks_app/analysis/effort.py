"""How much one analysis may read. Pure: counted, for a clock would stop other sources on a busy machine.

Parsers have inputs of a few lines that take them minutes; who analyses in a process that others wait for gives an
`Effort`, and hands on what is more than that (worker.py).
"""

from __future__ import annotations

import math


class TooMuchWork(Exception):
    """More than the effort allows would have to be read."""


class Effort:
    """Characters of Python that may still be parsed, at some 5 µs each; dearer work is counted as more of them."""

    def __init__(self, characters: float = math.inf) -> None:
        self._left = characters

    def spend(self, characters: int) -> None:
        """Call before the work. Raises TooMuchWork where too little is left."""
        self._left -= characters
        if self._left < 0:
            raise TooMuchWork


UNBOUNDED = Effort()
