"""What a detector finds in a picture, kept for whoever shows it the same picture next.

Several recognisers look at each picture, and those that share a detector would have it search once each. A detector
gives the same answer to the same picture, so that what it found is kept by the picture's content.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

__all__ = ["MOST", "Found"]

T = TypeVar("T")

#: Pictures whose answers are kept. One surface is seen from 20 views at most.
MOST = 256


class Found:
    """Answers of a detector to the last pictures; safe to share between threads."""

    def __init__(self, most: int = MOST) -> None:
        self._most, self._lock = most, threading.Lock()
        self._known: OrderedDict[Any, Any] = OrderedDict()

    def get(self, settings: Any, image: np.ndarray, search: Callable[[], T]) -> T:
        """What ``search()`` gave for this picture, or gives now.

        Parameters
        ----------
        settings : hashable
            All that the answer depends on beside the picture.
        image : contiguous uint8 array
        search : callable
            Must give something that is never changed: everybody gets the same.
        """
        key = settings, image.shape, hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                known: T = self._known[key]
                return known
        made = search()
        with self._lock:
            self._known[key] = made
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return made
