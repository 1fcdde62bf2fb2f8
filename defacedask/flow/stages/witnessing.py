"""Every image of a case before the independent witness, and in the plan's own pose, before anything is written."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.anatomy.faceless import Faceless
from defacedask.anatomy.witness.alignment import MOST_APART
from defacedask.anatomy.witness.judging import ANOTHER, LEAST_MOVED
from defacedask.errors import InputError, RefusedError
from defacedask.flow.stages.layout import volume_path
from defacedask.flow.stages.residual import Residual, residual_face
from defacedask.io.store import CaseStore
from defacedask.modality import FACES
from defacedask.showing import beside
from defacedask.volume import geometry_of

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.witness import Sighting
    from defacedask.anatomy.witness.alignment import Alignment
    from defacedask.anatomy.witness.solid import Solid
    from defacedask.flow.result import TaskResult

    # path of an image, and its volume
    Shown = tuple[str, xr.DataArray]

__all__ = ["ALONE", "TOGETHER", "Judged", "elsewhere", "judge"]


@dataclasses.dataclass(frozen=True)
class Judged:
    """What was seen of one image of a case.

    Attributes
    ----------
    path : str
        In the store.
    reason : str
        Why it may not leave; "" if it may.
    notes : tuple of str
        What is unusual about it.
    moved : float or None
        Smallest fraction of facial skin that moved, of the two measures; None if none could be taken.
    figures : dict
        See `defacedask.anatomy.witness.Verdict`; ``planned`` is the fraction in the plan's own pose, ``by`` the image
        whose sighting was used where it is not its own.
    hint : str
        What may help where it may not leave, as a clause; "" where the reason says it.
    """

    path: str
    reason: str
    notes: tuple[str, ...]
    moved: float | None
    figures: dict[str, Any]
    hint: str = ""


#: Said of an image that shows no face by itself where nothing beside it does; and what to do.
ALONE = "{why}, and no image of its frame of reference does, so that the face cannot be seen to be gone"
TOGETHER = "give it together with a CT or MR of its frame of reference, or with a registration that relates it to one"


def judge(store: CaseStore, planned: TaskResult, defacer: str) -> list[Judged]:
    """Judge every image of a case, each on its own grid.

    Parameters
    ----------
    store : CaseStore
        With the defaced images.
    planned : TaskResult
        Of the stage that looked at the head: where the plan has the face is compared with what the witness sees.
    defacer : str

    Returns
    -------
    list of Judged
        In the store's order.

    Raises
    ------
    RefusedError
        If it is not on record where the plan has the head.
    """
    if planned.facts.get("to_template") is None:
        raise RefusedError(
            "where the head lies is not on record, so that it cannot be seen whether the face is gone.",
            "Run again: the head is looked at anew.",
        )
    try:
        seen = {path: _sighting(store.url, store.key, path) for path in store.images}
        plan = _planned_place(planned.facts)
        found = [_one(store, planned, defacer, path, seen, plan) for path in store.images]
        shown = [(one.path, store.volume(one.path)) for one in found if _passed(one, seen)]
        return [
            _by_sibling(store, defacer, one, shown, seen)
            if one.reason
            else _with_its_series(store, one, shown)
            for one in found
        ]
    finally:
        _solid.cache_clear()


def elsewhere(store: CaseStore, path: str, facts: Mapping[str, Any]) -> str:
    """Why the witness does not see the face of an image where a plan would have it, as a clause; "" if it does.

    Parameters
    ----------
    store : CaseStore
    path : str
        Of an image that can show a face by itself.
    facts : mapping
        ``pose`` and ``to_template`` of the head that was found in it.
    """
    from defacedask.anatomy.witness.judging import apart

    seen = _sighting(store.url, store.key, path)
    return seen.reason or apart(seen, *_planned_place(facts))[0]


@functools.lru_cache(maxsize=512)  # small, and a series may hold many volumes
def _sighting(url: str, key: str, path: str) -> Sighting:
    """The same for every defacer of a case."""
    from defacedask.anatomy.witness import sighting

    return sighting(CaseStore(url).volume(path), find=lambda _: _solid(url, key, path))


@functools.lru_cache(maxsize=1)
def _solid(url: str, key: str, path: str) -> Solid:
    """The patient in an image: what the witness looks at first, and measures on at once."""
    from defacedask.anatomy.witness.solid import solid_of

    return solid_of(CaseStore(url).volume(path))


@functools.lru_cache(maxsize=512)
def _alignment(url: str, key: str, by: str, path: str, clearly: bool = False) -> Alignment:
    """How an image that shows no face lies against the one that does; the same for every defacer of a case."""
    from defacedask.anatomy.witness.alignment import STARTS, alignment
    from defacedask.anatomy.witness.sibling import LEAST_CLEAR, MOST_MOVED

    store = CaseStore(url)
    shown, hidden, seen = store.volume(by).load(), store.volume(path).load(), _sighting(url, key, by)
    if clearly:  # volumes of one series mostly lie in one place: from there first
        lies = alignment(shown, hidden, seen, starts=STARTS[:1], clearly=True)
        if lies.clear >= LEAST_CLEAR and lies.mm <= MOST_MOVED:
            return lies
    return alignment(shown, hidden, seen, clearly=clearly)


def _planned_place(facts: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tip of the nose, gaze and crown's direction by the plan's registration, world LPS."""
    from defacedask.anatomy.atlas import atlas_of

    back = np.linalg.inv(np.asarray(facts["to_template"], dtype=np.float64))
    place = (back @ np.append(atlas_of().landmarks["nose_tip"], 1.0))[:3]
    turn = np.linalg.inv(np.asarray(facts["pose"], dtype=np.float64))[:3, :3]
    return place, turn @ (0.0, -1.0, 0.0), turn @ (0.0, 0.0, 1.0)


def _one(
    store: CaseStore,
    planned: TaskResult,
    defacer: str,
    path: str,
    seen: Mapping[str, Sighting],
    plan: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Judged:
    from defacedask.anatomy.witness import hidden, verdict

    original = store.volume(path)  # not in memory as a whole: no more is read than the face's surroundings
    own, notes = seen[path], []
    why = hidden(original)
    if why:
        others = [(other, sight) for other, sight in seen.items() if not sight.reason]
        if others:
            by, own = others[0]
            shown = by.rsplit("/", 1)[-1]
            notes.append(f"{why}: it was judged at the place that the {shown} shows")
    defaced = store.volume(volume_path(defacer, path))
    place, facing, up = plan
    found = verdict(
        original,
        defaced,
        own,
        place,
        facing,
        plan_up=up,
        find=lambda _: _solid(store.url, store.key, path),
    )
    figures = dict(found.figures)
    reasons, hint = ([found.sentence], found.hint) if found.held else ([], "")
    if why and own.reason and found.held:
        reasons, hint = [ALONE.format(why=why)], TOGETHER
    if why and not own.reason:
        lies = _alignment(store.url, store.key, by, path)
        figures |= {"by": by, "against": lies.facts()}
        if made := _made_later(lies, original.attrs, shown):
            reasons.append(made)
        if lies.apart:
            reasons.append(
                f"the patient lies {beside(lies.mm, MOST_APART, '.0f')} mm and {lies.degrees:.0f} degrees away from "
                f"where the {shown} shows "
                f"the face (at most {MOST_APART:g} mm), so that nobody knows whether the face is gone"
            )
        elif not lies.together and (found.moved is None or not np.isfinite(lies.mm)):
            # its head may lie elsewhere than the frame says, and its face with it: an origin that was lost
            reasons.append(
                f"it has too little in common with the {shown}, which shows the face, to tell where its own head "
                "lies, so that nobody knows whether a face is left in it"
            )
            hint = "leave it out, or give a whole image in its place, which shows the face by itself"
    if not why and not found.held and found.moved is None:
        unsure, facts = _no_skin_of_its_own(store, path, seen)
        reasons += [unsure] if unsure else []
        figures |= facts
    if found.agrees is False and planned.facts.get("front"):
        # where nose or eyes were cut away before, neither plan nor witness can be sure
        front = Faceless(**planned.facts["front"])
        if front.partly:
            reasons.append(front.sentence)
            hint = "give the image as it was before defacing"
    if found.sentence and not found.held:
        notes.append(found.sentence)
    by_plan = _by_plan(store, planned, defacer, path)
    figures["planned"] = None if by_plan is None or by_plan.moved is None else round(by_plan.moved, 4)
    if by_plan is not None and not by_plan.ok:
        reasons.append(by_plan.sentence)
        hint = hint or ANOTHER
    shares = [
        share for share in (found.moved, None if by_plan is None else by_plan.moved) if share is not None
    ]
    return Judged(path, "; ".join(reasons), tuple(notes), min(shares, default=None), figures, hint)


def _by_sibling(
    store: CaseStore, defacer: str, one: Judged, shown: Sequence[Shown], seen: Mapping[str, Sighting]
) -> Judged:
    """What is seen of an MR image that does not pass by itself at the place of the face of one on its own grid.

    That must have passed by its own face. What both show is compared, not what a header says of them.
    """
    from defacedask.anatomy.witness import hidden
    from defacedask.anatomy.witness.sibling import replaced

    original = store.volume(one.path)
    if hidden(original) or seen[one.path].second:
        return one
    beside_it = _own_sibling(original, shown) or next(_siblings(original, shown), None)
    if beside_it is None:
        return one
    by, sibling = beside_it
    lies, name = _alignment(store.url, store.key, by, one.path, clearly=True), by.rsplit("/", 1)[-1]
    found = replaced(
        sibling.compute(),
        _solid(store.url, store.key, by),
        seen[by],
        lies,
        original.load(),
        store.volume(volume_path(defacer, one.path)).load(),
    )
    figures = {**one.figures, "by": by, "against": lies.facts(), **found.facts()}
    if found.sentence:
        reason = (
            f"{one.reason}; at the place of the face that the {name} shows on the same grid, {found.sentence}"
        )
        return dataclasses.replace(one, reason=reason, figures=figures)
    note = f"it was judged at the place of the face that the {name} shows on the same grid, for {one.reason}"
    return Judged(one.path, "", (*one.notes, note), found.share, figures)


def _with_its_series(store: CaseStore, one: Judged, shown: Sequence[Shown]) -> Judged:
    """What passes by itself must lie as its series does, if that can be told: else the head is not the plan's."""
    from defacedask.anatomy.witness.sibling import LEAST_CLEAR, MOST_MOVED

    original = store.volume(one.path)
    own = _own_sibling(original, shown)
    if own is None or own[0] == one.path:
        return one
    by = own[0]
    lies = _alignment(store.url, store.key, by, one.path, clearly=True)
    figures = {**one.figures, "by": by, "against": lies.facts()}
    if lies.clear < LEAST_CLEAR or lies.mm <= MOST_MOVED:
        return dataclasses.replace(one, figures=figures)
    reason = (
        f"its face lies {beside(lies.mm, MOST_MOVED, '.0f')} mm away from where the {by.rsplit('/', 1)[-1]} of its "
        f"series shows it (at most {MOST_MOVED:g} mm): the head moved, or it is another"
    )
    return dataclasses.replace(one, reason=reason, figures=figures)


def _passed(one: Judged, seen: Mapping[str, Sighting]) -> bool:
    """Whether an image passed by its own face."""
    return not (one.reason or seen[one.path].reason) and (one.figures.get("moved") or 0.0) >= LEAST_MOVED


def _siblings(original: xr.DataArray, shown: Iterable[Shown]) -> Iterator[Shown]:
    """MR images on one grid, of those that passed by their own face."""
    return (one for one in shown if _share_a_grid(original, one[1]))


def _own_sibling(original: xr.DataArray, shown: Iterable[Shown]) -> Shown | None:
    """The first of them that is of the same series, itself perhaps; a long series asks no further."""
    own = (one for one in shown if one[1].attrs["series_uid"] == original.attrs["series_uid"])
    return next(_siblings(original, own), None)


def _share_a_grid(one: xr.DataArray, other: xr.DataArray) -> bool:
    """Whether two MR images have the same voxels in one frame of reference, and nobody moved either there."""
    here, there = geometry_of(one), geometry_of(other)
    moved = any("registered_by" in image.attrs for image in (one, other))
    same = here.frame_of_reference == there.frame_of_reference != "" and here.close_to(there)
    both = one.attrs["modality"] == other.attrs["modality"] == "MR"
    return both and same and not moved


def _no_skin_of_its_own(
    store: CaseStore, path: str, seen: Mapping[str, Sighting]
) -> tuple[str, dict[str, Any]]:
    """Why an image whose own skin of the face is not in view may not leave, as a clause, or ""; and figures.

    It may not if another image shows a face in its view, and it does not surely lie as that does.

    Diffusion-weighted images and maps show hardly any skin, and little is enough to know a face by: the plan of the
    image beside it has cut it if the patient lay in the same place.
    """
    grid = geometry_of(store.volume(path))
    for by, sight in seen.items():
        if by == path or sight.reason:
            continue
        index = grid.to_index(sight.place[None])[0]
        if not ((index > -0.5) & (index < np.array(grid.shape) - 0.5)).all():
            continue
        lies, shown = _alignment(store.url, store.key, by, path), by.rsplit("/", 1)[-1]
        facts = {"by": by, "against": lies.facts()}
        if lies.together:
            return "", facts
        if np.isfinite(lies.mm) and lies.apart:
            what = f"it lies {beside(lies.mm, MOST_APART, '.0f')} mm away from where that shows it"
        else:
            what = "it has too little in common with that to tell where its head lies"
        return f"it shows no skin of the face, where the {shown} does, and {what}", facts
    return "", {}


def _made_later(lies: Alignment, attrs: Mapping[str, Any], shown: str) -> str:
    """Why an image that shows no face by itself may be pictures of one, as a clause, or "".

    It lies where the head is not, so that nothing can be compared; and it was made after the examination.
    """
    if np.isfinite(lies.mm) or "SECONDARY" not in attrs.get("image_type", ()):
        return ""
    return (
        f"it has nothing in common with the {shown}, which shows the face, and was made after the examination "
        "(ImageType says SECONDARY): it may be pictures of the head"
    )


def _by_plan(store: CaseStore, planned: TaskResult, defacer: str, path: str) -> Residual | None:
    """The measure in the plan's own pose; None where the image gives none (PET, thick slices)."""
    if store.volume(path).attrs["modality"] not in FACES:
        return None
    try:
        return residual_face(store, planned, defacer, path)
    except InputError:
        return None
