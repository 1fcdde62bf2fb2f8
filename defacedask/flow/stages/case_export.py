"""Where one exported case goes: a folder aside, its final place, and its part of the record."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import OutputError, StoreError
from defacedask.io.store import writing

if TYPE_CHECKING:
    from defacedask.flow.stages.witnessing import Judged
    from defacedask.io.dicom.export import Context, Written
    from defacedask.io.dicom.model import Case, Series

__all__ = ["CaseExport", "record_path"]

STANDARD = "1.2.840.10008."
#: Path of a file in a BIDS data set, whose labels are pseudonyms.
_BIDS = re.compile(
    r"((derivatives|rawdata|sourcedata|(sub|ses)-[A-Za-z0-9]+|anat|dwi|fmap|func|perf|pet)/)*"
    r"sub-[A-Za-z0-9]+(_[a-z]+-[A-Za-z0-9]+)*_[A-Za-z0-9]+\.nii(\.gz)?"
)


def record_path(record: str | Path, case: str, defacer: str) -> Path:
    """Where a case's part of the record lies."""
    return Path(record) / case / f"{defacer}.jsonl"


class CaseExport:
    """One case's files: written aside, then all put into place, or none.

    Parameters
    ----------
    case : Case
    defacer : str
    out, below, names, record, run_key, private, identity_key, people, trial
        See `defacedask.flow.stages.export.export`.
    """

    #: Fraction of the face's skin that has moved; None where it was not measured.
    moved: float | None = None
    #: The face is known to be left, and is written nevertheless.
    visible = False
    #: The face is covered, not removed, and that is written nevertheless.
    reversible = False

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
        identity_key: bytes = b"",
        people: Mapping[str, Mapping[str, Any]] | None = None,
        trial: Mapping[str, str] | None = None,
    ) -> None:
        from defacedask import __version__
        from defacedask.io.dicom.export import Remap, UidMap

        self.case, self.defacer, self.out, self.below = case, defacer, out, below
        self.trial = dict(trial or {})
        self.names, self.private, self.version = names, private, __version__
        self.part = record_path(record, case.id, defacer)
        #: Masks that follow the face: in the run's own folder, as its key, and for its owner alone.
        self.masks = record.parent / "masks" / case.id / defacer
        self.uids = UidMap(run_key)
        self.known = frozenset(u for s in case.series for u in (s.uid, *s.instances) if u)
        studies = frozenset(s.study_uid for s in case.series if s.study_uid)
        identity = None
        if identity_key:
            from defacedask.io.dicom.export.identity import Identity
            from defacedask.io.dicom.export.words import words_of_people
            from defacedask.io.dicom.people import people_of, person_key

            label = case.patient_id or f"study {case.primary.study_uid}"
            known = people_of([case]) if people is None else people
            identity = Identity(
                identity_key, person_key(known, label), words_of_people(known), private=private, trial=trial
            )
            frames = {s.frame_of_reference for s in case.series} | {case.frame_of_reference}
            self.known |= studies | {f for f in frames if f and not f.startswith(STANDARD)}
        self.identity = identity
        self.remap = Remap(self.uids, self.known - studies, studies, identity)
        self.public, self.renamed = self._public()
        self.digest = ""
        #: Structures that the region reaches into, where masks are asked for.
        self.touched: list[str] = []
        self.done: list[Written] = []
        self.held: list[dict[str, str]] = []
        self.notes: list[str] = []
        self.unresolved: dict[str, int] = {}
        self.judged: dict[str, Judged] = {}  # by source file
        self.barred: dict[str, str] = {}  # series that may not leave, and why
        self.witness: dict[str, dict[str, Any]] = {}  # figures of each image
        self.partial = out / f".partial-{case.id}-{defacer}"

    # --- names

    def _public(self) -> tuple[str, dict[str, str]]:
        """Name of the case in the record, and names of files that tell nothing of the source's."""
        if self.identity is None:
            return self.case.id, {}
        from defacedask.io.dicom.catalogue import case_id

        patient = self.identity.new_id
        public = case_id(patient, self.uids(f"case {self.case.id}"))
        renamed: dict[str, str] = {}
        count: Counter[str] = Counter()
        folders: dict[str, str] = {}  # of each series, whose volumes share one
        written: Counter[str] = Counter()  # files of each folder
        for series in self.case.series:
            nifti = series.facts.get("format") == "NIfTI"
            name = self.names[series.files[0]]
            if nifti and (new := self._by_bids(series, name)):
                renamed[series.files[0]] = new
                continue
            one = series.uid if series.volume else f"alone {len(folders)}"
            if one not in folders:
                count[series.modality] += 1
                kind = f"{series.modality}-{count[series.modality]:02d}"
                folders[one] = f"{patient}/{public.rsplit('-', 1)[-1]}/{kind}"
            folder = folders[one]
            for file in series.files:
                if file in renamed:
                    continue  # another volume is in it, too
                written[folder] += 1
                ends = ".dcm" if not nifti else ".nii.gz" if file.lower().endswith(".gz") else ".nii"
                renamed[file] = f"{folder}/{written[folder]:04d}{ends}"
        return public, renamed

    def _by_bids(self, series: Series, name: str) -> str:
        """Name of a NIfTI file that has one by BIDS; "" if it has none, or one that tells who it is.

        Labels of a data set are pseudonyms, and other files refer to them: they stay, unless a trial has its own.
        """
        from defacedask.io.bids.names import public_folder, relabelled, subject_label

        inside = series.facts.get("bids", "")
        if inside and name.endswith(inside):
            folder = public_folder(name.removesuffix(inside), self.uids)
        elif _BIDS.fullmatch(name):
            folder, inside = "", name
        else:
            return ""
        assert self.identity is not None
        if self.trial.get("subject") or self.identity.words.find(inside):
            inside = relabelled(inside, subject_label(self.identity.new_id))
        return "" if self.identity.words.find(inside) else folder + inside

    def place(self, source: str) -> Path:
        """File to write for a source file, in the folder aside."""
        return self.partial / self.relative(source)

    def relative(self, source: str) -> str:
        """Path of the file for a source file, below ``out``, without source UIDs."""
        from defacedask.io.dicom.export.names import clean_name, fitting

        name = self.renamed.get(source) or clean_name(self.names[source], self.uids, self.known)
        folder, _, last = name.rpartition("/")  # new UIDs may be longer than those they replace
        name = f"{folder}/{fitting(last)}" if folder else fitting(last)
        return f"{self.below}/{name}" if self.below else name

    @property
    def context(self) -> Context:
        """What the writers share."""
        from defacedask.io.dicom.export import Context

        return Context(
            self.remap,
            self.defacer,
            self.version,
            self.digest,
            self.private,
            self.visible,
            self.reversible,
            frozenset(n for s in self.case.series for n in s.facts.get("study_numbers", (s.number,))),
        )

    def hold(self, series: Series, reason: str) -> None:
        """Leave a series out, and say why."""
        said = {one["source"] for one in self.held}
        for source in series.files:
            if source in said:
                continue  # another volume in the same file
            self.held.append(
                {
                    "source": source,
                    "modality": series.modality,
                    "reason": reason,
                    "what": self.relative(source),
                }
            )

    # --- into place

    def publish(self) -> None:
        """Move everything into place and write this case's part of the record."""
        from defacedask.io.dicom.export.audit import write_lines

        before = self._earlier_lines()
        earlier = {str(line["file"]) for line in before}
        lines = [self._line(one) for one in self.done]
        now = {line["file"] for line in lines}
        for name in now - earlier:
            if os.path.lexists(self.out / name):
                raise OutputError(
                    f"{name} is already in the output folder and not of an earlier run of this case.",
                    "Remove it, or choose an empty output folder.",
                )
        for one in self.held:
            lines.append(self._refused(one["source"], one["modality"], one["reason"]))
        # whoever is killed from here on has said what may be there, so that the next run takes it for its own
        write_lines(self.part, [*lines, *(line for line in before if line["file"] not in now)])
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
        if earlier - now:
            write_lines(self.part, lines)

    def _earlier(self) -> set[str]:
        """Files that an earlier run wrote of this case, also where its part of the record is damaged."""
        return {str(line["file"]) for line in self._earlier_lines()}

    def _earlier_lines(self) -> list[dict[str, Any]]:
        """Lines of the record of these files."""
        from defacedask.io.dicom.export.audit import AUDIT, read_lines

        try:
            lines = read_lines(self.part)
        except StoreError:
            try:
                lines = [
                    line
                    for line in read_lines(self.out / AUDIT)
                    if (line.get("case"), line.get("defacer")) == (self.public, self.defacer)
                ]
            except StoreError:
                lines = []
        return [line for line in lines if line.get("status") == "written" and _inside(line.get("file"))]

    def give_up(self, reason: str) -> None:
        """Remove what this and earlier runs wrote of the case; record each instance as refused."""
        from defacedask.io.dicom.export.audit import write_lines

        shutil.rmtree(self.partial, ignore_errors=True)
        shutil.rmtree(self.masks, ignore_errors=True)
        for name in self._earlier():
            (self.out / name).unlink(missing_ok=True)
        lines = [
            self._refused(source, series.modality, reason)
            for source, series in self.case.files.items()
            if source in self.names
        ]
        with contextlib.suppress(OutputError):
            write_lines(self.part, lines)

    def _line(self, one: Written) -> dict[str, Any]:
        from defacedask.io.dicom.export.audit import audit_line

        return audit_line(
            "written",
            Path(one.path).relative_to(self.partial).as_posix(),
            case=self.public,
            defacer=self.defacer,
            modality=one.modality,
            sop_instance_uid=one.uid,
            input_sha256=one.input_sha256,
            output_sha256=one.output_sha256,
            plan_sha256=self.digest,
            voxels_changed=one.voxels_changed,
            unresolved=self.unresolved.get(one.path, 0),
            deidentified=self.identity is not None,
            visible=self.visible,
            reversible=self.reversible,
            **self._measured(one.source),
            **({"made": True, "not_to_be_analysed": self.touched} if one.made else {}),
            dropped=list(one.dropped),
            notes=[self._safe(note) for note in one.notes],
        )

    def _measured(self, source: str) -> dict[str, Any]:
        """What was measured on an image itself; for what is no image, on the one that the plan was made on."""
        found = self.judged.get(source)
        moved = self.moved if found is None else found.moved
        out: dict[str, Any] = {"face_moved": None if moved is None else round(moved, 4)}
        return out if found is None else {**out, "witness": found.figures}

    def _refused(self, source: str, modality: str, reason: str) -> dict[str, Any]:
        from defacedask.io.dicom.export.audit import audit_line, hash_of_source

        return audit_line(
            "refused",
            self.relative(source),
            case=self.public,
            defacer=self.defacer,
            modality=modality,
            input_sha256=hash_of_source(source),
            plan_sha256=self.digest,
            reason=self._safe(reason),
        )

    def _safe(self, text: str) -> str:
        """A sentence without source paths or UIDs: the record lies beside what may be published."""
        for source in self.names:
            if source in text:
                text = text.replace(source, self.relative(source))
            if self.identity is not None and Path(source).name in text:
                text = text.replace(Path(source).name, Path(self.relative(source)).name)
        from defacedask.io.dicom.export import clean_name

        text = clean_name(text, self.uids, self.known)
        if self.identity is not None:
            for old in (self.case.id, self.case.patient_id):
                text = text.replace(old, self.public) if len(old) > 3 else text
            text = self.identity.words.clean(text)
        return re.sub(r"(?<![\w.])/(?:[^\s/'\"]+/)+", "", text)

    def counts(self) -> dict[str, int]:
        """Instances written, by modality."""
        out: dict[str, int] = {}
        for one in self.done:
            out[one.modality] = out.get(one.modality, 0) + 1
        return out


def _inside(name: Any) -> bool:
    """Whether a name leads to a file below a folder."""
    path = Path(name) if isinstance(name, str) and name else None
    return path is not None and ".." not in path.parts and not path.is_absolute()
