"""What was tried on defaced heads, and what came of it: the tables of the dossier that rest on a study."""

from __future__ import annotations

from typing import Any

import pandas as pd

from defacedask.attacks import BUILT_IN
from defacedask.dossier.figures import Figure, Source, Table
from defacedask.report import numbers
from defacedask.tables.evidence import ANY, PLAIN, comparing

__all__ = [
    "attacks_table",
    "controls_table",
    "recognised_table",
    "separation_table",
    "skin_table",
    "unmasked_table",
]

#: Attacks that are told by what the surface was made from, as in `defacedask.attacks.names`.
_SURFACES = {"body_contour": "RTSTRUCT", "dose_grid": "RTDOSE", "pet_skin": "PT"}


def controls_table(source: Source) -> Table | None:
    """The positive and negative controls: whether the recognisers know the originals at all."""
    rows: list[list[str | Figure]] = []
    for row in comparing(source.tables["controls"]).to_dict("records"):
        about = {"modality": row["modality"], "recogniser": row["recogniser"]}
        rows.append(
            [
                row["recogniser"],
                row["modality"],
                source.share("controls", "persons_detected", "persons", **about),
                source.share("controls", "positive_matches", "positive_n", **about),
                source.share("controls", "negative_matches", "negative_n", **about),
                source.one("controls", "threshold", write=numbers.distance, **about),
                _state(row),
            ]
        )
    heads = (
        "recogniser",
        "image",
        "faces found in originals",
        "originals recognised at another view",
        "strangers taken for the person",
        "calibrated distance",
        "control",
    )
    return Table("Whether the recognisers know these persons before defacing", heads, rows) if rows else None


def _state(row: dict[str, Any]) -> str:
    if row["holds"]:
        return "holds"
    # a dose that is at nobody's face did not fail
    nobody = pd.notna(row.get("not_judged")) and row["not_judged"] > 0 and row["persons"] == 0
    return f"{'not judged' if nobody else 'does not hold'}: {row['reason']}"


def recognised_table(source: Source, defacers: list[str]) -> Table | None:
    """All recognisers and attacks together: a case counts if anything found it."""
    rows: list[list[str | Figure]] = []
    for name in defacers:
        about = {"defacer": name, "modality": ANY, "recogniser": ANY, "attack": ANY}
        if len(source.rows("verification", **about)):
            rows.append([name, *_counts(source, about)])
    heads = ("defacer", "recognised", "by chance", "right person nearest of all", "AUC", "TPR at 1 % FPR")
    note = (
        "Intervals are 95 %: exact for counts, by bootstrap over persons for AUC and TPR. By chance: share of other "
        "persons that match after as many tries. AUC 0.5: the own person is no nearer than others."
    )
    return Table("By any recogniser, image and attack", heads, rows, note) if rows else None


def _counts(source: Source, about: dict[str, Any]) -> list[str | Figure]:
    return [
        source.share("verification", "matched", "judged", **about),
        source.one("verification", "chance", write=numbers.rate, **about),
        source.share("verification", "rank_1", "judged", **about),
        source.spread("verification", "auc", numbers.distance, **about),
        source.spread("verification", "tpr_at_0.01", numbers.rate, **about),
    ]


def separation_table(source: Source, defacers: list[str]) -> Table | None:
    """Each recogniser and image by itself: the plain look, and the best of all attacks."""
    known = source.tables["verification"]
    known = known.loc[known["modality"] != ANY]
    rows: list[list[str | Figure]] = []
    for name in defacers:
        for row in known.loc[(known["defacer"] == name) & known["attack"].isin([PLAIN, ANY])].to_dict(
            "records"
        ):
            about = {key: row[key] for key in ("defacer", "modality", "recogniser", "attack")}
            attack = "any attack" if row["attack"] == ANY else PLAIN
            rows.append([name, row["recogniser"], row["modality"], attack, *_counts(source, about)])
    heads = (
        "defacer",
        "recogniser",
        "surface of",
        "attack",
        "recognised",
        "by chance",
        "right person nearest",
        "AUC",
        "TPR at 1 % FPR",
    )
    return Table("Each recogniser and image by itself", heads, rows) if rows else None


def attacks_table(source: Source, defacers: list[str]) -> Table | None:
    """Every attack there is: the cases recognised by it in any image by any recogniser, or that it was not tried."""
    known = source.tables["verification"]
    rows: list[list[str | Figure]] = []
    tried = set(known["attack"]) - {ANY, *BUILT_IN}
    for attack in [*BUILT_IN, *sorted(map(str, tried))]:
        line: list[str | Figure] = [attack.replace("_", " ")]
        for name in defacers:
            own = known.loc[(known["defacer"] == name) & (known["modality"] != ANY)]
            surface = _SURFACES.get(attack)
            own = own.loc[own["modality"] == surface] if surface else own.loc[own["attack"] == attack]
            own = own.loc[own["attack"] != ANY]
            if not len(own):
                line.append("not tried")
                continue
            worst = own.sort_values(["matched", "auc"], ascending=False, na_position="last").iloc[0]
            about = {key: worst[key] for key in ("defacer", "modality", "recogniser", "attack")}
            line.append(source.share("verification", "matched", "judged", **about))
        rows.append(line)
    note = (
        "Cases recognised, in the image and by the recogniser with most. What was not tried proves nothing; nobody "
        "looked at the pictures as a person would, and no photograph was compared unless the gallery says so."
    )
    return (
        Table("Every attack there is, and what was not tried", ("attack", *defacers), rows, note)
        if defacers
        else None
    )


def unmasked_table(source: Source, defacers: list[str]) -> Table | None:
    """How much of the old skin was found again, beside what the same finds under a planted weak layer."""
    known = source.tables["unmasking"]
    rows: list[list[str | Figure]] = []
    for name in defacers:
        for attempt in dict.fromkeys(known.loc[known["defacer"] == name, "attempt"]):
            about = {"defacer": name, "attempt": attempt}
            rows.append(
                [
                    name,
                    str(attempt),
                    source.one("unmasking", "skin_found", "count", **about),
                    source.one("unmasking", "skin_found", "median", numbers.rate, **about),
                    source.one("unmasking", "skin_found", "max", numbers.rate, **about),
                    source.one("unmasking", "peel_found", "median", numbers.rate, **about),
                    source.one("unmasking", "control_holds", "count", control_holds=True, **about),
                    source.one("unmasking", "control_holds", "count", control_holds=False, **about),
                ]
            )
    heads = (
        "defacer",
        "looked for by",
        "images",
        "skin found, median",
        "most",
        "by a peel that knows nothing, median",
        "controls that hold",
        "that fail",
    )
    note = (
        "Where a part of the face was missing before, the control is not judged: it neither holds nor fails."
    )
    return Table("Skin of the face that was found again within 2 mm", heads, rows, note) if rows else None


def skin_table(source: Source, defacers: list[str]) -> Table | None:
    """How much of the original's skin is where it was: the face from brow to chin, and the ears apart."""
    known = source.tables["residual_skin"]
    rows: list[list[str | Figure]] = []
    for region, words in (("brow_to_chin", "brow to chin"), ("ears", "ears")):
        for name in defacers:
            for modality in dict.fromkeys(
                known.loc[(known["defacer"] == name) & (known["region"] == region), "modality"]
            ):
                about = {"defacer": name, "region": region, "modality": modality}
                rows.append(
                    [
                        words,
                        str(modality),
                        name,
                        source.one("residual_skin", "case", "count", **about),
                        source.one("residual_skin", "points", "count", points=0, **about),
                        *(
                            source.one("residual_skin", "kept", how, numbers.rate, **about)
                            for how in ("median", "max")
                        ),
                        source.one("residual_skin", "untouched", "median", numbers.rate, **about),
                    ]
                )
    heads = (
        "region",
        "image",
        "defacer",
        "images",
        "of these, not measurable",
        "kept, median",
        "most",
        "untouched, median",
    )
    note = (
        "Kept: share of the original's skin with skin of the defaced image within 3 mm. Ears can tell who somebody "
        "is; whether they do is in the study's table ears. An ear that is not in the image, is cut by the field of "
        "view, or does not stand out of the head is not measurable, and is in no other figure of its row."
    )
    return (
        Table("Skin that is where it was: the face, and the ears apart", heads, rows, note) if rows else None
    )
