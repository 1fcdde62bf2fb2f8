"""A run made row by row in which nothing is wrong: each test plants one thing, and sees what the page makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from defacedask.tables.files import write_tables

CASES = 40
GOOD = "tidy"
#: Of these attacks nothing usual is missing.
ATTACKS = ("plain", "forced_crop", "template_filled", "unmasked")


def _names(n: int) -> list[str]:
    return [f"c{k:02d}" for k in range(n)]


def tables(defacer: str = GOOD, n: int = CASES) -> dict[str, list[dict[str, Any]]]:
    """Rows of every table of a run of one defacer that hides everybody and harms nothing."""
    names = _names(n)
    looks = [
        _look(case, who, modality, attack, 0.2 if who in ("original", "none") else 0.9)
        for case in names
        for who in ("original", "none", defacer)
        for modality in ("CT", "RTSTRUCT", "RTDOSE")
        for attack in (ATTACKS if who == defacer and modality == "CT" else ("plain",))
    ]
    return {
        "cases": [
            {"case": c, "patient": c, "modality": "CT", "status": "done", "virtual": False} for c in names
        ],
        "recognition": looks,
        "controls": [_control(n) | {"modality": m} for m in ("CT", "RTSTRUCT", "RTDOSE")],
        "verification": [
            _joined(who, n, who in ("original", "none")) for who in ("original", "none", defacer)
        ],
        "exports": [
            {"case": c, "defacer": defacer, "status": "done", "instances": 9, "face_moved": 0.99}
            for c in names
        ],
        "timing": [
            {
                "case": c,
                "stage": "apply",
                "defacer": defacer,
                "status": "done",
                "seconds": 1.0,
                "peak_rss_mb": 1.0,
            }
            for c in names
        ],
        "geometry": [
            _volume(c, defacer, s, target=s == "Target")
            for c in names
            for s in ("Target", "Parotid_L", "Brain")
        ],
        "dose": [_dose(c, defacer, s, 20.0) for c in names for s in ("Target", "Parotid_L")],
        "radiomics": [_feature(c, defacer, s) for c in names for s in ("Target", "Parotid_L", "Brain")],
    }


def _look(case: str, who: str, modality: str, attack: str, distance: float) -> dict[str, Any]:
    about = {
        "case": case,
        "defacer": who,
        "modality": modality,
        "attack": attack,
        "recogniser": "r",
        "view": "v",
    }
    return {**about, "level": 0.0, "detected": True, "distance_to_own": distance, "gallery_size": CASES}


def _control(n: int) -> dict[str, Any]:
    return {
        "recogniser": "r",
        "persons": n,
        "persons_detected": n,
        "positive_n": n,
        "positive_matches": n,
        "positive_matches_at_tolerance": n,
        "negative_n": 100,
        "negative_rate": 0.0,
        "negative_matches": 0,
        "threshold": 0.37,
        "holds": True,
    }


def _joined(who: str, n: int, known: bool) -> dict[str, Any]:
    area = (
        {"auc": 1.0, "auc_low": 1.0, "auc_high": 1.0}
        if known
        else {"auc": 0.5, "auc_low": 0.4, "auc_high": 0.6}
    )
    everything = {
        "modality": "any",
        "recogniser": "any",
        "attack": "any",
        "gallery_size": n,
        "impostor": n * (n - 1),
    }
    counts = {
        "cases": n,
        "judged": n,
        "matched": n if known else 0,
        "rank_1": n if known else 1,
        "chance": 0.0,
    }
    return {"defacer": who, **everything, **counts, **area}


def _volume(case: str, defacer: str, structure: str, target: bool) -> dict[str, Any]:
    facts = {"volume_ml": 30.0, "region_ml": 0.0, "region_percent": 0.0, "after_ml": 30.0, "note": ""}
    about = {"case": case, "defacer": defacer, "modality": "CT", "structure": structure, "target": target}
    return {**about, **facts}


def _dose(case: str, defacer: str, structure: str, gy: float) -> dict[str, Any]:
    about = {"case": case, "defacer": defacer, "structure": structure, "metric": "Dmean"}
    return {**about, "original": gy, "defaced": gy}


def _feature(case: str, defacer: str, structure: str) -> dict[str, Any]:
    about = {"case": case, "defacer": defacer, "structure": structure, "feature": "Median", "modality": "CT"}
    return {**about, "original": 40.0, "defaced": 40.0, "percent": 0.0, "voxels": 100, "voxels_changed": 0}


def write(out: Path, rows: dict[str, list[dict[str, Any]]], defacer: str = GOOD, **release: Any) -> Path:
    """Leave a run's folder."""
    write_tables(out, rows)
    settings = {"defacers": {"none": {}, defacer: {}}, "tolerance": {"r": 0.3}, "release": release}
    (out / "config.yaml").write_text(yaml.safe_dump({"settings": settings}))
    return out
