"""What was made last, kept by its key for whoever asks for the same next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

__all__ = ["Latest"]

T = TypeVar("T")


class Latest:
    """The last things that were asked for; safe to share between threads.

    Parameters
    ----------
    most : int
        Things that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._known: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make()`` gave for a key, or gives now.

        Parameters
        ----------
        key : hashable
            All that it depends on.
        make : callable
            Must give something that is never changed: everybody gets the same.
        """
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                known: T = self._known[key]
                return known
        made = make()
        with self._lock:
            self._known[key] = made
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return made
