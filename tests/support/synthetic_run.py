"""A made run: tables of the shapes a study leaves, with numbers drawn at random, and pictures of noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from defacedask.anatomy.structure_names import STUDY_NAMES
from defacedask.faces.verification import BestScores, curves, join, verification
from defacedask.tables.files import TEN_FEATURES, write_tables

DEFACERS = ("quickshear", "biometric_mask", "mri_reface", "carina")
VIEWS = ("yaw+00 pitch-20", "yaw+00 pitch-10", "yaw+00 pitch+00", "yaw+00 pitch+10")
ATTACKS = ("plain", "forced_crop", "template_filled")
#: As many as a large study has: the page must stay readable.
MANY_DEFACERS = (*DEFACERS, "biometric_mask_strict", "site_defacer")
MANY_ATTACKS = (*ATTACKS, "unmasked", "denoised_air", "best_view", "contour", "dose")
MANY_RECOGNISERS = ("face_recognition", "face_recognition_cnn")
#: Spread of log10 percent change, and share of structures touched.
COST = {
    "quickshear": (1.6, 0.9),
    "biometric_mask": (1.2, 0.7),
    "mri_reface": (0.8, 0.4),
    "carina": (-1.5, 0.2),
}


def recognition(
    rng,
    cases,
    *,
    originals="good",
    modalities=("CT",),
    leak=("biometric_mask",),
    defacers=DEFACERS,
    attacks=ATTACKS,
    recogniser="face_recognition",
):
    rows = []
    for modality in modalities:
        for defacer in ("original", "none", *defacers):
            for attack in ("plain",) if defacer in ("original", "none") else attacks:
                for case in cases:
                    own = defacer in ("original", "none")
                    leaks = defacer in leak and rng.random() < 0.4
                    for view in VIEWS:
                        if own:
                            seen = rng.random() < (0.9 if originals == "good" else 0.05)
                            near = rng.normal(0.2, 0.05)
                        else:
                            seen = (
                                attack != "plain" or rng.random() < 0.1 or defacer in ("mri_reface", "carina")
                            )
                            near = (
                                rng.normal(0.25, 0.04)
                                if leaks and attack != "plain"
                                else rng.normal(0.6, 0.06)
                            )
                        rows.append(
                            {
                                "case": case,
                                "defacer": defacer,
                                "modality": modality,
                                "recogniser": recogniser,
                                "attack": attack,
                                "view": view,
                                "level": -200.0,
                                "detected": bool(seen) and attack == "plain",
                                "distance_to_own": max(0.01, near) if seen else None,
                                "rank_of_own": (1 if near < 0.4 else int(rng.integers(1, len(cases) + 1)))
                                if seen
                                else None,
                                "gallery_size": len(cases),
                                "nearest_other": rng.normal(0.5, 0.06) if seen else None,
                            }
                        )
    return rows


def compared(rng, rows, limit=0.37):
    """Rows of `verification` and `curves` that fit rows of `recognition`; strangers lie about 0.6 away."""
    looks: dict = {}
    for row in rows:
        key = (row["defacer"], row["modality"], row["recogniser"])
        own = row["distance_to_own"]
        near = looks.setdefault(key, {}).setdefault(row["attack"], {})
        near[row["case"]] = min(near.get(row["case"], np.inf), np.inf if own is None else own)
    found, points, everything = [], [], {}

    def add(key, attack, best, largest):
        names = dict(zip(("defacer", "modality", "recogniser"), key, strict=True), attack=attack)
        found.append(names | verification(best, limit=largest, repeats=20))
        for kind, (x, y) in curves(best).items():
            points.extend(names | {"curve": kind, "x": a, "y": b} for a, b in zip(x, y, strict=True))

    for key, by_attack in looks.items():
        parts = {}
        for attack, near in by_attack.items():
            cases = tuple(near)
            values = np.abs(rng.normal(0.6, 0.07, (len(cases), len(cases))))
            own = np.array([near[c] for c in cases])
            values[np.diag_indices(len(cases))] = own
            values[np.isinf(own)] = np.nan  # without a face there is no distance to anybody
            parts[attack] = BestScores(cases, cases, cases, values)
            add(key, attack, parts[attack], limit)
        together = join(list(parts.values()))
        add(key, "any", together, limit)
        everything.setdefault(key[0], []).append(together)
    for defacer, parts in everything.items():
        add((defacer, "any", "any"), "any", join(parts, [limit] * len(parts)), 1.0)
    return found, points


def geometry(rng, cases, defacers=DEFACERS):
    rows = []
    for case in cases:
        for structure in ("Target", "Brain", "Eye_L", "BODY"):
            volume = float(rng.uniform(5, 900))
            for defacer in ("none", *defacers):
                share = 0 if defacer in ("none", "carina") or structure == "Brain" else rng.uniform(0, 0.3)
                rows.append(
                    {
                        "case": case,
                        "defacer": defacer,
                        "modality": "CT",
                        "structure": structure,
                        "target": structure == "Target",
                        "volume_ml": volume,
                        "region_ml": volume * share,
                        "region_percent": 100 * share,
                        "after_ml": volume * (1 - share),
                        "note": "outline: takes the defaced surface on export" if structure == "BODY" else "",
                    }
                )
    return rows


def timing(rng, cases, defacers=DEFACERS):
    rows = []
    for case in cases:
        whole = ("ingest", "plan")
        each = ("apply", "faces", "radiomics", "dose")
        parts = [(s, "") for s in whole] + [(s, d) for s in each for d in ("none", *defacers)]
        for stage, defacer in parts:
            seconds = float(rng.uniform(0.2, 9))
            facts = {"case": case, "stage": stage, "defacer": defacer, "status": "done"}
            rows.append(facts | {"seconds": seconds, "peak_rss_mb": 100 * seconds})
    return rows


def radiomics(rng, cases, structures=STUDY_NAMES, defacers=DEFACERS):
    rows = []
    for case in cases:
        for structure in structures:
            voxels = int(rng.integers(200, 200_000))
            for defacer in ("none", *defacers):
                spread, share = COST.get(defacer, (0.5, 0.3))
                touched = defacer != "none" and rng.random() < share
                for feature in TEN_FEATURES:
                    before = {"Skewness": rng.normal(0, 0.6), "Median": rng.normal(20, 15)}.get(
                        feature, rng.uniform(1, 900)
                    )
                    change = rng.normal(-0.3, 1) * 10 ** rng.normal(spread, 0.7) if touched else 0.0
                    if feature == "Skewness" and structure == "Brain" and case == cases[0]:
                        before = 0.004
                    after = before * (1 - change / 100) if touched else before
                    if feature == "Kurtosis" and structure == "Eye_L" and case == cases[1]:
                        before = after = float("nan")
                        change = float("nan")
                    rows.append(
                        {
                            "case": case,
                            "defacer": defacer,
                            "structure": structure,
                            "feature": feature,
                            "original": before,
                            "defaced": after,
                            "percent": change,
                            "voxels": voxels,
                            "voxels_changed": int(voxels * rng.uniform(0.01, 0.4)) if touched else 0,
                            "note": _note(feature, before),
                        }
                    )
    return rows


def _note(feature, before):
    if np.isnan(before):
        return "not finite"
    return "near-zero denominator" if feature == "Skewness" and abs(before) < 0.05 else ""


def controls(modalities, n, *, originals="good", recogniser="face_recognition"):
    good = originals == "good"
    seen = n if good else n // 5
    return [
        {
            "modality": modality,
            "recogniser": recogniser,
            "persons": n,
            "persons_detected": seen,
            "positive_n": seen,
            "positive_matches": seen if good else 0,
            "positive_rank_1": seen if good else 0,
            "negative_n": 4 * n * (n - 1),
            "negative_rate": 0.0,
            "negative_matches": 0,
            "threshold": 0.37 if good else None,
            "threshold_fpr": 0.01,
            "threshold_tpr": 0.99 if good else None,
            "holds": good,
            "reason": "" if good else f"faces were detected on {seen} of {n} originals only",
        }
        for modality in modalities
    ]


def dose(rng, cases, defacers=DEFACERS):
    rows = []
    for case in cases:
        for structure in ("Target", "Parotid_L", "Brainstem"):
            for metric in ("Dmean", "D2", "D95"):
                before = rng.uniform(5, 70)
                for defacer in ("none", *defacers):
                    cut = rng.uniform(0, 2) if defacer == "quickshear" else 0
                    rows.append(
                        {
                            "case": case,
                            "defacer": defacer,
                            "structure": structure,
                            "metric": metric,
                            "original": before,
                            "defaced": before - cut,
                        }
                    )
    return rows


def case_rows(rng, cases):
    rows = [
        {
            "case": case,
            "patient": f"PT-{i:03d}",
            "modality": "CT",
            "status": "done",
            "reason": "",
            "seconds_ingest": rng.uniform(1, 4),
            "seconds_plan": rng.uniform(3, 9),
            "seconds_faces": rng.uniform(8, 30),
            "peak_rss_mb": rng.uniform(600, 1400),
        }
        for i, case in enumerate(cases)
    ]
    limb = "no head: the largest body part has no brain-like region (0.0 mL, at least 400 mL needed)."
    rows.append(
        {"case": "STS_001-1", "patient": "STS_001", "modality": "CT", "status": "refused", "reason": limb}
    )
    odd = "ingest: slice 14 is missing between 132.0 and 138.0 mm; <script>alert('x')</script>"
    rows.append({"case": "odd & <b>bold</b>", "patient": "", "status": "failed", "reason": odd})
    return rows


def config(defacers=DEFACERS):
    return {
        "settings": {
            "defacers": {name: {} for name in ("none", *defacers)},
            "recogniser": "face_recognition",
            "tolerance": 0.3,
            "pictures": True,
            "radiomics": {"bin_width": 25, "voxel_array_shift": 0, "classes": []},
        },
        "run_key_sha256": "8d1f" * 16,
        "azure": {"api_key": "hidden-from-the-page"},
        "options": {"render": {"size": 400, "pitches": [-20, -10, 0, 10]}, "radiomics": {"bin-width": 25}},
        "versions": {"python": "3.11.7", "defacedask": "0.1.0", "pyradiomics": "3.0.1"},
        "config_sha256": "77aa" * 16,
    }


def pictures(out: Path, rng, cases):
    listed = []
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    for case in cases[:2]:
        for kind, view, size in (("render", "front", 400), ("slice", "sagittal", 300)):
            for defacer in ("original", *DEFACERS):
                name = f"{case}-{kind}-{defacer}.png"
                pixels = rng.integers(0, 255, (size // 8, size // 8, 3), dtype=np.uint8)
                Image.fromarray(np.kron(pixels, np.ones((8, 8, 1), np.uint8))).save(out / "pictures" / name)
                listed.append(
                    {
                        "case": case,
                        "patient": "p",
                        "defacer": defacer,
                        "modality": "CT",
                        "view": view,
                        "kind": kind,
                        "file": name,
                    }
                )
    listed.append({"case": cases[0], "defacer": "original", "kind": "render", "file": "../../outside.png"})
    (out / "pictures" / "index.json").write_text(json.dumps(listed))


def make_run(
    out: Path,
    *,
    n=11,
    seed=0,
    originals="good",
    modalities=("CT",),
    calibrated=True,
    structures=STUDY_NAMES,
    defacers=DEFACERS,
    attacks=ATTACKS,
    recognisers=("face_recognition",),
) -> list[str]:
    """Write a whole run; returns the names of its cases."""
    rng = np.random.default_rng(seed)
    cases = [f"pt_{i:03d}-CT" for i in range(n)]
    looks, checks = [], []
    for name in recognisers:
        looks += recognition(
            rng,
            cases,
            originals=originals,
            modalities=modalities,
            defacers=defacers,
            attacks=attacks,
            recogniser=name,
        )
        checks += controls(modalities, n, originals=originals, recogniser=name)
    found, points = compared(np.random.default_rng(seed + 1), looks)
    write_tables(
        out,
        {
            "cases": case_rows(rng, cases),
            "skipped": [
                {"path": f"in/scout{i}.dcm", "reason": "a localizer, not a volume.", "patient_id": "PT-001"}
                for i in range(5)
            ],
            "controls": checks if calibrated else [],
            "recognition": looks,
            "verification": found,
            "curves": points,
            "radiomics": radiomics(rng, cases, structures, defacers),
            "dose": dose(rng, cases, defacers),
            "geometry": geometry(rng, cases, defacers),
            "timing": timing(rng, cases, defacers),
        },
    )
    (out / "config.yaml").write_text(yaml.safe_dump(config(defacers), sort_keys=False))
    pictures(out, rng, cases)
    return cases
