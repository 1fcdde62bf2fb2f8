"""A trial's own ids for patients, and what its images say of the trial (PS3.3 C.7.1.3, C.7.3.4)."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import hmac
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import ConfigError, InputError
from defacedask.io.bids.names import subject_label
from defacedask.io.dicom.persons import plain_id
from defacedask.io.store import writing
from defacedask.whole_files import replacing

if TYPE_CHECKING:
    from defacedask.io.dicom.export.words import Words
    from defacedask.io.dicom.model import Case

__all__ = [
    "FIELDS",
    "TrialIds",
    "check_trial",
    "facts_by_case",
    "patient_ids",
    "read_ids",
    "subject_labels",
    "trial_code",
    "trial_facts",
    "write_patient_ids",
]

#: What can be said of a trial: name of the option -> DICOM keyword.
FIELDS = {
    "sponsor": "ClinicalTrialSponsorName",
    "protocol": "ClinicalTrialProtocolID",
    "protocol-name": "ClinicalTrialProtocolName",
    "site": "ClinicalTrialSiteID",
    "site-name": "ClinicalTrialSiteName",
}
_PATIENT = ("patientid", "patient")
_SUBJECT = ("subjectid", "clinicaltrialsubjectid", "trialid", "subject", "newid")
_SITE = ("siteid", "clinicaltrialsiteid", "site")
#: Characters of an id (LO).
LONGEST = 64


def trial_facts(given: Iterable[str] | Mapping[str, str]) -> dict[str, str]:
    """What was said of the trial, by DICOM keyword.

    Parameters
    ----------
    given : iterable of str or mapping
        ``NAME=VALUE`` of `FIELDS`, or the same as a mapping.

    Raises
    ------
    ConfigError
        For an unknown name, a value that DICOM cannot hold, or a protocol without its sponsor: the standard asks for
        both.
    """
    pairs = (
        list(given.items())
        if isinstance(given, Mapping)
        else [tuple(one.partition("=")[::2]) for one in given]
    )
    out: dict[str, str] = {}
    for name, value in pairs:
        if name not in FIELDS:
            raise ConfigError(f"nothing called {name!r} can be said of a trial.", f"Use {', '.join(FIELDS)}.")
        out[FIELDS[name]] = _checked(value, f"the trial's {name}")
    if out and not {FIELDS["sponsor"], FIELDS["protocol"]} <= out.keys():
        raise ConfigError(
            "of a trial DICOM asks for the sponsor and the id of the protocol.",
            "Give --trial sponsor=NAME and --trial protocol=ID.",
        )
    return out


def _checked(value: str, what: str) -> str:
    text = value.strip()
    if not text or len(text) > LONGEST or re.search(r"[\\\x00-\x1f\x7f]", text):
        raise ConfigError(
            f"{what} is {value!r}.",
            f"It needs 1 to {LONGEST} characters, no backslash and no control character.",
        )
    return text


@dataclasses.dataclass(frozen=True)
class TrialIds:
    """A trial's ids of patients.

    Attributes
    ----------
    rows : tuple of (str, str, str)
        PatientID as it was written, the trial's id, the id of the site or "".
    """

    rows: tuple[tuple[str, str, str], ...]

    def of(self, cases: Sequence[Case]) -> dict[str, dict[str, str]]:
        """The trial's id of every case.

        Parameters
        ----------
        cases : sequence of Case

        Returns
        -------
        dict
            Case id -> ``subject`` and, where given, ``site``.

        Raises
        ------
        InputError
            If a patient is not in the map, or two rows in different spellings mean one patient.
        """
        exact = {old: (new, site) for old, new, site in self.rows}
        plain: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for old, new, site in self.rows:
            plain[plain_id(old)].add((new, site))
        labels = sorted({case.patient_id for case in cases})
        same = defaultdict(list)
        for label in labels:
            same[plain_id(label)].append(label)
        found: dict[str, dict[str, str]] = {}
        missing = []
        for case in cases:
            label = case.patient_id
            short = re.sub(r"^sub-", "", label)
            hits = {exact[name] for name in (label, short) if name in exact}
            # another spelling of the id, where it can mean nobody else
            hits = hits or (plain[plain_id(label)] if len(same[plain_id(label)]) == 1 else set())
            if len(hits) > 1:
                raise InputError(
                    f"the map has {len(hits)} ids for the patient {label}.", "Leave one row for each patient."
                )
            if not hits:
                missing.append(label)
                continue
            ((new, site),) = hits
            found[case.id] = {"subject": new, **({"site": site} if site else {})}
        if missing:
            names = sorted(set(missing))
            raise InputError(
                f"{len(names)} of the patients are not in the map: {', '.join(names[:5])}"
                f"{', ...' if len(names) > 5 else ''}.",
                "Add their rows, or leave their images out.",
            )
        _one_person_each(cases, found)
        theirs = {plain_id(case.patient_id) for case in cases if case.primary.facts.get("format") != "NIfTI"}
        for new in sorted({one["subject"] for one in found.values()}):
            if plain_id(new) in theirs:
                raise InputError(
                    f"the trial's id {new} is the id of a patient.", "Choose ids that tell nothing of them."
                )
        return found

    def check(self, words: Words) -> None:
        """See that no id of the trial names somebody.

        Raises
        ------
        InputError
            If one holds a name or an id from the headers: it would come out with the files.
        """
        bad = [new for _, new, site in self.rows if words.find(new) or words.find(site)]
        if bad:
            raise InputError(
                f"{len(bad)} of the trial's ids hold a name or an id from the headers.",
                "Choose ids that tell nothing of the patient.",
            )


def _one_person_each(cases: Sequence[Case], found: Mapping[str, Mapping[str, str]]) -> None:
    persons: dict[str, set[str]] = defaultdict(set)
    labels: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        new = found[case.id]["subject"]
        persons[new.casefold()].add(case.patient_id)
        if any("bids" in s.facts for s in case.images):
            labels[subject_label(new).casefold()].add(case.patient_id)
    for new, people in (*persons.items(), *labels.items()):
        if not new:
            raise InputError(
                f"the trial's id of {min(people)} has neither letter nor digit.", "BIDS needs one of them."
            )
        if len(people) > 1:
            raise InputError(
                f"the map gives {len(people)} patients one id ({new}): {', '.join(sorted(people)[:3])}.",
                "Each needs an id of its own; in BIDS letters and digits alone tell them apart.",
            )


def read_ids(path: str | os.PathLike[str]) -> TrialIds:
    """Read a table of ids.

    Parameters
    ----------
    path : path
        CSV (comma, semicolon or tab) with a line of names: ``patient_id``, ``subject_id`` and, if wanted,
        ``site_id``. DICOM's own names (PatientID, ClinicalTrialSubjectID, ClinicalTrialSiteID) do as well.

    Raises
    ------
    InputError
        If it cannot be read, lacks a column, or gives one patient two ids or two patients one.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"the map {file} cannot be read ({error.strerror}).", "Check the name.") from None
    except UnicodeDecodeError:
        raise InputError(f"the map {file.name} is no text in UTF-8.", "Save it as CSV in UTF-8.") from None
    lines = [line for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    mark = max(",;\t", key=first.count)
    table = list(csv.reader(lines, delimiter=mark))
    names = [re.sub(r"[^a-z]", "", name.lower()) for name in (table[0] if table else [])]
    columns = [
        next((k for k, name in enumerate(names) if name in wanted), -1)
        for wanted in (_PATIENT, _SUBJECT, _SITE)
    ]
    if columns[0] < 0 or columns[1] < 0:
        raise InputError(
            f"the first line of the map {file.name} does not name the columns patient_id and subject_id.",
            "Write patient_id,subject_id above the ids.",
        )
    rows: dict[str, tuple[str, str]] = {}
    used: dict[str, str] = {}
    for number, row in enumerate(table[1:], 2):
        old, new, site = ((row[k].strip() if 0 <= k < len(row) else "") for k in columns)
        if not old or not new:
            raise InputError(
                f"row {number} of the map {file.name} lacks an id.", "Fill it in, or remove the row."
            )
        try:
            new = _checked(new, f"the trial's id in row {number} of the map")
            site = _checked(site, f"the site in row {number} of the map") if site else ""
        except ConfigError as error:
            raise InputError(error.message, error.hint) from None
        if rows.setdefault(old, (new, site)) != (new, site):
            raise InputError(f"the map {file.name} has two ids for {old}.", "Leave one row for each patient.")
        if plain_id(used.setdefault(new.casefold(), old)) != plain_id(old):
            raise InputError(
                f"the map {file.name} gives {new} to two patients.", "Each needs an id of its own."
            )
    if not rows:
        raise InputError(f"the map {file.name} has no rows.", "Write one for each patient.")
    return TrialIds(tuple((old, *new) for old, new in rows.items()))


def facts_by_case(
    table: TrialIds | None, about: Mapping[str, str], cases: Sequence[Case]
) -> dict[str, dict[str, str]]:
    """What the headers of each case say of the trial.

    Parameters
    ----------
    table : TrialIds, optional
    about : mapping
        From `trial_facts`.
    cases : sequence of Case

    Returns
    -------
    dict
        Case id -> as `defacedask.io.dicom.export.identity.Identity` takes it; empty without a trial.

    Raises
    ------
    ConfigError
        If the table names sites, and nothing is said of the trial.
    InputError
        See `TrialIds.of`.
    """
    found = {} if table is None else table.of(cases)
    out: dict[str, dict[str, str]] = {}
    for case in cases:
        own = dict(found.get(case.id, {}))
        site = own.pop("site", "")
        if site and not about:
            raise ConfigError(
                "the map names sites, and DICOM has no place for them without the trial.",
                "Give --trial sponsor=NAME and --trial protocol=ID.",
            )
        out[case.id] = {**about, **own, **({FIELDS["site"]: site} if site else {})}
    return {name: facts for name, facts in out.items() if facts}


def trial_code(facts: Mapping[str, str], key: bytes) -> str:
    """Code of what is said of the trial in a case's headers, under the run's key: ids of patients are among it."""
    text = json.dumps(dict(facts), sort_keys=True).encode()
    return hmac.new(key, b"defacedask trial 1" + text, hashlib.sha256).hexdigest()


def check_trial(about: Mapping[str, str], ids: Any, deidentify: bool) -> None:
    """See that headers are de-identified where something is to be said in them.

    Raises
    ------
    ConfigError
        If they are not.
    """
    if (about or ids is not None) and not deidentify:
        raise ConfigError(
            "a trial's ids and facts are written where headers are de-identified.",
            "Add --deidentify, or leave them out.",
        )


def patient_ids(
    rows: Iterable[Mapping[str, Any]], given: Mapping[str, Mapping[str, str]]
) -> list[dict[str, str]]:
    """Which patient got which id, as `write_patient_ids` takes it.

    Parameters
    ----------
    rows : iterable of mapping
        Of `defacedask.runs.deface.DefaceResult.cases`.
    given : mapping
        From `facts_by_case`.
    """
    return [
        {
            "case": row["case"],
            "patient_id": row["patient"],
            "new_patient_id": row["new_patient_id"],
            "site_id": given.get(row["case"], {}).get(FIELDS["site"], ""),
        }
        for row in rows
        if row.get("new_patient_id")
    ]


def subject_labels(
    rows: Iterable[Mapping[str, Any]], given: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """Labels of a data set's subjects that the trial has other ids for: ``sub-01`` -> ``sub-TRI7``."""
    out = {}
    for row in rows:
        subject = given.get(row["case"], {}).get("subject", "")
        if subject and str(row["patient"]).startswith("sub-"):
            out[str(row["patient"])] = f"sub-{subject_label(subject)}"
    return out


def write_patient_ids(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Keep which patient got which id, for the owner of the key alone.

    Parameters
    ----------
    path : Path
        In the run's own folder, beside its key.
    rows : iterable of mapping
        ``case``, ``patient_id``, ``new_patient_id``, ``site_id``.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    columns = ("case", "patient_id", "new_patient_id", "site_id")
    with (
        writing(f"the table {path.name}"),
        replacing(path, mode=0o600) as aside,
        aside.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file,
    ):
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows([[row.get(name, "") for name in columns] for row in rows])
