"""Array libraries that compile fused kernels: the stand-in, with a C++ compiler, and CuPy, with a card."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType

import pytest

from defacedask.devices import card
from defacedask.kernels import fuses
from defacedask.testing.strict_cupy import strict_cupy
from defacedask.testing.strict_kernels import why_none

__all__ = ["LIBRARIES", "library"]

#: For a fixture's parameters.
LIBRARIES = ["stand-in", *(["card"] if card() else [])]


@contextlib.contextmanager
def library(name: str) -> Iterator[ModuleType]:
    """One of `LIBRARIES`; skips, with the reason, where its kernels cannot be compiled."""
    if name == "card":
        yield pytest.importorskip("cupy")
        return
    if why_none():
        pytest.skip(why_none())
    with strict_cupy(dispatch=False) as stand_in:
        assert fuses(stand_in)
        yield stand_in
