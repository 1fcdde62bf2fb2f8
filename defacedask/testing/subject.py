"""What a defacer is checked on: the built-in average head as four images, and a structure that must stay."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.flow.stages.kept import Kept
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, make_volume

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.head import Head
    from defacedask.defacers.base import Defacer, Plan
    from defacedask.defacers.protect import Protected

__all__ = ["KEY", "OTHER_KEY", "Subject", "average_head", "images"]

KEY, OTHER_KEY = bytes(range(32)), bytes(range(32, 64))


@functools.cache
def average_head() -> Head:
    """The average head as a CT of 4 x 3 x 3 mm, looked at once a process."""
    from defacedask.anatomy.head import Head

    head = Head(images()["CT"])
    head.require()
    return head


@functools.cache
def images() -> dict[str, xr.DataArray]:
    """Modality -> volume: whole numbers and floats, one slope or one a slice, upright, reversed and oblique grids."""
    from defacedask.anatomy.atlas import atlas_of
    from defacedask.anatomy.grid import resample

    atlas = atlas_of()
    low = atlas.grid.corners.min(axis=0)
    high = atlas.grid.corners.max(axis=0)
    draw = np.random.default_rng(20)

    def grid(spacing: tuple[float, float, float], degrees: float = 0.0, down: bool = False) -> Geometry:
        shape = np.ceil((high - low)[::-1] / spacing).astype(int)
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        affine = np.eye(4)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        affine[:3, :3] = (turn @ np.diag(spacing[::-1]))[:, ::-1]
        if down:
            affine[:3, 0] *= -1
        affine[:3, 3] = (low + high) / 2 - affine[:3, :3] @ (shape - 1) / 2
        nz, ny, nx = (int(n) for n in shape)
        return Geometry((nz, ny, nx), affine, "1.2.3")

    def values(name: str, geometry: Geometry, outside: float) -> np.ndarray:
        return resample(atlas.image(name).astype(np.float32), atlas.grid, geometry, outside=outside)

    ct = grid((4.0, 3.0, 3.0))
    hu = values("CT", ct, -1000.0) + draw.normal(0, 12, ct.shape)
    mr = grid((4.0, 4.0, 4.0), 12.0)
    t1 = np.abs(values("MR", mr, 0.0) + draw.normal(0, 5, mr.shape))
    pt = grid((6.0, 5.0, 5.0), down=True)
    body = np.clip((values("CT", pt, -1000.0) + 1000) / 1000, 0, 1)
    slopes = np.linspace(0.5, 2.0, pt.shape[0])
    uptake = np.maximum(body * (1 + 0.2 * draw.normal(size=pt.shape)), 0) * 1000 / slopes[:, None, None]
    dose = grid((5.0, 5.0, 5.0), -7.0)
    x, y, z = dose.positions()
    beam = np.exp(-((x - 20) ** 2 + (y + 40) ** 2 + (z + 60) ** 2) / (2 * 45.0**2)) * (
        values("CT", dose, -1000.0) > -400
    )
    return {
        "CT": make_volume(np.rint(np.clip(hu, -1024, 3000)).astype(np.int16), ct, modality="CT", units="HU"),
        "MR": make_volume(t1.astype(np.float32), mr, modality="MR", units="1"),
        "PT": make_volume(np.rint(uptake).astype(np.uint16), pt, modality="PT", units="Bq/mL", slope=slopes),
        "RTDOSE": make_volume(
            np.rint(beam * 7e6).astype(np.uint32), dose, modality="RTDOSE", units="Gy", slope=1e-5
        ),
    }


@dataclasses.dataclass
class Subject:
    """One defacer under check, with what several clauses look at.

    Attributes
    ----------
    kind : type
        The defacer's class.
    options : dict
    """

    kind: type[Defacer]
    options: dict[str, Any]

    @functools.cached_property
    def head(self) -> Head:
        """The average head."""
        return average_head()

    @functools.cached_property
    def kept(self) -> list[Kept]:
        """What must stay: the brain, and a ball of 30 mm in the left cheek."""
        grid = self.head.grid
        x, y, z = grid.positions(dtype=np.float64)
        at = self.head.landmark("cheek_left")
        ball = (x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 <= 15.0**2
        cheek = np.broadcast_to(ball, grid.shape)
        return [Kept("Brain", np.asarray(self.head.brain), grid), Kept("Cheek", cheek, grid)]

    @functools.cached_property
    def protected(self) -> tuple[Protected, ...]:
        """The cheek, as a user protects it; the brain is the base's own business."""
        return (self.kept[1].protected(3.0),)

    def planned(self, key: bytes = KEY) -> Plan:
        """A new plan by a new defacer."""
        return self.kind(**self.options).plan(self.head, key=key, protected=self.protected)

    @functools.cached_property
    def plan(self) -> Plan:
        """The plan that is looked at."""
        return self.planned()

    @functools.cached_property
    def given(self) -> dict[str, xr.DataArray]:
        """Modality -> the image that the plan is applied to: one of its own, which it may spoil."""
        return {name: volume.copy(deep=True) for name, volume in images().items()}

    @functools.cached_property
    def applied(self) -> dict[str, np.ndarray]:
        """Modality -> stored values after the plan was applied to the whole of what it was given."""
        return {name: np.asarray(self.plan.apply(volume).values) for name, volume in self.given.items()}

    def apply(self, plan: Plan, name: str) -> np.ndarray:
        """Stored values of an image after a plan; the plan gets an image of its own, which it may spoil."""
        return np.asarray(plan.apply(images()[name].copy(deep=True)).values)

    def original(self, name: str) -> tuple[np.ndarray, Geometry]:
        """Stored values of an image, and its grid."""
        volume = images()[name]
        return volume.values, geometry_of(volume)
