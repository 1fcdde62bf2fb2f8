"""From what the recognisers saw of all cases to the tables about faces: they need everybody at once.

``recognition`` has a row a picture; ``controls`` one a (modality, recogniser); ``verification`` one a (defacer,
modality, recogniser, attack), where a case counts by the best of its pictures; ``curves`` the points of its ROC
and CMC.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from defacedask.faces.controls import controls
from defacedask.faces.galleries import (
    ORIGINALS,
    SECOND_SCAN,
    Gallery,
    gallery_of_originals,
    gallery_of_second_scans,
)
from defacedask.faces.identification import Distance, Sighting, identify
from defacedask.faces.verification import BestScores, best_scores, curves, join, verification
from defacedask.flow.result import Piece
from defacedask.flow.stages.places import ORIGINAL

__all__ = ["ANY", "LOOKING", "face_tables", "sightings"]

#: In place of an attack, a modality or a recogniser: by whichever of them comes nearest.
ANY = "any"
#: Stages that look for faces.
LOOKING = ("faces",)

Group = tuple[str, str]


def sightings(pieces: Iterable[Piece], patients: Mapping[str, str]) -> dict[Group, list[Sighting]]:
    """(modality, recogniser) -> what was seen, from the pieces of the stages `LOOKING`."""
    groups: dict[Group, list[Sighting]] = defaultdict(list)
    for piece in pieces:
        for look in piece.facts.get("looks", ()) if piece.stage in LOOKING and piece.ok else ():
            facts = {
                "case": piece.case,
                "defacer": piece.defacer,
                "modality": look["modality"],
                "recogniser": look.get("recogniser") or piece.facts["recogniser"],
                "attack": look["attack"],
                "variant": look.get("variant", ""),
                "forced": look.get("forced", False),
                "level": look["level"],
            }
            seen = Sighting(patients[piece.case], look["view"], look["encoding"], look["detected"], facts)
            groups[facts["modality"], facts["recogniser"]].append(seen)
    return groups


def face_tables(
    groups: Mapping[Group, list[Sighting]],
    tolerance: float,
    *,
    gallery: str = ORIGINALS,
    photographs: Callable[[str], Gallery] | None = None,
    distance: Callable[[str], Distance | None] = lambda recogniser: None,
    repeats: int = 300,
) -> dict[str, list[dict[str, Any]]]:
    """Compare every picture with the gallery.

    Parameters
    ----------
    groups : mapping
        See `sightings`.
    tolerance : float
        The study's.
    gallery : str
        ``originals``, ``second-scan``, or anything else for photographs.
    photographs : callable, optional
        Recogniser's name -> the gallery of photographs, encoded by it.
    distance : callable, optional
        Recogniser's name -> its distance, None for the Euclidean.
    repeats : int
        Bootstrap draws.

    Returns
    -------
    dict
        Rows of the tables ``recognition``, ``controls``, ``verification`` and ``curves``.
    """
    out: dict[str, list[dict[str, Any]]] = {
        n: [] for n in ("recognition", "controls", "verification", "curves")
    }
    everything: dict[str, list[tuple[BestScores, float]]] = defaultdict(list)
    for (modality, recogniser), seen in groups.items():
        originals = [s for s in seen if s.facts["defacer"] == ORIGINAL]
        # of the originals only plain pictures are anybody's face: attacks on them are judged as probes
        plain = [s for s in originals if s.facts["attack"] == "plain"] or originals
        if gallery == ORIGINALS:
            known = gallery_of_originals(plain)
        elif gallery == SECOND_SCAN:
            known = gallery_of_second_scans(plain)
        else:
            assert photographs is not None
            known = photographs(recogniser)
        metric = distance(recogniser)
        found = controls(plain, known, distance=metric, tolerance=tolerance)
        calibration = dataclasses.asdict(found.pop("calibration"))
        threshold = calibration["threshold"]
        limit = tolerance if math.isnan(threshold) else max(tolerance, threshold)
        key = {"modality": modality, "recogniser": recogniser}
        out["controls"].append(
            {
                **key,
                **found,
                "threshold": threshold,
                "threshold_fpr": calibration["fpr"],
                "threshold_tpr": calibration["tpr"],
                "auc": calibration["auc"],
                "eer": calibration["eer"],
                "threshold_note": calibration["reason"],
            }
        )
        defacers: dict[str, dict[str, list[Sighting]]] = {}
        for sighting in seen:
            by_attack = defacers.setdefault(sighting.facts["defacer"], {})
            by_attack.setdefault(sighting.facts["attack"], []).append(sighting)
        for defacer, attacks in defacers.items():
            parts: dict[str, BestScores] = {}
            for attack, probes in attacks.items():
                scores = known.score(probes, own=defacer == ORIGINAL, distance=metric)
                absent = known.unable(probes)
                # an original in which no face is found counts as not recognised, not as not judged
                control = defacer == ORIGINAL and gallery == ORIGINALS
                for probe, row in zip(probes, identify(scores), strict=True):
                    comparable = control or probe.facts["case"] not in absent
                    out["recognition"].append({**row, "comparable": comparable})
                parts[attack] = best_scores(scores, absent)
            together = join(list(parts.values()))
            everything[defacer].append((together, limit))
            for attack, best in {**parts, ANY: together}.items():
                _add(out, {"defacer": defacer, **key, "attack": attack}, best, limit, tolerance, repeats)
    for defacer, pairs in everything.items():
        # distances of different recognisers compare as parts of their limits
        best = join([part for part, _ in pairs], [limit for _, limit in pairs])
        key = {"defacer": defacer, "modality": ANY, "recogniser": ANY, "attack": ANY}
        _add(out, key, best, 1.0, math.nan, repeats)
    return out


def _add(
    out: dict[str, list[dict[str, Any]]],
    key: dict[str, str],
    best: BestScores,
    limit: float,
    tolerance: float,
    repeats: int,
) -> None:
    out["verification"].append(
        {**key, **verification(best, limit=limit, tolerance=tolerance, repeats=repeats)}
    )
    for kind, (x, y) in curves(best).items():
        out["curves"] += [{**key, "curve": kind, "x": a, "y": b} for a, b in zip(x, y, strict=True)]
