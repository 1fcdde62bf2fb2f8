"""The head, looked at once, and every defacer's plan for it."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import DefacedaskError, RefusedError
from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.kept import Kept, save_kept
from defacedask.flow.stages.layout import MASKS, ORIGINAL, one_thread
from defacedask.flow.stages.protecting import drawn_brain, kept_structures, spared_structures
from defacedask.io.bids.spaces import TRANSFORM
from defacedask.io.store import CaseStore, consolidate, write_volume, writing
from defacedask.showing import beside
from defacedask.volume import geometry_of, make_volume
from defacedask.whole_files import write_whole

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head
    from defacedask.defacers import Plan

__all__ = ["check_planned", "load_plan", "make_plans"]

log = logging.getLogger(__name__)


def make_plans(
    ingested: TaskResult,
    *,
    plans: str,
    defacers: Mapping[str, Mapping[str, Any]],
    run_key: bytes,
    case: str,
    protect: Sequence[str] = (),
    margin_mm: float = 3.0,
    all_there: bool = False,
    code: Mapping[str, Mapping[str, str]] | None = None,
) -> Outcome:
    """Look at the head once and let every defacer make its plan.

    Parameters
    ----------
    plans : str
        Folder; plans land in PLANS/CASE/DEFACER.json.
    defacers : mapping
        Name -> options.
    code : mapping, optional
        Name -> `defacedask.defacers.code_of` where the run was started; a worker that has another refuses to work.
    run_key : bytes
        Secret of the run; each case and defacer gets its own key from it.
    protect : sequence of str
        Patterns of structure names that stay as they are.
    margin_mm : float
        Around them.
    all_there : bool
        Refuse a case that lacks a structure for one of the patterns, instead of saying so in a note.

    Returns
    -------
    Outcome
        facts: image (path planned on), pose, quality, notes, plans (defacer -> status, reason, code, digest, summary,
        withheld_ml: of what it wanted, what stays, by structure; remains: see
        `defacedask.defacers.remaining.Remains`).

    Raises
    ------
    RefusedError
        If there is no head, too little of one, a quality is below its gate, or a structure that is to be
        protected could not be read.
    """
    from defacedask.anatomy.faceless import front_of_face
    from defacedask.anatomy.head import TURNED
    from defacedask.costs.segmentation import HeadMasks
    from defacedask.defacers import code_of, get_defacer
    from defacedask.defacers.remaining import remains

    store = CaseStore(ingested.facts["store"])
    with one_thread():
        path, head, instead = _first_with_a_head(store)
        volume = head.volume
        front = front_of_face(head)
        front.require()
        _check_registered(store, head)
        kept, missing = kept_structures(store, protect, head)
        if missing and all_there:
            raise RefusedError(
                missing[0],
                "`defacedask scan --json` has the names; mend the pattern, or leave the pattern out.",
            )
        protected = [one.protected(margin_mm) for one in kept]
        drawn = drawn_brain(store, head)
        if drawn is not None:
            kept.append(drawn)
            protected.append(drawn.protected(0.0))
        save_kept(plans, case, [Kept("Brain", np.asarray(head.brain), head.grid), *kept])
        outcomes: dict[str, dict[str, Any]] = {}
        for name, options in defacers.items():
            try:
                own = _same_code(name, code_of(name), (code or {}).get(name))
            except DefacedaskError as error:
                outcomes[name] = {"status": "failed", "reason": str(error)}
                continue
            try:
                defacer = get_defacer(name, **options)
                spared, unread = spared_structures(store, defacer.spares, head)
                missing.extend(f"{name}: {note}" for note in unread)
                # a person gets one face: different ones over several sessions could be averaged
                whose = f"person\0{store.facts.get('patient') or case}" if defacer.personal else case
                secret = hmac.new(run_key, f"{whose}\0{name}".encode(), hashlib.sha256).digest()
                plan = defacer.plan(
                    head, key=secret, protected=[*protected, *(one.protected(0.0) for one in spared)]
                )
                plan, left = remains(plan, head)
                withheld = plan.withheld(head.grid)
            except RefusedError as error:
                outcomes[name] = {"status": "refused", "reason": str(error), "code": own}
                continue
            except Exception as error:
                log.info("the plan of %s for %s failed", name, case, exc_info=True)
                reason = f"plan: {type(error).__name__}: {error}"
                outcomes[name] = {"status": "failed", "reason": reason, "code": own}
                continue
            _save_plan(plan, own, Path(plans) / case / f"{name}.json")
            outcomes[name] = {
                "status": "done",
                "reason": "",
                "code": own,
                "digest": plan.digest,
                "summary": _jsonable(plan.summary()),
                "withheld_ml": {k: n * head.grid.voxel_volume / 1000 for k, n in withheld.items()},
                "remains": left.to_dict(),
            }
        drop = np.asarray(head.drop)
        grid = geometry_of(volume)
        with writing(f"the head of {case}"):
            write_volume(
                store.url, f"head/{path}", make_volume(drop.view(np.uint8), grid, modality="SEG", units="")
            )
            write_volume(store.url, f"{MASKS}/{path}", HeadMasks.of(head).volume())
            consolidate(store.url)
    missing += instead
    if head.against_header > TURNED:
        missing.append(
            f"the head is turned by {head.against_header:.0f} degrees against what the header says; it was found and "
            "defaced where it is."
        )
    if front.partly:
        missing.append(f"{front.sentence}.")
    seen = {"image": path, "pose": np.asarray(head.pose).tolist(), "input": store.key}
    keys = {ORIGINAL: _hash(seen), **{name: _hash([seen, outcome]) for name, outcome in outcomes.items()}}
    return Outcome(
        facts={
            "image": path,
            "shown": _shown(volume),
            "keys": keys,
            "pose": seen["pose"],
            "to_template": np.asarray(head.to_template).tolist(),
            "quality": {name: dataclasses.asdict(figure) for name, figure in head.quality.items()},
            "plans": outcomes,
            "front": dataclasses.asdict(front),
            "notes": missing,
        }
    )


def _shown(volume: Any) -> dict[str, str]:
    """What kind of image the plans were made on: its modality and, of an MR, its sequence."""
    from defacedask.io.dicom.about import sequence_of

    modality = volume.attrs["modality"]
    sequence = sequence_of(str(volume.attrs.get("description", ""))) if modality == "MR" else ""
    return {"modality": modality, "sequence": sequence}


#: Images of a case that are looked at until a head is found in one.
MOST_LOOKED_AT = 4


def _first_with_a_head(store: CaseStore) -> tuple[str, Head, list[str]]:
    """Path and head of the first image in which one is found, and a note if that is not the case's first.

    The largest image of a frame of reference need not show the head: a CT of the chest lies beside one of the head, a
    slab of vessels has more voxels than the T1. Where there are several, the head of an MR counts if the witness sees
    its face in the same place: else the case would be refused by that. What shows none is judged, and held back, as
    any other image is.

    Raises
    ------
    RefusedError
        What the first image said, if none shows a head.
    """
    from defacedask.anatomy.head import Head
    from defacedask.anatomy.witness import hidden
    from defacedask.flow.stages.witnessing import ALONE, TOGETHER, elsewhere

    first: RefusedError | None = None
    doubted: tuple[str, Head, list[str]] | None = None
    others = [path for path in store.images[1:] if not hidden(store.volume(path))]
    why = ""  # the first image does not do
    for path in [store.images[0], *others][:MOST_LOOKED_AT]:
        head = Head(store.volume(path).load())
        try:
            head.require()
        except RefusedError as error:
            first = first or error
            why = why or error.message
            continue
        name, instead = path.rsplit("/", 1)[-1], store.images[0].rsplit("/", 1)[-1]
        notes = (
            [f"the plan was made on {name}, and not on {instead}: {why}"] if path != store.images[0] else []
        )
        # of a CT the skull says enough; a slab of an MR may pass for a head
        asked = bool(others) and store.volume(path).attrs["modality"] != "CT"
        doubt = elsewhere(store, path, head.facts()) if asked else ""
        if not doubt:
            return path, head, notes
        doubted = doubted or (path, head, notes)
        why = why or f"{doubt}."
    if doubted is not None:
        return doubted  # the export says what is wrong with it
    assert first is not None
    reasons = [hidden(store.volume(path)) for path in store.images]
    if all(reasons):  # what was found missing of a head says less than that
        said = f"{ALONE.format(why=reasons[0])} ({first.message.rstrip('.')})."
        raise RefusedError(said, f"{TOGETHER[0].upper()}{TOGETHER[1:]}.")
    raise first


#: mm by which the landmarks of a registered head may lie elsewhere than the registration says.
APART = 15.0
_LANDMARKS = ("nasion", "nose_tip", "menton", "tragion_left", "tragion_right", "vertex")


def _check_registered(store: CaseStore, head: Head) -> None:
    """See that the head of each registered MR lies where its registration says.

    Raises
    ------
    RefusedError
        If it does not: the plan would miss its face.
    """
    from defacedask.anatomy.head import Head

    looked_at: set[str] = set()
    for path in store.images[1:]:
        volume = store.volume(path)
        if "registered_by" not in volume.attrs or volume.attrs["modality"] != "MR":
            continue
        if volume.attrs["series_uid"] in looked_at:
            continue  # another volume of a series that one registration moves; each is judged by itself
        looked_at.add(volume.attrs["series_uid"])
        if volume.attrs.get("registered_how") == TRANSFORM:
            continue  # it is measured itself, and gets a plan of its own where this one leaves its face
        other = Head(volume.load())
        if not other.ok:
            continue  # too little of a head to say where it is
        apart = np.median([np.linalg.norm(head.landmark(mark) - other.landmark(mark)) for mark in _LANDMARKS])
        if apart > APART:
            raise RefusedError(
                f"the registration of the {volume.attrs['modality']} puts its head "
                f"{beside(apart, APART, '.0f')} mm from that of the "
                f"{head.modality} (at most {APART:g} mm).",
                "Mend the registration object or leave it out: the image then is a case of its own.",
            )


def _hash(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _jsonable(value: Any) -> Any:
    return json.loads(json.dumps(value, default=lambda v: v.item() if isinstance(v, np.generic) else str(v)))


def _same_code(name: str, here: dict[str, str], there: Mapping[str, str] | None) -> dict[str, str]:
    """Code of a defacer in this process, if it is that which another had.

    Raises
    ------
    DefacedaskError
        If it is not.
    """
    if there is not None and dict(there) != here:
        raise DefacedaskError(
            f"the code of {name} in this worker is not that of the run.",
            "Install the same version everywhere, and start the workers anew after a change.",
        )
    return here


def _save_plan(plan: Plan, code: Mapping[str, str], path: Path) -> None:
    with writing(f"the plan {path.name}"):
        # it holds the noise key
        write_whole(path, json.dumps({**plan.to_dict(), "code": dict(code)}), mode=0o600)


def load_plan(plans: str, case: str, defacer: str) -> Plan:
    """Read a plan that `make_plans` left.

    Raises
    ------
    DefacedaskError
        If it was made by other code than this process has.
    """
    from defacedask.defacers import code_of, plan_from_dict

    facts = json.loads((Path(plans) / case / f"{defacer}.json").read_text(encoding="utf-8"))
    if "code" in facts:
        _same_code(defacer, code_of(defacer), facts["code"])
    return plan_from_dict(facts)


def check_planned(planned: TaskResult, defacer: str) -> None:
    """Stop here, with the plan's own reason, if the defacer made none.

    Raises
    ------
    RefusedError, DefacedaskError
    """
    outcome = planned.facts["plans"][defacer]
    if outcome["status"] == "refused":
        raise RefusedError(outcome["reason"])
    if outcome["status"] != "done":
        raise DefacedaskError(outcome["reason"])
