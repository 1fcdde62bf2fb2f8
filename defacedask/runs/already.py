"""Input that was defaced before: set aside, or passed on as it came where the user asks for it.

Default is to leave it out with the reason. ``again`` treats it like any image. ``copy`` passes the files on byte for
byte; the record says so, and that nothing was done to them: this program vouches for none of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from defacedask.errors import ConfigError, DefacedaskError, OutputError, StoreError
from defacedask.flow.result import FAILED
from defacedask.io.dicom.defaced import said
from defacedask.io.dicom.model import KINDS, Case, Scan, Series, Skipped
from defacedask.io.store import writing
from defacedask.runs.case_row import case_row
from defacedask.whole_files import file_hash, replacing

__all__ = ["COPIED", "MODES", "Passed", "check_mode", "pass_on", "set_aside", "take_back"]

#: What `deface` may do with it; the first is the default.
MODES = ("skip", "again", "copy")
#: Status of a line of the record, and of a case, that was passed on as it came.
COPIED = "copied"


@dataclasses.dataclass(frozen=True)
class Passed:
    """Series of a case to be passed on as they came.

    Attributes
    ----------
    case : Case
        As scanned.
    series : tuple of Series
    """

    case: Case
    series: tuple[Series, ...]


def check_mode(mode: str, deidentify: bool) -> None:
    """See that the choice is one.

    Raises
    ------
    ConfigError
    """
    if mode not in MODES:
        raise ConfigError(f"what is already defaced cannot be {mode!r}.", f"Use one of: {', '.join(MODES)}.")
    if mode == "copy" and deidentify:
        raise ConfigError(
            "files that are passed on as they came keep their headers: copy does not go with --deidentify.",
            "Leave them out (skip), or de-identify them by other means first.",
        )


def set_aside(found: Scan, mode: str = "skip") -> tuple[Scan, list[Passed]]:
    """Take what is already defaced out of a scan.

    Parameters
    ----------
    found : Scan
    mode : str
        One of `MODES`.

    Returns
    -------
    Scan
        What is left to deface; what was left out is among its skipped, with the reason.
    list of Passed
        What is to be passed on (``copy`` only): images and objects whose own header says that they are defaced.
    """
    if mode == "again":
        return found, []
    cases: list[Case] = []
    skipped = list(found.skipped)
    passed: list[Passed] = []
    for case in found.cases:
        gone = [s for s in case.images if "already_defaced" in s.facts]
        if not gone:
            cases.append(case)
            continue
        rest = [s for s in case.images if s not in gone]
        objects = [s for kind in KINDS[1:] for s in getattr(case, kind)]
        theirs = _theirs(objects, gone, rest)
        copies = [s for s in (*gone, *theirs) if mode == "copy" and _sure(s)]
        if copies:
            passed.append(Passed(case, tuple(copies)))
        skipped += [_skipped(s, _why(s, mode)) for s in (*gone, *theirs) if s not in copies]
        if rest:
            kinds: dict[str, Any] = {
                k: tuple(s for s in getattr(case, k) if s not in theirs) for k in KINDS[1:]
            }
            cases.append(dataclasses.replace(case, images=tuple(rest), **kinds))
    ordered = tuple(sorted(skipped, key=lambda s: (s.path, s.reason)))
    return dataclasses.replace(found, cases=tuple(cases), skipped=ordered), passed


def _theirs(objects: Sequence[Series], gone: Sequence[Series], rest: Sequence[Series]) -> list[Series]:
    """Objects that go with images that are set aside: marked ones, and what refers to these and to nothing else."""
    if not rest:
        return list(objects)
    theirs = [s for s in objects if "already_defaced" in s.facts]
    while True:
        away = [*gone, *theirs]
        stay = [*rest, *(s for s in objects if s not in theirs)]
        more = [s for s in objects if s not in theirs and _refers(s, away) and not _refers(s, stay)]
        if not more:
            return [s for s in objects if s in theirs]
        theirs += more


def _refers(one: Series, others: Sequence[Series]) -> bool:
    wanted = set(one.references)
    return any(s.uid in wanted or wanted.intersection(s.instances) for s in others if s is not one)


def _sure(series: Series) -> bool:
    return bool(series.facts.get("already_defaced", {}).get("sure"))


def _why(series: Series, mode: str) -> str:
    facts = series.facts.get("already_defaced")
    if facts is None:
        return "the image it lies on is already defaced, and nothing says that it is too"
    reason = f"it is {said(facts)}: {facts['because']}"
    if mode == "copy" and not facts["sure"]:
        return f"{reason}; too little to pass it on as it is"
    return reason


def _skipped(series: Series, reason: str) -> Skipped:
    return Skipped(series.files[0], reason, series.uid, series.patient_id, len(series.files), series.modality)


def pass_on(one: Passed, out: Path, names: Mapping[str, str], part: Path) -> dict[str, Any]:
    """Copy the files of a case, byte for byte, and write their part of the record.

    Parameters
    ----------
    one : Passed
    out : Path
        Output folder.
    names : mapping
        Source file -> path below it.
    part : Path
        File of the record's part.

    Returns
    -------
    dict
        A row as `defacedask.runs.deface.DefaceResult.cases` has them, of status ``copied``, or ``failed`` if a file
        of another run is in the way or one cannot be read or written.

    Raises
    ------
    OutputError
        If nothing can be written at all: the disk is full or read-only.
    """
    try:
        counts, reason = _passed_on(one, out, names, part)
        return case_row(one.case, COPIED, reason, written=counts)
    except DefacedaskError as error:
        if getattr(error, "fatal", False):
            raise
        take_back(part, out)
        return case_row(one.case, FAILED, str(error))


def _passed_on(one: Passed, out: Path, names: Mapping[str, str], part: Path) -> tuple[dict[str, int], str]:
    """Copy the files; how many of each modality, and what is to be said of them."""
    from defacedask.io.dicom.export.audit import audit_line, write_lines

    earlier = take_back(part, out)
    lines: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    done: set[str] = set()
    for series in one.series:
        facts = series.facts["already_defaced"]
        for source in series.files:
            if source in done:
                continue  # another volume in the same file
            done.add(source)
            name = names[source]
            target = out / name
            if target.exists() and name not in earlier:
                raise OutputError(
                    f"{name} is already in the output folder and not of an earlier run.",
                    "Choose an empty output folder.",
                )
            with writing(f"the file {name}"), replacing(target) as aside:
                shutil.copyfile(source, aside)
            counts[series.modality] = counts.get(series.modality, 0) + 1
            lines.append(
                audit_line(
                    COPIED,
                    name,
                    case=one.case.id,
                    modality=series.modality,
                    input_sha256=file_hash(source),
                    output_sha256=file_hash(target),
                    deidentified=False,
                    reason=f"it is {said(facts)}: {facts['because']}; passed on as it came, and not looked at",
                )
            )
    write_lines(part, lines)
    by = dict.fromkeys(said(series.facts["already_defaced"]) for series in one.series)
    return counts, f"{', '.join(by)}: passed on as it came, and not looked at"


def take_back(part: Path, out: Path) -> set[str]:
    """Remove what an earlier run wrote or passed on of a case, and its part of the record; gives the names."""
    from defacedask.io.dicom.export.audit import read_lines

    try:
        lines = read_lines(part)
    except StoreError:
        lines = []  # what is in its place is no record of ours
    names = {str(line["file"]) for line in lines if line["status"] in ("written", COPIED)}
    for name in names:
        (out / name).unlink(missing_ok=True)
    with contextlib.suppress(NotADirectoryError):
        part.unlink(missing_ok=True)
    return names
