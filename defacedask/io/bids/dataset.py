"""The files of a data set that belong to no image: carried on for what is there, and no more.

A validator asks that tables name who is there and nobody else, and that every file is one that the standard knows or
``.bidsignore`` names. Sidecars above the images are not carried on: what they say stands in each image's own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import OutputError, RefusedError
from defacedask.io.bids.description import README, cleaned, described_dataset
from defacedask.io.bids.names import DESCRIPTION, is_standard_mask, parse, public_folder
from defacedask.io.bids.outcomes import COLUMNS, DICTIONARY, outcome_rows
from defacedask.io.bids.participants import capped_age, described
from defacedask.io.bids.tables import read_table, reduced, table_text
from defacedask.io.bids.transforms import as_text, transforms_in
from defacedask.io.store import writing
from defacedask.whole_files import file_hash, write_whole

if TYPE_CHECKING:
    from defacedask.io.dicom.export.words import Words
    from defacedask.io.dicom.model import Scan

__all__ = ["DATASET", "DataSet", "data_sets", "inputs_of", "write_data_set"]

#: Modality of their lines in the record.
DATASET = "dataset"
OUTCOMES = "participants_defacing"
#: Columns that stay where headers are de-identified.
_COLUMNS = {
    "participants": {"participant_id", "species", "strain", "strain_rrid", "age", "sex", "handedness"},
    "sessions": {"session_id"},
    "scans": {"filename"},
}
_TEXTS = ("README", "README.md", "README.rst", "README.txt", "CHANGES", "LICENSE", "CITATION.cff")
_RECORD = ("audit.jsonl", "audit.seal.json")


@dataclasses.dataclass(frozen=True)
class DataSet:
    """One data set of a run.

    Attributes
    ----------
    root : Path
        Of the source.
    folder : str
        Of the copy, below the output: "" or a path that ends with ``/``.
    """

    root: Path
    folder: str


def inputs_of(found: Scan, inputs: Iterable[Any]) -> list[str]:
    """Folders from which the paths of files count: a data set keeps its own shape, whatever part of it was named.

    Parameters
    ----------
    found : Scan
    inputs : iterable of path
        What the user named.

    Returns
    -------
    list of str
        The inputs, and the roots of data sets that lie below none of them; inputs within one of these are left out.
    """
    named = [Path(one).absolute() for one in inputs]
    roots = {
        Path(s.files[0][: -len(s.facts["bids"])])
        for case in found.cases
        for s in case.images
        if "bids" in s.facts
    }
    outer = [r for r in roots if not any(r == n or n in r.parents for n in named)]
    outer = [r for r in outer if not any(o in r.parents for o in outer)]
    rest = [n for n in named if not any(r in n.parents for r in outer)]
    return [str(one) for one in dict.fromkeys([*rest, *sorted(outer)])]


def data_sets(found: Scan, names: Mapping[str, str], new: Any = None) -> list[DataSet]:
    """Data sets whose images keep their paths, the outer before the inner.

    Parameters
    ----------
    found : Scan
    names : mapping
        Source file -> path below the output.
    new : callable, optional
        The run's map of UIDs, where files are de-identified.
    """
    out: dict[Path, str] = {}
    for case in found.cases:
        for series in case.images:
            inside = series.facts.get("bids", "")
            name = names.get(series.files[0], "")
            if inside and name.endswith(inside):
                folder = name.removesuffix(inside)
                out[Path(series.files[0][: -len(inside)])] = public_folder(folder, new) if new else folder
    return [DataSet(root, folder) for root, folder in sorted(out.items(), key=lambda one: one[1])]


def write_data_set(
    one: DataSet,
    out: Path,
    lines: Sequence[Mapping[str, Any]],
    left_out: Sequence[Mapping[str, Any]],
    *,
    defacer: str,
    version: str,
    reversible: bool,
    words: Words | None = None,
    subjects: Mapping[str, str] | None = None,
    earlier: Iterable[str] = (),
) -> tuple[list[dict[str, Any]], set[str]]:
    """Write what a data set has beside its images.

    Parameters
    ----------
    one : DataSet
    out : Path
        Output folder.
    lines : sequence of mapping
        Lines of the record whose files belong to this data set, with ``file`` below it.
    left_out : sequence of mapping
        The same for images that the scan skipped.
    defacer, version : str
    reversible : bool
    words : Words, optional
        Of the people in the cohort, where headers are de-identified: then texts of the source stay behind, and tables
        keep only columns that are known to carry no identity.
    subjects : mapping, optional
        Old ``sub-LABEL`` -> new, of those that got another.
    earlier : iterable of str
        Files of an earlier run, which may be replaced.

    Returns
    -------
    lines : list of dict
        Of the record.
    used : set of str
        Files of the source that were carried on.

    Raises
    ------
    OutputError
        If a file is in the way, or nothing can be written.
    """
    work = _Work(one, out, words, dict(subjects or {}), frozenset(earlier))
    images = [
        line
        for line in lines
        if line.get("status") in ("written", "copied") and parse(Path(line["file"]).name)
    ]
    images = [line for line in images if line["modality"] not in ("defacemask", "sidecar")]
    there = {str(line["file"]) for line in images}
    work.description(defacer, version, reversible)
    work.texts(defacer, version, reversible)
    work.tables(there)
    looked = [line for line in lines if line["status"] == "refused" or line in images]
    rows = outcome_rows([(Path(str(line["file"])).name, line) for line in (*looked, *left_out)], defacer)
    work.write(f"{OUTCOMES}.tsv", table_text(rows, list(COLUMNS)))
    work.write(f"{OUTCOMES}.json", _json(DICTIONARY))
    odd = [
        f"/{line['file']}"
        for line in lines
        if line.get("modality") == "defacemask" and not is_standard_mask(str(line["file"]))
    ]
    work.ignore([*odd, *work.transforms(there)])
    return work.lines, work.used


def _json(facts: Any) -> str:
    return json.dumps(facts, indent=2, ensure_ascii=False) + "\n"


@dataclasses.dataclass
class _Work:
    one: DataSet
    out: Path
    words: Words | None
    subjects: dict[str, str]
    earlier: frozenset[str]
    lines: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    used: set[str] = dataclasses.field(default_factory=set)
    name: str = ""

    def read(self, name: str) -> str:
        """Text of a file of the source, "" if there is none that can be read."""
        try:
            return (self.one.root / name).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return ""

    def write(self, name: str, text: str, source: str = "", notes: Sequence[str] = ()) -> None:
        """Write a file of the data set, and its line."""
        from defacedask.io.dicom.export.audit import audit_line

        path = self.one.folder + name
        if source:
            self.used.add(str(self.one.root / source))
        target = self.out / path
        if target.exists() and path not in self.earlier:
            raise OutputError(
                f"{path} is already in the output folder and not of an earlier run.",
                "Choose an empty output folder.",
            )
        with writing(f"the file {path}"):
            write_whole(target, text)
        self.lines.append(
            audit_line(
                "written",
                path,
                modality=DATASET,
                input_sha256=file_hash(self.one.root / source) if source else "",
                output_sha256=file_hash(target),
                deidentified=self.words is not None,
                notes=list(notes),
            )
        )

    def facts(self, name: str) -> dict[str, Any]:
        """Fields of a JSON file of the source; empty if it has none that can be read."""
        try:
            facts = json.loads(self.read(name) or "{}")
        except (ValueError, RecursionError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def description(self, defacer: str, version: str, reversible: bool) -> None:
        facts = self.facts(DESCRIPTION)
        new = described_dataset(
            facts, defacer=defacer, version=version, reversible=reversible, words=self.words
        )
        self.name = str(new["Name"])
        notes = [] if facts else ["the source's could not be read"]
        self.write(DESCRIPTION, _json(new), DESCRIPTION, notes)

    def texts(self, defacer: str, version: str, reversible: bool) -> None:
        """Texts of the source, where headers stay; a README of our own where there is none."""
        there = [name for name in _TEXTS if (self.one.root / name).is_file() and self.read(name)]
        kept = there if self.words is None else [name for name in there if name == "LICENSE"]
        for name in kept:
            self.write(name, self.read(name), name)
        if not any(name.startswith("README") for name in kept):
            what = "covered, and can be un-masked" if reversible else "removed"
            self.write("README", README.format(name=self.name, what=what, version=version, defacer=defacer))

    # --- tables

    def tables(self, there: set[str]) -> None:
        """participants.tsv, sessions.tsv and scans.tsv of who and what is there."""
        subjects = {name.split("/")[0] for name in there}
        used: dict[str, set[str]] = {}
        self._table(
            "participants.tsv",
            "participants",
            lambda row: self._new(row.get("participant_id", "")) in subjects,
            used,
        )
        for file in sorted(self.one.root.glob("sub-*/sub-*_sessions.tsv")):
            old = file.parent.name
            sessions = {name.split("/")[1] for name in there if name.startswith(f"{self._new(old)}/ses-")}
            self._table(
                file.relative_to(self.one.root).as_posix(),
                "sessions",
                lambda row, sessions=sessions: row.get("session_id") in sessions,
                used,
            )
        for pattern in ("sub-*/sub-*_scans.tsv", "sub-*/ses-*/sub-*_scans.tsv"):
            for file in sorted(self.one.root.glob(pattern)):
                inside = file.relative_to(self.one.root).as_posix()
                folder = inside.rpartition("/")[0]
                self._table(
                    inside,
                    "scans",
                    lambda row, folder=folder: self._named(f"{folder}/{row.get('filename', '')}") in there,
                    used,
                )
        for kind, columns in used.items():
            facts = self.facts(f"{kind}.json")
            facts = {name: value for name, value in facts.items() if name in columns}
            if facts:
                facts = facts if self.words is None else cleaned(facts, self.words)
                self.write(f"{kind}.json", _json(facts), f"{kind}.json")

    def _new(self, subject: str) -> str:
        return self.subjects.get(subject, subject)

    def _named(self, inside: str) -> str:
        """A path below the data set, under the new labels."""
        return re.sub(r"sub-[A-Za-z0-9]+", lambda match: self._new(match[0]), inside)

    def _table(self, inside: str, kind: str, keep: Any, used: dict[str, set[str]]) -> None:
        rows = read_table(self.read(inside))
        if not rows:
            return
        left, columns = reduced(rows, keep, None if self.words is None else _COLUMNS[kind])
        if not left or not columns:
            return
        dropped = [name for name in rows[0] if name not in columns]
        used.setdefault(kind, set()).update(columns)
        notes = [f"{len(rows) - len(left)} rows left out"] if len(left) < len(rows) else []
        notes += [f"{len(dropped)} columns left out"] if dropped else []
        unit = str(described(self.facts(f"{kind}.json"))("age").get("Units", "years"))
        new = [self._row(row, unit) for row in left]
        self.write(self._named(inside), table_text(new, columns), inside, notes)

    def _row(self, row: dict[str, str], unit: str) -> dict[str, str]:
        out = dict(row)
        for name in ("participant_id", "filename"):
            if name in out:
                out[name] = self._named(out[name])
        if self.words is not None:
            out = {name: self.words.clean(value) for name, value in out.items()}
            if "age" in out:
                out["age"] = capped_age(out["age"], unit)
        return out

    # --- transforms

    def transforms(self, there: set[str]) -> list[str]:
        """Rigid and affine maps between what is there, as text; gives those that the standard has no place for."""
        written = []
        for folder in sorted(self.one.root.glob("sub-*")):
            subject = folder.name.removeprefix("sub-")
            mine = [parse(Path(file).name) for file in there if file.startswith(f"{self._new(folder.name)}/")]
            for one in transforms_in(self.one.root, subject):
                some = [name for name in mine if name and one.session in ("", name.label("ses"))]
                if not any(one.fits(end, name) for end in ("from", "to") for name in some):
                    continue
                inside = one.path.relative_to(self.one.root).as_posix()
                new = re.sub(r"_xfm\..+", "_xfm.txt", self._named(inside))
                with contextlib.suppress(RefusedError):
                    self.write(new, as_text(one), inside)
                    written.append(f"/{self.one.folder}{new}")
        return [] if self.facts(DESCRIPTION).get("DatasetType") == "derivative" else written

    # --- what no validator knows

    def ignore(self, masks: Sequence[str]) -> None:
        """``.bidsignore`` of what the standard does not name."""
        own = [f"{OUTCOMES}.tsv", f"{OUTCOMES}.json", *(() if self.one.folder else _RECORD), *masks]
        before = self.read(".bidsignore")
        source = ".bidsignore" if before and self.words is None else ""
        lines = [*(before.splitlines() if source else ()), *own]
        self.write(".bidsignore", "\n".join(dict.fromkeys(lines)) + "\n", source)
