"""Ours, what others use, and floors, on one patient in one run: CPU seconds, their ratio, peak memory, throughput.

    uv run python -m benchmarks.compare                      a planning CT of 512 x 512 x 200
    uv run python -m benchmarks.compare --size coarse --only read,apply
    uv run python -m benchmarks.compare --record "what changed"

Every line is a process of its own on one core. What it imports and prepares is not counted: a worker does that once.
CPU seconds are compared, and not seconds, so that other work on the machine disturbs little. A ratio is to ours: 2.0
means that the other takes twice as long. ``--record`` adds the table to ``benchmarks/RESULTS.md``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DEFACERS = ("quickshear", "biometric_mask", "carina", "mri_reface", "surrogate")
#: Prepares, and gives what is timed.
Maker = Callable[[Path, Path], Callable[[], Any]]


@dataclasses.dataclass(frozen=True)
class Line:
    """What is done, by whom, and how it is prepared from the patient's folder and a scratch folder."""

    work: str
    who: str
    make: Maker
    warm: Callable[[Path], None] | None = (
        None  # done once before, in a scratch folder: what a worker does once
    )

    @property
    def name(self) -> str:
        return f"{self.work}/{self.who}"


# --- a whole case


def _study(**options: Any) -> Maker:
    def make(case: Path, scratch: Path) -> Callable[[], Any]:
        import defacedask as dd

        _warm_recogniser()
        return lambda: dd.study(case, scratch / "out", pictures=False, **options)

    return make


def _warm_recogniser() -> None:
    from defacedask.faces.recognition import get_recogniser

    get_recogniser("face_recognition").analyse([np.zeros((64, 64, 3), np.uint8)])


def _script(cropped: bool) -> Maker:
    def make(case: Path, scratch: Path) -> Callable[[], Any]:
        import face_recognition  # noqa: F401
        import pyvista  # noqa: F401
        from quickshear import quickshear  # noqa: F401
        from radiomics import featureextractor  # noqa: F401

        from benchmarks.plain_script import whole_case

        return lambda: whole_case(case, cropped)

    return make


# --- DICOM to DICOM


def _deface(defacer: str) -> Maker:
    def make(case: Path, scratch: Path) -> Callable[[], Any]:
        import defacedask as dd

        return lambda: dd.deface(case, scratch / "out", defacer, allow_reversible=True)

    return make


def _deface_small(scratch: Path) -> None:
    """Import all libraries and read the average head, by a small patient."""
    import defacedask as dd

    # by another process: who defaces does not hold what a patient is made of
    write = "p.write_phantom(sys.argv[1], 1, seed=1, size='coarse', modalities=['CT'])"
    code = f"import sys, defacedask.phantom as p; {write}"
    subprocess.run([sys.executable, "-c", code, str(scratch / "small")], check=True, env=_where())
    dd.deface(scratch / "small", scratch / "small out", "quickshear")


def _where() -> dict[str, str]:
    """An environment in which a process finds the package that this one has."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _round_trip(case: Path, scratch: Path) -> Callable[[], Any]:
    import pydicom

    def work() -> None:
        for k, path in enumerate(sorted(case.rglob("*.dcm"))):
            pydicom.dcmread(path).save_as(scratch / f"{k}.dcm")

    return work


def _copy_files(case: Path, scratch: Path) -> Callable[[], Any]:
    return lambda: shutil.copytree(case, scratch / "copy")


# --- reading


def _read(case: Path, scratch: Path) -> Callable[[], Any]:
    from defacedask.io.dicom.image import read_image

    series = _case(case).primary
    return lambda: read_image(series)


def _read_sitk(case: Path, scratch: Path) -> Callable[[], Any]:
    from benchmarks.plain_script import files_of, read_ct

    files = files_of(case)["CT"]
    return lambda: read_ct(files)


# --- applying a plan


def _case(folder: Path) -> Any:
    from defacedask.io.dicom.catalogue import scan

    return scan(folder).cases[0]


def _apply(defacer: str) -> Maker:
    def make(case: Path, scratch: Path) -> Callable[[], Any]:
        from defacedask.anatomy.head import Head
        from defacedask.defacers import get_defacer
        from defacedask.io.dicom.image import read_image

        volume = read_image(_case(case).primary)
        plan = get_defacer(defacer).plan(Head(volume), key=bytes(32))
        plan.apply(volume[:8])  # lays out its fields
        return lambda: plan.apply(volume)

    return make


def _volume_and_masks(case: Path) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    import SimpleITK as sitk

    from benchmarks.plain_script import files_of, masks_of, read_ct

    found = files_of(case)
    ct = read_ct(found["CT"])
    return sitk.GetArrayFromImage(ct), masks_of(found["RTSTRUCT"][0], ct), np.array(ct.GetSpacing())


def _apply_pypi(case: Path, scratch: Path) -> Callable[[], Any]:
    from benchmarks.plain_script import defaced_by_quickshear

    values, masks, spacing = _volume_and_masks(case)
    return lambda: defaced_by_quickshear(values, masks["Brain"], spacing)


def _fresh_copy(case: Path, scratch: Path) -> Callable[[], Any]:
    from defacedask.io.dicom.image import read_image

    values = read_image(_case(case).primary).values
    return values.copy


# --- radiomics


def _radiomics(case: Path, scratch: Path) -> Callable[[], Any]:
    from defacedask.costs.radiomics import compare_structures
    from defacedask.io.dicom.image import read_image
    from defacedask.io.dicom.structures import read_structures
    from defacedask.volume import geometry_of, real_values

    it = _case(case)
    volume = real_values(read_image(it.primary))
    structures = read_structures(it.structures[0], geometry_of(volume))
    other = volume.copy(data=volume.values + np.float32(1))  # what did not change is not measured twice
    return lambda: compare_structures(volume, other, structures, geometry_of(volume))


def _pyradiomics(cropped: bool) -> Maker:
    def make(case: Path, scratch: Path) -> Callable[[], Any]:
        from radiomics import featureextractor  # noqa: F401

        from benchmarks.plain_script import features

        values, masks, spacing = _volume_and_masks(case)
        return lambda: [features(values, masks, spacing, cropped) for _ in range(2)]

    return make


# --- starting


def _help(case: Path, scratch: Path) -> Callable[[], Any]:
    return lambda: subprocess.run(
        [sys.executable, "-m", "defacedask", "--help"], check=True, stdout=subprocess.DEVNULL
    )


LINES = (
    Line(
        "whole case",
        "ours: quickshear, plain views",
        _study(defacers="quickshear", attacks="basic", export=False),
    ),
    Line("whole case", "script, pyradiomics on the box", _script(cropped=True)),
    Line("whole case", "script, pyradiomics as usual", _script(cropped=False)),
    Line("DICOM to DICOM", "ours: quickshear, all checks", _deface("quickshear"), _deface_small),
    Line("DICOM to DICOM", "pydicom read and write", _round_trip),
    Line("DICOM to DICOM", "floor: copy of the files", _copy_files),
    Line("read", "ours", _read),
    Line("read", "SimpleITK", _read_sitk),
    *(Line("apply", f"ours: {name}", _apply(name)) for name in DEFACERS),
    Line("apply", "PyPI quickshear", _apply_pypi),
    Line("apply", "floor: fresh copy", _fresh_copy),
    Line("radiomics, twice", "ours", _radiomics),
    Line("radiomics, twice", "pyradiomics on the box", _pyradiomics(cropped=True)),
    Line("radiomics, twice", "pyradiomics as usual", _pyradiomics(cropped=False)),
    Line("start", "ours: --help", _help),
    # last, for it takes minutes
    Line(
        "four defacers, default attacks",
        "ours, no export",
        _study(defacers="quickshear,biometric_mask,mri_reface,carina", attacks="default", export=False),
    ),
)


def run_one(line: Line, case: Path, *, warm: bool = False) -> dict[str, float]:
    """Do the work of one line in this process; ``warm``: after what a worker does once.

    Returns
    -------
    dict
        cpu (seconds of this process and its children), peak (MB); bytes (read and written) where a plan is applied.
    """
    import resource

    from benchmarks.stages import peak_mb

    def spent() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    found = {"bytes": _bytes(case)} if line.work == "apply" else {}
    with tempfile.TemporaryDirectory(prefix="defacedask-compare-") as scratch:
        if warm and line.warm is not None:
            line.warm(Path(scratch))
        work = line.make(case, Path(scratch))
        begin = spent()
        work()
        cpu = spent() - begin
    return {"cpu": cpu, "peak": peak_mb() or float("nan"), **found}


def _bytes(case: Path) -> int:
    """What applying a plan reads and writes: the stored voxels, twice."""
    grid = _case(case).primary.geometry
    return 2 * 2 * int(np.prod(grid["shape"]))


def throughput(found: Sequence[tuple[Line, dict[str, Any]]]) -> str:
    """Markdown: stored voxels, in and out, that one core defaces in a second, and such images in an hour."""
    rows = ["| defacer | GB a second | images an hour of a core |", "| --- | ---: | ---: |"]
    for line, one in found:
        if "bytes" in one and one["cpu"] > 0:
            rows.append(f"| {line.who} | {one['bytes'] / one['cpu'] / 1e9:.3g} | {3600 / one['cpu']:,.0f} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def table(found: Sequence[tuple[Line, dict[str, Any]]]) -> str:
    """Markdown; a ratio is to the first of ours for the same work."""
    rows = ["| work | who | CPU s | times ours | peak, MB |", "| --- | --- | ---: | ---: | ---: |"]
    ours: dict[str, float] = {}
    for line, one in found:
        if "cpu" not in one:
            rows.append(f"| {line.work} | {line.who} | {one['error']} | | |")
            continue
        cpu = one["cpu"]
        own = line.who.startswith("ours")
        if own:
            ours.setdefault(line.work, cpu)
        base = ours.get(line.work, 0.0)
        ratio = f"{cpu / base:.2f}" if base > 0 and not own else ""
        rows.append(f"| {line.work} | {line.who} | {cpu:.3g} | {ratio} | {one['peak']:.0f} |")
    return "\n".join(rows)


def measure(lines: Sequence[Line], case: Path) -> list[tuple[Line, dict[str, Any]]]:
    """Each line in a process of its own; one that cannot run says so in its row."""
    from defacedask.cluster.specs import ONE_THREAD

    environment = {**os.environ, **ONE_THREAD}  # as in a worker
    out = []
    for line in lines:
        command = [sys.executable, "-m", "benchmarks.compare", "--one", line.name, "--case", str(case)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[1],
            env=environment,
            check=False,
        )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["no word"])[-1]
            out.append((line, {"error": f"could not run: {said[:80]}"}))
        else:
            out.append((line, json.loads(done.stdout.strip().splitlines()[-1])))
        print(line.name, out[-1][1], file=sys.stderr, flush=True)
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="clinical", choices=["coarse", "normal", "clinical"])
    parser.add_argument("--case", type=Path, help="folder of one patient; default: a virtual one is written")
    parser.add_argument("--only", default="", help="works, separated by commas")
    parser.add_argument(
        "--record", metavar="TEXT", help="add the table to benchmarks/RESULTS.md under this title"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        line = next(line for line in LINES if line.name == options.one)
        print(json.dumps(run_one(line, options.case, warm=True)))
        return 0
    only = {name.strip() for name in options.only.split(",") if name.strip()}
    unknown = only - {line.work for line in LINES}
    if unknown:
        parser.error(f"there is no work {', '.join(sorted(unknown))}")
    lines = [line for line in LINES if not only or line.work in only]
    with tempfile.TemporaryDirectory(prefix="defacedask-compare-") as folder:
        case = options.case
        if case is None:
            from defacedask.phantom import write_phantom

            case = Path(folder) / "case"
            write_phantom(case, 1, seed=1, size=options.size, modalities=["CT"])
        found = measure(lines, case.resolve())
    text = f"{table(found)}\n\n{throughput(found)}".rstrip()
    print(text)
    if options.record:
        from benchmarks.stages import record

        record(text, options.record)
    return int(any("cpu" not in one for _, one in found))


if __name__ == "__main__":
    sys.exit(main())
