"""Deface a cohort and write it out: ingest, plan, apply and export of every case, without the evaluation.

What the run needs for itself (the original voxels, plans, the key of the UID map) lies in a work folder apart from
the output, which holds nothing but defaced files and their record.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import ConfigError, DefacedaskError
from defacedask.flow.executors import device_for
from defacedask.flow.flow import flow_on
from defacedask.flow.result import forget
from defacedask.flow.run import Progress
from defacedask.flow.stages.export import record_path
from defacedask.inputs import nothing_found, paths_of, scan_of
from defacedask.io.store import remove
from defacedask.runs.already import COPIED, pass_on, set_aside, take_back
from defacedask.runs.apart import forget_regrouped, images_apart, settle
from defacedask.runs.asked import Asked
from defacedask.runs.deface_stages import DefaceRun, stages
from defacedask.runs.outputs import output_of, outside
from defacedask.runs.preparing import make_output
from defacedask.runs.run_key import read_key
from defacedask.runs.trial import patient_ids, subject_labels, write_patient_ids
from defacedask.showing import Shown, counted

if TYPE_CHECKING:
    from defacedask.io.dicom.catalogue import Case, Scan
    from defacedask.io.dicom.export.words import Words
    from defacedask.io.remote import Said

__all__ = ["DefaceResult", "deface"]


@dataclasses.dataclass(repr=False)
class DefaceResult(Shown):
    """What `deface` came to.

    Attributes
    ----------
    out : Path
        Output folder; where the output is an address, what of it is on this machine.
    audit : Path
        The record.
    cases : list of dict
        One row a case; status is done, refused, failed or copied. See `defacedask.runs.case_row.case_row`.
    skipped : list of dict
        What the scan left out: path, reason, and whether it is damaged.
    deidentified : bool
        Whether headers were de-identified too.
    defacer : str
    """

    out: Path
    audit: Path
    cases: list[dict[str, Any]]
    skipped: list[dict[str, Any]]
    deidentified: bool = False
    defacer: str = ""

    def _title(self) -> str:
        done = sum(case["status"] in ("done", COPIED) for case in self.cases)
        return f"DefaceResult: {done} of {counted(len(self.cases), 'case')} by {self.defacer} in {self.out}"

    def _table(self) -> Any:
        rows = [
            (
                one["case"],
                one["status"],
                ", ".join(f"{n} {k}" for k, n in one["written"].items()),
                one["reason"],
            )
            for one in self.cases
        ]
        return ("case", "status", "written", "reason"), rows, ()

    def __fspath__(self) -> str:
        return str(self.out)  # what was written may be scanned, verified or defaced like any folder

    @property
    def ok(self) -> bool:
        """Whether every case was exported, or passed on as it came where that was asked for; and no input damaged."""
        every = bool(self.cases) and all(case["status"] in ("done", COPIED) for case in self.cases)
        return every and not self.damaged

    @property
    def damaged(self) -> list[dict[str, Any]]:
        """What of `skipped` is cut off, spoiled or cannot be opened, or lacks a file that is."""
        return [one for one in self.skipped if one.get("damaged")]


def deface(
    cases: Any,
    out: str | Path,
    defacer: str,
    *,
    inputs: Sequence[str | os.PathLike[str]] = (),
    options: Mapping[str, Any] | None = None,
    protect: str | Sequence[str] = (),
    margin_mm: float = 3.0,
    private: str | None = None,
    deidentify: bool = False,
    allow_visible: bool = False,
    already_defaced: str = "skip",
    allow_reversible: bool = False,
    masks: Sequence[str] = (),
    ids: str | Path | None = None,
    trial: Sequence[str] | Mapping[str, str] = (),
    work: str | Path | None = None,
    key: bytes | None = None,
    client: Any = None,
    keep_work: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
    say: Said = lambda _: None,
) -> DefaceResult:
    """Deface every case and write it out as it came: DICOM as DICOM, NIfTI as NIfTI.

    Parameters
    ----------
    cases : path, Scan, Case, or iterable of these
        What to deface; paths are scanned.
    out : path or str
        Output folder; holds defaced files, ``audit.jsonl`` and its seal, nothing else. Or an fsspec address such as
        ``s3://BUCKET/FOLDER``, to which each case goes when it is done, and the record at the end.
    defacer : str
        Registered name, with options if any (``quickshear:form=published``); not ``none``.
    inputs : sequence of path
        What the user named: files keep their path below these folders. By default the paths among ``cases``.
    options : mapping
        Of the defacer, too.
    protect : str or sequence of str
        Patterns of structure names that stay as they are.
    margin_mm : float
        Around them.
    private : str
        ``keep`` or ``drop`` private elements; by default they are kept, and dropped where headers are
        de-identified (``keep`` then keeps those that are known to carry no identity).
    deidentify : bool
        De-identify the headers too (dicognito and the Basic Profile of PS3.15): new names, ids, UIDs and folder
        names, dates moved by whole days, all the same for the same patient and key.
    allow_visible : bool
        Write cases whose face is still visible after defacing; files and record say so. By default they are refused.
    already_defaced : str
        What is done with input whose header or sidecar says that it is defaced: ``skip`` leaves it out with the
        reason, ``again`` defaces it like any other, ``copy`` passes its files on as they came, and says so.
    allow_reversible : bool
        Write what a defacer leaves that only covers the face (``carina``); files and record say so. By default
        nothing is done.
    masks : sequence of str
        Published masks of DICOM images: ``seg`` (DICOM Segmentation), ``nifti``. Beside NIfTI there always is one.
    ids : path, optional
        Table of a trial's own ids for patients (`defacedask.runs.trial.read_ids`); only with ``deidentify``.
    trial : sequence of str or mapping
        What de-identified headers say of a trial, ``NAME=VALUE`` of `defacedask.runs.trial.FIELDS`.
    work : path or str, optional
        Folder for the run's own data, or an fsspec address (`defacedask.runs.outputs.output_of`); by default
        ``OUT.work`` beside the output, or in the current folder.
    key : bytes, optional
        Of the UID map; by default that of ``WORK/run.key``.
    client : distributed.Client, or callable that gives one, optional
        Where tasks run; by default on the active client, and without one here, one after the other. A callable is
        asked for a client when the first stage must run that no earlier run has left: what is wrong with input and
        options is said before.
    keep_work : bool
        Keep the original voxels in the work folder after a case is done.
    device : str, optional
        Where kernels run: ``cpu``, ``cuda``, or ``auto`` (on a card where a worker has one).
    progress : callable, optional
        ``progress(finished, total, result)``.
    say : callable
        Gets a line about what went to an address.

    Returns
    -------
    DefaceResult

    Raises
    ------
    InputError
        If there is nothing to deface, or the table of ids is not as it should be.
    ConfigError
        For the control ``none``, an unknown defacer or option, a reversible defacer that was not allowed, ids or
        facts of a trial without ``deidentify``, or the device ``cuda`` where there is none.
    OutputError
        If a folder cannot be written.
    """
    from defacedask.defacers import is_reversible
    from defacedask.io.bids.carrying import carry_on
    from defacedask.io.bids.dataset import inputs_of
    from defacedask.io.dicom.export import UidMap, output_names
    from defacedask.io.dicom.export.audit import collect
    from defacedask.io.dicom.export.words import words_of_people
    from defacedask.io.dicom.people import people_of

    asked = Asked.of(
        defacer,
        options=options,
        protect=protect,
        margin_mm=margin_mm,
        private=private,
        deidentify=deidentify,
        allow_visible=allow_visible,
        already_defaced=already_defaced,
        allow_reversible=allow_reversible,
        masks=masks,
        ids=ids,
        trial=trial,
    )
    defacer, device = asked.defacer, device_for(device, client)
    inputs = inputs or paths_of(cases)
    whole = scan_of(cases)
    found, passed = set_aside(whole, already_defaced)
    if not found.cases and not passed:
        raise nothing_found(found.skipped, "image series to deface")
    output = output_of(out, work)
    folder, place = output.folder, output.work or output.folder.with_name(output.folder.name + ".work")
    _separate(folder, place, whole, [*inputs, *([] if ids is None else [ids])])
    given = asked.facts(found.cases)
    _one_defacer(place / "record", folder, defacer)
    make_output(folder, place)
    with (
        output.held(),
        flow_on(
            place, stages(device), client, command="deface", cases=len(found.cases), depot=output.depot
        ) as flow,
    ):
        run_key = key or read_key(place / "run.key")
        files = [f for case in whole.cases for f in case.files]
        names = output_names(files, inputs_of(whole, inputs), [s.path for s in found.skipped])
        people = (whole.people or people_of(whole.cases)) if deidentify else {}
        words = words_of_people(people) if deidentify else None
        if asked.table is not None and words is not None:
            asked.table.check(words)
        context = DefaceRun(
            folder,
            place,
            defacer,
            asked.options,
            asked.protected,
            asked.margin_mm,
            asked.release,
            run_key,
            names,
            people,
            given,
        )
        context.device, context.depot = device, output.depot
        outbox = context.outbox = output.outbox(run_key, context.record)
        if outbox:
            outbox.only(defacer, COPIED)
        for leftover in folder.glob(".partial-*"):
            remove(str(leftover))
        # what an earlier run did with input that is set aside, or passed on, may not be what is asked for now
        copies = {case.id: record_path(context.record, case.id, COPIED) for case in whole.cases}
        again = {kept.case.id for kept in passed}
        for case, path in copies.items():
            take_back(path, folder)
            if outbox and case not in again:
                outbox.take_back(case, COPIED)
        for case in set(copies) - {case.id for case in found.cases}:
            take_back(record_path(context.record, case, defacer), folder)
            forget(place / "results", case, "export", defacer)
            if outbox:
                outbox.take_back(case, defacer)

        by_case: dict[str, dict[str, Any]] = {}

        def deface_all(some: Sequence[Case]) -> None:
            for case, results in flow.run(context, some, (defacer,), progress, before=context.begin):
                by_case[case.id] = context.finish(case, results, keep_work)

        cases, ran = list(found.cases), list(found.cases)
        own = record_path(context.record, "data-sets", defacer)
        try:
            forget_regrouped(context, cases)
            deface_all(cases)
            if more := [image for one in cases for image in images_apart(context, one)]:
                ran += more
                deface_all(more)
            for one in cases:
                settle(context, one, more, by_case)
        finally:
            # also after a full disk: what was finished is on record
            parts = [record_path(context.record, case.id, defacer) for case in ran]
            _collect_quietly(folder, [*parts, own], run_key, words)
        rows = [by_case[case.id] for case in ran if case.id in by_case]
        for kept in passed:
            rows.append(pass_on(kept, folder, names, copies[kept.case.id]))
            if outbox:
                outbox.deliver(kept.case.id, COPIED)
        parts += copies.values()
        if deidentify:
            write_patient_ids(place / "patient_ids.csv", patient_ids(rows, given))
        new, used = carry_on(
            dataclasses.replace(whole, skipped=found.skipped),
            names,
            folder,
            parts,
            own,
            defacer=defacer,
            reversible=is_reversible(defacer),
            words=words,
            uids=UidMap(run_key) if deidentify else None,
            subjects=subject_labels(rows, given),
        )
        parts += new
        found = dataclasses.replace(found, skipped=tuple(s for s in found.skipped if s.path not in used))
        audit = collect(folder, parts, context.left_out(found, words), run_key, words)
        records = [path for path in parts if path.parent.name != own.parent.name]
        output.publish(run_key, say, outbox, records)
        return DefaceResult(folder, audit, rows, [s.to_dict() for s in found.skipped], deidentify, defacer)


def _collect_quietly(folder: Path, parts: Sequence[Path], key: bytes, words: Words | None) -> None:
    from defacedask.io.dicom.export.audit import collect

    # an error here would hide the one that led here, which says the same
    with contextlib.suppress(DefacedaskError, OSError):
        collect(folder, parts, (), key, words)


def _one_defacer(record: Path, out: Path, defacer: str) -> None:
    """Refuse an output that holds what another defacer wrote: its files would stay, and be on no record.

    Raises
    ------
    ConfigError
    """
    from defacedask.io.dicom.export.audit import read_lines

    for part in sorted(record.glob("*/*.jsonl")):
        if part.stem in (defacer, COPIED):
            continue
        lines: list[dict[str, Any]] = []
        with contextlib.suppress(DefacedaskError):  # a damaged part is written anew
            lines = read_lines(part)
        if any(line.get("status") == "written" and (out / str(line.get("file"))).exists() for line in lines):
            raise ConfigError(
                f"the output folder {out} holds what {part.stem} wrote.",
                "Choose another, or delete it first.",
            )


def _separate(out: Path, work: Path, found: Scan, inputs: Sequence[str | os.PathLike[str]]) -> None:
    """Refuse an output that lies among the input, or an input among the output."""
    target, own = out.resolve(), work.resolve()
    if own == target or target in own.parents:
        raise ConfigError(
            "the work folder holds the original images and must not lie in the output folder.",
            "Choose another.",
        )
    outside(out, inputs)
    outside(work, inputs, "the work folder")
    for given in inputs:
        if target in Path(given).resolve().parents:
            raise ConfigError(f"the input {given} lies in the output folder {out}.", "Choose another.")
    for case in found.cases:
        for series in case.series:
            if any(target in Path(f).resolve().parents for f in series.files[:1]):
                raise ConfigError(f"the output folder {out} holds files of the input.", "Choose another.")
