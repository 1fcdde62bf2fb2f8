"""A patient with everything that hangs on an image, and a small plan to export it with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from defacedask.defacers.base import Defacer, Plan
from defacedask.errors import RefusedError
from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages import residual, witnessing
from defacedask.flow.stages.apply import apply
from defacedask.flow.stages.export import export
from defacedask.flow.stages.ingest import ingest
from defacedask.flow.stages.kept import Kept, save_kept
from defacedask.geometry import Geometry
from defacedask.io.dicom.catalogue import Case, scan
from defacedask.io.dicom.export import output_names
from defacedask.io.store import CaseStore
from support import make
from support.rt_writers import contour, contours_of

KEY = bytes(range(32))
SHAPE = (12, 40, 36)


@dataclasses.dataclass(frozen=True, eq=False)
class HalfSpace(Plan):
    """Everything anterior of a coronal plane (y < ``y``) becomes air, or ``material`` HU where it was air."""

    defacer: ClassVar[str] = "half_space"
    flat: ClassVar[bool] = True

    y: float
    material: float | None = None
    body: float = -300.0

    def wanted(self, geometry: Geometry, xp: Any = np) -> Any:
        _, y, _ = geometry.positions(xp, np.float64)
        return xp.broadcast_to(y < self.y, geometry.shape).copy()

    def hull(self, to_template: Any) -> Any:
        return (((0.0, -1.0, 0.0, -self.y),),)

    def fill(self, values: Any, region: Any, geometry: Geometry, modality: str, xp: Any = np) -> Any:
        if self.material is None or modality == "RTDOSE":
            return super().fill(values, region, geometry, modality, xp)
        return xp.where(values < self.body, xp.float32(self.material), values)


@dataclasses.dataclass(frozen=True)
class HalfSpaceDefacer(Defacer):
    """Registered as ``half_space`` by the fixture of that name."""

    name: ClassVar[str] = "half_space"

    y: float = -2.0

    def propose(self, head: Any, *, key: bytes, protected: Any) -> HalfSpace:
        return HalfSpace(self.y)


@pytest.fixture(autouse=True)
def half_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plans of `HalfSpace` be loaded, in the test modules that import this."""
    from defacedask import defacers

    monkeypatch.setitem(defacers.BUILT_IN, "half_space", "support.export_kit:HalfSpaceDefacer")
    # a ball has no face that could be measured
    monkeypatch.setattr(witnessing, "judge", judge_as(1.0))


def geometry(directions: np.ndarray | None = None) -> Geometry:
    if directions is not None:
        return make.grid(SHAPE, (3.0, 1.5, 1.25), directions, frame=make.uid("frame"))
    return make.grid(SHAPE, (3.0, 1.5, 1.25), frame=make.uid("frame"), origin=(-21.875, -29.25, 100.0))


def ball(grid: Geometry, radius: float = 16.0) -> np.ndarray:
    """A ball around the middle of a grid."""
    x, y, z = grid.positions(dtype=np.float64)
    cx, cy, cz = grid.centre
    return (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 < radius**2


def head_ct(grid: Geometry, dtype: Any = np.int16, offset: int = 0) -> np.ndarray:
    """Stored values: a ball of about 40 HU in air of about -1000, with noise."""
    noise = np.random.default_rng(5).integers(-20, 20, grid.shape)
    return (np.where(ball(grid), 40, -1000) + noise + offset).astype(dtype)


def images_of(dataset: Any, files: list[Path], modality: str) -> None:
    """Reference every image of a series from a structure set, as planning systems do."""
    import pydicom

    heads = [pydicom.dcmread(f, stop_before_pixels=True) for f in files]
    items = [
        make.item(ReferencedSOPClassUID=h.SOPClassUID, ReferencedSOPInstanceUID=h.SOPInstanceUID)
        for h in heads
    ]
    series = make.item(SeriesInstanceUID=heads[0].SeriesInstanceUID, ContourImageSequence=Sequence(items))
    study = make.item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=heads[0].StudyInstanceUID,
        RTReferencedSeriesSequence=Sequence([series]),
    )
    frame = make.item(
        FrameOfReferenceUID=heads[0].FrameOfReferenceUID, RTReferencedStudySequence=Sequence([study])
    )
    dataset.ReferencedFrameOfReferenceSequence = Sequence([frame])


def write_structures(
    folder: Path, files: list[Path], grid: Geometry, rois: list[tuple[str, str, list[Any]]]
) -> Path:
    """Structure set of (name, interpreted type, contours); contours are (n, 3) arrays or items."""
    import pydicom

    by_slice = [pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID for f in files]
    dataset = make.new("RTSTRUCT", "P1", "structures", instance=0)
    dataset.StructureSetLabel, dataset.FrameOfReferenceUID = "TEST", grid.frame_of_reference
    images_of(dataset, files, "CT")
    dataset.StructureSetROISequence = Sequence()
    dataset.ROIContourSequence = Sequence()
    dataset.RTROIObservationsSequence = Sequence()
    for number, (name, kind, lines) in enumerate(rois, 1):
        items = []
        for line in lines:
            one = line if isinstance(line, Dataset) else contour(line)
            k = int(np.rint(grid.to_index(np.array(one.ContourData, float).reshape(-1, 3)[0])[0]))
            if 0 <= k < len(by_slice):
                image = make.item(ReferencedSOPClassUID=make.SOP["CT"], ReferencedSOPInstanceUID=by_slice[k])
                one.ContourImageSequence = Sequence([image])
            items.append(one)
        dataset.StructureSetROISequence.append(
            make.item(
                ROINumber=number,
                ROIName=name,
                ROIGenerationAlgorithm="MANUAL",
                ReferencedFrameOfReferenceUID=grid.frame_of_reference,
            )
        )
        dataset.ROIContourSequence.append(
            make.item(
                ReferencedROINumber=number, ROIDisplayColor=[number, 2, 3], ContourSequence=Sequence(items)
            )
        )
        dataset.RTROIObservationsSequence.append(
            make.item(
                ObservationNumber=number,
                ReferencedROINumber=number,
                RTROIInterpretedType=kind,
                ROIInterpreter="",
            )
        )
    return make.save(dataset, folder / "RS.dcm")


def write_dose(folder: Path, structures: str, plan: str, grid: Geometry, stored: np.ndarray) -> Path:
    """RTDOSE on a grid, frames from the top down, referring to a plan and a structure set."""
    dataset = make.new("RTDOSE", "P1", "dose", instance=0)
    make.set_pixels(dataset, stored[::-1])
    dataset.NumberOfFrames, dataset.FrameIncrementPointer = len(stored), 0x3004000C
    dataset.FrameOfReferenceUID = grid.frame_of_reference
    dataset.ImagePositionPatient = make.ds(grid.to_world([len(stored) - 1, 0, 0]))
    dataset.ImageOrientationPatient = make.ds([1, 0, 0, 0, 1, 0])
    dataset.PixelSpacing = make.ds(grid.spacing[1:])
    dataset.GridFrameOffsetVector = make.ds([-grid.spacing[0] * k for k in range(len(stored))])
    dataset.DoseUnits, dataset.DoseType, dataset.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    dataset.DoseGridScaling = "0.001"
    for keyword, kind, uid in (
        ("ReferencedStructureSetSequence", "RTSTRUCT", structures),
        ("ReferencedRTPlanSequence", "RTPLAN", plan),
    ):
        one = make.item(ReferencedSOPClassUID=make.SOP[kind], ReferencedSOPInstanceUID=uid)
        setattr(dataset, keyword, Sequence([one]))
    return make.save(dataset, folder / "RD.dcm")


def write_plan(folder: Path, structures: str, frame: str) -> Path:
    """RTPLAN that refers to a structure set."""
    dataset = make.new("RTPLAN", "P1", "plan", instance=0)
    dataset.RTPlanLabel, dataset.RTPlanGeometry, dataset.FrameOfReferenceUID = "TEST", "PATIENT", frame
    one = make.item(ReferencedSOPClassUID=make.SOP["RTSTRUCT"], ReferencedSOPInstanceUID=structures)
    dataset.ReferencedStructureSetSequence = Sequence([one])
    return make.save(dataset, folder / "RP.dcm")


def write_segments(folder: Path, files: list[Path], grid: Geometry, masks: dict[str, np.ndarray]) -> Path:
    """Binary SEG: for each label the frames of a (z, y, x) mask."""
    import pydicom
    from pydicom.pixels import pack_bits

    heads = [pydicom.dcmread(f, stop_before_pixels=True) for f in files]
    dataset = make.new("SEG", "P1", "segments", instance=0)
    dataset.FrameOfReferenceUID, dataset.SegmentationType = grid.frame_of_reference, "BINARY"
    dataset.SegmentSequence = Sequence(
        [make.item(SegmentNumber=n, SegmentLabel=label) for n, label in enumerate(masks, 1)]
    )
    orientation = make.item(ImageOrientationPatient=make.ds([grid.directions[:, 2], grid.directions[:, 1]]))
    measures = make.item(PixelSpacing=make.ds(grid.spacing[1:]))
    dataset.SharedFunctionalGroupsSequence = Sequence(
        [
            make.item(
                PlaneOrientationSequence=Sequence([orientation]), PixelMeasuresSequence=Sequence([measures])
            )
        ]
    )
    frames = []
    for n in range(1, len(masks) + 1):
        for k, head in enumerate(heads):
            source = make.item(
                ReferencedSOPClassUID=head.SOPClassUID, ReferencedSOPInstanceUID=head.SOPInstanceUID
            )
            frames.append(
                make.item(
                    PlanePositionSequence=Sequence(
                        [make.item(ImagePositionPatient=make.ds(grid.to_world([k, 0, 0])))]
                    ),
                    SegmentIdentificationSequence=Sequence([make.item(ReferencedSegmentNumber=n)]),
                    DerivationImageSequence=Sequence([make.item(SourceImageSequence=Sequence([source]))]),
                )
            )
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.NumberOfFrames = len(frames)
    bits = np.concatenate([m.astype(np.uint8) for m in masks.values()])
    dataset.Rows, dataset.Columns = grid.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    dataset.PixelData = pack_bits(bits.ravel())
    dataset["PixelData"].VR = "OB"
    return make.save(dataset, folder / "SEG.dcm")


def write_patient(folder: Path) -> dict[str, Any]:
    """CT, structure set, plan, dose and segmentation of one patient."""
    grid = geometry()
    ct = make.write_series(folder / "CT", head_ct(grid), grid, "CT")
    body = ball(grid)
    small = ball(grid, 6.0)
    structures = write_structures(
        folder,
        ct,
        grid,
        [
            ("BODY", "EXTERNAL", contours_of(body, grid)),
            ("Brain", "ORGAN", contours_of(ball(grid, 12.0), grid)),
            ("Deep", "ORGAN", contours_of(small & (grid.positions(dtype=np.float64)[1] > 2.0), grid)),
        ],
    )
    uid = make.uid("P1", "structures", "instance", 0)
    plan = write_plan(folder, uid, grid.frame_of_reference)
    dose = (ball(grid, 14.0) * 2000 + 5).astype(np.uint16)
    write_dose(folder, uid, make.uid("P1", "plan", "instance", 0), grid, dose)
    write_segments(folder, ct, grid, {"Tumour": ball(grid, 9.0)})
    return {"grid": grid, "ct": ct, "structures": structures, "plan": plan}


def one_case(folder: Path) -> Case:
    found = scan(folder)
    assert len(found.cases) == 1, (found.cases, found.skipped)
    return found.cases[0]


def save_plan(plans: Path, case: str, plan: Plan, kept: tuple[Kept, ...] = ()) -> None:
    path = plans / case / f"{plan.defacer}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plan.to_dict()))
    save_kept(plans, case, kept)


def run_export(
    folder: Path,
    work: Path,
    plan: Plan | None = None,
    *,
    out: Path | None = None,
    key: bytes = KEY,
    moved: float | None = 1.0,
    judge: Any = None,
    planned_on: int = 0,
    **options: Any,
) -> tuple[Outcome, Path]:
    """Ingest, apply and export one case with a plan; gives the outcome and the output folder.

    ``moved`` stands in for how far the face has gone: a ball has none that could be measured. ``judge`` is asked in
    its stead. ``planned_on`` is the image of the store that the plan is said to be made on.
    """
    plan = plan or HalfSpace(-2.0)
    case = options.pop("case", None) or one_case(folder)
    out = out or work / "out"
    ingested = TaskResult("ingest", case.id, "", "")
    ingested.facts = ingest(case=case.to_dict(), root=str(work / "store")).facts
    save_plan(work / "plans", case.id, plan)
    planned = TaskResult("plan", case.id, plan.defacer, "")
    planned.facts = {"plans": {plan.defacer: {"status": "done", "reason": "", "digest": plan.digest}}}
    planned.facts["image"] = CaseStore(ingested.facts["store"]).images[planned_on]
    who = {"plans": str(work / "plans"), "case": case.id, "defacer": plan.defacer}
    applied = TaskResult("apply", case.id, plan.defacer, "")
    applied.facts = apply(ingested, planned, **who).facts
    arguments = {
        **who,
        "case": case.to_dict(),
        "out": str(out),
        "names": output_names([f for s in case.series for f in s.files], [folder]),
        "record": str(work / "record"),
        "run_key": key,
        **options,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(witnessing, "judge", judge or judge_as(moved))
        return export(ingested, planned, applied, **arguments), out


def judge_as(moved: float | None) -> Any:
    """In place of `defacedask.flow.stages.witnessing.judge`: the same share of the face has moved in every image."""

    def judge(store: Any, planned: TaskResult, defacer: str) -> list[witnessing.Judged]:
        found = residual.Residual(moved)
        notes = () if found.ok and moved is not None else (found.sentence,)
        reason = "" if found.ok else found.sentence
        return [witnessing.Judged(p, reason, () if reason else notes, moved, {}) for p in store.images]

    return judge


def stub_plan(
    ingested: TaskResult, *, plans: str, defacer: str, case: Any, root: str, **options: Any
) -> Outcome:
    """In place of looking at a head: the half-space for any image; refused if the CT is too small to hold one."""
    store = CaseStore(ingest(case=case, root=root).facts["store"])
    if store.geometry(store.images[0]).shape[0] < 8:
        raise RefusedError("no head was found.", "Look at the images.")
    plan = HalfSpace(-2.0)
    save_plan(Path(plans), case["id"], plan)
    outcome = {"status": "done", "reason": "", "digest": plan.digest, "summary": plan.summary()}
    return Outcome(facts={"image": store.images[0], "plans": {defacer: outcome}})


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder and its hash."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def applied_on(work: Path) -> set[str]:
    """Where the stage that applies ran, as its results say."""
    found = [json.loads(path.read_text())["facts"]["device"] for path in work.rglob("apply-*.json")]
    assert found
    return set(found)


def judge_of(held):
    """Stands in for the witness: holds images of these numbers in the store back."""

    def judge(store, planned, defacer):
        return [
            witnessing.Judged(p, "its face is left" if k in held else "", (), 1.0, {})
            for k, p in enumerate(store.images)
        ]

    return judge
