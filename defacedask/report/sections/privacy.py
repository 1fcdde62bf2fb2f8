"""Who is still recognised: the study's table of faces detected, the attacks, and the curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from defacedask.evaluation.rates import roc, sweep
from defacedask.report import figures, numbers
from defacedask.report.derive import faces_detected
from defacedask.report.evidence import IMAGES, ORIGINAL, PLAIN, Rate, any_attack, cumulative_match, rank_one
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run

__all__ = ["attacks_table", "faces_table", "images_only", "recognition_figures", "strongest"]

_QUIET = Cell(numbers.NOTHING, tone="quiet")


def images_only(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of images of patients; all rows where there are no such."""
    rows = frame.loc[frame["modality"].isin(IMAGES)]
    return rows if len(rows) else frame


def strongest(run: Run, defacer: str, plain: bool = False) -> Rate:
    """Cases matched with their original by any attack (or plainly), in any image, by any recogniser."""
    rows = run.by_case.loc[run.by_case["defacer"] == defacer]
    if plain:
        rows = rows.loc[rows["attack"] == PLAIN]
    matched = rows.groupby("case")["matched"].any()
    return Rate(int(matched.sum()), len(matched))


def _of(rate: Rate) -> Cell:
    if not rate.cases:
        return _QUIET
    return cell(
        f"{rate.hits} of {rate.cases}",
        rate.share,
        f"{numbers.rate(rate.share)} ({numbers.interval(*rate.interval)})",
    )


def _published(run: Run, defacer: str, modality: str) -> Cell:
    if run.reference is None:
        return _QUIET
    prefix = {"CT": "ct", "MR": "mri", "PT": "pet"}.get(modality, modality.lower())
    rows = run.reference.faces.loc[run.reference.faces["defacer"] == defacer]
    if not len(rows) or f"{prefix}_cases" not in rows:
        return _QUIET
    cases, faces = rows.iloc[0][f"{prefix}_cases"], rows.iloc[0][f"{prefix}_faces_detected"]
    if pd.isna(cases) or not cases:
        return _QUIET
    return cell(f"{int(faces)} of {int(cases)}", float(faces) / float(cases))


def _first(defacer: str) -> Cell:
    small = {ORIGINAL: "positive control", CONTROL: "convert only"}
    return text(defacer, small=small.get(defacer, ""))


def faces_table(run: Run) -> Table | None:
    """Lay out the study's table: faces detected, with matches and what zero of n still allows."""
    table = faces_detected(run.tables["recognition"], run.tolerance, run.tables["controls"])
    if not len(table):
        return None
    several = table["recogniser"].nunique() > 1
    calibrated = table["threshold"].notna().any()
    heads = [Head("defacer", False), Head("image", False)]
    heads += [Head("recogniser", False)] if several else []
    heads += [
        Head("cases"),
        Head("face detected", title="cases with a face detected in any plain view; exact 95 % interval"),
        Head(f"matched ≤ {run.tolerance:g}", title="cases matched with their own original in any plain view"),
        Head("95 % upper bound", title="one-sided exact upper bound of the match rate"),
    ]
    if calibrated:
        heads.append(Head("matched, calibrated", title="at the threshold calibrated on the originals"))
    heads += [
        Head("matched by any attack", title="at the larger of tolerance and calibrated threshold"),
        Head("right person nearest", title="rank 1, share of views, each case weighing the same"),
    ]
    heads += [Head("published: face detected", title="printed in the reference")] if run.reference else []
    raw = run.tables["recognition"]
    raw = raw.loc[raw["attack"] == PLAIN]
    order = [ORIGINAL, *run.defacers]
    rows = []
    for r in sorted(table.to_dict("records"), key=lambda r: (order.index(r["defacer"]), r["recogniser"])):
        same = (
            raw[["defacer", "modality", "recogniser"]] == [r["defacer"], r["modality"], r["recogniser"]]
        ).all(axis=1)
        share, chance, n = rank_one(raw.loc[same])
        cases = int(r["cases"])
        row = [_first(r["defacer"]), text(r["modality"])]
        row += [text(r["recogniser"])] if several else []
        row += [cell(numbers.count(cases), cases), _of(Rate(int(r["faces_detected"]), cases))]
        row.append(_of(Rate(int(r["matches"]), cases)))
        own = r["defacer"] in (ORIGINAL, CONTROL)
        row.append(_QUIET if own else cell(numbers.bound(r["upper_bound_95"]), r["upper_bound_95"]))
        if calibrated:
            known = pd.notna(r["matches_calibrated"])
            row.append(_of(Rate(int(r["matches_calibrated"]), cases)) if known else _QUIET)
        tried = Cell("not tried", tone="quiet")
        row.append(_of(Rate(int(r["matches_any_attack"]), cases)) if r["attacks"] > 1 else tried)
        row.append(
            cell(numbers.rate(share), share, f"chance {numbers.rate(chance)}")
            if n
            else Cell("no gallery", tone="quiet")
        )
        row += [_published(run, r["defacer"], r["modality"])] if run.reference else []
        rows.append(row)
    thresholds = sorted(
        {(r["modality"], r["threshold"]) for r in table.to_dict("records") if r["threshold"] > 0}
    )
    notes = [
        "A case counts once: any view in which it is detected or matched is enough. Intervals are exact "
        "(Clopper–Pearson, 95 %); the upper bound is one-sided.",
        "A face that is detected need not be the patient’s: mri_reface and carina put one there by design.",
        "Originals are compared with their own other views, never with the same picture.",
    ]
    if thresholds:
        each = ", ".join(f"{m} {t:.3f}" for m, t in thresholds)
        notes.insert(
            1, f"Calibrated on the originals, at 1 % of different persons taken for the same one: {each}."
        )
    return Table("faces", "Faces detected and recognised, defacer × image", heads, rows, notes)


def attacks_table(run: Run) -> Table | None:
    """Matches by attack, where more than the plain one was tried."""
    rows = run.by_case.loc[run.by_case["defacer"] != ORIGINAL]
    attacks = list(dict.fromkeys(rows["attack"])) if len(rows) else []
    if len(attacks) < 2:
        return None
    heads = [Head("defacer", False), Head("image", False), *(Head(a.replace("_", " ")) for a in attacks)]
    lines = []
    for defacer in run.defacers:
        for modality, part in rows.loc[rows["defacer"] == defacer].groupby("modality", sort=False):
            line = [_first(defacer), text(modality)]
            for attack in attacks:
                tried = part.loc[part["attack"] == attack].groupby("case")["matched"].any()
                line.append(_of(Rate(int(tried.sum()), len(tried))))
            lines.append(line)
    return Table(
        "attacks",
        "Cases recognised as their original, by attack",
        heads,
        lines,
        (
            "Cases matched of cases tried, at the larger of tolerance and calibrated threshold, with the exact "
            "95 % interval.",
        ),
    )


def recognition_figures(run: Run) -> list[dict[str, Any]]:
    """Tolerance sweep, cumulative match and, where distances to others are there, ROC; for each recogniser."""
    found: list[dict[str, Any]] = []
    names = list(dict.fromkeys(run.by_case["recogniser"]))
    for number, name in enumerate(names):
        found += _figures_of(run, name, number, f" ({name})" if len(names) > 1 else "")
    return found


def _figures_of(run: Run, recogniser: str, number: int, suffix: str) -> list[dict[str, Any]]:
    cases = images_only(run.by_case.loc[run.by_case["recogniser"] == recogniser])
    raw = run.tables["recognition"]
    raw = images_only(raw.loc[(raw["recogniser"] == recogniser) & (raw["attack"] == PLAIN)])
    if not len(cases) or cases["distance"].isna().all():
        return []
    joined = any_attack(cases)
    names = [n for n in (ORIGINAL, *run.defacers) if (joined["defacer"] == n).any()]

    def lines(curve: Any) -> list[figures.Curve]:
        out = []
        for name in names:
            drawn = curve(name)
            if drawn is not None:
                label = f"{name} ({joined.loc[joined['defacer'] == name, 'case'].nunique()} cases)"
                out.append(figures.Curve(label, None if name == ORIGINAL else run.look(name), *drawn))
        return out

    found: list[dict[str, Any]] = []

    def add(kind: str, curve: Any, title: str, caption: str, **options: Any) -> None:
        drawn = lines(curve)
        if drawn:
            svg = figures.curves(drawn, name=f"{kind}{number}", title=title + suffix, **options)
            found.append({"svg": svg, "caption": caption})

    grid = np.linspace(0, 1, 201)

    def swept(name: str) -> tuple[np.ndarray, np.ndarray]:
        nearest = joined.loc[joined["defacer"] == name].groupby("case")["distance"].min()
        return grid, sweep(nearest.to_numpy(dtype=float), grid.tolist())

    marks = [(run.tolerance, f"tolerance {run.tolerance:g}")]
    add(
        "sweep",
        swept,
        "Share of cases matched as the tolerance grows",
        f"Tolerance sweep{suffix}: share of cases whose smallest distance to their own original, over all views and "
        "attacks, lies within the tolerance. The thick line is the positive control: where it is low, the others say "
        "little.",
        xlabel="tolerance: distance up to which two faces count as the same person",
        ylabel="cases matched",
        marks=marks,
    )
    sizes = raw["gallery_size"].dropna()
    size = int(sizes.max()) if len(sizes) else 0

    def ranked(name: str) -> tuple[np.ndarray, np.ndarray] | None:
        curve = cumulative_match(raw.loc[raw["defacer"] == name])
        return None if curve is None else (np.arange(1, len(curve) + 1), curve)

    add(
        "cmc",
        ranked,
        "Cumulative match characteristic",
        f"Cumulative match{suffix}: how often the right person is among the k nearest of a gallery of {size}, plain "
        f"views. Views without a face count as not identified; guessing gives k/{size}.",
        xlabel=f"rank within a gallery of {size}",
        ylabel="right person within this rank",
        steps=False,
        whole=True,
    )

    def verified(name: str) -> tuple[np.ndarray, np.ndarray] | None:
        rows = raw.loc[raw["defacer"] == name]
        own = rows["distance_to_own"].to_numpy(dtype=float)
        other = pd.to_numeric(rows["nearest_other"], errors="coerce").to_numpy(dtype=float)
        if not np.isfinite(other).any():
            return None
        curve = roc(own, other)
        return curve.fpr, curve.tpr

    if "nearest_other" in raw:
        add(
            "roc",
            verified,
            "Verification ROC",
            f"Verification ROC{suffix}, plain views. The impostor is always the nearest other person of the gallery, "
            "so the curves are on the safe side; they stop where no view with a face is left.",
            xlabel="views in which the nearest other person would be accepted",
            ylabel="views accepted as the own",
            diagonal=True,
        )
    return found
