"""Who is still recognised: the verdict's evidence, the study's table of faces detected, and the curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from defacedask.report import figures, numbers
from defacedask.report.derive import faces_detected
from defacedask.report.evidence import (
    IMAGES,
    ORIGINAL,
    PLAIN,
    Rate,
    any_attack,
    cumulative_match,
    rank_one,
    sweep,
)
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run

__all__ = ["attacks_table", "faces_table", "images_only", "recognition_figures", "strongest"]


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


def _of(rate: Rate, tone: str = "") -> Cell:
    low, high = rate.interval
    small = f"{numbers.rate(rate.share)} ({numbers.interval(low, high)})" if rate.cases else ""
    return cell(f"{rate.hits} of {rate.cases}", rate.share, small, tone)


def _published(run: Run, defacer: str, modality: str) -> Cell:
    if run.reference is None or "defacer" not in run.reference.faces:
        return Cell(numbers.NOTHING)
    prefix = {"CT": "ct", "MR": "mri", "PT": "pet"}.get(modality, modality.lower())
    rows = run.reference.faces.loc[run.reference.faces["defacer"] == defacer]
    if not len(rows) or f"{prefix}_cases" not in rows:
        return Cell(numbers.NOTHING)
    cases, faces = rows.iloc[0][f"{prefix}_cases"], rows.iloc[0][f"{prefix}_faces_detected"]
    if pd.isna(cases):
        return Cell(numbers.NOTHING)
    return cell(f"{int(faces)} of {int(cases)}", float(faces) / float(cases) if cases else None)


def faces_table(run: Run) -> Table | None:
    """Lay out the study's table: faces detected, with matches and what zero of n still allows."""
    table = faces_detected(run.tables["recognition"], run.tolerance)
    if not len(table):
        return None
    recognisers = table["recogniser"].nunique() > 1
    heads = [Head("defacer", False), Head("image", False)]
    if recognisers:
        heads.append(Head("recogniser", False))
    heads += [
        Head("cases"),
        Head("face detected", title="cases with a face detected in any plain view; exact 95 % interval"),
        Head(f"matched ≤ {run.tolerance:g}", title="cases matched with their own original in any plain view"),
        Head("95 % upper bound", title="one-sided exact upper bound of the match rate"),
        Head("matched by any attack"),
        Head("right person nearest", title="rank 1, share of views, each case weighing the same"),
    ]
    if run.reference is not None:
        heads.append(Head("published: face detected", title="as printed in the reference, not measured here"))
    rows = []
    order = [ORIGINAL, *run.defacers]
    ranked = sorted(table.to_dict("records"), key=lambda r: (order.index(r["defacer"]), r["recogniser"]))
    for r in ranked:
        raw = run.tables["recognition"]
        same = (
            (raw["defacer"] == r["defacer"])
            & (raw["modality"] == r["modality"])
            & (raw["recogniser"] == r["recogniser"])
            & (raw["attack"] == PLAIN)
            & ~((raw["defacer"] == ORIGINAL) & (raw["distance_to_own"] == 0))
        )
        share, chance, n = rank_one(raw.loc[same])
        own = r["defacer"] == ORIGINAL
        first = text("original", small="positive control") if own else text(r["defacer"])
        if r["defacer"] == CONTROL:
            first = text("none", small="convert only, no defacing")
        row = [first, text(r["modality"])]
        if recognisers:
            row.append(text(r["recogniser"]))
        row += [
            cell(numbers.count(r["cases"]), r["cases"]),
            _of(Rate(r["faces_detected"], r["cases"])),
            _of(Rate(r["matches"], r["cases"])),
            Cell(numbers.NOTHING, tone="quiet")
            if own or r["defacer"] == CONTROL
            else cell(numbers.bound(r["upper_bound_95"]), r["upper_bound_95"]),
            _of(Rate(r["matches_any_attack"], r["cases"]))
            if r["attacks"] > 1
            else Cell("not tried", tone="quiet"),
            cell(numbers.rate(share), share, f"chance {numbers.rate(chance)}, {n} cases")
            if n
            else Cell("no gallery", tone="quiet"),
        ]
        if run.reference is not None:
            row.append(_published(run, r["defacer"], r["modality"]))
        rows.append(row)
    return Table(
        "faces",
        "Faces detected and recognised, defacer × image",
        heads,
        rows,
        (
            "A case counts once: any view in which it is detected or matched is enough. "
            "Intervals are exact (Clopper–Pearson, 95 %); the upper bound is one-sided.",
            "A face that is detected need not be the patient’s: mri_reface and carina put one there by design.",
            "For originals, a view compared with the very same picture is left out.",
        ),
    )


def attacks_table(run: Run) -> Table | None:
    """Matches by attack, where more than the plain one was tried."""
    rows = run.by_case.loc[run.by_case["defacer"] != ORIGINAL]
    attacks = list(dict.fromkeys(rows["attack"])) if len(rows) else []
    if len(attacks) < 2:
        return None
    heads = [Head("defacer", False), Head("image", False), *(Head(a) for a in attacks)]
    lines = []
    for defacer in run.defacers:
        for modality, part in rows.loc[rows["defacer"] == defacer].groupby("modality", sort=False):
            line = [text(defacer), text(modality)]
            for attack in attacks:
                tried = part.loc[part["attack"] == attack].groupby("case")["matched"].any()
                line.append(_of(Rate(int(tried.sum()), len(tried))) if len(tried) else Cell(numbers.NOTHING))
            lines.append(line)
    return Table(
        "attacks",
        f"Cases matched with their original (distance ≤ {run.tolerance:g}), by attack",
        heads,
        lines,
        ("Each cell: cases matched of cases tried, with the exact 95 % interval.",),
    )


def recognition_figures(run: Run) -> list[dict[str, Any]]:
    """Tolerance sweep, cumulative match and, where distances to others are there, ROC."""
    found: list[dict[str, Any]] = []
    raw = images_only(run.tables["recognition"])
    cases = images_only(run.by_case)
    if not len(cases) or cases["distance"].isna().all():
        return found
    grid = np.linspace(0, 1, 201)
    joined = any_attack(cases)
    names = [n for n in (ORIGINAL, *run.defacers) if (joined["defacer"] == n).any()]

    def lines(curve: Any) -> list[figures.Curve]:
        out = []
        for name in names:
            x, y = curve(name)
            if y is not None:
                label = f"{name} ({joined.loc[joined['defacer'] == name, 'case'].nunique()} cases)"
                out.append(figures.Curve(label, None if name == ORIGINAL else run.look(name), x, y))
        return out

    swept = lines(lambda name: (grid, sweep(_nearest(joined, name), grid)))
    found.append(
        {
            "svg": figures.curves(
                swept,
                name="sweep",
                title="Share of cases matched as the tolerance grows",
                xlabel="tolerance: distance up to which two faces count as the same person",
                ylabel="cases matched",
                marks=[(run.tolerance, f"tolerance {run.tolerance:g}")],
            ),
            "caption": "Tolerance sweep: share of cases whose smallest distance to their own original, over all "
            "views and attacks, lies within the tolerance. The dark line is the positive control.",
        }
    )
    plain = raw.loc[
        (raw["attack"] == PLAIN) & ~((raw["defacer"] == ORIGINAL) & (raw["distance_to_own"] == 0))
    ]

    def cmc(name: str) -> tuple[np.ndarray, np.ndarray | None]:
        curve = cumulative_match(plain.loc[plain["defacer"] == name])
        return (np.arange(1, len(curve) + 1), curve) if curve is not None else (np.zeros(0), None)

    ranked = lines(cmc)
    if ranked:
        size = max(len(c.x) for c in ranked)
        found.append(
            {
                "svg": figures.curves(
                    ranked,
                    name="cmc",
                    title="Cumulative match characteristic",
                    xlabel=f"rank within a gallery of {size}",
                    ylabel="right person within this rank",
                    steps=False,
                    whole=True,
                ),
                "caption": f"Cumulative match: how often the right person is among the k nearest of a gallery of "
                f"{size}. Views without an encoding count as not identified; guessing gives k/{size}.",
            }
        )
    found.extend(_roc(run, raw, lines))
    return found


def _nearest(joined: pd.DataFrame, name: str) -> pd.DataFrame:
    return joined.loc[joined["defacer"] == name].groupby("case", as_index=False)["distance"].min()


def _roc(run: Run, raw: pd.DataFrame, lines: Any) -> list[dict[str, Any]]:
    """Verification ROC from distances to the own original and to the nearest other person."""
    others = next(
        (c for c in ("distance_to_nearest_other", "nearest_other", "distance_to_other") if c in raw), None
    )
    if others is None or raw[others].notna().sum() < 2:
        return []
    plain = raw.loc[
        (raw["attack"] == PLAIN) & ~((raw["defacer"] == ORIGINAL) & (raw["distance_to_own"] == 0))
    ]

    def curve(name: str) -> tuple[np.ndarray, np.ndarray | None]:
        rows = plain.loc[plain["defacer"] == name]
        own = rows["distance_to_own"].astype(float).fillna(np.inf).to_numpy()
        other = pd.to_numeric(rows[others], errors="coerce").dropna().to_numpy(dtype=float)
        if not len(own) or not len(other):
            return np.zeros(0), None
        at = np.concatenate([[-np.inf], np.sort(np.unique(np.concatenate([own[np.isfinite(own)], other])))])
        return np.array([(other <= t).mean() for t in at]), np.array([(own <= t).mean() for t in at])

    drawn = lines(curve)
    if not drawn:
        return []
    return [
        {
            "svg": figures.curves(
                drawn,
                name="roc",
                title="Verification ROC",
                xlabel="views in which the nearest other person would be accepted",
                ylabel="views accepted as the own",
                diagonal=True,
            ),
            "caption": "Verification ROC over views. The impostor is always the nearest other person of the gallery, "
            "so the curves are on the safe side; they need not reach the corner, as views without an "
            "encoding are never accepted.",
        }
    ]
