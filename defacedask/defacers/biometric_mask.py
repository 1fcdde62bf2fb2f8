"""Biometric mask: a box over the face and one over each ear, through one affine.

Source: ``biometric_mask`` of muschellij2/ichseg (facts only). Its boxes are in millimetres of a 1 mm head template
in MNI space (RAS, origin -90, -125, -71): face x -41..39, y 44..91, z -71..-57; ears x 79..89 and -90..-81,
y -66..-16, z -71..-12. Extension: the face keeps its x range, goes from its back to the front of the field of view
and from the bottom up to the middle of its height; an ear goes from its innermost point to the side of the field of
view within its y and z range.

**How the boxes reach the patient.** They stay in MNI space, with the published numbers. The patient's map is the
head's affine to the built-in average followed by `TO_MNI`, the affine from the built-in average to MNI152
(2009, skull on; Mattes mutual information, rigid then affine; ``tools/mni_alignment.py``). The older average of 152
heads moves no side of a box by more than 2.4 mm. In the built-in average the face box lies between x -36..37,
z -57..-41 and behind y -64 (nose tip at z -64, eyes at z -30), the ear boxes at the ears (z -67..-13).

**Extension in the template's axes.** The authors extend along the axes of the image, which for an upright head are
the template's within some degrees; for a turned or tipped head the image's axes cut slanting through the face.

**What the published boxes leave.** The cut ends at half the height of the face box, below the eyes: eyes, brow and
the upper nose stay. `BiometricMaskStrict` is another defacer, and covers them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from defacedask.defacers.base import Defacer, Plan, air_of
from defacedask.defacers.boxes import FAR, Box, box_pieces, in_boxes
from defacedask.defacers.noise import NoiseField
from defacedask.defacers.options import within
from defacedask.defacers.solid import Solid
from defacedask.errors import ConfigError, RefusedError
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.head import Head
    from defacedask.defacers.boxes import Piece
    from defacedask.defacers.protect import Protected

__all__ = ["BiometricMask", "BiometricMaskStrict", "BoxPlan"]

FILLS = ("air", "shuffle", "minimum")
#: Quantiles of the region's own values that a plan keeps.
LEVELS = 257
_AT_MOST = 4_000_000

#: From MNI152 (2009) to the built-in average head, both LPS mm; see the module's text.
FROM_MNI = np.array(
    [
        [0.9057, -0.0002, 0.0027, -0.0269],
        [-0.0130, 0.9274, 0.1050, -17.5119],
        [-0.0020, -0.0873, 0.8250, -1.8682],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
TO_MNI = np.linalg.inv(FROM_MNI)

#: The published boxes, RAS mm turned to LPS (x and y change sign). Patient left is +x.
FACE = Box("face", (-39.0, -91.0, -71.0), (41.0, -44.0, -57.0))
EAR_RIGHT = Box("ear_right", (-89.0, 16.0, -71.0), (-79.0, 66.0, -12.0))
EAR_LEFT = Box("ear_left", (81.0, 16.0, -71.0), (90.0, 66.0, -12.0))


def published_boxes(bottom: float) -> list[Box]:
    """Extended boxes, in MNI space (LPS mm); ``bottom`` is where the face box ends below."""
    middle = float(np.ceil((FACE.low[2] + FACE.high[2]) / 2))
    return [
        Box("face", (FACE.low[0], -FAR, bottom), (FACE.high[0], FACE.high[1], middle)),
        Box("ear_right", (-FAR, *EAR_RIGHT.low[1:]), EAR_RIGHT.high),
        Box("ear_left", EAR_LEFT.low, (FAR, *EAR_LEFT.high[1:])),
    ]


#: The strict boxes, in the built-in average's space (LPS mm), each open to the front or the side. Eyeballs reach
#: back to y -65; the sides to the outer rim of the orbits and the angle of the jaw; brow z -9, chin z -139.
STRICT = (
    Box("eyes", (-78.0, -FAR, -50.0), (78.0, -57.0, 6.0)),
    Box("nose", (-78.0, -FAR, -86.0), (78.0, -54.0, -50.0)),
    Box("mouth_and_chin", (-78.0, -FAR, -145.0), (78.0, -50.0, -86.0)),
    Box("ear_right", (-FAR, -12.0, -88.0), (-69.0, 50.0, -4.0)),
    Box("ear_left", (69.0, -12.0, -88.0), (FAR, 50.0, -4.0)),
)


@dataclasses.dataclass(frozen=True, eq=False)
class BoxPlan(Plan):
    """Boxes and what they are filled with.

    Attributes
    ----------
    to_boxes : (4, 4) array
        World LPS mm -> the boxes' space.
    boxes : tuple of Box
    fill_with : str
        One of `FILLS`.
    modality : str
        Of the image that ``quantiles`` are of.
    quantiles : tuple of float
        Of the region's own real values, evenly spaced from minimum to maximum; empty for air.
    lattice : (4, 4) array
        Grid on which values are shuffled: the image's own, index (z, y, x) to LPS mm.
    key : bytes
        Secret.
    covers : str
        What the boxes do and do not cover.
    bounded : bool
        Whether the face box ends below the chin instead of at the bottom of the field of view.
    tissue_ml : float
        Body removed, mL.
    """

    secret: ClassVar[tuple[str, ...]] = ("key",)
    flat: ClassVar[bool] = True

    to_boxes: np.ndarray
    boxes: tuple[Box, ...]
    fill_with: str
    modality: str
    quantiles: tuple[float, ...]
    lattice: np.ndarray
    key: bytes
    covers: str
    bounded: bool
    tissue_ml: float

    def summary(self) -> dict[str, Any]:
        """See `Plan.summary`; the region's values are patient data and stay out."""
        return {k: v for k, v in super().summary().items() if k != "quantiles"}

    def wanted(self, geometry: Geometry, xp: Any = np) -> Any:
        """See `Plan.wanted`."""
        return in_boxes(self.boxes, self.to_boxes, geometry, xp)

    def solid(self) -> Solid:
        """See `Plan.solid`."""
        return Solid(boxes=self.boxes, matrix=self.to_boxes)

    def hull(self, to_template: np.ndarray | None) -> tuple[Piece, ...]:
        """The boxes themselves (see `Plan.hull`)."""
        return box_pieces(self.boxes, self.to_boxes)

    def constant(self, modality: str) -> float | None:
        """See `Plan.constant`."""
        if modality != self.modality or self.fill_with == "air" or not self.quantiles:
            return air_of(modality)
        return self.quantiles[0] if self.fill_with == "minimum" else None

    def fill(self, values: Any, region: Any, geometry: Geometry, modality: str, xp: Any = np) -> Any:
        """Air, the region's smallest value, or its values drawn anew (see `Plan.fill`). Dose is always 0."""
        out = values.copy()
        level = self.constant(modality)
        if level is not None:
            out[region] = level
        else:
            at = xp.nonzero(region)
            places = geometry.positions_at(at, xp)
            drawn = NoiseField(self.key, self.lattice, stream="shuffle").uniform(places, xp)
            table = xp.asarray(self.quantiles, dtype=xp.float32)
            place = drawn * xp.float32(len(self.quantiles) - 1)
            low = place.astype(xp.int32)
            below, above = table[low], table[xp.minimum(low + 1, len(self.quantiles) - 1)]
            out[at] = below + (above - below) * (place - low.astype(xp.float32))
        return out

    def tuned(self, volume: xr.DataArray) -> BoxPlan:
        """With the quantiles of this volume's own region."""
        modality = volume.attrs["modality"]
        if self.fill_with == "air" or modality == "RTDOSE":
            return self
        geometry = geometry_of(volume)
        found = _region_values(self, volume, geometry)
        if found.size == 0:
            return dataclasses.replace(self, modality=modality, quantiles=())
        levels = np.quantile(found, np.linspace(0, 1, LEVELS))
        return dataclasses.replace(
            self, modality=modality, quantiles=tuple(float(v) for v in levels), lattice=geometry.affine
        )


def _region_values(plan: Plan, volume: xr.DataArray, geometry: Geometry) -> np.ndarray:
    """Real values in the plan's region, on every n-th voxel if there are too many."""
    step = max(1, round((volume.size / _AT_MOST) ** (1 / 3)))
    part = volume[::step, ::step, ::step]
    data = part.data
    if hasattr(data, "compute"):
        data = data.compute(scheduler="synchronous")
    if hasattr(data, "get"):
        data = data.get()
    shape = geometry.shape
    region = plan.region(geometry.block((0, 0, 0), shape, (step,) * 3))
    at = np.nonzero(region)
    slope = np.asarray(part.coords["slope"].values, np.float32)[at[0]]
    intercept = np.asarray(part.coords["intercept"].values, np.float32)[at[0]]
    return data[at].astype(np.float32) * slope + intercept


@dataclasses.dataclass(frozen=True, eq=False)
class BiometricMaskPlan(BoxPlan):
    """Plan of `BiometricMask`."""

    defacer: ClassVar[str] = "biometric_mask"


@dataclasses.dataclass(frozen=True, eq=False)
class BiometricMaskStrictPlan(BoxPlan):
    """Plan of `BiometricMaskStrict`."""

    defacer: ClassVar[str] = "biometric_mask_strict"


@dataclasses.dataclass(frozen=True)
class _Boxes(Defacer):
    fill: str = "air"
    bounded: str = "auto"
    below_chin_mm: float = 15.0
    brain_margin_mm: float = 2.0

    _plan: ClassVar[type[BoxPlan]]
    _covers: ClassVar[str]

    def __post_init__(self) -> None:
        if self.fill not in FILLS:
            raise ConfigError(f"fill is {self.fill!r}.", f"Choose from: {', '.join(FILLS)}.")
        if self.bounded not in ("auto", "yes", "no"):
            raise ConfigError(f"bounded is {self.bounded!r}.", "Choose from: auto, yes, no.")
        within(self, below_chin_mm=(-50, 200), brain_margin_mm=(0, 20))

    def _boxes(self, head: Head) -> tuple[np.ndarray, list[Box], list[Box], bool]:
        """Map, boxes that must meet the body, extended boxes, whether bounded below."""
        raise NotImplementedError

    def propose(self, head: Head, *, key: bytes, protected: tuple[Protected, ...]) -> BoxPlan:
        """See `Defacer.propose`.

        Raises
        ------
        RefusedError
            If the face box, or both ear boxes, hold nothing of the patient.
        """
        matrix, needed, boxes, bounded = self._boxes(head)
        body = head.grid.to_world(np.argwhere(head.body)) @ matrix[:3, :3].T + matrix[:3, 3]
        met = {box.name: bool(box.contains(body).any()) for box in needed}
        for name, there in met.items():
            if not there and not name.startswith("ear"):
                raise RefusedError(
                    f"the box over the {name.replace('_', ' ')} holds nothing of this head.",
                    "Its face lies outside the field of view, or the registration failed.",
                )
        missing = [name for name, there in met.items() if not there]
        if len(missing) > 1:
            raise RefusedError(
                "the boxes over both ears hold nothing of this head.",
                "Its ears lie outside the field of view, or the registration failed.",
            )
        covers = self._covers
        if missing:
            covers += f" Nothing of the {missing[0].replace('_', ' ')} is in view."
        first = self._plan(
            to_boxes=matrix,
            boxes=tuple(box for box in boxes if box.name not in missing),
            fill_with=self.fill,
            modality=head.modality,
            quantiles=(),
            lattice=head.geometry.affine,
            key=key,
            covers=covers,
            bounded=bounded,
            tissue_ml=0.0,
            protected=protected,
        )
        removed = first.region(head.grid) & head.body
        ml = float(removed.sum() * head.grid.voxel_volume / 1000)
        return dataclasses.replace(first, tissue_ml=ml).tuned(head.volume)


@dataclasses.dataclass(frozen=True)
class BiometricMask(_Boxes):
    """The published boxes over lower face and ears are emptied; eyes, brow and upper nose stay.

    Parameters
    ----------
    fill : str
        "air"; "minimum": the region's smallest value; "shuffle": the region's values, drawn anew for every place.
    bounded : str
        "auto": end the face box below the chin where the field of view reaches further down (neck, chest);
        "yes"; "no": to the bottom of the field of view, as published.
    below_chin_mm : float
        How far below the chin a bounded box ends.
    brain_margin_mm : float
        No voxel within this distance of the brain changes.
    """

    name: ClassVar[str] = "biometric_mask"

    _plan: ClassVar[type[BoxPlan]] = BiometricMaskPlan
    _covers: ClassVar[str] = (
        "The published boxes: lower face, mouth, chin and ears. Eyes, brow and upper nose stay."
    )

    def _boxes(self, head: Head) -> tuple[np.ndarray, list[Box], list[Box], bool]:
        matrix = TO_MNI @ head.to_template
        chin = (matrix @ np.append(head.landmark("menton"), 1.0))[2]
        floor = float(chin) - self.below_chin_mm
        body = head.grid.to_world(np.argwhere(head.body))
        lowest = float((body @ matrix[2, :3] + matrix[2, 3]).min())
        bounded = self.bounded == "yes" or (self.bounded == "auto" and lowest < floor - 10.0)
        return matrix, [FACE, EAR_RIGHT, EAR_LEFT], published_boxes(floor if bounded else -FAR), bounded


@dataclasses.dataclass(frozen=True)
class BiometricMaskStrict(_Boxes):
    """Boxes that cover the whole face from brow to chin (eyes, nose, mouth, chin) and the ears are emptied.

    Ours, not the authors': the published boxes leave eyes and upper nose.

    Parameters
    ----------
    fill : str
        "air"; "minimum": the region's smallest value; "shuffle": the region's values, drawn anew for every place.
    bounded : str
        Always bounded below the chin; kept for symmetry with `BiometricMask`.
    below_chin_mm : float
        How far below the average's chin the lowest box ends.
    brain_margin_mm : float
        No voxel within this distance of the brain changes.
    """

    name: ClassVar[str] = "biometric_mask_strict"

    _plan: ClassVar[type[BoxPlan]] = BiometricMaskStrictPlan
    _covers: ClassVar[str] = "Brow to chin (eyes, nose, mouth, chin) and ears."

    below_chin_mm: float = 8.0

    def _boxes(self, head: Head) -> tuple[np.ndarray, list[Box], list[Box], bool]:
        floor = float((head.to_template @ np.append(head.landmark("menton"), 1.0))[2]) - self.below_chin_mm
        boxes = [
            dataclasses.replace(b, low=(b.low[0], b.low[1], floor)) if b.name == "mouth_and_chin" else b
            for b in STRICT
        ]
        return head.to_template, boxes, boxes, True
