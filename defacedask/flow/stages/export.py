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

from defacedask.boxes import bounds
from defacedask.defacers.moved import plan_for
from defacedask.errors import DefacedaskError, InputError, RefusedError
from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.body_slices import SKIN_HU, body_slices
from defacedask.flow.stages.case_export import CaseExport, record_path
from defacedask.flow.stages.layout import ORIGINAL, one_thread, volume_path
from defacedask.flow.stages.plans import check_planned, load_plan
from defacedask.geometry import Geometry
from defacedask.io.dicom.registration import own_geometry
from defacedask.io.store import CaseStore, writing
from defacedask.showing import beside
from defacedask.volume import geometry_of, real_values

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


class _Job(CaseExport):
    """One export: everything of a case that can be cleared is written and checked, the rest held back."""

    taken = added = 0  # voxels of body removed, voxels of air filled
    targets: tuple[str, ...] = ()  # what was clipped of target volumes
    to_template: np.ndarray | None = None  # world LPS mm -> the average's, where known
    kinds: tuple[str, ...] = ()  # of masks beside DICOM
    planned_on = ""  # path of the image that the plan was made on
    left = False  # the face was measured to be left, in any image

    def covered(self, allow_reversible: bool) -> None:
        """Settle whether the face is only covered, by what the defacer says of itself.

        Raises
        ------
        RefusedError
            If it is, and nobody asked for that.
        """
        from defacedask.defacers import is_reversible
        from defacedask.flow.release_options import reversible_reason

        self.reversible = is_reversible(self.defacer)
        if self.reversible and not allow_reversible:
            raise RefusedError(*reversible_reason(self.defacer))

    def told(self, recognised: str, allow_visible: bool) -> None:
        """Heed what attacks found behind this defacer.

        Raises
        ------
        RefusedError
            If they recognised persons, and files may not say so.
        """
        from defacedask.flow.release_options import recognised_reason

        if not recognised:
            return
        if not allow_visible:
            raise RefusedError(*recognised_reason(recognised))
        self.visible = True
        self.notes.append(recognised)

    def look(self, store: CaseStore, planned: TaskResult, allow_visible: bool) -> None:
        """See on every defaced image that the face is gone, before anything is written.

        The case is refused if it is left in the image that the plan was made on; any other image is held back alone,
        with what lies on it.

        Raises
        ------
        RefusedError
        """
        from defacedask.flow.stages.witnessing import judge

        for found in judge(store, planned, self.defacer):
            uid = str(store.volume(found.path).attrs.get("series_uid"))
            name = found.path.rsplit("/", 1)[-1]
            self.witness[name] = found.figures
            for file in next((s.files for s in self.case.images if s.uid == uid), ()):
                self.judged[file] = found
            first = found.path == self.planned_on
            if first:
                self.moved = found.moved
            self.notes += [f"{name}: {note}" for note in found.notes]
            if not found.reason:
                continue
            if allow_visible:
                self.visible = self.left = True
                self.notes.append(f"{name}: {found.reason}")
            elif first:
                raise RefusedError(f"{name}: {found.reason}.", visible_hint(found.hint))
            else:
                self.barred[uid] = found.reason

    def write(self, plan: Plan, store: CaseStore) -> None:
        """Write and check everything that can be cleared; hold back the rest."""
        shutil.rmtree(self.partial, ignore_errors=True)
        with writing(f"the defaced files of {self.case.id}"):
            self.partial.mkdir(parents=True)
        paths = {str(store.volume(path).attrs.get("series_uid")): path for path in store.images}
        if self.planned_on not in store.images:
            raise RefusedError("the image that the plan was made on is not in the case store.")
        main = str(store.volume(self.planned_on).attrs.get("series_uid"))
        changed = {}
        if self.kinds:
            self.list_touched(plan, store)
        for series in self.case.images:
            if series.uid in self.barred:
                self.hold(series, self.barred[series.uid])
                paths.pop(series.uid, None)
            elif series.uid in paths:
                changed[series.uid] = self.image(series, plan, store, paths[series.uid])
            else:
                self.hold(series, _because("it could not be read, so it was not defaced", store, series))
        if changed[main] < SMALLEST_CHANGE:
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

    def image(self, series: Series, plan: Plan, store: CaseStore, path: str) -> int:
        """Write one image series; gives the number of voxels changed."""
        before, after = store.volume(path), store.volume(volume_path(self.defacer, path))
        if series.facts.get("format") == "NIfTI":
            return self.nifti(series, plan, before, after)
        from defacedask.io.dicom.export import write_images
        from defacedask.io.dicom.export.check import check_pixels

        geometry = geometry_of(before)
        now: dict[str, Any] = {}

        def slices(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
            original, defaced = before[first:last].values, after[first:last].values
            changed = original != defaced
            # the plan is asked where something changed; elsewhere nothing may have
            region = np.zeros_like(changed)
            box = bounds(changed)
            if box is not None:
                part = geometry.block((first, 0, 0), (first + len(changed), *geometry.shape[1:]))
                start, stop = zip(*((s.start, s.stop) for s in box), strict=True)
                region[box] = np.asarray(plan.region(part.block(start, stop)))
            if (changed & ~region).any():
                raise DefacedaskError(
                    f"{self.defacer} changed values of the {series.modality} outside its own region.",
                    "Please report this.",
                )
            self.weigh(series.modality, before[first:last], original, defaced)
            now.update(first=first, defaced=defaced, region=region)
            return original, defaced

        order = np.array(series.facts["frames"]) if "frames" in series.facts else None
        total, images = 0, []
        with writing(f"the defaced {series.modality}"):
            for k, written in enumerate(write_images(series, slices, self.place, self.context)):
                if order is not None:
                    in_file = np.argsort(order)
                    check_pixels(written, now["defaced"][in_file], now["region"][in_file])
                else:
                    at = slice(k - now["first"], k - now["first"] + 1)
                    check_pixels(written, now["defaced"][at], now["region"][at])
                images.append(written)
                total += written.voxels_changed
        self.done += images
        if self.kinds:
            from defacedask.flow.stages.masking import write_masks

            with writing(f"the mask of the {series.modality}"):
                self.done += write_masks(
                    self.kinds, series, plan, before, after, images, self.context, self.to_template
                )
        return total

    def list_touched(self, plan: Plan, store: CaseStore) -> None:
        """Name the structures that are not to be analysed."""
        from defacedask.flow.stages.masking import touched_structures

        self.touched = [self._safe(name) for name in touched_structures(plan, store)]
        if self.touched:
            self.notes.append(
                f"not to be analysed, for the region of {self.defacer} reaches into them: {', '.join(self.touched)}"
            )

    def weigh(self, modality: str, part: Any, original: np.ndarray, defaced: np.ndarray) -> None:
        """Count what becomes air and what was air before, where the modality tells body from air."""
        if modality != "CT":
            return
        changed = original != defaced  # the rest is what it was
        number = np.count_nonzero(changed, axis=(1, 2))
        slope, intercept = (np.repeat(part.coords[name].values, number) for name in ("slope", "intercept"))
        was, now = (values[changed] * slope + intercept > SKIN_HU for values in (original, defaced))
        self.taken += int((was & ~now).sum())
        self.added += int((~was & now).sum())

    @property
    def additive(self) -> bool:
        """Whether the plan only lays material on the face."""
        return self.added > 100 * self.taken and self.added > 0

    def nifti(self, series: Series, plan: Plan, before: Any, after: Any) -> int:
        from defacedask.io.nifti.write import exact_path, write_nifti

        with writing("the defaced NIfTI"):
            path = self.place(series.files[0])
            exact = exact_path(self.masks / path.name)
            written = write_nifti(
                series, plan, before, after, path, self.context, to_template=self.to_template, exact=exact
            )
        self.done += written
        return written[0].voxels_changed

    def doses(self, plan: Plan, store: CaseStore) -> None:
        from defacedask.io.dicom.dose import read_dose
        from defacedask.io.dicom.export.check import check_pixels
        from defacedask.io.dicom.export.dose import write_doses
        from defacedask.io.dicom.export.record import carried_on
        from defacedask.io.dicom.export.shape import MOST_OF_SKIN, follows_skin
        from defacedask.io.dicom.export.structures import clip_contours

        paths = {}
        for path in store.doses:
            attrs = store.volume(path).attrs
            paths[attrs.get("sop_instance_uid") or attrs.get("series_uid")] = path
        for series in self.case.doses:
            found = [paths[u] for u in (*series.instances, series.uid) if u in paths]
            if not found:
                self.hold(series, _because("the dose could not be read, so it was not cut", store, series))
                continue
            before, after = store.volume(found[0]), store.volume(volume_path(self.defacer, found[0]))
            geometry, original, defaced = geometry_of(before), before.values, after.values
            region = plan.region_of(before)
            if ((original != defaced) & ~region).any():
                raise DefacedaskError(
                    f"{self.defacer} changed the dose outside its own region.", "Please report this."
                )
            if self.additive:
                # in Gy: planes that are files of their own may each have a scaling of their own
                was, now = real_values(before).values, real_values(after).values
                left = follows_skin(was, now, region, geometry.spacing)
                if left > MOST_OF_SKIN:
                    self.hold(
                        series,
                        f"it still falls off at {beside(100 * left, 100 * MOST_OF_SKIN, '.0f')} % of the skin "
                        f"under the layer of {self.defacer} "
                        f"(at most {100 * MOST_OF_SKIN:.0f} % may)",
                    )
                    continue

            own = geometry_of(read_dose(series)) if "registered" in series.facts else geometry
            theirs = plan_for(plan, series.facts)

            more = bool((defaced > original).any())

            def finish(dataset: Any, grid: Any = own, plan: Any = theirs, more: bool = more) -> None:
                clip_contours(dataset, plan, grid, lambda k: None)  # isodoses, where there are any
                if more:
                    carried_on(dataset)

            order = list(before.attrs.get("frames", range(len(original))))
            in_file = np.argsort(np.asarray(order))
            with writing("the defaced dose"):
                parts = write_doses(series, order, original, defaced, self.place, self.context, finish)
                for k, written in enumerate(parts):
                    part = slice(None) if len(series.files) == 1 else slice(k, k + 1)
                    check_pixels(written, defaced[in_file][part], region[in_file][part])
                    self.done.append(written)
            if more:
                self.notes.append(
                    "RTDOSE: the dose goes on in front of the face, where none was given"
                    + ("" if self.additive else ", and is extrapolated below its skin")
                )

    def structures(self, series: Series, plan: Plan, store: CaseStore, paths: Mapping[str, str]) -> None:
        from defacedask.io.dicom.export.clip import PlaneRegions
        from defacedask.io.dicom.export.shape import check_structures
        from defacedask.io.dicom.export.structures import write_structures

        image = _image_of(series, self.case)
        path = paths.get(image.uid)
        if path is None:
            held = image.uid in self.barred
            self.hold(series, "the image it lies on was " + ("held back" if held else "not defaced"))
            return
        # in the coordinates that its contours have
        geometry = own_geometry(image) if "registered" in image.facts else store.geometry(path)
        plan = plan_for(plan, image.facts)
        body = body_slices(store, path, self.defacer)
        regions = PlaneRegions(plan, geometry)
        whole = regions.whole()
        original = body_slices(store, path, ORIGINAL)
        try:
            layer = not getattr(plan, "flat", False)
            found = {source: _roles(source, geometry, original, whole, layer) for source in series.files}
        except InputError as error:
            # a damaged one cannot be cleared; it costs nobody the images
            self.hold(series, f"it cannot be cleared of the face: {error.message.rstrip('.')}")
            return
        for source, roles in found.items():
            with writing("the defaced structure set"):
                written, clipped = write_structures(
                    source,
                    plan,
                    geometry,
                    body,
                    self.place,
                    self.context,
                    additive=self.additive,
                    roles=roles,
                    regions=regions,
                )
            frame = self.remap.frame(geometry.frame_of_reference) if self.identity else ""
            lost = check_structures(written, plan, geometry, self.additive, frame=frame, roles=roles)
            self.done.append(written)
            # a sliver between voxel centres is in the notes, and costs nobody a target
            self.targets += tuple(
                one.note() for one in clipped if one.target and one.touched and lost.get(one.number, 1)
            )
            self.notes += [f"{series.modality}: {note}" for note in written.notes]

    def object(self, series: Series, plan: Plan, store: CaseStore, paths: Mapping[str, str]) -> None:
        from defacedask.io.dicom.export.objects import vectors_at_face, write_object
        from defacedask.io.dicom.export.segmentation import write_segmentation

        if series.modality == "SEG":
            own, frame = series.frame_of_reference, self.case.frame_of_reference
            if own and frame and own != frame and "registered" not in series.facts:
                # its numbers may mean another place: the plan would clear something else
                self.hold(series, "it lies in another frame of reference than the image")
                return
            if _image_of(series, self.case).uid in self.barred:
                self.hold(series, "the image it lies on was held back")
                return
            for source in series.files:
                try:
                    with writing("the segmentation"):
                        theirs = plan_for(plan, series.facts)
                        layer = self.additive or not getattr(plan, "flat", False)
                        skin = self.on_skin(plan, store) if layer else None
                        written, _ = write_segmentation(
                            source, theirs, self.place, self.context, on_skin=skin
                        )
                        self.done.append(written)
                except RefusedError as error:
                    self.hold(series, error.message)
            return
        if series.modality not in ("RTPLAN", "REG"):
            self.hold(series, f"a {series.modality} may show the face and cannot be cleared of it")
            return
        if series.modality == "REG" and any(
            vectors_at_face(source, plan, self.case.frame_of_reference) for source in series.files
        ):
            self.hold(
                series,
                "its vector grid (deformable registration) reaches the face, and its edge may draw the skin",
            )
            return
        for source in series.files:
            with writing(f"the {series.modality}"):
                self.done.append(write_object(source, series.modality, self.place, self.context))

    def on_skin(self, plan: Plan, store: CaseStore) -> Any:
        """Which segments are drawn along the skin of the image that the plan was made on: a layer leaves them."""
        from defacedask.io.dicom.export.segment_shape import skin_segments

        path = self.planned_on
        geometry, body = store.geometry(path), body_slices(store, path, ORIGINAL)
        region = np.asarray(plan.region(geometry))
        return lambda dataset, frames, grids: skin_segments(dataset, frames, grids, geometry, body, region)

    # --- checks

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
            if not one.uid.startswith("2.25.") or one.path.lower().endswith((".nii", ".nii.gz", ".json")):
                continue
            # a mask is no version of anything that came
            dataset = open_dataset(one.path) if one.made else check_header(one, context)
            check_record(one, dataset, context)
            check_leaks(one, dataset, context)
            self.unresolved[one.path] = len(unresolved(one, dataset, there))


def visible_hint(what: str) -> str:
    """What to do about an image that may not leave, one sentence.

    Parameters
    ----------
    what : str
        What may help, as a clause; "" if nothing is known to.
    """
    nevertheless = "--allow-visible writes it nevertheless, and says so."
    return f"{what[:1].upper()}{what[1:]}; {nevertheless}" if what else nevertheless


def _because(text: str, store: CaseStore, series: Series) -> str:
    """A clause with what was said when the series was read."""
    said = [one["reason"] for one in store.facts.get("left_out", ()) if one["series"] == series.uid]
    return f"{text}: {said[0].strip().rstrip('.')}" if said else text


def _image_of(part: Series, case: Case) -> Series:
    """Image a structure set refers to: by series, else by instance, else the case's primary image."""
    wanted = set(part.references)
    for series in case.images:
        if series.uid in wanted or wanted.intersection(series.instances):
            return series
    return case.primary


def _roles(source: str, geometry: Geometry, body: Any, region: np.ndarray, layer: bool) -> dict[int, str]:
    """What the structures of a file are by their shape, on the image as it came."""
    from defacedask.io.dicom.export.body_shape import roles_by_shape
    from defacedask.io.dicom.rois import TWICE, read_rois
    from defacedask.io.dicom.structures import read_structures

    rois = read_rois(source)
    twice = [one.number for one in rois if one.refused == TWICE]
    if twice:
        raise InputError(
            f"several of its structures have the ROI number {twice[0]}, so that nobody knows whose the contours are."
        )
    frame = geometry.frame_of_reference
    drawn = [one.frame for one in rois if one.contours]
    if frame and drawn and all(one and one != frame for one in drawn):
        raise InputError("its structures lie in another frame of reference than the image they are drawn on.")
    try:
        found = read_structures(source, geometry)
        return roles_by_shape(found, geometry, body, region, anywhere=layer)
    except RefusedError:
        return {}  # no contour of it lies on the image
