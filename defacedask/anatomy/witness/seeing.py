"""Where the face is, by the original image alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.anatomy.witness.centre import centres
from defacedask.anatomy.witness.cues import AHEAD, NOSE, air_seen, cues, skin_seen, toward
from defacedask.anatomy.witness.solid import SPACING, Solid, solid_of
from defacedask.anatomy.witness.sphere import DIRECTIONS, angle, correlation, near, nearest, rotations
from defacedask.errors import InputError
from defacedask.modality import FACES, NARROWEST, THICKEST
from defacedask.volume import geometry_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Sighting", "hidden", "sighting"]

#: Degrees of the sweep over all orientations, and of the steps after it.
SWEEP, STEPS = 12.0, (6.0, 3.0)
#: mm by which the middle of the skull is moved to fit better.
SHIFTS = (8.0, 4.0)
#: How often each, and what a mm of all that costs.
ROUNDS, DRIFT = 2, 0.004
#: Degrees by which another way of looking differs from the best one.
ELSEWHERE = 50.0
#: mm from the middle of the skull to the tip of a nose: least, if its skin is out of view, and most.
NEAREST_NOSE, USUAL_NOSE, FARTHEST_NOSE = 85.0, 130.0, 160.0
#: A face is seen only where each cue fits at least so well, and both beat all that looks elsewhere by so much.
LEAST = {"air": 0.40, "skin": 0.52, "margin": 0.12}
#: What is worth a closer look for a second head; mm between the middles of two heads, at least; and degrees by which
#: two that are held alike may differ. The shoulders of real patients were 50 degrees off and more.
PERHAPS, ANOTHER, ALIKE = {"air": 0.30, "skin": 0.45}, 140.0, 30.0
#: From there on, by how much a cue must fit better to be sure.
BY = {"air": 0.40, "skin": 0.30, "margin": 0.25}
#: What all votes for the middle of the skull count beside the two cues.
VOTE = 0.3


@dataclasses.dataclass(frozen=True, eq=False)
class Sighting:
    """Where the witness sees a face.

    Attributes
    ----------
    place : (3,) array
        Tip of the nose, as the skin in that direction, world LPS mm; NaN if there is no face.
    facing : (3,) array
        Unit vector of where the head looks, world LPS; NaN if there is no face.
    sure : float
        0 to 1; 0 if there is no face.
    cues : dict
        Figures: ``air`` and ``skin`` (fit of each cue, -1 to 1), ``margin`` (by how much both together beat the best
        that looks elsewhere), ``air_alone`` and ``skin_alone`` (degrees by which each cue alone would look
        elsewhere), ``votes`` (of the skin for this middle of the skull).
    reason : str
        Why there is no face; "" if there is one.
    centre : (3,) array
        Middle of the skull, world LPS mm.
    axes : (3, 3) array
        Columns: left, posterior, superior of the head, world LPS.
    second : bool
        There is a face in another head beside it as well: then none is told, for a plan is of one head.
    """

    place: np.ndarray
    facing: np.ndarray
    sure: float
    cues: dict[str, float]
    reason: str = ""
    centre: np.ndarray = dataclasses.field(default_factory=lambda: np.full(3, np.nan))
    axes: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(3))
    second: bool = False

    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        out: dict[str, Any] = {
            "sure": round(self.sure, 3),
            "cues": {name: round(float(value), 3) for name, value in self.cues.items()},
            "reason": self.reason,
        }
        if not self.reason:
            out["place"] = [round(float(v), 1) for v in self.place]
            out["facing"] = [round(float(v), 3) for v in self.facing]
        return out


def sighting(volume: xr.DataArray, *, find: Callable[[xr.DataArray], Solid] = solid_of) -> Sighting:
    """Find the face in an image, in whatever way head and voxels are turned.

    Parameters
    ----------
    volume : xarray.DataArray
        The original; see `defacedask.volume.make_volume`.
    find : callable, optional
        Gives the patient in it: `solid_of`, or what keeps the answer of that.

    Returns
    -------
    Sighting
        With a reason and no place if there is no face to be seen.
    """
    reason = hidden(volume)
    if reason:
        return _none(reason)
    try:
        solid = find(volume)
    except InputError as error:
        return _none(error.message.rstrip("."))
    return sighting_of(solid)


def hidden(volume: xr.DataArray) -> str:
    """Why an image cannot show the witness a face by itself, whatever is in it; "" if it can.

    A PET has no skin or air of its own that could be relied on; slices far apart (localisers) and fields of view
    smaller than a face show no shape. Such an image is judged at the place that another image of its frame gives.
    """
    if volume.attrs["modality"] not in FACES:
        return f"a {volume.attrs['modality']} does not show by itself where a face is"
    grid = geometry_of(volume)
    if max(grid.spacing) > THICKEST:
        return (
            f"its slices are {max(grid.spacing):.1f} mm apart (at most {THICKEST:g} mm shows a face's shape)"
        )
    across = min(n * mm for n, mm in zip(grid.shape, grid.spacing, strict=True))
    if across < NARROWEST:
        return f"its field of view is only {across:.0f} mm wide (a face needs {NARROWEST:g} mm)"
    return ""


def _none(reason: str, figures: dict[str, float] | None = None) -> Sighting:
    nowhere = np.full(3, np.nan)
    return Sighting(nowhere, nowhere, 0.0, figures or {}, reason)


def sighting_of(solid: Solid) -> Sighting:
    """`sighting`, of the patient as found by `solid_of`."""
    smooth, fits = _fits(solid)
    if not fits:
        return _none("nothing in it stands out from its background as a body does")
    best = _closer(solid, smooth, fits[0])
    figures = {
        "air": best.air,
        "skin": best.skin,
        "margin": best.total - best.elsewhere,
        "air_alone": best.apart[0],
        "skin_alone": best.apart[1],
        "votes": best.votes,
    }
    for name, what in (
        ("air", "air in nose and throat"),
        ("skin", "outline of a head"),
        ("margin", "one front"),
    ):
        if figures[name] < LEAST[name]:
            return _none(f"no {what}: {figures[name]:.2f}, at least {LEAST[name]:.2f} is needed", figures)
    if _second(solid, smooth, best, fits):
        return dataclasses.replace(_none("a second head with a face is in view", figures), second=True)
    sure = min(1.0, *(0.05 + (figures[name] - LEAST[name]) / by for name, by in BY.items()))
    distance = skin_seen(solid, smooth, best.centre)
    nose = best.axes @ toward(NOSE)
    around = distance[(angle(DIRECTIONS, nose) < 8.0) & (distance > NEAREST_NOSE)]
    reach = float(around.max()) if len(around) else USUAL_NOSE
    place = best.centre + min(reach, FARTHEST_NOSE) * nose
    return Sighting(place, best.axes @ AHEAD, sure, figures, "", best.centre, best.axes)


def _fits(solid: Solid) -> tuple[np.ndarray, list[_Fit]]:
    """The body, blurred, and how a head would fit about each middle that it may have; the best is the first."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(solid.body.astype(np.float32), 2.5 / SPACING)
    fits = [
        dataclasses.replace(_sweep(solid, smooth, centre), votes=votes)
        for centre, votes in centres(solid, smooth)
    ]
    return smooth, sorted(fits, key=lambda fit: -(fit.total + VOTE * fit.votes))


def _second(solid: Solid, smooth: np.ndarray, best: _Fit, fits: list[_Fit]) -> bool:
    """Whether there is another face: in a part beside the patient, or far off in what hangs together with him.

    Shoulders fit as well as a head does, but look anywhere: in one piece with the first, a second head counts only
    if it is held as that is, as heads in a mosaic are. Beside it, one that is cut off may too.
    """
    there = [(solid, smooth, fit) for fit in fits if np.linalg.norm(fit.centre - best.centre) > ANOTHER]
    for part in solid.beside:
        its, found = _fits(part)
        there += [(part, its, fit) for fit in found]
    for body, its, fit in there:
        if fit.air < PERHAPS["air"] or fit.skin < PERHAPS["skin"]:
            continue
        near = _closer(body, its, fit)
        if near.air < LEAST["air"] or near.skin < LEAST["skin"]:
            continue
        alone = body is not solid and near.total - near.elsewhere >= LEAST["margin"]
        if alone or (angle(near.axes.T, best.axes.T) < ALIKE).all():
            return True
    return False


@dataclasses.dataclass(frozen=True, eq=False)
class _Fit:
    centre: np.ndarray
    axes: np.ndarray
    air: float
    skin: float
    elsewhere: float
    apart: tuple[float, float]
    votes: float = 1.0

    @property
    def total(self) -> float:
        return self.air + self.skin


def _seen(solid: Solid, smooth: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return air_seen(solid, centre), np.log(np.clip(skin_seen(solid, smooth, centre), 40.0, 150.0))


def _scores(seen: tuple[np.ndarray, np.ndarray], index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    air, skin = (
        correlation(what[index], cue.pattern, cue.weight) for what, cue in zip(seen, cues(), strict=True)
    )
    return air, skin


def _index(turns: np.ndarray) -> np.ndarray:
    return nearest(np.einsum("kij,nj->kni", turns, cues()[0].directions))


_swept: dict[float, np.ndarray] = {}


def _sweep(solid: Solid, smooth: np.ndarray, centre: np.ndarray) -> _Fit:
    """Best of all orientations, and what it beats."""
    turns = rotations(SWEEP)
    if SWEEP not in _swept:
        _swept[SWEEP] = np.concatenate([_index(part) for part in np.array_split(turns, 8)])
    seen = _seen(solid, smooth, centre)
    parts = [_scores(seen, part) for part in np.array_split(_swept[SWEEP], 8)]
    air, skin = (np.concatenate([part[k] for part in parts]) for k in range(2))
    total = air + skin
    best = int(total.argmax())
    looks = turns @ AHEAD
    apart = angle(looks, looks[best])
    return _Fit(
        centre,
        turns[best],
        float(air[best]),
        float(skin[best]),
        float(total[apart > ELSEWHERE].max()),
        (float(apart[air.argmax()]), float(apart[skin.argmax()])),
    )


def _closer(solid: Solid, smooth: np.ndarray, fit: _Fit) -> _Fit:
    """Turn and move it until nothing near fits better."""
    start = fit.centre

    def worth(one: _Fit) -> float:
        return one.total - DRIFT * float(np.linalg.norm(one.centre - start))

    fit = _turned(_seen(solid, smooth, fit.centre), fit)
    for by in SHIFTS:
        for _ in range(ROUNDS):
            before = fit
            for shift in by * np.vstack([np.eye(3), -np.eye(3)]):
                moved = dataclasses.replace(fit, centre=fit.centre + fit.axes @ shift)
                seen = _seen(solid, smooth, moved.centre)
                air, skin = (float(v[0]) for v in _scores(seen, _index(moved.axes[None])))
                moved = _turned(seen, dataclasses.replace(moved, air=air, skin=skin))
                if worth(moved) > worth(fit):
                    fit = moved
            if fit is before:
                break
    return fit


def _turned(seen: tuple[np.ndarray, np.ndarray], fit: _Fit) -> _Fit:
    for step in STEPS:
        for _ in range(4):
            turns = near(step) @ fit.axes
            air, skin = _scores(seen, _index(turns))
            best = int((air + skin).argmax())
            if air[best] + skin[best] <= fit.total + 1e-6:
                break
            fit = dataclasses.replace(fit, axes=turns[best], air=float(air[best]), skin=float(skin[best]))
    return fit
