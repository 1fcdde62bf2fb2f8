"""Independent programs judge what `deface` wrote of real and made patients; prints the judge table.

    python -m tools.judge_table openkbp=patients/a openkbp=patients/b ct=scans/c --work FOLDER
        [--defacers quickshear,carina]

Rows are checks, columns data sets, cells "passed/failed" over all defacers and files or structures looked at; a
dash means that there was nothing to judge. A second run judges only what is missing in FOLDER. Needs dciodvfy,
dcm2niix, plastimatch and Orthanc with its DICOMweb plugin.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DEFACERS = ("quickshear", "biometric_mask", "mri_reface", "carina")
CHECKS = (
    "dciodvfy: no new kind of error",
    "dcm2niix: same grid, same voxels changed",
    "plastimatch: our volume",
    "SimpleITK: our volume, same grid",
    "pydicom: our volume",
    "plastimatch: our masks",
    "references resolve",
    "no UID of the source",
    "untouched voxels bit-identical",
    "RTDOSE: same grid and scaling, changed in the region only",
    "Orthanc: identical back",
    "defacedask verify",
)
DCIODVFY, DCM2NIIX, PLASTIMATCH, ITK, PYDICOM, MASKS, REFERENCES, LEAKS, UNTOUCHED, DOSE, ORTHANC, VERIFY = (
    CHECKS
)
#: Files of a series that dciodvfy looks at.
SAMPLE = 5


class Table:
    """Counts of passes and failures, and what failed."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        self.failures: list[str] = []
        self.columns: list[str] = []
        self.remarks: list[str] = []

    def count(self, check: str, column: str, passed: bool, what: str) -> None:
        """Add one judgement."""
        assert check in CHECKS, check
        self.cells[check, column][0 if passed else 1] += 1
        if not passed:
            self.failures.append(f"{column}: {check}: {what}")

    def save(self, path: Path) -> None:
        """Keep what was judged of one folder that was written."""
        cells = [[*key, *counts] for key, counts in self.cells.items()]
        content = {"cells": cells, "failures": self.failures, "remarks": self.remarks}
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def add(self, path: Path) -> None:
        """Sum up what was kept."""
        content = json.loads(path.read_text(encoding="utf-8"))
        for check, column, passed, failed in content["cells"]:
            self.cells[check, column][0] += passed
            self.cells[check, column][1] += failed
        self.failures += content["failures"]
        self.remarks += content["remarks"]

    def show(self) -> str:
        """Markdown."""
        lines = ["| check | " + " | ".join(self.columns) + " |", "| --- |" + " ---: |" * len(self.columns)]
        for check in CHECKS:
            row = [self.cells[check, column] for column in self.columns]
            lines.append(f"| {check} | " + " | ".join(f"{p}/{f}" if p + f else "–" for p, f in row) + " |")
        return "\n".join([*lines, "", *self.remarks, *self.failures])


def judge(source: Path, place: Path, table: Table, column: str, defacer: str, archive: Any) -> None:
    """All checks on one folder that was written."""
    from support.judges import named_errors

    from defacedask.flow.stages.plans import load_plan
    from defacedask.io.dicom.catalogue import scan
    from defacedask.verify import verify
    from defacedask.whole_files import file_hash

    out, plans, work = place / "out", place / "work" / "plans", place / "judge"
    plan = load_plan(str(plans), next(plans.iterdir()).name, defacer)
    who = f"{source.name}, {defacer}"
    before = {tuple(s.instances): s for case in scan(source) for s in case.series}
    lines = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
    written = {line["file"]: line for line in lines if line["status"] == "written"}
    by_hash = {file_hash(path): Path(path) for one in before.values() for path in one.files}
    origin = {name: by_hash[line["input_sha256"]] for name, line in written.items()}
    groups: dict[str, list[str]] = defaultdict(list)
    for name, line in written.items():
        groups[line["modality"]].append(name)
    for names in groups.values():
        for name in sorted(names)[:: max(1, len(names) // SAMPLE)]:
            new = named_errors(out / name) - named_errors(origin[name])
            table.count(DCIODVFY, column, not new, f"{who}: {name}: {sorted(new)[:2]}")
    for case in scan(out):
        match = {str(origin[Path(f).relative_to(out).as_posix()]) for f in case.primary.files}
        (old,) = [s for s in before.values() if match <= set(s.files)]
        _volumes(old, case, work, table, column, who, plan)
        _masks(case, work, table, column, who)
    found = verify(out, source=[source])
    kinds = {kind: [p for p in found.problems if p.check == kind] for kind in ("references", "leaks")}
    _references(written, origin, out, table, column, who)
    for name in groups.get("RTDOSE", ()):
        (series,) = [s for s in before.values() if str(origin[name]) in map(str, s.files)]
        _dose(series, origin[name], out / name, plan, table, column, who)
    table.count(LEAKS, column, not kinds["leaks"], f"{who}: {kinds['leaks'][:1]}")
    _orthanc(archive, out, written, table, column, who)
    table.count(VERIFY, column, found.ok, f"{who}: {found.problems[:2]}")


def _volumes(old: Any, case: Any, work: Path, table: Table, column: str, defacer: str, plan: Any) -> None:
    import pydicom
    import SimpleITK as sitk
    from support.judges import dcm2niix, plastimatch, simple_itk

    from defacedask.io.dicom.image import read_image
    from defacedask.volume import geometry_of, real_values

    new = case.primary
    first, last = read_image(old), read_image(new)
    who = f"{defacer}: {new.modality}"
    folders = []
    for series, side in ((old, "before"), (new, "after")):
        folder = work / side
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for k, path in enumerate(series.files):
            shutil.copy(path, folder / f"{k:05d}.dcm")
        folders.append(folder)
    ours, theirs_before = real_values(last).values, real_values(first).values
    a, b = (dcm2niix(f, work / f"nii-{f.name}") for f in folders)
    moved = int((a[0] != b[0]).sum())
    same = np.array_equal(a[1], b[1]) and a[0].shape == b[0].shape
    if new.modality != "PT":  # its rescale is another slice by slice
        same = same and moved == int((ours != theirs_before).sum())
    table.count(DCM2NIIX, column, same and moved > 0, f"{who}: {moved} voxels")
    if new.modality == "CT":
        table.count(PLASTIMATCH, column, np.array_equal(plastimatch(folders[1], work / "pm"), ours), who)
    itk = [simple_itk(list(s.files)) for s in (old, new)]
    grid = all(
        getattr(itk[0], g)() == getattr(itk[1], g)() for g in ("GetOrigin", "GetSpacing", "GetDirection")
    )
    values = new.modality == "PT" or np.allclose(sitk.GetArrayFromImage(itk[1]), ours)
    table.count(ITK, column, grid and values, who)
    raw = np.stack([pydicom.dcmread(f).pixel_array for f in new.files]) if len(new.files) > 1 else None
    if raw is not None:
        table.count(PYDICOM, column, np.array_equal(raw, last.values), who)
    outside = ~np.asarray(plan.region(geometry_of(first)))
    kept = np.array_equal(first.values[outside], last.values[outside])
    table.count(UNTOUCHED, column, kept and bool(outside.any()), who)


def _masks(case: Any, work: Path, table: Table, column: str, defacer: str) -> None:
    from support.judges import plastimatch_masks

    from defacedask.io.dicom.image import read_image
    from defacedask.io.dicom.structures import read_structures
    from defacedask.volume import geometry_of

    if case.primary.modality != "CT":
        return
    grid = geometry_of(read_image(case.primary))
    for part in case.structures:
        shutil.rmtree(work / "masks", ignore_errors=True)
        theirs = plastimatch_masks(Path(part.files[0]), work / "after", work)
        for one in read_structures(part, grid):
            if one.empty:
                continue
            mask = theirs.get(one.original_name.replace(" ", "_"), theirs.get(one.original_name))
            same = mask is not None and np.array_equal(mask, one.full(grid.shape))
            off = "absent" if mask is None else int((mask != one.full(grid.shape)).sum())
            table.count(MASKS, column, same, f"{defacer}: {one.original_name}: {off} voxels differ")


def _dose(series: Any, old: Path, new: Path, plan: Any, table: Table, column: str, defacer: str) -> None:
    """Read by pydicom alone: the grid, the scaling, and every stored value outside the plan's region."""
    import pydicom

    from defacedask.io.dicom.dose import read_dose

    a, b = pydicom.dcmread(old), pydicom.dcmread(new)
    kept = (
        *("Rows", "Columns", "NumberOfFrames", "PixelSpacing", "ImagePositionPatient"),
        *("ImageOrientationPatient", "GridFrameOffsetVector", "DoseGridScaling", "DoseUnits", "BitsStored"),
    )
    same = all(a.get(name) == b.get(name) for name in kept)
    dose = read_dose(series)
    region = plan.region_of(dose)
    in_file = np.argsort(np.asarray(dose.attrs["frames"]))
    outside = ~region[in_file]
    first, last = (d.pixel_array.reshape(region.shape) for d in (a, b))
    identical = bool(outside.any()) and np.array_equal(first[outside], last[outside])
    table.count(
        DOSE, column, same and identical, f"{defacer}: {new.name}: {int((first != last).sum())} differ"
    )


def _references(
    written: dict[str, Any], origin: dict[str, Path], out: Path, table: Table, column: str, defacer: str
) -> None:
    """As many references lead nowhere as in the original."""
    from defacedask.io.dicom.export.check import unresolved
    from defacedask.io.dicom.export.image import Written
    from defacedask.io.dicom.headers import open_dataset

    new = {n: open_dataset(out / n) for n in written}
    old = {n: open_dataset(origin[n]) for n in written}
    there = [{str(d.get("SOPInstanceUID")) for d in side.values()} for side in (old, new)]
    for name, line in written.items():
        if line["modality"] in ("CT", "MR", "PT"):
            continue
        one = Written("", name, line["modality"], "", "", "")
        counts = [len(unresolved(one, side[name], uids)) for side, uids in ((old, there[0]), (new, there[1]))]
        table.count(
            REFERENCES, column, counts[0] == counts[1], f"{defacer}: {name}: {counts[1]} lead nowhere"
        )


def _orthanc(
    archive: Any, out: Path, written: dict[str, Any], table: Table, column: str, defacer: str
) -> None:
    """Every file that was stored comes back byte for byte."""
    import pydicom

    ours = {}
    for name in written:
        data = (out / name).read_bytes()
        ours[str(pydicom.dcmread(out / name, stop_before_pixels=True).SOPInstanceUID)] = data
        archive.ask("/instances", data)
    held = archive.files()
    archive.clear()
    lost = sum(held.get(uid) != data for uid, data in ours.items())
    same = len(ours) == len(written) == len(held) and not lost
    table.count(ORTHANC, column, same, f"{defacer}: {lost} of {len(written)} files differ")


def one(source: Path, defacer: str, place: Path, column: str, archive: Any) -> Table:
    """Deface one folder and judge what was written."""
    from defacedask.io.dicom.catalogue import scan
    from defacedask.runs.deface import deface

    table = Table()
    result = deface(
        scan(source),
        place / "out",
        defacer,
        inputs=[str(source)],
        work=place / "work",
        allow_visible=defacer == "biometric_mask",  # its boxes leave eyes and nose, as published
    )
    for row in result.cases:
        moved = "" if row["face_moved"] is None else f", {100 * row['face_moved']:.0f} % of the face moved"
        held = "".join(f"; held back: {h['what']} ({h['reason']})" for h in row["held_back"])
        said = row["reason"] or ", ".join(f"{n} {k}" for k, n in row["written"].items())
        table.remarks.append(f"{source.name}, {defacer}: {row['status']}: {said}{moved}{held}")
    if any(row["status"] == "done" for row in result.cases):
        judge(source.absolute(), place, table, column, defacer, archive)
    shutil.rmtree(place / "judge", ignore_errors=True)
    return table


def main() -> int:
    """Deface, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", help="FOLDER, or COLUMN=FOLDER to sum several up")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--defacers", default=",".join(DEFACERS))
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    from support.archive import running

    table = Table()
    with running(given.work / "orthanc") as archive:
        for folder in given.folders:
            name, _, path = folder.rpartition("=")
            source = Path(path)
            column = name or source.name
            if column not in table.columns:
                table.columns.append(column)
            for defacer in given.defacers.split(","):
                place = given.work / source.name / defacer
                begin = time.perf_counter()
                if not (place / "judged.json").exists():
                    place.mkdir(parents=True, exist_ok=True)
                    one(source, defacer, place, column, archive).save(place / "judged.json")
                table.add(place / "judged.json")
                print(
                    f"{source.name} {defacer}: {time.perf_counter() - begin:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )
            (given.work / "table.md").write_text(
                table.show() + "\n", encoding="utf-8"
            )  # as far as it is known
    print(table.show())
    return 1 if table.failures else 0


if __name__ == "__main__":
    sys.exit(main())
