"""What a detector finds in a picture, kept for whoever shows it the same picture next.

Several recognisers look at each picture, and those that share a detector would have it search once each. A detector
gives the same answer to the same picture, so that what it found is kept by the picture's content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import TypeVar

import numpy as np

from defacedask.latest import Latest

__all__ = ["MOST", "Found"]

T = TypeVar("T")

#: Pictures whose answers are kept. One surface is seen from 20 views at most.
MOST = 256


class Found:
    """Answers of a detector to the last pictures; safe to share between threads."""

    def __init__(self, most: int = MOST) -> None:
        self._known = Latest(most)

    def get(self, settings: Hashable, image: np.ndarray, search: Callable[[], T]) -> T:
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
        return self._known.get(key, search)
