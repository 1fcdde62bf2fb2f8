"""What registration, brain and quality need of the average head, made once a process."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from defacedask.anatomy.template import Template, load_template
from defacedask.geometry import Geometry
from defacedask.volume import real_values

__all__ = ["Atlas", "atlas_of"]

#: Of the 12-bit images of the metric: what is averaged, mm.
SMOOTH = 3.0


@dataclasses.dataclass(frozen=True, eq=False)
class Atlas:
    """The average head, on a grid whose axes are S, P, L (that is the head's frame).

    Attributes
    ----------
    grid : Geometry
        LPS mm of the average head.
    images : dict of str to (z, y, x) array
        By modality; one of them at least.
    brain : bool array
    body : bool array
        Within the skin, filled.
    face : bool array
        Around the skin (16 mm inwards, 24 mm outwards), from 5 mm above the brow to the chin, back to 24 mm behind
        the outer corners of the eyes.
    landmarks : dict of (3,) arrays
        mm on the skin: glabella, nasion, nose_tip, menton, vertex, eye_left, eye_right, ...
    """

    grid: Geometry
    images: dict[str, np.ndarray]
    brain: np.ndarray
    body: np.ndarray
    face: np.ndarray
    landmarks: dict[str, np.ndarray]

    @functools.cached_property
    def centre(self) -> np.ndarray:
        """Centre of the brain, mm."""
        return self.grid.to_world(np.argwhere(self.brain).mean(axis=0))

    @functools.cached_property
    def brain_ml(self) -> float:
        """Volume of the brain, mL."""
        return float(self.brain.sum() * self.grid.voxel_volume / 1000.0)

    def image(self, modality: str) -> np.ndarray:
        """What a modality is registered to: its own average, else the T1's, else any."""
        for name in (modality, "MR", *self.images):
            if name in self.images:
                return self.images[name]
        raise KeyError(modality)

    @functools.cached_property
    def _levels(self) -> dict[int, np.ndarray]:
        return {}

    def levels(self, modality: str) -> np.ndarray:
        """`image`, averaged over 3 mm and scaled to 0..255 (uint8), with one voxel of air around."""
        from scipy.ndimage import uniform_filter

        image = self.image(modality)
        if id(image) not in self._levels:
            smooth = uniform_filter(image.astype(np.float32), max(1, round(SMOOTH / min(self.grid.spacing))))
            low, high = float(smooth.min()), float(np.percentile(smooth, 99.7))
            scaled = np.rint((np.clip(smooth, low, high) - low) * (255.0 / max(high - low, 1e-9)))
            self._levels[id(image)] = np.pad(scaled.astype(np.uint8), 1)
        return self._levels[id(image)]


def atlas_of(template: Template | None = None) -> Atlas:
    """Atlas of a template; of the built-in average head (T1 and CT on one grid) by default."""
    if template is None:
        return _built_in()
    return _from([template])


@functools.cache
def _built_in() -> Atlas:
    return _from([load_template("average_t1"), load_template("average_ct")])


def _from(templates: list[Template]) -> Atlas:
    first = templates[0]
    return Atlas(
        grid=first.geometry,
        images={t.modality: t.image.values for t in templates},
        brain=first.mask("Brain"),
        body=real_values(first.skin).values <= 0,
        face=_face(first),
        landmarks=first.landmarks,
    )


def _face(template: Template) -> np.ndarray:
    marks = template.landmarks
    _, y, z = template.geometry.positions(dtype=np.float64)
    front = y < max(marks["exocanthion_left"][1], marks["exocanthion_right"][1]) + 24.0
    return template.mask("face") & front & (z < marks["brow_left"][2] + 5.0) & (z > marks["menton"][2])
