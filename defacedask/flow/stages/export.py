"""One case as one defacer left it, out as files: written aside, read back and checked, then moved into place.

Nothing of a case becomes visible before all of it has passed; a case that fails leaves nothing behind, and takes
back what an earlier run left. What the record says of each instance lies beside the results of the run
(`defacedask.io.dicom.export.audit`).
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import DefacedaskError, RefusedError
from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.case_export import CaseExport, record_path
from defacedask.flow.stages.delivering import deliver as send
from defacedask.flow.stages.export_grids import because, sharing_files
from defacedask.flow.stages.export_objects import ObjectExport
from defacedask.flow.stages.layout import one_thread, series_key
from defacedask.flow.stages.plans import check_planned, load_plan
from defacedask.io.nifti.volumes import is_of_nifti
from defacedask.io.store import CaseStore, writing

if TYPE_CHECKING:
    from defacedask.defacers import Plan
    from defacedask.io.dicom.model import Case, Series

__all__ = ["export", "not_taken_back", "record_path", "refuse"]

#: Images that changed in fewer voxels than this were not defaced.
SMALLEST_CHANGE = 1


def export(
    ingested: TaskResult,
    planned: TaskResult,
    applied: TaskResult,
    *,
    case: Mapping[str, Any],
    defacer: str,
    plans: str,
    out: str,
    below: str = "",
    names: Mapping[str, str],
    record: str,
    run_key: bytes,
    private: str = "keep",
    identity_key: bytes = b"",
    people: Mapping[str, Mapping[str, Any]] | None = None,
    allow_visible: bool = False,
    allow_reversible: bool = False,
    masks: Sequence[str] = (),
    trial: Mapping[str, str] | None = None,
    recognised: str = "",
    deliver: Mapping[str, Any] | None = None,
) -> Outcome:
    """Write one defaced case.

    Parameters
    ----------
    case : dict
        `Case.to_dict`.
    defacer : str
    plans : str
        Folder of the plans.
    out : str
        Folder whose ``audit.jsonl`` the files will be listed in.
    below : str
        Folder below ``out`` for this defacer, such as ``defaced/quickshear``.
    names : mapping
        Source file -> path below that folder (`defacedask.io.dicom.export.output_names`).
    record : str
        Folder of the parts of the record.
    run_key : bytes
        Secret of the cohort's UID map.
    private : str
        ``keep`` or ``drop`` private elements.
    identity_key : bytes
        Secret with which headers are de-identified; empty: they stay as they were.
    people : mapping, optional
        Names and ids of everybody in the cohort (`defacedask.io.dicom.people`); by default those of this case's
        files.
    allow_visible : bool
        Write the case although its face is still visible; the files say so.
    allow_reversible : bool
        Write the case although the face is only covered; the files say so.
    masks : sequence of str
        Of ``seg`` and ``nifti``: published masks beside DICOM images. Beside NIfTI there always is one.
    trial : mapping, optional
        What de-identified headers say of a trial (`defacedask.io.dicom.export.identity.Identity`).
    recognised : str
        Clause on the persons whom the run's own attacks recognised behind this defacer; such a case is refused, or
        with ``allow_visible`` written as one whose face is visible.
    deliver : mapping, optional
        Address to which the files go from ``out`` (`defacedask.flow.stages.delivering.deliver`).

    Returns
    -------
    Outcome
        facts: written (modality -> instances), held_back, notes, folder, face_moved, visible, reversible,
        targets (what was clipped of target volumes, one clause each), witness (image -> figures of
        `defacedask.flow.stages.witnessing.Judged`), not_to_be_analysed (names of structures), new_patient_id.

    Raises
    ------
    RefusedError
        If there is no plan, it changes nothing, or the face is still visible or only covered.
    DefacedaskError
        If a check failed; nothing of the case is exported.
    """
    from defacedask.io.dicom.model import Case

    it = Case.from_dict(dict(case))
    job = _Job(
        it, defacer, Path(out), below, names, Path(record), run_key, private, identity_key, people, trial
    )
    job.kinds = tuple(masks)
    try:
        job.covered(allow_reversible)
        job.told(recognised, allow_visible)
        if planned.facts.get("to_template") is not None:
            job.to_template = np.asarray(planned.facts["to_template"])
        check_planned(planned, defacer)
        plan = load_plan(plans, it.id, defacer)
        store = CaseStore(ingested.facts["store"])
        job.digest = plan.digest
        job.planned_on = planned.facts.get("image") or store.images[0]
        with one_thread():
            job.look(store, planned, allow_visible)
            job.write(plan, store)
        job.publish()
        if deliver is not None:
            send(job.part, job.out, deliver)
    except BaseException as error:
        what = str(error) if isinstance(error, DefacedaskError) else f"{type(error).__name__}: {error}"
        with contextlib.suppress(Exception):  # what led here is what counts; `refuse` tries again and says
            job.give_up(what)
        raise
    return Outcome(
        facts={
            "written": job.counts(),
            "held_back": [{"what": h["what"], "reason": h["reason"]} for h in job.held],
            "notes": sorted(set(job.notes)),
            "record": str(record_path(record, it.id, defacer)),
            "face_moved": job.moved,
            "visible": job.left,
            "reversible": job.reversible,
            "targets": list(job.targets),
            "witness": job.witness,
            "not_to_be_analysed": job.touched,
            "new_patient_id": job.identity.new_id if job.identity else "",
        }
    )


def not_taken_back(error: Exception) -> str:
    """Sentence on a `refuse` that failed."""
    what = str(error) if isinstance(error, DefacedaskError) else f"{type(error).__name__}: {error}"
    return (
        f"What an earlier run left of the case could not be taken back ({what}): look into the output folder."
    )


def refuse(
    case: Case,
    reason: str,
    *,
    defacer: str,
    out: str | Path,
    below: str = "",
    names: Mapping[str, str],
    record: str | Path,
    run_key: bytes,
    identity_key: bytes = b"",
    people: Mapping[str, Mapping[str, Any]] | None = None,
    trial: Mapping[str, str] | None = None,
) -> None:
    """Record that nothing of a case is exported, and take back what an earlier run left of it."""
    files = CaseExport(
        case, defacer, Path(out), below, names, Path(record), run_key, "drop", identity_key, people, trial
    )
    files.give_up(reason)


class _Job(ObjectExport):
    """One export: everything of a case that can be cleared is written and checked, the rest held back."""

    def write(self, plan: Plan, store: CaseStore) -> None:
        """Write and check everything that can be cleared; hold back the rest."""
        shutil.rmtree(self.partial, ignore_errors=True)
        with writing(f"the defaced files of {self.case.id}"):
            self.partial.mkdir(parents=True)
        paths = {series_key(store.volume(path)): path for path in store.images}
        if self.planned_on not in store.images:
            raise RefusedError("the image that the plan was made on is not in the case store.")
        main = series_key(store.volume(self.planned_on))
        changed: dict[str, int] = {}
        if self.kinds:
            self.list_touched(plan, store)
        for together in sharing_files(self.case.images):
            # what shares a file leaves whole or not at all
            why = {one.key: self._stays(one, store, paths) for one in together}
            stays = next(filter(None, why.values()), "")
            if not stays:
                changed |= self.images(together, plan, store, paths)
                continue
            beside = f"a volume in the same file may not leave: {stays}"
            for series in together:
                self.hold(series, why[series.key] or beside)
                if paths.pop(series.key, None) is not None:
                    self.barred.setdefault(series.key, beside)
        if not changed:
            raise RefusedError(f"the image that the plan was made on may not leave: {self.barred.get(main)}.")
        # what shares its file may keep it, but none of the others
        if changed.get(main, max(changed.values())) < SMALLEST_CHANGE:
            modality = store.volume(self.planned_on).attrs["modality"]
            raise RefusedError(
                f"the plan of {self.defacer} changes no voxel of the {modality}: the face would stay in.",
                "Look at the plan; nothing is exported.",
            )
        self.doses(plan, store)
        for series in self.case.structures:
            self.structures(series, plan, store, paths)
        for series in (*self.case.plans, *self.case.others):
            self.object(series, plan, store, paths)
        self.check()
        for one in self.done:
            if one.modality != "RTSTRUCT":  # whose notes are there already
                self.notes += [f"{one.modality}: {note}" for note in one.notes]
            # private elements that go by option are in the record only
            pictures = [name for name in one.dropped if not name.startswith("private element")]
            if pictures:
                self.notes.append(f"{one.modality}: left out: {', '.join(pictures)}")

    def _stays(self, series: Series, store: CaseStore, paths: Mapping[str, str]) -> str:
        """Why an image may not leave, as a clause; "" if it may."""
        if series.key in self.barred:
            return self.barred[series.key]
        if series.key not in paths:
            return because("it could not be read, so it was not defaced", store, series)
        return ""

    def check(self) -> None:
        """Headers, leaks and references of everything written."""
        from defacedask.io.dicom.export.check import check_header, check_leaks, check_record, unresolved
        from defacedask.io.dicom.headers import open_dataset

        context = self.context
        there = {one.uid for one in self.done}
        if len(there) != len(self.done):
            raise DefacedaskError("two instances got the same new UID.", "Please report this.")
        should = {self.uids(uid) for one in self.done for uid in (one.source_uid,)}
        if should != there:
            raise DefacedaskError(
                "an instance did not get the UID of the cohort's map.", "Please report this."
            )
        for one in self.done:
            if not one.uid.startswith("2.25.") or is_of_nifti(one.path):
                continue
            # a mask is no version of anything that came
            dataset = open_dataset(one.path) if one.made else check_header(one, context)
            check_record(one, dataset, context)
            check_leaks(one, dataset, context)
            self.unresolved[one.path] = len(unresolved(one, dataset, there))
