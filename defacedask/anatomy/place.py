"""Find the head in an image: places where a brain may be, a sweep over all orientations, a registration."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from defacedask.anatomy.body import body_mask
from defacedask.anatomy.brain import enclosed_parts, halved, outline_centre, rough_brain
from defacedask.anatomy.grid import cropped_values
from defacedask.anatomy.metric import Sample
from defacedask.anatomy.morphology import dilate
from defacedask.anatomy.registration import Registration, refined, register
from defacedask.anatomy.sweep import Place, sweep
from defacedask.anatomy.turns import sphere
from defacedask.geometry import Geometry

if TYPE_CHECKING:
    from defacedask.anatomy.atlas import Atlas

__all__ = ["Look", "centre_of", "find_head", "look_closer"]

#: Values that CT is clipped to for the metric: soft tissue, HU.
SOFT = (-200.0, 200.0)
#: Rough centres by the outline that are nearer to each other than this are one, mm.
APART = 35.0
#: On CT: parts enclosed by bone that may be the brain (where the shoulders are in view, two or three larger ones are
#: seen between them and the border of the picture), and how near the header's own centre is the same place, mm.
PARTS, NEAR = 5, 20.0
#: Turns that are tried about the rough centres, and points that each is judged by.
TURNS, COARSE = 600, 2400


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """An image on a working grid, and what is known of it without the template.

    Attributes
    ----------
    values : (z, y, x) float32 array
        Real values on ``grid``; array axis 0 towards what is taken as up.
    grid : Geometry
        Working grid, patient LPS mm.
    body, other : bool arrays
        The patient, and material that is not the patient.
    modality : str
    """

    values: np.ndarray
    grid: Geometry
    body: np.ndarray
    other: np.ndarray
    modality: str

    @classmethod
    def of(
        cls,
        fine: np.ndarray,
        geometry: Geometry,
        modality: str,
        *,
        spacing: float,
        level: float,
        air: float,
        turn: np.ndarray | None = None,
    ) -> Look:
        """Look at an image; for the arguments see `defacedask.anatomy.grid.cropped_values`."""
        values, grid = cropped_values(fine, geometry, spacing=spacing, level=level, air=air, turn=turn)
        return cls(values, grid, *body_mask(values, level, spacing), modality)

    def sample(self, atlas: Atlas) -> Sample:
        """Points of the body, from which metrics are made."""
        limits = SOFT
        if self.modality != "CT":
            top = float(np.percentile(self.values[self.body], 99.5)) if self.body.any() else 1.0
            limits = (0.0, top)
        levels = atlas.levels(self.modality)
        around = max(1, round(6.0 / self.grid.spacing[0]))
        return Sample(self.values, self.grid, dilate(self.body, around), limits, levels, atlas.grid)


def centre_of(look: Look) -> tuple[np.ndarray, np.ndarray | None, float]:
    """Rough centre of the brain (world LPS mm), enclosure map (CT) and mL of brain seen without a template."""
    if look.modality != "CT":
        return outline_centre(look.body, look.grid), None, float("nan")
    values, body, by = _at_four_mm(look)
    rough, seen = rough_brain(values, body)
    if not rough.any():
        return outline_centre(look.body, look.grid), seen, 0.0
    centre = look.grid.to_world(np.argwhere(rough).mean(axis=0) * by + (by - 1) / 2)
    return centre, seen, float(rough.sum() * by**3 * look.grid.voxel_volume / 1000)


def _at_four_mm(look: Look) -> tuple[np.ndarray, np.ndarray, int]:
    """Values and body on 4 mm, and how many voxels of the look's grid that is."""
    if look.grid.spacing[0] > 3.0:
        return look.values, look.body, 1
    return halved(look.values), halved(look.body.astype(np.float32)) >= 0.5, 2


def find_head(look: Look, atlas: Atlas) -> list[np.ndarray]:
    """Look for the head in every orientation.

    Parameters
    ----------
    look : Look
        On a coarse grid of the header's own axes (4 mm).
    atlas : Atlas

    Returns
    -------
    list of (4, 4) arrays
        Rigid poses, world LPS mm -> the template's, best first; among them the best of those that mistake front for
        back or up for down. Empty for a CT in which bone encloses nothing: there is no head in it.
    """
    centre, _, enclosed = centre_of(look)
    sample = look.sample(atlas)
    turns = sphere(TURNS)
    places = [
        Place(at, sample.metric(at, COARSE), some) for at, some in _centres(look, centre, enclosed > 0, turns)
    ]
    return refined(sweep(places, atlas.centre), atlas.centre) if places else []


def look_closer(look: Look, centre: np.ndarray, starts: Sequence[np.ndarray], atlas: Atlas) -> Registration:
    """Register from known poses.

    Parameters
    ----------
    look : Look
        On the working grid, on which the head is more or less upright.
    centre : (3,) array
        See `centre_of`.
    starts : sequence of (4, 4) arrays
        See `find_head`.
    atlas : Atlas
    """
    return register(look.sample(atlas).metric(centre), starts, centre, atlas.centre)


def _centres(
    look: Look, centre: np.ndarray, enclosed: bool, turns: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Places that may be the middle of the brain, each with the turns for which it may be."""
    if look.modality == "CT":
        # which way is up is not known, so that any border of the picture may have cut the crown
        values, body, by = _at_four_mm(look)
        found = [
            look.grid.to_world(place * by + (by - 1) / 2) for place in enclosed_parts(values, body, PARTS)
        ]
        # the header's own way up only stands behind them: where it is wrong, its centre is off, too
        if enclosed and all(np.linalg.norm(centre - c) > NEAR for c in found):
            found.append(centre)
        return [(c, turns) for c in found]
    # no bone to go by: the middle of the brain is sought below the top of the outline, for each way that may be up
    ways = np.array([d for d in itertools.product((-1, 0, 1), repeat=3) if any(d)], dtype=np.float64)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    nearest = (turns[:, 2] @ ways.T).argmax(axis=1)
    groups: list[tuple[np.ndarray, list[int]]] = []
    for k, way in enumerate(ways):
        place = outline_centre(look.body, look.grid, way)
        group = next((g for g in groups if np.linalg.norm(g[0] - place) <= APART), None)
        if group is None:
            groups.append((place, [k]))
        else:
            group[1].append(k)
    return [(place, turns[np.isin(nearest, members)]) for place, members in groups]
