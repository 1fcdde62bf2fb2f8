"""A worker whose job ends at a known time takes no task with it."""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import Any

from distributed import WorkerPlugin
from distributed.core import Status

__all__ = ["LastTask"]


class LastTask(WorkerPlugin):
    """Some time before a worker's job ends it begins no more tasks, and ends when its last one is done.

    Dask's own ``--lifetime`` does not wait for the task that runs. It stays in force: a task that takes longer than
    what is left is begun again elsewhere.

    Parameters
    ----------
    after : float
        Seconds of the job after which no task is begun.
    walltime : float
        Seconds that the job has.
    stagger : float
        Each worker is up to that many seconds earlier, by chance.
    """

    name = "defacedask-last-task"

    def __init__(self, after: float, walltime: float, stagger: float = 0.0) -> None:
        self.after = after
        self.walltime = walltime
        self.stagger = stagger

    def setup(self, worker: Any) -> None:
        """Set the clock. A process that was started again in the same job asks SLURM when that ends."""
        left = self.walltime
        end = os.environ.get("SLURM_JOB_END_TIME", "")
        if end.isdigit():
            left = min(left, int(end) - time.time())
        wait = left - (self.walltime - self.after) - random.random() * self.stagger
        worker.loop.call_later(max(wait, 0.0), self._end, worker)

    async def _end(self, worker: Any) -> None:
        # or the watch over memory would set it to work again
        worker.memory_manager.memory_pause_fraction = False
        worker.status = Status.paused
        while worker.status == Status.paused and worker.state.executing_count:
            await asyncio.sleep(0.2)
        await worker.close_gracefully(restart=False, reason="its job ends")
