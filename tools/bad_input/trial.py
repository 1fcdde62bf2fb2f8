"""One damaged patient through the reader, or through everything: what became of it, in one word."""

from __future__ import annotations

import os
import resource
import shutil
import warnings
from pathlib import Path

import numpy as np

from defacedask.errors import DefacedaskError
from defacedask.io.dicom.catalogue import scan
from tools.bad_input.mutations import NAMES, mutate

__all__ = ["CRASHES", "Patient", "limit_memory", "read_all", "run"]

#: Outcomes that must not be.
CRASHES = ("crash", "file outside", "partial export", "died")
FILE_TRICKS = (
    "..dcm",
    "-rf.dcm",
    "a\nb.dcm",
    "\u202egnp.dcm",
    "x" * 240 + ".dcm",
    "CON.dcm",
    " .dcm",
    "%2e%2e.dcm",
)


def limit_memory(mb: int) -> None:
    """Let this process have no more address space than this; what asks for more gets a `MemoryError`."""
    resource.setrlimit(resource.RLIMIT_AS, (mb << 20, mb << 20))


class Patient:
    """A good patient on disk, of whom one file at a time is damaged.

    Parameters
    ----------
    folder : Path
        Of DICOM files.
    work : Path
        Where damaged copies are made.
    """

    def __init__(self, folder: Path, work: Path) -> None:
        self.files = {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*.dcm"))}
        self.folder, self.work = folder, work

    def damaged(self, kind: str, rng: np.random.Generator) -> tuple[Path, Path]:
        """A copy with one damaged file (all of its series for some): the folder, and the file."""
        place = self.work / "in"
        shutil.rmtree(place, ignore_errors=True)
        names = list(self.files)
        # every kind of object as often as the images, of which there are many
        groups: dict[str, list[Path]] = {}
        for name in names:
            groups.setdefault(name.parent.as_posix() if len(name.parts) > 1 else name.name, []).append(name)
        group = groups[str(rng.choice(sorted(groups)))]
        chosen = group if rng.random() < 0.2 else [group[int(rng.integers(0, len(group)))]]
        seed = int(rng.integers(0, 2**63))
        for name in names:
            target = place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name not in chosen:
                os.link(self.folder / name, target)
                continue
            if rng.random() < 0.1:
                target = target.with_name(str(rng.choice(FILE_TRICKS)))
            # the same damage in every file of a series, or it would only be an odd slice
            target.write_bytes(mutate(self.files[name], np.random.default_rng(seed), kind))
        return place, place / chosen[0]


def read_all(place: Path) -> str:
    """Scan and read everything; gives the outcome.

    Returns
    -------
    str
        ``refused by the scan`` (nothing can be used), ``part refused`` (with reasons, the rest read), ``refused by
        a reader``, ``read`` (the damage does not matter, or cannot be seen).
    """
    from defacedask.io.dicom.dose import read_dose
    from defacedask.io.dicom.image import read_image
    from defacedask.io.dicom.structures import read_structures
    from defacedask.volume import geometry_of

    found = scan(place)
    if not found.cases:
        return "refused by the scan"
    refused = 0
    for case in found.cases:
        for series in case.images:
            try:
                grid = geometry_of(read_image(series))
            except DefacedaskError:
                refused += 1
                continue
            for part in case.structures:
                try:
                    read_structures(part, grid)
                except DefacedaskError:
                    refused += 1
        for part in case.doses:
            try:
                read_dose(part)
            except DefacedaskError:
                refused += 1
    if refused:
        return "refused by a reader"
    return "part refused" if found.skipped else "read"


def deface_all(place: Path, work: Path) -> str:
    """Everything a user's call does, with a half-space for a plan; gives the outcome."""
    from support.export_kit import stub_plan

    from defacedask.runs import deface as defacing
    from defacedask.runs import deface_stages
    from defacedask.verify import verify

    out, own = work / "out", work / "out.work"
    for folder in (out, own):
        shutil.rmtree(folder, ignore_errors=True)
    before = _everything(work, out, own)
    kept = deface_stages.plan_protected
    deface_stages.plan_protected = stub_plan  # type: ignore[assignment]
    try:
        found = scan(place)
        if not found.cases:
            return "refused by the scan"
        result = defacing.deface(found, out, "half_space", inputs=[str(place)])
    except DefacedaskError:
        return "refused"
    finally:
        deface_stages.plan_protected = kept
    if _everything(work, out, own) != before:
        return "file outside"
    judged = verify(out)
    written = {line for row in result.cases if row["status"] == "done" for line in row["written"]}
    on_disk = [p for p in out.rglob("*") if p.is_file() and not p.name.startswith("audit.")]
    if judged.problems or len(on_disk) != judged.written or (bool(written) != bool(on_disk)):
        return "partial export"
    if any(row["status"] == "failed" and "Error:" in row["reason"] for row in result.cases):
        return "failed, said why"
    if not written:
        return "refused"
    held = any(row["held_back"] for row in result.cases) or len(found.skipped) > 0
    return "exported in part, the rest on record" if held else "exported"


def _everything(work: Path, *but: Path) -> set[str]:
    inside = {p.as_posix() for p in work.parent.rglob("*") if not any(p == b or b in p.parents for b in but)}
    return inside | {p for p in ("/etc/escaped", "/tmp/escaped", "escaped") if Path(p).exists()}


def run(patient: Patient, seed: int, *, whole: bool = False) -> tuple[str, str, str]:
    """One trial.

    Parameters
    ----------
    patient : Patient
    seed : int
        Chooses the kind of damage, the file and the rest.
    whole : bool
        Deface, not only read.

    Returns
    -------
    kind, outcome, detail : str
    """
    rng = np.random.default_rng(seed)
    kind = NAMES[seed % len(NAMES)]
    place, _ = patient.damaged(kind, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return kind, deface_all(place, patient.work) if whole else read_all(place), ""
        except MemoryError:
            return kind, "out of memory", ""
        except Exception as error:
            import traceback

            return kind, "crash", "".join(traceback.format_exception(error)[-3:])
