"""What an attacker does to a defaced head before looking at it.

Every attack sees the defaced image alone, with the head's pose and level, which anybody can find again in what
was left. An attack returns attempts: images to contour, each with its own level; a head counts as found if any
attempt of any attack finds it.

Sources: refilling a removed face from a template (Schwarz and others, NeuroImage 2021); the original below an
added layer is reached by peeling it off or by another level.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.names import BEST, DENOISED, FILLED, UNMASKED
from defacedask.errors import ConfigError
from defacedask.geometry import Geometry

if TYPE_CHECKING:
    from defacedask.anatomy.template import Template
    from defacedask.attacks.face_rays import Rays

__all__ = [
    "ATTACKS",
    "Attempt",
    "Target",
    "attempts",
    "denoised_air",
    "level_attempts",
    "target_of",
    "template_filled",
]


#: The average face fills what is missing to at least twice this depth.
HOLE_MM = 4.0


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """A defaced head.

    Attributes
    ----------
    values : (z, y, x) float array
        Real values.
    geometry : Geometry
    modality : str
        CT, MR or PT.
    level : float
        Of the skin.
    pose : (4, 4) array
        World LPS mm to the head frame.
    to_template : (4, 4) array, optional
        World LPS mm to the template, affine; default the pose.
    fine : (array, Geometry), optional
        The face's box in the image's own voxels: a thin line under a layer is gone in the average of two.
    mask : (z, y, x) bool array, optional
        What is published as the region that was changed, in the voxels of `finest`.
    """

    values: np.ndarray
    geometry: Geometry
    modality: str
    level: float
    pose: np.ndarray
    to_template: np.ndarray | None = None
    fine: tuple[np.ndarray, Geometry] | None = None
    mask: np.ndarray | None = None

    @property
    def finest(self) -> tuple[np.ndarray, Geometry]:
        """Values and grid, as fine as they are known."""
        return self.fine or (np.asarray(self.values, np.float32), self.geometry)

    @functools.cached_property
    def rays(self) -> Rays:
        """Rays into the face, shot once for all attempts that follow them."""
        from defacedask.attacks.face_rays import Rays

        return Rays.of(self)

    @functools.cached_property
    def depth(self) -> np.ndarray:
        """See `defacedask.attacks.unmasking.skin_depth`; measured once."""
        from defacedask.attacks.unmasking import skin_depth

        return skin_depth(self)

    @functools.cached_property
    def uncovered(self) -> dict[str, list[Attempt]]:
        """Attempts of each of `defacedask.attacks.planted.KINDS`, made once: to be shown, and to be judged."""
        from defacedask.attacks.unmasking_judged import uncovered

        return uncovered(self)


def target_of(
    values: Any,
    geometry: Geometry,
    *,
    modality: str,
    level: float,
    pose: np.ndarray,
    to_template: np.ndarray | None = None,
    drop: Any = None,
    mask: Any = None,
) -> Target:
    """Cut a target out of an image: the head's box, averaged to about 2 mm where finer, and the face as it is.

    Parameters
    ----------
    values : (z, y, x) array
        Real values of the whole defaced image.
    geometry : Geometry
    modality, level, pose, to_template
        See `Target`.
    drop : (z, y, x) bool array, optional
        What is not body in the original: read as air.
    mask : (z, y, x) bool array, optional
        Published with the image, on its grid: what was changed.

    Raises
    ------
    RefusedError
        If the head's box does not meet the image.
    """
    from defacedask.attacks.skin_found import face_box
    from defacedask.faces.surface import HEAD_BOX, crop_to_box, regrid
    from defacedask.modality import air_of

    values, pose = np.asarray(values), np.asarray(pose)

    def cut(box: Any) -> tuple[np.ndarray, Geometry]:
        block, grid, away = crop_to_box(values, geometry, drop, pose, box)
        block = np.asarray(block, np.float32)
        return (block if away is None else np.where(away, np.float32(air_of(modality)), block)), grid

    coarse, grid = cut(HEAD_BOX)
    coarse, grid = regrid(coarse, grid, 2.0, interpolate=False)
    box: Any = face_box(pose, to_template)
    if mask is not None:
        # what is published may reach beyond the face
        box = np.minimum(box[0], HEAD_BOX[0]), np.maximum(box[1], HEAD_BOX[1])
        mask, _, _ = crop_to_box(np.asarray(mask), geometry, None, pose, box)
    return Target(coarse, grid, modality, level, pose, to_template, cut(box), mask)


@dataclasses.dataclass(frozen=True, eq=False)
class Attempt:
    """One image to contour.

    Attributes
    ----------
    attack : str
        Name of the attack, as in the tables.
    variant : str
        Which of its settings.
    values : (z, y, x) float32 array
        On the target's grid, or its own.
    level : float
    geometry : Geometry, optional
        Its own grid.
    """

    attack: str
    variant: str
    values: np.ndarray
    level: float
    geometry: Geometry | None = None


def template_filled(target: Target, template: Template | None = None) -> list[Attempt]:
    """Put the average face where the face is missing, so that a detector has something to detect.

    What is left of the original (eyes above a low cut, the jaw below) then decides whom it looks like. Two attempts:
    the average everywhere in front, and only where the image lacks at least `HOLE_MM` of face on all sides.

    Parameters
    ----------
    target : Target
    template : Template, optional
        Default: the built-in one of the target's modality.
    """
    from defacedask.anatomy.grid import resample
    from defacedask.anatomy.template import load_template
    from defacedask.volume import geometry_of

    if template is None:
        template = load_template("average_ct" if target.modality == "CT" else "average_t1")
    values = np.asarray(target.values, np.float32)
    matrix = np.asarray(target.pose if target.to_template is None else target.to_template)
    places = zip(matrix[1], target.geometry.positions(dtype=np.float64), strict=False)
    depth = matrix[1, 3] + sum(float(factor) * place for factor, place in places)
    # stored values are resampled: they take half the room
    distance, slope = np.asarray(template.skin.values), float(template.skin.coords["slope"].values[0])
    far = float(distance.max())
    skin = resample(distance, geometry_of(template.skin), target.geometry, matrix=matrix, outside=far)
    skin *= np.float32(slope)
    span = np.float32(span_of(target))
    # through the level at the average skin
    average = np.float32(target.level) - span * np.clip(skin / np.float32(2.0), -1.0, 1.0)
    front = np.broadcast_to(depth < 0.0, values.shape)
    filled = np.where(front, np.maximum(values, average), values)
    found = [Attempt(FILLED, "everywhere", filled, target.level)]
    hole = _thick(front & (average >= target.level) & (values < target.level), target.geometry)
    if hole.any():
        # what the patient still has is not covered by what the average has in front of it
        found.append(Attempt(FILLED, "where it is missing", np.where(hole, filled, values), target.level))
    return found


def _thick(missing: np.ndarray, geometry: Geometry, mm: float = HOLE_MM) -> np.ndarray:
    """Parts of a region that hold a ball of ``mm`` radius, with a little around to meet what is left."""
    from defacedask.anatomy.distances import within

    # nearer than ``mm``: what is just as far counts as thick
    thin = within(np.pad(~missing, 1, constant_values=True), geometry.spacing, mm * (1.0 - 1e-5))
    return within(~thin[1:-1, 1:-1, 1:-1], geometry.spacing, mm + 2.0)


def denoised_air(target: Target, sigmas_mm: Sequence[float] = (2.0, 4.0)) -> list[Attempt]:
    """Look for ghosts of the face in what reads as air: blur it until its noise is small, and look just above.

    Incomplete removal leaves partial-volume rims on CT, and wrap, ringing and interpolation ghosts on MR.
    """
    from scipy.ndimage import gaussian_filter

    values = np.asarray(target.values, np.float32)
    air = values < target.level
    if not air.any():
        return []
    # tissue would bleed into the air: it is clipped to the level first
    clipped = np.minimum(values, np.float32(target.level))
    out = []
    for sigma in sigmas_mm:
        smooth = gaussian_filter(clipped, [sigma / s for s in target.geometry.spacing])
        sample = smooth[air][:: max(1, int(air.sum()) // 200_000)]
        middle = float(np.median(sample))
        noise = 1.4826 * float(np.median(np.abs(sample - middle)))
        level = middle + max(4.0 * noise, 0.02 * (target.level - middle))
        if level < target.level:
            out.append(Attempt(DENOISED, f"{sigma:g} mm", smooth, level))
    return out


def level_attempts(target: Target) -> list[Attempt]:
    """The image as it is, at skin levels below and above the usual one."""
    levels = (-600.0, -100.0) if target.modality == "CT" else (0.5 * target.level, 1.6 * target.level)
    values = np.asarray(target.values, np.float32)
    return [Attempt(BEST, f"level {level:.4g}", values, level) for level in levels]


def _unmasked(target: Target) -> list[Attempt]:
    from defacedask.attacks.unmasking import unmasked

    return [*unmasked(target), *target.uncovered["classifier"]]


#: What makes images to contour of a defaced image, by name; the other attacks are looks at what is there.
ATTACKS: dict[str, Callable[[Target], list[Attempt]]] = {
    BEST: level_attempts,
    FILLED: template_filled,
    UNMASKED: _unmasked,
    DENOISED: denoised_air,
}


def attempts(target: Target, names: Sequence[str] = tuple(ATTACKS)) -> list[Attempt]:
    """All attempts of the named attacks.

    Raises
    ------
    ConfigError
        For an unknown name.
    """
    for name in names:
        if name not in ATTACKS:
            raise ConfigError(f"there is no attack {name!r}.", f"Choose from: {', '.join(ATTACKS)}.")
    return [attempt for name in names for attempt in ATTACKS[name](target)]


def span_of(target: Target) -> float:
    """How far below the level empty space lies."""
    from defacedask.modality import air_of

    return float(max(target.level - air_of(target.modality), 1e-6))
