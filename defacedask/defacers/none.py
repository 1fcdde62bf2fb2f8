"""The convert-only control: everything runs, nothing is defaced."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from defacedask.defacers.base import Defacer, Plan

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head
    from defacedask.defacers.protect import Protected
    from defacedask.geometry import Geometry

__all__ = ["NoDefacing", "NoPlan"]


@dataclasses.dataclass(frozen=True, eq=False)
class NoPlan(Plan):
    """Changes nothing."""

    defacer: ClassVar[str] = "none"
    wants_nothing: ClassVar[bool] = True

    def wanted(self, geometry: Geometry, xp: Any = np) -> Any:
        """Empty."""
        return xp.zeros(geometry.shape, dtype=bool)


@dataclasses.dataclass(frozen=True)
class NoDefacing(Defacer):
    """Convert-only control: nothing is removed, so every difference after it is an error of the pipeline."""

    name: ClassVar[str] = "none"

    def propose(self, head: Head, *, key: bytes, protected: tuple[Protected, ...]) -> NoPlan:
        """Return the empty plan, for any head."""
        return NoPlan()
