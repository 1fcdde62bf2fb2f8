"""Processes that tests start are forked from one that has loaded what they need.

A spawned one imports Dask, the stages and the test's module anew, two seconds of it, and a test in which workers die
starts many. The one they are forked from is started with the first of a session. Tests of what the package does to
the environment of workers leave this out.
"""

from __future__ import annotations

import os
from typing import Any

import dask

__all__ = ["LOADED", "context", "workers"]

#: What is loaded before the fork: stages, what they import when they run, and what test modules import.
LOADED = (
    "pytest",
    "distributed.nanny",
    "distributed.worker",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.spatial",
    "scipy.special",
    "SimpleITK",
    "defacedask.anatomy.head",
    "defacedask.anatomy.place",
    "defacedask.anatomy.witness.seeing",
    "defacedask.cli.deface",
    "defacedask.cluster",
    "defacedask.faces.recognition.face_recognition",
    "defacedask.flow.stages.export",
    "defacedask.runs.deface",
    "defacedask.runs.study",
)

_METHOD = {"distributed.worker.multiprocessing-method": "forkserver"}


def context() -> Any:
    """What forks: its ``Process`` is one of the standard library's."""
    from distributed.utils import get_mp_context

    with dask.config.set(_METHOD):
        forks = get_mp_context()  # which says once what Dask itself wants loaded
    forks.set_forkserver_preload(["distributed", *LOADED])  # heeded until the first is started
    return forks


def workers() -> Any:
    """A context: worker processes that are started in it are forked, and have the environment of now."""
    context()
    return dask.config.set({**_METHOD, "distributed.nanny.environ": dict(os.environ)})
