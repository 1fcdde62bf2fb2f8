"""Defacers whose outcome is known: nothing done, a blur, and all but the brain blanked. For tests only."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import dask
import numpy as np
import pytest

import defacedask as dd
from defacedask import config  # noqa: F401 (its defaults must be there before they are overridden)
from defacedask.defacers.base import Defacer, Plan
from defacedask.volume import geometry_of, real_values

#: Name -> where its class lies, as in `defacedask.defacers.BUILT_IN`.
PLANTED = {
    "planted_identity": "support.planted:Identity",
    "planted_blur": "support.planted:Blur",
    "planted_blank": "support.planted:Blank",
}


@dataclasses.dataclass(frozen=True, eq=False)
class _Everywhere(Plan):
    """May change every voxel."""

    def wanted(self, geometry, xp=np):
        return xp.ones(geometry.shape, dtype=bool)


@dataclasses.dataclass(frozen=True, eq=False)
class IdentityPlan(_Everywhere):
    """Says it changes everything, and changes nothing."""

    defacer: ClassVar[str] = "planted_identity"

    def fill(self, values, region, geometry, modality, xp=np):
        return values


@dataclasses.dataclass(frozen=True, eq=False)
class BlurPlan(_Everywhere):
    """A Gaussian blur: fine detail goes, the person stays."""

    defacer: ClassVar[str] = "planted_blur"
    sigma_mm: float = 2.0

    def tuned(self, volume):
        from scipy.ndimage import gaussian_filter

        grid = geometry_of(volume)
        values = real_values(volume).values
        blurred = gaussian_filter(values, [self.sigma_mm / s for s in grid.spacing])
        seen = dataclasses.replace(self)
        object.__setattr__(seen, "_seen", (grid, blurred))  # lives as long as this application
        return seen

    def fill(self, values, region, geometry, modality, xp=np):
        grid, blurred = self._seen
        start = np.rint(grid.to_index(geometry.to_world((0, 0, 0)))).astype(int)
        return blurred[tuple(slice(a, a + n) for a, n in zip(start, geometry.shape, strict=True))]


@dataclasses.dataclass(frozen=True, eq=False)
class BlankPlan(_Everywhere):
    """All of the head but the brain becomes air."""

    defacer: ClassVar[str] = "planted_blank"


def _made_by(kind: type[Plan], title: str) -> type[Defacer]:
    def propose(self: Any, head: Any, *, key: bytes, protected: Any) -> Plan:
        return kind()

    made = type(title, (Defacer,), {"name": kind.defacer, "propose": propose, "__doc__": kind.__doc__})
    return dataclasses.dataclass(frozen=True)(made)


Identity = _made_by(IdentityPlan, "Identity")
Blur = _made_by(BlurPlan, "Blur")
Blank = _made_by(BlankPlan, "Blank")


def register(monkeypatch) -> list[str]:
    """Make them known by name; gives the names."""
    from defacedask import defacers

    for name, where in PLANTED.items():
        monkeypatch.setitem(defacers.BUILT_IN, name, where)
    return list(PLANTED)


#: Configuration: two views, where more would prove no more.
FEW_VIEWS = {"defacedask.render.pitches": [-10, 0], "defacedask.render.yaws": [0]}


def study(cases, out, defacers, **options):
    with pytest.MonkeyPatch.context() as patch, dask.config.set(options.pop("settings", FEW_VIEWS)):
        names = register(patch)
        chosen = {"attacks": "basic", "export": False, "pictures": False, "seed": 1, **options}
        return dd.study(cases, out, defacers=defacers or names, **chosen)


def table(run, name, **only):
    rows = run.tables[name]
    for column, value in only.items():
        rows = rows[rows[column] == value]
    return rows
