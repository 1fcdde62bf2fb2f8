"""A scheduler that lives for days forgets what it keeps of tasks that are long gone.

Dask's scheduler remembers the groups of the last 100,000 keys, and of each submission what kind of collection it was,
for as long as work goes on without a pause: together 0.8 kB a case, 80 MB after a hundred thousand. Nothing else in a
run needs either.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

__all__ = ["EVERY", "ask_to_forget"]

#: Submissions between two requests.
EVERY = 5000


def ask_to_forget(client: Any) -> None:
    """Have the scheduler of a client drop what it keeps of finished work.

    One that runs no functions of ours (``distributed.scheduler.pickle: false``), or cannot be reached, goes on as it
    is: this saves memory and changes nothing else.
    """
    with contextlib.suppress(Exception):
        client.run_on_scheduler(_forgetting())


def _forgetting() -> Callable[..., int]:
    """The function that is sent.

    It is made here, so that it travels by value: a scheduler need not have this package.
    """

    def forget(dask_scheduler: Any = None) -> int:
        from dask.utils import key_split

        kept = key_split.cache_info().currsize
        key_split.cache_clear()
        spans = dask_scheduler.extensions.get("spans")
        for span in spans.spans.values() if spans else ():
            if span.metadata:
                kept += len(span.metadata["collections"])
                # one of each kind tells as much
                span.metadata["collections"][:] = span.metadata["collections"][-1:]
        return int(kept)

    return forget
