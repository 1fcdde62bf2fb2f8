"""A sheet of added material over one side of a head: where the skin is, and where the sheet's surface runs.

Seen along one axis of the head's frame the skin is a height map. The envelope over it is built from the skin's
neighbourhood maxima, smoothed, and raised by secret low-frequency bumps, so that it follows the head and not the
face: a nose becomes a broad rise that any nose under it would have made.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from defacedask.defacers.base import record
from defacedask.defacers.noise import lattice_uniform
from defacedask.defacers.tiling import BRICK, elements_around, half_brick, remembered, voxels_of
from defacedask.sampling import Between

if TYPE_CHECKING:
    from collections.abc import Iterator

    from defacedask.anatomy.surface import DepthMap
    from defacedask.geometry import Geometry

__all__ = ["Sheet", "make_sheet", "ramp"]

#: mm of one step of the stored heights.
STEP = 0.05


@record
@dataclasses.dataclass(frozen=True, eq=False)
class Sheet:
    """One side's layer, in the head's frame.

    Attributes
    ----------
    axis : int
        0 for L, 1 for P: the axis the side is seen along.
    sign : int
        Height is ``sign`` times the coordinate: -1 with axis 1 is the front, +1 with axis 0 the left.
    origin : (row, column) mm
        Coordinates of the maps' first element: S, and the other horizontal axis.
    spacing : float
        mm between elements.
    skin, envelope : (rows, columns) int16 arrays
        Heights in steps of 0.05 mm; equal where there is no layer.
    dose : (rows, columns) float32 array
        Gy under the skin (`dose_layer`); empty: not known.
    gap : (rows, columns) int16 array
        How much deeper than the image's skin this skin map is, because the dose ends there; in steps of 0.05 mm.
    least : float
        Gy; what is less is no dose.
    seam, floor : (rows, columns) int16 arrays
        Heights behind the skin down to which everything but bone, and soft tissue, is drawn anew (`under_skin`); in
        steps of 0.05 mm. Empty: nothing is.
    tone : (rows, columns) int8 array
        How dark or bright the tissue below is, in 1/64 of a standard deviation (`strata`); empty: not known.
    """

    kind: ClassVar[str] = "Sheet"

    axis: int
    sign: int
    origin: tuple[float, float]
    spacing: float
    skin: np.ndarray
    envelope: np.ndarray
    dose: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.float32))
    gap: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.int16))
    least: float = 0.0
    seam: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.int16))
    floor: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.int16))
    tone: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.int8))

    def summary(self) -> dict[str, Any]:
        """Side, area and mean thickness where there is a layer."""
        thick = (self.envelope.astype(float) - self.skin) * STEP
        there = thick > 0.3
        side = "front" if self.axis == 1 else "left" if self.sign > 0 else "right"
        area = float(there.sum() * self.spacing**2 / 100)
        return {"side": side, "area_cm2": area, "mean_mm": float(thick[there].mean()) if there.any() else 0.0}

    @property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner (L, P, S) in mm of the head's frame that the layer can reach."""
        rows, columns = np.nonzero(self.envelope > self.skin)
        ends = (self.lowest, self.skin, self.envelope)
        heights = np.concatenate([end[rows, columns] for end in ends]) * STEP
        sides = [(0.0, 0.0)] * 3
        sides[2] = _ends(self.origin[0] + rows * self.spacing, self.spacing)
        sides[1 - self.axis] = _ends(self.origin[1] + columns * self.spacing, self.spacing)
        sides[self.axis] = _ends(self.sign * heights, 3 * self.spacing)
        low, high = np.array(sides).T
        return low, high

    @property
    def lowest(self) -> np.ndarray:
        """Heights down to which anything may change, in steps of 0.05 mm."""
        return self.floor if self.floor.size else self.skin

    @functools.cached_property
    def _windows(self) -> dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]]:
        return {}  # of `_between`

    def _between(self, window: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest height in a window around each element, found once for windows of one size."""
        from scipy.ndimage import maximum_filter, minimum_filter

        def ends() -> tuple[np.ndarray, np.ndarray]:
            low = minimum_filter(self.lowest, size=window, mode="nearest")
            high = np.where(self.envelope > self.skin, self.envelope, np.iinfo(np.int16).min)
            return low, maximum_filter(high, size=window, mode="nearest")

        found: tuple[np.ndarray, np.ndarray] = remembered(self._windows, window, ends)
        return found

    def voxels(
        self, geometry: Geometry, pose: np.ndarray, overlap: float, edge: float, xp: Any = np
    ) -> Iterator[tuple[tuple[slice, ...], Any]]:
        """Voxels of a block that may lie in the layer, in the ``overlap`` mm behind it or ``edge`` before it.

        Parameters
        ----------
        geometry : Geometry
            Of the block.
        pose : (4, 4) array
            World LPS mm -> the head's frame.
        overlap, edge : float
            mm.
        xp : module

        Yields
        ------
        Tile by tile, as `defacedask.defacers.tiling.voxels_of`.
        """
        to_head = np.asarray(pose) @ geometry.affine
        bricks = [-(-n // b) for n, b in zip(geometry.shape, BRICK, strict=True)]
        middle = np.indices(bricks).reshape(3, -1).T * BRICK + (np.array(BRICK) - 1) / 2
        at = middle @ to_head[:3, :3].T + to_head[:3, 3]
        half = half_brick(to_head)
        across = 1 - self.axis
        reach = elements_around(half[[2, across]] / self.spacing)
        low, high = self._between(tuple((2 * reach + 1).tolist()))
        row = np.rint((at[:, 2] - self.origin[0]) / self.spacing).astype(int)
        column = np.rint((at[:, across] - self.origin[1]) / self.spacing).astype(int)
        rows, columns = self.skin.shape
        # so far beyond the map nothing of it is left
        beyond = (
            (row < -reach[0])
            | (row >= rows + reach[0])
            | (column < -reach[1])
            | (column >= columns + reach[1])
        )
        where = np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)
        height = self.sign * at[:, self.axis]
        meets = (height - half[self.axis] <= high[where] * STEP + edge) & (
            height + half[self.axis] >= low[where] * STEP - overlap
        )
        yield from voxels_of((meets & ~beyond).reshape(bricks), geometry.shape, xp)

    def places(self, rows: Any, columns: Any, heights: np.ndarray) -> np.ndarray:
        """Positions (..., 3) in mm of the head's frame, of heights (mm) over elements of the maps."""
        points = np.empty((*heights.shape, 3))
        points[..., self.axis] = self.sign * heights
        points[..., 1 - self.axis] = self.origin[1] + columns * self.spacing
        points[..., 2] = self.origin[0] + rows * self.spacing
        return points

    def between(self, head: tuple[Any, Any, Any], xp: Any = np) -> Between:
        """Where positions in the head's frame (see `depth`) lie between the maps' elements."""
        row = (head[2] - self.origin[0]) / self.spacing
        column = (head[1 - self.axis] - self.origin[1]) / self.spacing
        return Between(self.skin.shape, (row, column), xp)

    @functools.cached_property
    def _skin_mm(self) -> np.ndarray:
        return self.skin.astype(np.float32) * np.float32(STEP)

    @functools.cached_property
    def _thick_mm(self) -> np.ndarray:
        return (self.envelope - self.skin).astype(np.float32) * np.float32(STEP)

    @functools.cached_property
    def _as_floats(self) -> dict[str, np.ndarray]:
        return {}  # of `as_floats`

    def depth(self, head: tuple[Any, Any, Any], at: Between) -> tuple[Any, Any]:
        """Height of positions below the envelope and above the skin.

        Parameters
        ----------
        head : tuple of arrays
            L, P, S in mm of the head's frame, broadcastable.
        at : Between
            Of `between`.

        Returns
        -------
        below, above : float arrays
            mm below the envelope (negative: outside) and above the skin (negative: inside the head). ``below``
            is far below 0 wherever the maps end or there is no layer.
        """
        under = at.read(self._skin_mm)
        added = at.read(self._thick_mm, outside=0.0)
        height = self.sign * head[self.axis]
        below = at.xp.where(added > 0.3, under + added - height, -1000.0)
        return below, height - under

    def over(self, name: str, head: tuple[Any, Any, Any], at: Between) -> Any:
        """How far positions in the head's frame lie over the heights of one of the maps, mm (see `depth`)."""
        return self.sign * head[self.axis] - self.sampled(name, at) * np.float32(STEP)

    def sampled(self, name: str, at: Between) -> Any:
        """Values of one of the maps between its elements, float32 (see `between`)."""
        return at.read(self.as_floats(name))

    def as_floats(self, name: str) -> np.ndarray:
        """One of the maps as float32, the same array each time."""
        known = self._as_floats
        if name not in known:
            known[name] = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
        return known[name]

    @functools.cached_property
    def upright(self) -> np.ndarray:
        """Cosine of the angle between the envelope's normal and the axis, float32."""
        from scipy.ndimage import gaussian_filter

        smooth = gaussian_filter(self.envelope * STEP, 3.0 / self.spacing, mode="nearest")
        along = np.gradient(smooth, self.spacing)
        return (1.0 / np.sqrt(1.0 + along[0] ** 2 + along[1] ** 2)).astype(np.float32)

    @functools.cached_property
    def inward(self) -> np.ndarray:
        """Unit vectors (rows, columns, 3) into the head, across the skin: an axis along a cheek leads nowhere."""
        from scipy.ndimage import gaussian_filter

        height = gaussian_filter(self.skin * STEP, 3.0 / self.spacing)
        along_rows, along_columns = np.gradient(height, self.spacing)
        out = np.empty((*height.shape, 3))
        out[..., self.axis] = -self.sign
        out[..., 1 - self.axis] = along_columns
        out[..., 2] = along_rows
        return np.asarray(out / np.linalg.norm(out, axis=-1, keepdims=True))


def _ends(values: np.ndarray, margin: float) -> tuple[float, float]:
    return (float(values.min()) - margin, float(values.max()) + margin) if values.size else (0.0, 0.0)


def ramp(values: np.ndarray, low: float, high: float, width: float) -> np.ndarray:
    """1 between ``low`` and ``high``, falling smoothly to 0 over ``width`` mm inside both ends."""
    t = np.clip(np.minimum(values - low, high - values) / width, 0.0, 1.0)
    return t * t * (3 - 2 * t)


def make_sheet(
    depth: DepthMap,
    weight: np.ndarray,
    *,
    axis: int,
    sign: int,
    floor: float,
    key: bytes,
    clearance_mm: float,
    spread_mm: float,
    smooth_mm: float,
    bumps_mm: float,
) -> Sheet:
    """Build the envelope of one side.

    Parameters
    ----------
    depth : DepthMap
        Of the side; NaN where there is no body.
    weight : (rows, columns) array
        1 where the layer is whole, 0 where there is none.
    axis, sign : int
        See `Sheet`.
    floor : float
        Height, mm, that stands for "no body": the layer may reach beyond the head's outline down to it.
    key : bytes
        Secret for the bumps.
    clearance_mm : float
        Least thickness where the weight is 1.
    spread_mm : float
        Radius over which the highest skin is taken: features narrower than it leave only a broad rise.
    smooth_mm : float
        Standard deviation of the smoothing of the envelope.
    bumps_mm : float
        Height of the secret low-frequency bumps.
    """
    from scipy.ndimage import gaussian_filter, grey_dilation, zoom

    spacing = float(depth.rows[1] - depth.rows[0])
    skin = np.where(np.isnan(depth.depth), floor, sign * depth.depth).astype(np.float64)
    radius = max(1, round(spread_mm / spacing))
    yy, xx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = yy**2 + xx**2 <= radius**2
    sigma = smooth_mm / spacing
    base = grey_dilation(np.maximum(skin, floor), footprint=disc, mode="nearest")
    # bumps on a 24 mm lattice, cubic between: nothing narrower than a nose, nothing that a filter could take away
    coarse = 24.0 / spacing
    cells = [int(np.ceil(n / coarse)) + 2 for n in skin.shape]
    random = lattice_uniform(key, (0, 0, 0), (1, *cells), stream=f"bumps {axis} {sign}")[0]
    bumps = zoom(random.astype(np.float64), coarse, order=3)[: skin.shape[0], : skin.shape[1]]
    base = gaussian_filter(base, sigma, mode="nearest") + bumps_mm * np.clip(bumps, 0, 1)
    least = skin + clearance_mm
    for _ in range(6):
        # where the skin still shows through, the whole neighbourhood is raised: a peak must stay a broad one
        short = np.maximum(least - base, 0.0)
        if not short.max() > 0.05:
            break
        wide = grey_dilation(short, footprint=disc, mode="nearest")
        base = base + 1.1 * gaussian_filter(wide, sigma, mode="nearest")
    base = np.maximum(base, least)
    envelope = skin + weight * np.maximum(base - skin, 0.0)
    limit = np.iinfo(np.int16).max * STEP
    stored = [np.rint(np.clip(m, -limit, limit) / STEP).astype(np.int16) for m in (skin, envelope)]
    return Sheet(axis, sign, (float(depth.rows[0]), float(depth.columns[0])), spacing, stored[0], stored[1])
