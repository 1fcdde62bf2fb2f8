"""The average head with a plan of a defacer that paints a new face, made once a process."""

from __future__ import annotations

import functools
from typing import Any

import xarray as xr

from defacedask.anatomy.head import Head
from defacedask.defacers import get_defacer
from support.heads import posed

KEY = b"a secret of run and person"


@functools.cache
def painted(name: str, modality: str) -> tuple[Head, Any]:
    """Head and plan; the CT lies on a couch."""
    volume, _ = posed(modality, pitch=8, yaw=5, spacing=(3.0, 2.5, 2.5), couch=modality == "CT")
    head = Head(volume)
    return head, get_defacer(name).plan(head, key=KEY)


@functools.cache
def applied(name: str, modality: str) -> xr.DataArray:
    """What that plan makes of its head's own image; to be read alone."""
    head, plan = painted(name, modality)
    out = plan.apply(head.volume)
    out.values.setflags(write=False)
    return out
