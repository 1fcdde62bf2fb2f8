"""Write a cohort of virtual patients as DICOM: whole or not at all, the same bytes from the same seed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from defacedask.anatomy.template import load_template
from defacedask.errors import ConfigError, OutputError, writing
from defacedask.phantom.anatomy import Target, dose_values, structure_masks, target_fraction
from defacedask.phantom.elements import Study
from defacedask.phantom.images import ct_values, mr_values, pet_values
from defacedask.phantom.protocol import SIZES, scan_grid
from defacedask.phantom.registration import write_registration
from defacedask.phantom.series import write_ct, write_mr, write_pt
from defacedask.phantom.shape import Pose, Shape, subject_rng
from defacedask.phantom.treatment import write_dose, write_plan, write_structures
from defacedask.phantom.warp import Warp

__all__ = ["MODALITIES", "write_phantom", "write_subject"]

MODALITIES = ("CT", "MR", "PT")
#: Added to a scan's number: the pose of its MR, where that is another day's.
OTHER_DAY = 500


def write_phantom(
    out: str | Path,
    subjects: int,
    *,
    seed: int = 0,
    scans: int = 1,
    modalities: Sequence[str] = MODALITIES,
    size: str = "normal",
    registered: bool = False,
    workers: int = 1,
    progress: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Write virtual patients: CT, MR, PET, RTSTRUCT, RTPLAN and RTDOSE in one frame of reference a scan.

    Parameters
    ----------
    out : path
        Folder to write ``VP-0001/STUDY-1/CT/...`` into. It appears complete or not at all; a folder that is
        there already gets the new patients, each of them complete.
    subjects : int
        How many.
    seed : int
        Of everything: the same seed, count and options give the same bytes. Subject 3 of a cohort of 4 is the
        subject 3 of a cohort of 100.
    scans : int
        Scans of each subject: the same head with new noise, pose and field of view, in a study and a frame of
        reference of its own.
    modalities : sequence of str
        Of CT, MR, PT. RTSTRUCT, RTPLAN and RTDOSE come with the CT.
    size : str
        ``coarse``, ``normal`` or ``clinical`` (512 x 512 x 200).
    registered : bool
        Whether the MR is another day's: in another pose and a frame of reference of its own, with a Spatial
        Registration that relates it to the CT.
    workers : int
        Processes; with more than one, the calling script needs the usual ``if __name__ == "__main__"``.
    progress : callable, optional
        Called with each finished patient's folder name.

    Returns
    -------
    list of Path
        One folder a patient.

    Raises
    ------
    ConfigError
        For options that make no sense.
    OutputError
        If ``out`` cannot be written, or one of the patients is there already.
    """
    if subjects < 1 or scans < 1 or workers < 1:
        raise ConfigError("subjects, scans and workers must be at least 1.")
    if seed < 0:
        raise ConfigError("the seed must not be negative.")
    unknown = sorted(set(modalities) - set(MODALITIES))
    if unknown or not modalities:
        raise ConfigError(
            f"virtual patients have no modality {', '.join(unknown) or '(none given)'}.",
            f"Choose from: {', '.join(MODALITIES)}.",
        )
    if size not in SIZES:
        raise ConfigError(f"there is no size {size!r}.", f"Choose from: {', '.join(SIZES)}.")
    if registered and not {"CT", "MR"} <= set(modalities):
        raise ConfigError("a registration needs both a CT and an MR.", "Leave it out, or make both.")
    out = Path(out)
    names = [Study(seed, n, 1).patient_id for n in range(1, subjects + 1)]
    with _staging(out, names) as stage:
        jobs = [(stage, n, seed, scans, tuple(modalities), size, registered) for n in range(1, subjects + 1)]
        for folder in _run(jobs, min(workers, subjects)):
            if progress:
                progress(folder)
    return [out / name for name in names]


def _run(jobs: list[tuple], workers: int) -> Iterator[Path]:
    if workers == 1:
        for job in jobs:
            yield write_subject(*job)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # spawn: a fork of a process with threads (Dask, VTK) may hang
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(write_subject, *zip(*jobs, strict=True))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def write_subject(
    stage: Path,
    subject: int,
    seed: int,
    scans: int,
    modalities: tuple[str, ...],
    size: str,
    registered: bool = False,
) -> Path:
    """Write one subject's scans below ``stage``; see `write_phantom`.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    shape, target = Shape.draw(seed, subject), Target.draw(seed, subject)
    folder = stage / Study(seed, subject, 1).patient_id
    with writing(str(folder)):
        for scan in range(1, scans + 1):
            study = Study(seed, subject, scan)
            _write_scan(folder / f"STUDY-{scan}", study, shape, target, modalities, size, registered)
    return folder


def _write_scan(
    folder: Path,
    study: Study,
    shape: Shape,
    target: Target,
    modalities: tuple[str, ...],
    size: str,
    registered: bool,
) -> None:
    who = (study.seed, study.subject, study.scan)
    pose = Pose.draw(*who)
    source = load_template().geometry

    def warp(modality: str, pose: Pose = pose, frame: str = "frame") -> Warp:
        grid = scan_grid(modality, size, *who, pose, study.uid(frame))
        return Warp(shape, pose, grid, source)

    def rng(modality: str) -> np.random.Generator:
        return subject_rng(study.seed, modality, study.subject, study.scan)

    def place(name: str) -> Path:
        path = folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    if "CT" in modalities:
        here = warp("CT")
        hu, skin = ct_values(here, rng("CT"))
        images = write_ct(place("CT"), study, hu, here.grid)
        del hu
        masks = structure_masks(here, target, skin)
        structures = write_structures(place("RT"), study, masks, skin, here.grid, images)
        del masks, skin
        plan = write_plan(place("RT"), study, target, structures)
        there = warp("RTDOSE")
        write_dose(place("RT"), study, dose_values(there, target), there.grid, plan)
    if "MR" in modalities:
        other = Pose.draw(study.seed, study.subject, OTHER_DAY + study.scan) if registered else pose
        here = warp("MR", other, "frame-mr" if registered else "frame")
        slices = write_mr(place("MR"), study, mr_values(here, rng("MR")), here.grid)
        if registered:
            matrix = np.linalg.inv(pose.matrix) @ other.matrix
            ours = ("CT", study.uid("frame"), images)
            theirs = ("MR", here.grid.frame_of_reference, slices)
            write_registration(place("REG"), study, matrix, ours, theirs)
    if "PT" in modalities:
        here = warp("PT")
        (lesion,) = here.pull(target_fraction(target, source), outside=(0.0,))
        write_pt(place("PT"), study, pet_values(here, rng("PT"), lesion), here.grid)


@contextlib.contextmanager
def _staging(out: Path, names: list[str]) -> Iterator[Path]:
    """A temporary folder beside (or, if it is there, in) ``out``, moved into place when all went well."""
    with writing(str(out)):
        if out.exists() and not out.is_dir():
            raise OutputError(f"cannot write {out}: it is a file.", "Choose another output folder.")
        there = [name for name in names if (out / name).exists()]
        if there:
            raise OutputError(
                f"{out} already holds {there[0]}{' and others' if len(there) > 1 else ''}.",
                "Choose another output folder, or delete it first.",
            )
        existed = out.exists()
        parent = out if existed else out.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=parent))
    try:
        yield stage
        with writing(str(out)):
            stage.chmod(0o777 & ~_umask())  # mkdtemp makes it private
            if existed:
                for name in names:
                    (stage / name).rename(out / name)
            else:
                stage.rename(out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
