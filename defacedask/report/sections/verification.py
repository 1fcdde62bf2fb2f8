"""Cases against everybody: matches beside what chance gives, rank, ROC; and the curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from defacedask.faces.tolerances import tolerance_of
from defacedask.modality import IMAGES
from defacedask.report import figures, numbers
from defacedask.report.gathered.looks import GRID
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import Run
from defacedask.report.sections.privacy import first_cell, rate_cell
from defacedask.tables.evidence import ANY, ORIGINAL, PLAIN, Rate

__all__ = ["recognition_figures", "verification_table"]

_RATES = {"tpr_at_0.01": 0.01, "tpr_at_0.001": 0.001}


def verification_table(run: Run) -> Table | None:
    """By defacer, image and recogniser: the plain pictures, and the best of all attacks."""
    table = run.tables["verification"]
    table = table.loc[(table["modality"] != ANY) & table["attack"].isin([PLAIN, ANY])]
    if not len(table):
        return None
    several = table["recogniser"].nunique() > 1
    order = [ORIGINAL, *run.defacers]
    tried = run.attacks_tried
    lines = []
    for row in sorted(table.to_dict("records"), key=lambda r: order.index(r["defacer"])):
        if row["attack"] == ANY and tried.get((row["defacer"], row["modality"], row["recogniser"]), 1) < 2:
            continue
        line = [first_cell(row["defacer"]), text(row["modality"])]
        line += [text(row["recogniser"])] if several else []
        judged = int(row["judged"])
        matched, chance = int(row["matched"]), row["chance"]
        line += [
            text(row["attack"]),
            rate_cell(Rate(matched, judged)),
            _chance(chance, judged),
            _rank(row, judged),
            _interval(row, "auc", "{:.2f}"),
            *(_tpr(row, name, fpr) for name, fpr in _RATES.items()),
        ]
        lines.append(line)
    heads = [Head("defacer", False), Head("image", False)]
    heads += [Head("recogniser", False)] if several else []
    heads += [
        Head("attack", False, "plain pictures, or for each case the nearest by any attack"),
        Head("matched", title="cases within the threshold of their own person, exact 95 % interval"),
        Head(
            "by chance",
            title="share of comparisons with other persons within the same threshold, with as many tries",
        ),
        Head("right person nearest", title="rank 1 of the gallery, by the best picture of the case"),
        Head(
            "AUC", title="0.5: cannot tell the own from other persons; 95 % bootstrap interval over persons"
        ),
        Head("TPR at 1 % FPR", title="cases recognised where 1 % of comparisons with others match"),
        Head("TPR at 0.1 % FPR", title="cases recognised where 0.1 % of comparisons with others match"),
    ]
    return Table(
        "verification",
        "Verification: each case by its best picture, against every person of the gallery",
        heads,
        lines,
        (
            f"Galleries of {_span(table['gallery_size'])} persons, {_span(table['impostor'])} comparisons with other "
            "persons. By chance: the same best-of-all-tries taken against every other person. Matches that are no "
            "more than that may be hits and no recognition.",
            "FPR: share of comparisons with other persons that match; TPR: share of cases matched with their own; "
            "AUC: how often the own person is nearer than another. Where attacks, images or recognisers are joined "
            "(any), counts are by the nearest of them; AUC and TPR are by a joint score in which each weighs by how "
            "well it knows other persons, so that what sees nothing blurs nothing. Counts have exact 95 % intervals; "
            "those of AUC "
            "and TPR are bootstrapped over persons, and exact for a TPR of 0 and 100 %; an AUC has none where every "
            "draw gives the same, or of fewer than six persons. A false positive rate smaller than one of the "
            "comparisons with other persons cannot be measured and is not printed: 1 % needs 100, 0.1 % needs 1000.",
        ),
    )


def _span(values: pd.Series) -> str:
    known = values.dropna()
    if not len(known):
        return numbers.NOTHING
    low, high = int(known.min()), int(known.max())
    return str(low) if low == high else f"{low} to {high}"


def _chance(chance: float, judged: int) -> Cell:
    if pd.isna(chance):
        return Cell("no other person", tone="quiet")
    return cell(numbers.rate(chance), chance, f"{chance * judged:.1f} of {judged} expected")


def _rank(row: dict[str, Any], judged: int) -> Cell:
    size = int(row["gallery_size"])
    if size < 2 or not judged:
        return Cell("no gallery", tone="quiet")
    hits = int(row["rank_1"])
    rate = Rate(hits, judged)
    small = f"{numbers.interval(*rate.interval)}\nchance {numbers.rate(1 / size, size)}"
    return cell(f"{hits} of {judged}", rate.share, small)


def _interval(row: dict[str, Any], name: str, form: str) -> Cell:
    if pd.isna(row[name]):
        return Cell(numbers.NOTHING, tone="quiet")
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    small = "" if pd.isna(low) else f"{form.format(low)} to {form.format(high)}"
    return cell(form.format(row[name]), row[name], small)


def _tpr(row: dict[str, Any], name: str, fpr: float) -> Cell:
    if pd.isna(row[name]):
        others = int(row["impostor"]) if pd.notna(row["impostor"]) else 0
        if not others:
            return Cell(numbers.NOTHING, tone="quiet")
        return Cell("not measurable", "", "", "quiet", f"{others} comparisons, {1 / fpr:.0f} needed")
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    shown = numbers.rate(row[name], row["judged"])
    return cell(shown, row[name], "" if pd.isna(low) else numbers.interval(low, high))


def recognition_figures(run: Run) -> list[dict[str, Any]]:
    """Threshold sweep, ROC and cumulative match for each recogniser and image.

    Returns
    -------
    list of dict
        title, and figures (svg, caption); images of patients before other surfaces.
    """
    found = []
    groups = list(dict.fromkeys(key[1:] for key in run.looked.attacks))
    several = len({r for _, r in groups}) > 1
    groups.sort(key=lambda g: (IMAGES.index(g[0]) if g[0] in IMAGES else 9, g[1]))
    for number, (modality, recogniser) in enumerate(groups):
        name = f"{modality}, {recogniser}" if several else modality
        drawn = _figures(run, modality, recogniser, number, name)
        if drawn:
            found.append({"title": name, "figures": drawn})
    return found


def _figures(run: Run, modality: str, recogniser: str, number: int, name: str) -> list[dict[str, Any]]:
    nearest = {key[0]: one for key, one in run.looked.swept.items() if key[1:] == (modality, recogniser)}
    if not any(one.known for one in nearest.values()):
        return []
    names = [n for n in (ORIGINAL, *run.defacers) if n in nearest]

    def look(defacer: str) -> int | None:
        return None if defacer == ORIGINAL else run.look(defacer)

    swept = [figures.Curve(f"{d} ({nearest[d].cases} cases)", look(d), GRID, nearest[d].swept) for d in names]
    limit = max(
        (c.limit for c in run.controls if (c.modality, c.recogniser) == (modality, recogniser)),
        default=tolerance_of(run.tolerances, recogniser),
    )
    marks = [] if np.isnan(limit) else [(limit, f"threshold {limit:.2f}")]
    drawn = [
        {
            "svg": figures.curves(
                swept,
                name=f"sweep{number}",
                title=f"Threshold sweep, {name}",
                xlabel="threshold: distance up to which two faces count as the same person",
                ylabel="cases matched",
                marks=marks,
            ),
            "caption": f"Threshold sweep, {name}: share of cases whose smallest distance to their own person in the "
            "gallery, over all views and attacks, lies within each threshold; the dashed line is the page’s. The "
            "thick line is the positive control: where it is low, the others say little.",
        }
    ]
    table = run.tables["curves"]
    same = (table["modality"] == modality) & (table["recogniser"] == recogniser) & (table["attack"] == ANY)
    by_curve = dict(list(table.loc[same].groupby(["curve", "defacer"], sort=False)))
    facts = run.tables["verification"]
    facts = facts.loc[(facts["modality"] == modality) & (facts["recogniser"] == recogniser)]
    size = int(facts["gallery_size"].max()) if len(facts) else 0
    others = int(facts["impostor"].min()) if len(facts) else 0
    options: dict[str, dict[str, Any]] = {
        "roc": {
            "xlabel": "comparisons with other persons that would match (logarithmic)",
            "ylabel": "cases recognised",
            "log": 0.5 / max(others, 1),
            "chance": True,
        },
        "cmc": {
            "xlabel": f"rank within a gallery of {size}",
            "ylabel": "right person within this rank",
            "steps": False,
            "whole": True,
        },
    }
    captions = {
        "roc": f"Verification ROC, {name}: each case by its best picture, all attacks, against every person of the "
        f"gallery ({others} comparisons with others a defacer: nothing left of {numbers.rate(1 / max(others, 1))} is "
        "measured). The dotted line is chance.",
        "cmc": f"Cumulative match, {name}: how often the right person is among the k nearest of a gallery of {size}, "
        f"each case by its best picture, all attacks; guessing gives k/{size}.",
    }
    titles = {"roc": "Verification ROC", "cmc": "Cumulative match characteristic"}
    for kind, option in options.items():
        if kind == "cmc" and size < 3:
            continue
        lines = [
            figures.Curve(
                defacer,
                look(defacer),
                by_curve[kind, defacer]["x"].to_numpy(),
                by_curve[kind, defacer]["y"].to_numpy(),
            )
            for defacer in names
            if (kind, defacer) in by_curve
        ]
        if lines:
            svg = figures.curves(lines, name=f"{kind}{number}", title=f"{titles[kind]}, {name}", **option)
            drawn.append({"svg": svg, "caption": captions[kind]})
    return drawn
