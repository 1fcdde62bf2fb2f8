"""What lies under a real skin, as a function of depth: the tissue that a layer is drawn from.

Measured once on the image itself, voxel by voxel, at its own resolution: the values of each millimetre of depth (the
skin's partial volume with the air, skin, fat, muscle; no bone, no air), how they hang together from voxel to
voxel, and where the tissue is darker or brighter than elsewhere. A layer drawn so has the histogram, the profile and
the grain of what it is laid on.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from defacedask.defacers.base import record
from defacedask.defacers.carina.layer import STEP, Sheet
from defacedask.defacers.elementary import exp
from defacedask.defacers.noise import NoiseField
from defacedask.sampling import Between, apply_affine
from defacedask.volume import geometry_of, real_values

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.geometry import Geometry

__all__ = ["SOFT_HU", "Strata", "measured"]

#: Real values of soft tissue on CT.
SOFT_HU = (-220.0, 160.0)
#: mm of depth that are told apart; deeper, tissue is no longer layered.
DEEPEST, POOLED = 12.0, 6.0
#: Quantiles of each depth.
QUANTILES = 17
#: Fewer voxels than this say nothing.
FEW = 200
#: Slices whose places are worked on together.
SLICES = 8
#: mm over which brightness is averaged, and how far it may be from the rest, in standard deviations.
TONE_MM, TONE_MOST = 8.0, 1.5
#: How much wider the broad texture is than the fine one.
BROAD = 3.0


@record
@dataclasses.dataclass(frozen=True, eq=False)
class Strata:
    """Tissue by depth.

    Attributes
    ----------
    first, step : float
        Depth, mm below the outer skin, of the first row of ``values``, and between rows; negative is air's side.
    values : (depths, quantiles) float32 array
        Real values.
    soft : (low, high)
        Real values of soft tissue.
    noise : float
        Part of the variance that is noise, with a grain of its own on ``lattice``.
    grain : (z, y, x)
        Width of the noise's grain in steps of the lattice.
    lattice : (4, 4) array
        The image's grid.
    lobule : float
        mm, width of the finer of two textures that are not noise; the other's is `BROAD` times that.
    broad : float
        Part of the variance that the broad texture has.
    spread : float
        Standard deviation of normal scores about the tone.
    """

    kind: ClassVar[str] = "Strata"

    first: float
    step: float
    values: np.ndarray
    soft: tuple[float, float]
    noise: float
    grain: tuple[float, float, float]
    lattice: np.ndarray
    lobule: float
    broad: float
    spread: float

    def summary(self) -> dict[str, Any]:
        """Median of each stratum, and the texture."""
        middle = self.values[:, self.values.shape[1] // 2]
        at = self.first + self.step * np.arange(len(middle))
        return {
            "median_by_mm": {f"{d:g}": round(float(v), 1) for d, v in zip(at, middle, strict=True)},
            "noise_part": round(self.noise, 3),
            "lobule_mm": round(self.lobule, 2),
            "broad_part": round(self.broad, 3),
        }

    def scores(
        self, positions: tuple[Any, Any, Any], key: bytes, xp: Any = np, within: Geometry | None = None
    ) -> Any:
        """Normal scores of a secret texture at places.

        Parameters
        ----------
        positions : tuple of float64 arrays
            LPS mm.
        key : bytes
            Secret.
        xp : module
        within : Geometry, optional
            See `NoiseField.at`.

        Returns
        -------
        float32 array
        """
        score: Any = np.float32(0.0)
        fine = max(1.0 - self.noise - self.broad, 0.0)
        for part, width, stream in ((fine, 1.0, "texture"), (self.broad, BROAD, "broad")):
            if part > 0:
                cell = self.lobule * width / 1.2
                cube = np.diag([cell, cell, cell, 1.0])[:, [2, 1, 0, 3]]
                field = NoiseField(key, cube, (1.2, 1.2, 1.2), stream)
                score = score + np.float32(np.sqrt(part)) * field.at(positions, xp, within=within)
        if self.noise > 0:
            grain = NoiseField(key, self.lattice, self.grain, "noise").at(positions, xp, within=within)
            score = score + np.float32(np.sqrt(self.noise)) * grain
        return score

    def draw(self, scores: Any, depth: Any, tone: Any, xp: Any = np) -> Any:
        """Tissue at places.

        Parameters
        ----------
        scores : array
            Of `scores`.
        depth : array
            mm below the outer skin, of each.
        tone : array
            Normal score of the tissue around, of each.
        xp : module

        Returns
        -------
        float32 array
        """
        score = tone * xp.clip((depth - 1.0) / 3.0, 0.0, 1.0) + self.spread * scores
        rows, columns = self.values.shape
        index = (
            xp.clip((depth - self.first) / self.step, 0, rows - 1),
            _probability(score, xp) * (columns - 1),
        )
        return Between(self.values.shape, index, xp).read(self.values)


def _probability(normal: Any, xp: Any) -> Any:
    """Probability that a normal number is smaller, by a logistic approximation (error below 0.001)."""
    cubed = normal * normal * normal
    return 1.0 / (1.0 + exp(-1.5976 * normal - 0.070566 * cubed, xp))


def measured(
    volume: xr.DataArray,
    sheets: tuple[Sheet, ...],
    pose: np.ndarray,
    *,
    level: float,
    noise: float = np.inf,
    grain: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> tuple[Strata, tuple[Sheet, ...]] | None:
    """Measure an image below the skin of a layer's sheets.

    Parameters
    ----------
    volume : xarray.DataArray
        Uncut.
    sheets : tuple of Sheet
    pose : (4, 4) array
        World LPS mm -> the head's frame.
    level : float
        Real value that parts body from air; NaN: not known, the sheets' skin is taken as it is.
    noise : float
        Standard deviation of the image's noise, real units: no more of the texture is noise.
    grain : (z, y, x)
        Of the noise, in voxels.

    Returns
    -------
    strata : Strata
    sheets : tuple of Sheet
        With their tone. None if there is too little skin in view.
    """
    geometry, modality = geometry_of(volume), volume.attrs["modality"]
    found = _near(volume, geometry, sheets, pose, level)
    if found is None:
        return None
    values, _, deep, which, at = found
    voxel = float(np.cbrt(geometry.voxel_volume))
    plain = values[np.isfinite(deep) & (deep > 1.0)]
    if modality == "CT":
        soft = SOFT_HU
    else:
        low = level if np.isfinite(level) else 0.25 * float(np.median(plain)) if plain.size else 0.0
        soft = (float(low), float(np.quantile(plain, 0.995)) if plain.size else np.inf)
    # behind the skin's partial volume there is also air, and bone
    usable = np.isfinite(deep) & (values <= soft[1]) & ((deep < 0.75 * voxel) | (values >= soft[0]))
    first = -float(np.ceil(voxel))
    depths = np.arange(first, DEEPEST + 0.5, 1.0)
    if (usable & (deep > 0) & (deep < DEEPEST)).sum() < FEW:
        return None
    table = np.full((len(depths), QUANTILES), np.nan)
    share = np.linspace(0.005, 0.995, QUANTILES)
    pooled = usable & (deep > POOLED) & (deep < 18.0)
    for k, depth in enumerate(depths):
        alike = depth >= POOLED + 2 and pooled.sum() >= FEW
        inside = pooled if alike else usable & (np.abs(deep - depth) <= 0.5)
        if inside.sum() >= FEW:
            table[k] = np.quantile(values[inside], share)
    known = np.flatnonzero(np.isfinite(table[:, 0]))
    if not len(known):
        return None
    for column in range(QUANTILES):
        table[:, column] = np.interp(np.arange(len(depths)), known, table[known, column])
    # scores of the tissue: where each value lies among those of its depth
    score = np.full(values.shape, np.nan)
    body = usable & (deep > 1.5) & (deep < 18.0)
    row = np.clip(np.rint(deep[body] - first), 0, len(depths) - 1).astype(int)
    score[body] = _scores(values[body], row, table, share)
    tones, spread = _tones(score, which, at, sheets)
    # a normal score is so much of the image's values
    unit = float(np.median(table[-1, 10:] - table[-1, :-10]) / 1.6) * spread
    most = float(np.clip((noise / max(unit, 1e-6)) ** 2, 0.02, 0.6))
    fine, lobule, broad = _texture(score, geometry, spread, most)
    strata = Strata(
        first,
        1.0,
        table.astype(np.float32),
        (float(soft[0]), float(soft[1])),
        fine,
        grain,
        geometry.affine,
        lobule,
        broad,
        spread,
    )
    return strata, tones


def _near(
    volume: xr.DataArray, geometry: Geometry, sheets: tuple[Sheet, ...], pose: np.ndarray, level: float
) -> Any:
    """Voxels of the box around the layer: values, grid, depth below the skin, sheet and element of its map.

    The depth is infinite where no sheet has a layer.
    """
    back = np.linalg.inv(pose)
    corners = []
    for sheet in sheets:
        if (sheet.envelope > sheet.skin).any():
            ends = np.stack(sheet.box)
            corners.append(ends[[[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], [0, 1, 2]])
    if not corners:
        return None
    index = geometry.to_index(np.concatenate(corners) @ back[:3, :3].T + back[:3, 3])
    low = np.maximum(np.floor(index.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(index.max(axis=0)) + 1, geometry.shape).astype(int)
    if (high - low < 3).any():
        return None
    part = geometry.block(low.tolist(), high.tolist())
    values = real_values(volume[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]).load().values
    deep = np.full(part.shape, np.inf)
    which = np.full(part.shape, -1, np.int8)
    at = np.zeros(part.shape, np.int32)
    skins = [_exact_skin(values, part, sheet, back, level) for sheet in sheets]
    positions = part.positions(dtype=np.float64)
    # some slices at a time: places and places on a map are many bytes a voxel
    for first in range(0, part.shape[0], SLICES):
        some = slice(first, first + SLICES)
        head = apply_affine(pose, *(axis if len(axis) == 1 else axis[some] for axis in positions))
        for number, (sheet, exact) in enumerate(zip(sheets, skins, strict=True)):
            _lay(sheet, exact, head, number, deep[some], which[some], at[some])
    return values, part, deep, which, at


def _lay(
    sheet: Sheet,
    exact: np.ndarray,
    head: tuple[Any, Any, Any],
    number: int,
    deep: np.ndarray,
    which: np.ndarray,
    at: np.ndarray,
) -> None:
    """Note, in place, which voxels lie less deep below a sheet's skin than below those before."""
    row = np.rint((head[2] - sheet.origin[0]) / sheet.spacing).astype(int)
    column = np.rint((head[1 - sheet.axis] - sheet.origin[1]) / sheet.spacing).astype(int)
    rows, columns = sheet.skin.shape
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    row, column = np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)
    thick = (sheet.envelope.astype(np.int32) - sheet.skin) * STEP
    cosine = -(sheet.inward[..., sheet.axis] * sheet.sign)
    good = (thick > 2.0) & (cosine > 0.5) & np.isfinite(exact)
    use = np.broadcast_to(inside, deep.shape) & good[row, column]
    below = (exact[row, column] - sheet.sign * head[sheet.axis]) * cosine[row, column]
    use = use & (below > -6.0) & (below < 20.0) & (below < deep)
    np.copyto(deep, below, where=use)
    which[use] = number
    at[use] = np.broadcast_to(row * columns + column, deep.shape)[use]


def _exact_skin(
    values: np.ndarray, part: Geometry, sheet: Sheet, back: np.ndarray, level: float
) -> np.ndarray:
    """Height of the skin between the image's own voxels, mm; NaN where it is not near the sheet's."""
    from scipy.ndimage import map_coordinates

    skin = sheet.skin * STEP
    if not np.isfinite(level):
        # the map holds the centres of voxels of 2 mm
        return skin + 1.0
    rows, columns = np.indices(skin.shape)
    offsets = np.arange(6.0, -4.01, -0.5)
    lines = []
    for offset in offsets:
        points = sheet.places(rows, columns, skin + offset) @ back[:3, :3].T + back[:3, 3]
        index = np.moveaxis(part.to_index(points), -1, 0)
        lines.append(map_coordinates(values, index, order=1, mode="constant", cval=np.nan))
    line = np.stack(lines)
    over = line >= level
    first = over.argmax(axis=0)
    before = np.maximum(first - 1, 0)
    one, two = (np.take_along_axis(line, k[None], axis=0)[0] for k in (before, first))
    between = np.clip((level - one) / np.where(two == one, 1.0, two - one), 0.0, 1.0)
    exact = skin + offsets[before] - 0.5 * between
    return np.where(over.any(axis=0) & (first > 0) & np.isfinite(one), exact, np.nan)


def _scores(values: np.ndarray, row: np.ndarray, table: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Normal scores of values among those of their depth."""
    from scipy.special import ndtri  # not `scipy.stats`: its import takes longer than all of this

    out = np.empty(values.shape)
    for k in np.unique(row):
        mine = row == k
        quantiles = table[k] + np.arange(len(share)) * 1e-6
        out[mine] = np.interp(values[mine], quantiles, share)
    return np.asarray(ndtri(np.clip(out, 0.01, 0.99)))


def _tones(
    score: np.ndarray, which: np.ndarray, at: np.ndarray, sheets: tuple[Sheet, ...]
) -> tuple[tuple[Sheet, ...], float]:
    from scipy.ndimage import gaussian_filter

    out = []
    left = []
    for number, sheet in enumerate(sheets):
        mine = (which == number) & np.isfinite(score)
        size = sheet.skin.size
        total = np.bincount(at[mine], weights=score[mine], minlength=size).reshape(sheet.skin.shape)
        count = np.bincount(at[mine], minlength=size).reshape(sheet.skin.shape).astype(float)
        sigma = TONE_MM / sheet.spacing
        total, count = (gaussian_filter(one, sigma, mode="constant") for one in (total, count))
        # where little is known the tissue is as everywhere
        usual = 0.05 * float(count.max(initial=0.0)) + 1e-6
        tone = np.clip(total / (count + usual), -TONE_MOST, TONE_MOST)
        out.append(dataclasses.replace(sheet, tone=np.rint(tone * 64).astype(np.int8)))
        left.append(score[mine] - tone.ravel()[at[mine]])
    rest = np.concatenate(left) if left else np.zeros(0)
    spread = float(np.clip(rest.std(), 0.4, 1.0)) if rest.size > FEW else 1.0
    return tuple(out), spread


def _texture(score: np.ndarray, geometry: Geometry, spread: float, most: float) -> Any:
    """Part of noise in the variance, width (mm) of the fine texture, part of the broad one, from neighbours."""
    from scipy.optimize import nnls

    centred = score - np.nanmean(score) if np.isfinite(score).any() else score
    known = np.isfinite(centred)
    # the tone holds that part
    slow = max(float(np.nanvar(centred)) - spread**2, 0.0) if known.any() else 0.0
    points = []
    for axis, step in enumerate(geometry.spacing):
        for lag in sorted({max(1, round(mm / step)) for mm in (1.0, 2.0, 3.5, 5.0, 7.0)}):
            if lag >= score.shape[axis] or lag * step > 12.0:
                continue
            one = np.moveaxis(centred, axis, 0)[:-lag]
            two = np.moveaxis(centred, axis, 0)[lag:]
            along = np.moveaxis(known, axis, 0)
            both = along[:-lag] & along[lag:]
            if both.sum() >= FEW:
                points.append((lag * step, (float((one[both] * two[both]).mean()) - slow) / spread**2))
    if len(points) < 3:
        return min(0.3, most), 2.5, 0.0
    x, r = (np.array(p) for p in zip(*points, strict=True))
    best, least = (most, 2.5, 0.0), np.inf
    # noise hangs together over a voxel or two only: what is left at the distances measured is tissue
    for lobule in np.arange(0.75, 4.01, 0.25):
        shapes = np.stack([np.exp(-((x / width) ** 2) / 4) for width in (lobule, BROAD * lobule)], axis=1)
        (fine, broad), _ = nnls(shapes, r)
        whole = fine + broad
        allowed = float(np.clip(whole, 1.0 - most, 1.0))
        fine, broad = (fine * allowed / whole, broad * allowed / whole) if whole > 0 else (allowed, 0.0)
        error = float(((r - shapes @ np.array([fine, broad])) ** 2).sum())
        if error < least:
            best, least = (1.0 - allowed, float(lobule), float(broad)), error
    return best
