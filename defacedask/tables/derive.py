"""The tables that follow from the measured ones: the study's two kinds, and the summary beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd

from defacedask.anatomy.structure_names import STUDY_NAMES
from defacedask.attacks.best_attempts import best_attempts
from defacedask.faces.detection import detection_table
from defacedask.faces.rates import upper_bound
from defacedask.faces.tolerances import tolerance_of
from defacedask.tables import evidence
from defacedask.tables.batches import batches, reader
from defacedask.tables.cost_tables import cost_tables
from defacedask.tables.files import as_table

__all__ = ["attempts", "derive_tables", "faces_detected", "in_order", "sum_detection"]


def in_order(names: Sequence[str]) -> list[str]:
    """Structures in the study's order, then the others by name."""
    return [n for n in STUDY_NAMES if n in names] + sorted(n for n in names if n not in STUDY_NAMES)


def faces_detected(
    recognition: pd.DataFrame, tolerances: Mapping[str, float], controls: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Faces detected and matches, defacer x modality x recogniser, a case counting once.

    Parameters
    ----------
    recognition : DataFrame
        The study's recognition table.
    tolerances : mapping
        Recogniser -> its tolerance, where it has one.
    controls : DataFrame, optional
        With the calibrated threshold of each modality and recogniser.

    Returns
    -------
    DataFrame
        See `defacedask.faces.detection.detection_table`; `matches_any_attack` counts matches at
        the larger of tolerance and calibrated threshold.
    """
    if not len(recognition):
        return as_table("faces_detected", [])
    looks = recognition.assign(detected=recognition["detected"].fillna(False).astype(bool))
    limits = evidence.limits(controls, tolerances)
    found = []
    for (modality, recogniser), part in looks.groupby(["modality", "recogniser"], sort=False):
        calibrated = evidence.threshold(controls, str(modality), str(recogniser))
        own = tolerance_of(tolerances, str(recogniser))
        found.append(detection_table(part, tolerance=own, threshold=calibrated))
    table = pd.concat(found, ignore_index=True)
    joined = evidence.any_attack(evidence.by_case(looks, tolerances, limits))
    hits = joined.groupby(["defacer", "modality", "recogniser"])["matched"].sum()
    keys = zip(table["defacer"], table["modality"], table["recogniser"], strict=True)
    table["matches_any_attack"] = [int(hits.get(key, 0)) for key in keys]
    return as_table("faces_detected", table)


def sum_detection(parts: Iterable[pd.DataFrame], attacks: Mapping[tuple[str, str, str], int]) -> pd.DataFrame:
    """``faces_detected`` of all cases from those of some cases each; no case is in two of them.

    Parameters
    ----------
    parts : iterable of DataFrame
        See `faces_detected`.
    attacks : mapping
        (defacer, modality, recogniser) -> attacks tried on any of the cases.
    """
    rows = list(parts)
    if not rows:
        return as_table("faces_detected", [])
    keys = ["defacer", "modality", "recogniser"]
    counts = ["cases", "faces_detected", "judged", "rank_1", "matches_any_attack"]
    found = []
    for key, part in pd.concat(rows, ignore_index=True).groupby(keys, sort=False):
        row = {**part.iloc[0].to_dict(), **{name: int(part[name].sum()) for name in counts}}
        if part["matches"].notna().all():
            row["matches"] = int(part["matches"].sum())
            row["upper_bound_95"] = upper_bound(row["matches"], row["judged"])
        row["detected_upper_bound_95"] = upper_bound(row["faces_detected"], row["cases"])
        if part["matches_calibrated"].notna().all():
            row["matches_calibrated"] = int(part["matches_calibrated"].sum())
            row["upper_bound_95_calibrated"] = upper_bound(row["matches_calibrated"], row["judged"])
        row["attacks"] = attacks[str(key[0]), str(key[1]), str(key[2])]
        found.append(row)
    return as_table("faces_detected", found)


def derive_tables(
    tables: Mapping[str, pd.DataFrame], tolerances: Mapping[str, float]
) -> dict[str, pd.DataFrame]:
    """Make the derived tables anew from the measured ones.

    Parameters
    ----------
    tables : mapping
        With ``recognition`` and ``radiomics``, and ``controls`` if there is one.
    tolerances : mapping
        Recogniser -> its tolerance, where it has one.

    Returns
    -------
    dict
        ``faces_detected``, ``radiomics_percent``, ``radiomics_summary`` and ``rescan``; see `attempts`, too.
    """
    read = reader(tables)
    attacks: dict[tuple[str, str, str], dict[str, None]] = {}
    keys = ["defacer", "modality", "recogniser", "attack"]
    for part in read("recognition", columns=["case", *keys]):
        for *key, attack in part[keys].drop_duplicates().itertuples(index=False):
            attacks.setdefault((key[0], key[1], key[2]), {})[attack] = None
    parts = (faces_detected(part, tolerances, tables.get("controls")) for part in read("recognition"))
    return {
        "faces_detected": sum_detection(parts, {key: len(names) for key, names in attacks.items()}),
        **cost_tables(read),
    }


def attempts(tables: Mapping[str, pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The table ``best_attempts`` anew, some cases at a time: it has rows for every case."""
    for part in batches(tables, "recognition"):
        yield as_table("best_attempts", best_attempts(part))
