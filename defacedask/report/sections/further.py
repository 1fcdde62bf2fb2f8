"""What a reviewer asks beside verification: the average face, searches of large galleries, and groups of people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from defacedask.attacks.names import ENROLMENT, PLAIN
from defacedask.faces.million import TOO_WIDE
from defacedask.report import numbers
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run
from defacedask.report.sections.privacy import first_cell, rate_cell
from defacedask.tables.evidence import ANY, ORIGINAL, Rate

__all__ = ["average_table", "groups_table", "searches_table"]

_QUIET = Cell(numbers.NOTHING, tone="quiet")
_NAMES = {"sex": "sex", "age_band": "age", "sequence": "sequence"}
#: DICOM's PatientSex.
_SEXES = {"F": "female", "M": "male", "O": "other"}


def average_table(run: Run) -> Table | None:
    """AUC of each defacer less that of the average face on everybody's head, for three ways of looking."""
    table = run.tables["average_face"]
    attacks = [name for name in (PLAIN, ENROLMENT, ANY) if (table["attack"] == name).any()]
    table = table.loc[table["attack"].isin(attacks)]
    if not len(table):
        return None
    several = table["recogniser"].nunique() > 1
    heads = [
        *_heads(several),
        *(Head(f"{name}: {what}") for name in attacks for what in ("AUC", "less the average")),
    ]
    lines = []
    for key, part in _parts(run, table):
        line = _first(key, several)
        for name in attacks:
            rows = part.loc[part["attack"] == name].to_dict("records")
            line += _difference(rows[0], key[0] == CONTROL) if rows else [_QUIET, _QUIET]
        lines.append(line)
    return Table(
        "average",
        "Recognition beyond the average face",
        heads,
        lines,
        (
            "The control has the average face on everybody’s own head, looked at in the same way: what it shows, the "
            "head around the face and its size show. Less the average: the AUC after the defacer minus that of the "
            "control on the same cases, with the 95 % bootstrap interval over persons, drawn once for both. Red: the "
            "interval lies above 0, so more of the person is left than the average face leaves.",
        ),
    )


def _difference(row: dict[str, Any], control: bool) -> list[Cell]:
    low, high, found = row["difference_low"], row["difference_high"], row["difference"]
    auc = cell(f"{row['auc']:.2f}", row["auc"], f"average {row['auc_other']:.2f}")
    if pd.isna(found):
        return [auc, _QUIET]
    known = pd.notna(low)
    small = f"{_signed(low)} to {_signed(high)}" if known else "no interval"
    return [auc, cell(_signed(found), found, small, "bad" if known and low > 0 and not control else "")]


def _signed(number: float) -> str:
    return "0.00" if abs(number) < 0.005 else f"{number:+.2f}".replace("-", "−")


def searches_table(run: Run) -> Table | None:
    """What is missed where few strangers may be named, and what a gallery of a million would make of it."""
    table = run.tables["open_set"]
    table = table.loc[table["attack"].isin([ENROLMENT, ANY]) & (table["defacer"] != CONTROL)]
    if not len(table):
        return None
    several = table["recogniser"].nunique() > 1
    heads = [
        *_heads(several),
        Head("attack", False),
        Head(
            "FNIR at 1 % FPIR",
            title="cases that are not named where 1 % of searches for strangers name somebody",
        ),
        Head("FNIR at 10 % FPIR", title="the same where 10 % do"),
        Head("right person nearest", title="in the gallery of this run, exact 95 % interval"),
        Head("95 % upper bound", title="one-sided exact upper bound of that share"),
        Head("the same of a million", title="estimate; below, its interval: sample and assumed tail"),
    ]
    lines = []
    for key, part in _parts(run, table):
        for row in part.to_dict("records"):
            searches = int(row["mate_searches"])
            nearest = Rate(int(row["rank_1"]), searches)
            own = row["defacer"] == ORIGINAL
            line = [*_first(key, several), text(row["attack"])]
            line += [_rate(row, f"fnir_at_{fpir}", searches, 1 / fpir) for fpir in (0.01, 0.1)]
            line += [
                rate_cell(nearest),
                _QUIET if own else cell(numbers.bound(row["rank_1_upper"]), row["rank_1_upper"]),
                _million(row),
            ]
            lines.append(line)
    return Table(
        "searches",
        "Searches that need not find anybody, and large galleries",
        heads,
        lines,
        (
            "Each case is searched for twice: with its person in the gallery, and without. FPIR: share of searches "
            "without the person that name anybody; FNIR: share of searches with the person that do not name them, as "
            "the nearest and within the limit. A rate of 1 % needs 100 cases, one of 10 % ten.",
            "Of a million: an estimate, never a count. Each case’s distance to its own person is set against the "
            "distribution of distances to others, whose tail is taken for normal; the interval is the widest that a "
            "normal, an exponential and a bounded tail give in a bootstrap over persons. Guessing gives one in a "
            "million.",
        ),
    )


def _rate(row: dict[str, Any], name: str, searches: int, needed: float) -> Cell:
    if pd.isna(row[name]):
        return Cell("not measurable", "", "", "quiet", f"{searches} searches, {needed:.0f} needed")
    return cell(
        numbers.rate(row[name], searches),
        row[name],
        numbers.interval(row[f"{name}_low"], row[f"{name}_high"]),
    )


def _million(row: dict[str, Any]) -> Cell:
    if pd.isna(row["rank_1_million"]):
        return Cell("cannot be told", "", "", "quiet", row["note"])
    low, high = row["rank_1_million_low"], row["rank_1_million_high"]
    shown = numbers.rate(row["rank_1_million"])
    wide = high - low >= TOO_WIDE
    title = row["note"] if wide else ""
    return cell(shown, row["rank_1_million"], numbers.interval(low, high), "quiet" if wide else "", title)


def groups_table(run: Run) -> Table | None:
    """AUC by sex, age and sequence, by any attack."""
    table = run.tables["verification_groups"]
    table = table.loc[(table["attack"] == ANY) & (table["defacer"] != ORIGINAL)]
    if not len(table):
        return None
    several = table["recogniser"].nunique() > 1
    heads = [
        *_heads(several),
        Head("group", False),
        Head("persons"),
        Head(
            "AUC",
            title="by any attack, against everybody of the gallery; 95 % bootstrap interval over persons",
        ),
        Head("AUC within the group", title="against others of the same group alone"),
        Head("right person nearest", title="exact 95 % interval"),
    ]
    lines = []
    for key, part in _parts(run, table):
        for row in part.to_dict("records"):
            few = pd.isna(row["auc"])
            line = [
                *_first(key, several),
                text(f"{_NAMES.get(row['group'], row['group'])}: {_SEXES.get(row['value'], row['value'])}"),
            ]
            line.append(cell(numbers.count(row["persons"]), row["persons"]))
            if few:
                line += [Cell("too few", tone="quiet", title=row["note"]), _QUIET, _QUIET]
            else:
                line += [
                    _auc(row, ""),
                    _auc(row, "_within"),
                    rate_cell(Rate(int(row["rank_1"]), int(row["judged"]))),
                ]
            lines.append(line)
    return Table(
        "groups",
        "Recognition by sex, age and sequence",
        heads,
        lines,
        (
            "From headers and participants.tsv, where they say it; all attacks together. People of another sex or "
            "age are easily told apart without being recognised: within the group, a person is compared with others "
            "of the same group alone. Nothing is told of fewer than six persons.",
        ),
    )


def _auc(row: dict[str, Any], end: str) -> Cell:
    found, low, high = (row[f"{name}{end}"] for name in ("auc", "auc_low", "auc_high"))
    if pd.isna(found):
        return _QUIET
    return cell(f"{found:.2f}", found, "" if pd.isna(low) else f"{low:.2f} to {high:.2f}")


def _heads(several: bool) -> list[Head]:
    return [Head("defacer", False), Head("image", False), *([Head("recogniser", False)] if several else [])]


def _first(key: tuple[str, str, str], several: bool) -> list[Cell]:
    return [first_cell(key[0]), text(key[1]), *([text(key[2])] if several else [])]


def _parts(run: Run, table: pd.DataFrame) -> Iterable[tuple[tuple[str, str, str], pd.DataFrame]]:
    """Rows of each defacer, image and recogniser, defacers in the page's order."""
    order = [ORIGINAL, *run.defacers]
    keys = ["defacer", "modality", "recogniser"]
    groups = [((str(d), str(m), str(r)), part) for (d, m, r), part in table.groupby(keys, sort=False)]
    yield from sorted(
        ((key, part) for key, part in groups if key[0] in order), key=lambda found: order.index(found[0][0])
    )
