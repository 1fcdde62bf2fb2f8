"""Made results of cohorts, for the tables of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from defacedask.flow.result import TaskResult
from defacedask.flow.settings import Settings
from defacedask.io.dicom.model import Case, Series


def series(uid):
    return Series(uid, "CT", "", "P" + uid, "", "", "", 1, ("f",), ("i",))


CASES = [Case(name, "P" + name, "1.2", (series(name),)) for name in "abc"]
SETTINGS = Settings(
    {"none": {}, "quickshear": {}}, "face_recognition", {"face_recognition": 0.3}, {}, {}, True
)


def look(view, vector, attack="plain"):
    detected = vector is not None
    return {
        "path": "images/CT",
        "modality": "CT",
        "view": view,
        "level": -300.0,
        "attack": attack,
        "detected": detected,
        "encoding": vector,
    }


def faces(case, defacer, looks):
    facts = {
        "looks": looks,
        "recogniser": "face_recognition",
        "pictures": [{"file": f"{case}/{defacer}.png"}],
    }
    return TaskResult("faces", case, defacer, "k", seconds=2, peak_rss_mb=100, facts=facts)


def cohort_results(count):
    """Persons at random places, two views each; every third has a second scan, every seventh shows no face."""
    rng = np.random.default_rng(3)
    cases, out = [], []
    for k in range(count):
        person = k - count // 2 if k % 3 == 0 and k > count // 2 else k
        case = f"c{k:03d}"
        one = dataclasses.replace(series(case), patient_id=f"P{person}")
        cases.append(Case(case, f"P{person}", "1.2", (one,)))
        own = np.random.default_rng(person).normal(size=8)
        for defacer, away in (("original", 0.0), ("none", 0.01), ("quickshear", 1.5)):
            looks = []
            for view in ("front", "turned"):
                vector = (own + away * rng.normal(size=8) + 0.1 * rng.normal(size=8)).tolist()
                looks.append(look(view, None if k % 7 == 6 else vector))
            if defacer != "original":
                looks.append(look("front", (own + rng.normal(size=8)).tolist(), "denoise"))
            out.append(faces(case, defacer, looks))
            out.append(TaskResult("apply", case, defacer, "k", seconds=k / 7))
        row = {"case": case, "defacer": "none", "modality": "CT", "structure": "Brain", "feature": "Mean"}
        row |= {"original": 1.0 + k, "defaced": 2.0, "percent": k / 3, "voxels": 5, "voxels_changed": k}
        rows = [row, row | {"structure": "Eye_L", "percent": float("nan"), "original": 0.0}]
        out.append(TaskResult("radiomics", case, "none", "k", rows={"radiomics": rows}))
    return cases, out
