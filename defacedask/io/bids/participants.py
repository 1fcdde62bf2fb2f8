"""Sex and age of whoever an image shows, from the tables of its data set.

``participants.tsv`` says both, ``participants.json`` in what units and by which levels; the age of
``sub-01_sessions.tsv`` counts for its session before that of the participant (BIDS 1.10, Data summary files).
What cannot be read is one note a file, and what is not clear is not known: results are then told for fewer groups.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from defacedask.io.bids.names import DESCRIPTION, dataset_of, parse
from defacedask.io.bids.tables import Table, read_table
from defacedask.io.dicom.series_facts import Series

__all__ = ["Described", "age_in_years", "capped_age", "described", "sex_by_word", "with_participants"]

NAME = "participants"
#: Bytes; a larger file is no table of people.
LARGEST = 2**26
#: Years from which an age tells who it is.
OLD = 89
#: Years of a unit of ages, by its first letter.
_YEARS = {"y": 1.0, "m": 1 / 12, "w": 7 / 365.25, "d": 1 / 365.25}
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O"}
#: Ids that a note names; the others are counted.
_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Described:
    """What `with_participants` gives.

    Attributes
    ----------
    files : list of Series
        As given; with the facts ``sex`` and ``age`` where a table has them.
    notes : list of str
        Tables that are damaged or contradict themselves.
    """

    files: list[Series]
    notes: list[str]


def with_participants(files: Sequence[Series]) -> Described:
    """Give NIfTI files the sex and age that the tables beside them have.

    Parameters
    ----------
    files : sequence of Series
        NIfTI files. The table is that of the data set, or of the data set that this one is derived from; where there
        is no data set, that beside the folders ``sub-``, or beside the file.

    Returns
    -------
    Described
    """
    tables: dict[Path, _People] = {}
    sessions: dict[Path, _People] = {}
    notes: list[str] = []
    out = []
    for one in files:
        path = Path(one.files[0])
        name = parse(path.name)
        facts: dict[str, Any] = {}
        for folder in _folders(path):
            file = folder / f"{NAME}.tsv"
            if file not in tables:
                tables[file] = _People.read(file, "participant_id", notes)
            if not tables[file].there:
                continue
            facts = dict(tables[file].of(one.patient_id))
            subject, session = (name.label("sub"), name.label("ses")) if name else ("", "")
            if session:
                own = folder / f"sub-{subject}" / f"sub-{subject}_sessions.tsv"
                if own not in sessions:
                    sessions[own] = _People.read(own, "session_id", notes)
                facts |= sessions[own].of(f"ses-{session}")
            break
        out.append(dataclasses.replace(one, facts={**one.facts, **facts}) if facts else one)
    return Described(out, notes)


def sex_by_word(word: str, levels: dict[str, Any] | None = None) -> str:
    """``F``, ``M`` or ``O``; "" for anything else.

    Parameters
    ----------
    word : str
        As in the table.
    levels : dict, optional
        What its values mean, by the table's description.
    """
    meaning = (levels or {}).get(word.strip(), word)
    if isinstance(meaning, dict):  # BIDS allows a level to be described at length
        meaning = meaning.get("Description", "")
    found = re.match(r"[A-Za-z]+", str(meaning).strip())
    return _SEXES.get(found[0].lower(), "") if found else ""


def age_in_years(word: str, unit: str = "years") -> float | None:
    """Years; None where it is no age. ``89+`` reads as 89."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*\+?", word.strip())
    factor = _YEARS.get(unit.strip().lower()[:1] or "y")
    if not found or factor is None:
        return None
    years = round(float(found[1]) * factor, 2)
    return years if years < 130 else None


def capped_age(word: str, unit: str = "years") -> str:
    """An age as it may be published: one from `OLD` years on is told as that and a plus, in its own unit.

    A range, ``90-95`` or ``95+``, and a number with words count by their largest number.
    """
    factor = _YEARS.get(unit.strip().lower()[:1] or "y", 1.0)
    numbers = [float(n) for n in re.findall(r"\d+(?:\.\d*)?|\.\d+", word)]
    return f"{OLD / factor:.0f}+" if numbers and max(numbers) * factor >= OLD else word


def described(facts: Any) -> Callable[[str], dict[str, Any]]:
    """Column, in lower case -> what a table's JSON says of it."""
    lower = {str(k).lower(): v for k, v in facts.items()} if isinstance(facts, dict) else {}

    def about(column: str) -> dict[str, Any]:
        one = lower.get(column)
        return one if isinstance(one, dict) else {}

    return about


# --- steps


def _folders(path: Path) -> list[Path]:
    """Folders whose table may be about an image, the nearest first."""
    root = dataset_of(path)
    if root is not None:
        return [root, *(folder for folder in root.parents if (folder / DESCRIPTION).is_file())]
    above = [folder.parent for folder in path.parents if folder.name.startswith("sub-")]
    return list(dict.fromkeys([path.parent, *above[-1:]]))


class _People:
    """One table: id -> what it says of sex and age."""

    def __init__(self, rows: dict[str, dict[str, Any]], there: bool) -> None:
        self.rows, self.there = rows, there

    def of(self, who: str) -> dict[str, Any]:
        """Facts of a participant, by the label with or without ``sub-``."""
        return self.rows.get(who) or self.rows.get(who.removeprefix("sub-")) or {}

    @classmethod
    def read(cls, file: Path, key: str, notes: list[str]) -> _People:
        """Read it; what is wrong with it becomes a note."""
        try:
            if not file.is_file():
                return cls({}, False)
            if file.stat().st_size > LARGEST:
                raise ValueError("it is too large")
            text = file.read_text("utf-8")
        except (OSError, ValueError) as error:
            why = "it is no UTF-8 text" if isinstance(error, UnicodeError) else str(error)
            notes.append(f"{file} cannot be read ({why}): it tells nobody's sex and age.")
            return cls({}, True)
        rows = [{name.strip().lower(): cell for name, cell in row.items()} for row in read_table(text)]
        if not rows:
            # a table of nobody is no damage
            if len(text.strip("\ufeff \r\n\t").splitlines()) > 1:
                notes.append(
                    f"{file} is no table of tab-separated columns, each with a name and of one length: it tells "
                    "nobody's sex and age."
                )
            return cls({}, True)
        if key not in rows[0]:
            notes.append(f"{file} has no column {key}: it tells nobody's sex and age.")
            return cls({}, True)
        return cls(_agreed(rows, key, file, notes), True)


def _agreed(rows: Table, key: str, file: Path, notes: list[str]) -> dict[str, dict[str, Any]]:
    """Facts of each id; of one with several rows what they agree on."""
    about = _description(file.with_suffix(".json"))
    levels, unit = about("sex").get("Levels"), str(about("age").get("Units", "years"))
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        sex = sex_by_word(row.get("sex", ""), levels if isinstance(levels, dict) else None)
        facts = {"sex": sex, "age": age_in_years(row.get("age", ""), unit)}
        found[row[key].strip()].append(facts)
    unclear = [who for who, several in found.items() if any(one != several[0] for one in several)]
    if unclear:
        more = f" and {len(unclear) - _NAMED} more" if len(unclear) > _NAMED else ""
        notes.append(
            f"{file} has several rows for {', '.join(unclear[:_NAMED])}{more}: of sex and age only what all of them "
            "say is used."
        )
    out = {}
    for who, several in found.items():
        same = {name: value for name, value in several[0].items() if all(o[name] == value for o in several)}
        out[who] = {name: value for name, value in same.items() if value not in ("", None)}
    return out


def _description(file: Path) -> Any:
    """Column -> what a table's JSON says of it; nothing where that is missing or damaged."""
    try:
        facts = json.loads(file.read_text("utf-8-sig")) if file.stat().st_size < LARGEST else {}
    except (OSError, ValueError, RecursionError):
        facts = {}
    return described(facts)
