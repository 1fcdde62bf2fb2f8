"""One case as one defacer left it, out as files: written aside, read back and checked, then moved into place.

Nothing of a case becomes visible before all of it has passed; a case that fails leaves nothing behind, and takes
back what an earlier run left. What the record says of each instance lies beside the pieces of the run
(`defacedask.dicom.export.audit`).
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import defacedask.defacers.protect  # noqa: F401  # plans of a run that is resumed hold its records
from defacedask.errors import DefacedaskError, OutputError, RefusedError
from defacedask.pieces import Outcome, Piece
from defacedask.stages.places import one_thread, volume_path
from defacedask.stages.plans import load_plan, planned
from defacedask.store import CaseStore, writing
from defacedask.volume import geometry_of, real_values

if TYPE_CHECKING:
    from defacedask.defacers import Plan
    from defacedask.dicom.export import Context, Written
    from defacedask.dicom.model import Case, Series

__all__ = ["export", "record_path", "refuse"]

#: Real value above which a CT voxel belongs to the body.
SKIN_HU = -300.0
#: Images that changed in fewer voxels than this were not defaced.
SMALLEST_CHANGE = 1


def record_path(record: str | Path, case: str, defacer: str) -> Path:
    """Where a case's part of the record lies."""
    return Path(record) / case / f"{defacer}.jsonl"


def export(
    ingested: Piece,
    looked: Piece,
    applied: Piece,
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
        Source file -> path below that folder (`defacedask.dicom.export.output_names`).
    record : str
        Folder of the parts of the record.
    run_key : bytes
        Secret of the cohort's UID map.
    private : str
        ``keep`` or ``drop`` private elements.

    Returns
    -------
    Outcome
        facts: written (modality -> instances), held_back, notes, folder.

    Raises
    ------
    RefusedError
        If there is no plan, or it changes nothing.
    DefacedaskError
        If a check failed; nothing of the case is exported.
    """
    from defacedask.dicom.model import Case

    it = Case.from_dict(dict(case))
    job = _Job(it, defacer, Path(out), below, names, Path(record), run_key, private)
    try:
        planned(looked, defacer)
        plan = load_plan(plans, it.id, defacer)
        store = CaseStore(ingested.facts["store"])
        job.digest = plan.digest
        with one_thread():
            job.write(plan, store)
        job.publish()
    except BaseException as error:
        job.give_up(str(error) if isinstance(error, DefacedaskError) else f"{type(error).__name__}: {error}")
        raise
    return Outcome(
        facts={
            "written": job.counts(),
            "held_back": [{"what": h["what"], "reason": h["reason"]} for h in job.held],
            "notes": sorted(set(job.notes)),
            "record": str(record_path(record, it.id, defacer)),
        }
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
) -> None:
    """Record that nothing of a case is exported, and take back what an earlier run left of it."""
    _Job(case, defacer, Path(out), below, names, Path(record), run_key, "keep").give_up(reason)


class _Job:
    """State of one export."""

    def __init__(
        self,
        case: Case,
        defacer: str,
        out: Path,
        below: str,
        names: Mapping[str, str],
        record: Path,
        run_key: bytes,
        private: str,
    ) -> None:
        from defacedask import __version__
        from defacedask.dicom.export import Remap, UidMap

        self.case, self.defacer, self.out, self.below = case, defacer, out, below
        self.names, self.private, self.version = names, private, __version__
        self.part = record_path(record, case.id, defacer)
        self.uids = UidMap(run_key)
        self.known = frozenset(u for s in case.series for u in (s.uid, *s.instances) if u)
        studies = frozenset(s.study_uid for s in case.series if s.study_uid)
        self.remap = Remap(self.uids, self.known - studies, studies)
        self.digest = ""
        self.done: list[Written] = []
        self.held: list[dict[str, str]] = []
        self.notes: list[str] = []
        self.unresolved: dict[str, int] = {}
        self.taken = self.added = 0  # voxels of body removed, voxels of air filled
        self.partial = out / f".partial-{case.id}-{defacer}"

    # --- names

    def place(self, source: str) -> Path:
        """File to write for a source file, in the folder aside."""
        return self.partial / self.relative(source)

    def relative(self, source: str) -> str:
        from defacedask.dicom.export import clean_name

        name = clean_name(self.names[source], self.uids, self.known)
        return f"{self.below}/{name}" if self.below else name

    @property
    def context(self) -> Context:
        from defacedask.dicom.export import Context

        return Context(self.remap, self.defacer, self.version, self.digest, self.private)

    # --- writing aside

    def write(self, plan: Plan, store: CaseStore) -> None:
        """Write and check everything that can be cleared; hold back the rest."""
        shutil.rmtree(self.partial, ignore_errors=True)
        with writing(f"the defaced files of {self.case.id}"):
            self.partial.mkdir(parents=True)
        paths = {str(store.volume(path).attrs.get("series_uid")): path for path in store.images}
        if self.case.primary.uid not in paths:
            raise RefusedError("the image that the plan was made on is not in the case store.")
        changed = {}
        for series in self.case.images:
            if series.uid in paths:
                changed[series.uid] = self.image(series, plan, store, paths[series.uid])
            else:
                self.hold(series, "it could not be read, so it was not defaced")
        if changed[self.case.primary.uid] < SMALLEST_CHANGE:
            raise RefusedError(
                f"the plan of {self.defacer} changes no voxel of the {self.case.primary.modality}: "
                "the face would stay in.",
                "Look at the plan; nothing is exported.",
            )
        self.doses(plan, store)
        for series in self.case.structures:
            self.structures(series, plan, store, paths)
        for series in (*self.case.plans, *self.case.others):
            self.object(series, plan)
        self.check()

    def image(self, series: Series, plan: Plan, store: CaseStore, path: str) -> int:
        """Write one image series; gives the number of voxels changed."""
        before, after = store.volume(path), store.volume(volume_path(self.defacer, path))
        if series.facts.get("format") == "NIfTI":
            return self.nifti(series, plan, before, after)
        from defacedask.dicom.export import write_images
        from defacedask.dicom.export.check import check_pixels

        geometry = geometry_of(before)
        now: dict[str, Any] = {}

        def slices(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
            original, defaced = before[first:last].values, after[first:last].values
            _, ny, nx = geometry.shape
            region = np.asarray(plan.region(geometry.block((first, 0, 0), (last, ny, nx))))
            if ((original != defaced) & ~region).any():
                raise DefacedaskError(
                    f"{self.defacer} changed values of the {series.modality} outside its own region.",
                    "Please report this.",
                )
            self.weigh(series.modality, before[first:last], original, defaced)
            now.update(first=first, defaced=defaced, region=region)
            return original, defaced

        order = np.array(series.facts["frames"]) if "frames" in series.facts else None
        total = 0
        with writing(f"the defaced {series.modality}"):
            for k, written in enumerate(write_images(series, slices, self.place, self.context)):
                if order is not None:
                    in_file = np.argsort(order)
                    check_pixels(written, now["defaced"][in_file], now["region"][in_file])
                else:
                    at = slice(k - now["first"], k - now["first"] + 1)
                    check_pixels(written, now["defaced"][at], now["region"][at])
                self.done.append(written)
                total += written.voxels_changed
        return total

    def weigh(self, modality: str, part: Any, original: np.ndarray, defaced: np.ndarray) -> None:
        """Count what the plan takes away and what it lays on, where the modality tells body from air."""
        if modality != "CT":
            return
        slope, intercept = (part.coords[name].values[:, None, None] for name in ("slope", "intercept"))
        was, now = (values * slope + intercept > SKIN_HU for values in (original, defaced))
        self.taken += int((was & (original != defaced)).sum())
        self.added += int((~was & now).sum())

    @property
    def additive(self) -> bool:
        """Whether the plan only lays material on the face."""
        return self.added > 100 * self.taken and self.added > 0

    def nifti(self, series: Series, plan: Plan, before: Any, after: Any) -> int:
        from defacedask.nifti import write_nifti

        with writing("the defaced NIfTI"):
            written = write_nifti(series, plan, before, after, self.place(series.files[0]), self.context)
        self.done += written
        return written[0].voxels_changed

    def doses(self, plan: Plan, store: CaseStore) -> None:
        from defacedask.dicom.export.check import check_pixels
        from defacedask.dicom.export.dose import write_doses

        paths = {}
        for path in store.doses:
            attrs = store.volume(path).attrs
            paths[attrs.get("sop_instance_uid") or attrs.get("series_uid")] = path
        for series in self.case.doses:
            found = [paths[u] for u in (*series.instances, series.uid) if u in paths]
            if not found:
                self.hold(series, "the dose could not be read, so it was not cut")
                continue
            before, after = store.volume(found[0]), store.volume(volume_path(self.defacer, found[0]))
            geometry, original, defaced = geometry_of(before), before.values, after.values
            region = np.asarray(plan.region(geometry))
            if ((original != defaced) & ~region).any():
                raise DefacedaskError(
                    f"{self.defacer} changed the dose outside its own region.", "Please report this."
                )
            order = list(before.attrs.get("frames", range(len(original))))
            in_file = np.argsort(np.asarray(order))
            with writing("the defaced dose"):
                for k, written in enumerate(
                    write_doses(series, order, original, defaced, self.place, self.context)
                ):
                    part = slice(None) if len(series.files) == 1 else slice(k, k + 1)
                    check_pixels(written, defaced[in_file][part], region[in_file][part])
                    self.done.append(written)

    def structures(self, series: Series, plan: Plan, store: CaseStore, paths: Mapping[str, str]) -> None:
        from defacedask.dicom.export.structures import write_structures

        image = _image_of(series, self.case)
        path = paths.get(image.uid)
        if path is None:
            self.hold(series, "the image it lies on was not defaced")
            return
        geometry = store.geometry(path)
        body = _body(store, path, self.defacer)
        for source in series.files:
            with writing("the defaced structure set"):
                written, _ = write_structures(
                    source, plan, geometry, body, self.place, self.context, additive=self.additive
                )
            _check_structures(written, plan, geometry, self.additive)
            self.done.append(written)
            self.notes += [f"{series.modality}: {note}" for note in written.notes]

    def object(self, series: Series, plan: Plan) -> None:
        from defacedask.dicom.export.objects import write_object
        from defacedask.dicom.export.segmentation import write_segmentation

        if series.modality == "SEG":
            for source in series.files:
                try:
                    with writing("the segmentation"):
                        self.done.append(write_segmentation(source, plan, self.place, self.context)[0])
                except RefusedError as error:
                    self.hold(series, error.message)
            return
        if series.modality not in ("RTPLAN", "REG"):
            self.hold(series, f"a {series.modality} may show the face and cannot be cleared of it")
            return
        for source in series.files:
            with writing(f"the {series.modality}"):
                self.done.append(write_object(source, series.modality, self.place, self.context))

    def hold(self, series: Series, reason: str) -> None:
        """Leave a series out, and say why."""
        for source in series.files:
            self.held.append(
                {
                    "source": source,
                    "modality": series.modality,
                    "reason": reason,
                    "what": self.relative(source),
                }
            )

    # --- checks

    def check(self) -> None:
        """Headers, leaks and references of everything written."""
        from defacedask.dicom.export.check import check_header, check_leaks, check_record, unresolved

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
            if not one.uid.startswith("2.25.") or one.path.endswith((".nii", ".nii.gz", ".json")):
                continue
            dataset = check_header(one, context)
            check_record(one, dataset, context)
            check_leaks(one, dataset, context)
            self.unresolved[one.path] = len(unresolved(one, dataset, there))

    # --- into place

    def publish(self) -> None:
        """Move everything into place and write this case's part of the record."""
        from defacedask.dicom.export.audit import read_lines, write_lines

        earlier = {line["file"] for line in read_lines(self.part) if line["status"] == "written"}
        lines = [self._line(one) for one in self.done]
        now = {line["file"] for line in lines}
        for name in now - earlier:
            if (self.out / name).exists():
                raise OutputError(
                    f"{name} is already in the output folder and not of an earlier run.",
                    "Choose an empty output folder.",
                )
        moved: list[Path] = []
        with writing(f"the defaced files of {self.case.id}"):
            try:
                for name in sorted(now):
                    target = self.out / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    (self.partial / name).replace(target)
                    moved.append(target)
            except OSError:
                for path in moved:
                    path.unlink(missing_ok=True)
                raise
        for name in earlier - now:
            (self.out / name).unlink(missing_ok=True)
        shutil.rmtree(self.partial, ignore_errors=True)
        for one in self.held:
            lines.append(self._refused(one["source"], one["modality"], one["reason"]))
        write_lines(self.part, lines)

    def give_up(self, reason: str) -> None:
        """Remove what this and earlier runs wrote of the case; record each instance as refused."""
        from defacedask.dicom.export.audit import read_lines, write_lines

        shutil.rmtree(self.partial, ignore_errors=True)
        for line in read_lines(self.part):
            if line["status"] == "written":
                (self.out / line["file"]).unlink(missing_ok=True)
        lines = [
            self._refused(source, series.modality, reason)
            for series in self.case.series
            for source in series.files
            if source in self.names
        ]
        with contextlib.suppress(OutputError):
            write_lines(self.part, lines)

    def _line(self, one: Written) -> dict[str, Any]:
        return {
            "status": "written",
            "case": self.case.id,
            "defacer": self.defacer,
            "modality": one.modality,
            "file": Path(one.path).relative_to(self.partial).as_posix(),
            "sop_instance_uid": one.uid,
            "input_sha256": one.input_sha256,
            "output_sha256": one.output_sha256,
            "plan_sha256": self.digest,
            "voxels_changed": one.voxels_changed,
            "unresolved": self.unresolved.get(one.path, 0),
            "dropped": list(one.dropped),
            "notes": [self._safe(note) for note in one.notes],
            "reason": "",
        }

    def _refused(self, source: str, modality: str, reason: str) -> dict[str, Any]:
        from defacedask.dicom.export import file_hash

        try:
            digest = file_hash(source)
        except OSError:
            digest = ""
        return {
            "status": "refused",
            "case": self.case.id,
            "defacer": self.defacer,
            "modality": modality,
            "file": self.relative(source),
            "input_sha256": digest,
            "output_sha256": "",
            "plan_sha256": self.digest,
            "reason": self._safe(reason),
        }

    def _safe(self, text: str) -> str:
        """A sentence without source paths or UIDs: the record lies beside what may be published."""
        for source in self.names:
            if source in text:
                text = text.replace(source, self.relative(source))
        from defacedask.dicom.export import clean_name

        text = clean_name(text, self.uids, self.known)
        return re.sub(r"(?<![\w.])/(?:[^\s/'\"]+/)+", "", text)

    def counts(self) -> dict[str, int]:
        """Instances written, by modality."""
        out: dict[str, int] = {}
        for one in self.done:
            out[one.modality] = out.get(one.modality, 0) + 1
        return out


def _image_of(part: Series, case: Case) -> Series:
    """Image a structure set refers to: by series, else by instance, else the case's primary image."""
    wanted = set(part.references)
    for series in case.images:
        if series.uid in wanted or wanted.intersection(series.instances):
            return series
    return case.primary


def _body(store: CaseStore, path: str, defacer: str) -> Any:
    """``surface(k)``: body of the defaced image in slice k, couch and headrest left out; None for PET."""
    volume = store.volume(volume_path(defacer, path))
    modality = volume.attrs["modality"]
    if modality == "CT":
        level = SKIN_HU
    elif modality == "MR":
        level = 0.12 * float(np.percentile(real_values(volume[::4, ::4, ::4]).values, 99))
    else:
        return lambda k: None
    try:
        drop = store.volume(f"head/{path}")
    except DefacedaskError:
        drop = None

    def body(k: int) -> np.ndarray:
        inside = real_values(volume[k : k + 1]).values[0] > level
        if drop is not None:
            inside &= drop[k].values == 0
        return inside

    return body


def _check_structures(written: Written, plan: Plan, geometry: Any, additive: bool) -> None:
    """Masks before and after: nothing new but the outline's, nothing gone but in the region.

    Raises
    ------
    DefacedaskError
    """
    from scipy.ndimage import binary_dilation

    from defacedask.dicom.export.structures import SKIN_MARGIN_MM, is_outline, is_skin
    from defacedask.dicom.structures import read_structures

    try:
        before = {s.number: s for s in read_structures(written.source, geometry)}
    except RefusedError:
        before = {}
    try:
        after = {s.number: s for s in read_structures(written.path, geometry)}
    except RefusedError:
        after = {}
    if set(after) - set(before):
        raise DefacedaskError(
            "the defaced structure set has structures that the original has not.", "Please report this."
        )
    shape = geometry.shape
    region: np.ndarray | None = None
    for number, old in before.items():
        new = after.get(number)
        if new is not None and (new.original_name, new.colour, new.interpreted_type) != (
            old.original_name,
            old.colour,
            old.interpreted_type,
        ):
            raise DefacedaskError(
                f"the structure {old.original_name} lost its name or colour.", "Please report this."
            )
        a = old.full(shape)
        b = new.full(shape) if new is not None else np.zeros(shape, bool)
        if np.array_equal(a, b) and old.refused:
            continue
        if region is None:
            region = np.asarray(plan.region(geometry))
        name, kind = old.original_name, old.interpreted_type
        outline = is_outline(name, kind)
        # contours between slices see the region of their own plane, not of the slice they are read for
        near = binary_dilation(region, np.ones((3, 1, 1), bool))
        if not outline and is_skin(name, kind):
            if additive:
                continue  # whole contours go
            near = _grown(region, geometry.spacing, SKIN_MARGIN_MM + max(geometry.spacing))
        if ((a != b) & ~near).any():
            raise DefacedaskError(
                f"the structure {name} changed outside the region ({int(((a != b) & ~near).sum())} voxels).",
                "Please report this.",
            )
        if not outline and (b & ~a).any():
            raise DefacedaskError(f"the structure {name} grew.", "Please report this.")
        deep = region & ~binary_dilation(~region, np.ones((3, 1, 1), bool))
        if not outline and (b & deep).any():
            raise DefacedaskError(
                f"the structure {name} still has {int((b & deep).sum())} voxels in the region.",
                "Please report this.",
            )


def _grown(mask: np.ndarray, spacing: tuple[float, float, float], mm: float) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~mask, sampling=spacing) <= mm if mask.any() else mask
