"""A cache of what is made of people's texts, bounded by its size: functools counts entries, of whatever size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps

ENTRY = 512  # bytes of an entry beside its texts


def cached_by_size[*P, R: str](most_chars: int, *, of_one: int) -> Callable[[Callable[[*P], R]], Callable[[*P], R]]:
    """Keep results of a pure function of texts, the last used ones, at most `most_chars` of arguments and results
    together, an entry counted as `ENTRY` more; what has more than `of_one` is not kept."""

    def decorate(work: Callable[[*P], R]) -> Callable[[*P], R]:
        kept: OrderedDict[tuple[*P], R] = OrderedDict()
        lock = threading.Lock()
        held = 0

        @wraps(work)
        def cached(*arguments: *P) -> R:
            nonlocal held
            with lock:
                if arguments in kept:
                    kept.move_to_end(arguments)
                    return kept[arguments]
            result = work(*arguments)
            if _size(arguments, result) > of_one:
                return result
            with lock:
                if arguments not in kept:
                    kept[arguments] = result
                    held += _size(arguments, result)
                while held > most_chars:
                    old, value = kept.popitem(last=False)
                    held -= _size(old, value)
            return result

        return cached

    return decorate


def _size(arguments: tuple[object, ...], result: str) -> int:
    return ENTRY + len(result) + sum(len(one) for one in arguments if isinstance(one, str))
