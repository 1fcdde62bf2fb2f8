"""Un-masking every real head as an earlier version defaced it and as this one does, by one attacker in one run.

    python -m benchmarks.heads.unmasking_then DATA --then THEN --out before-after

THEN holds what `benchmarks/heads/defaced_then.py` made. *Before*: its layer, with the plan's exact region as the mask
(so NIfTI published it; DICOM carried none). *After*: this version's, with the hull that NIfTI and DICOM carry now;
and the exact region beside it, which stays with the key. Heads are taught in two halves: the classifier of a head has
learnt on ten of the half that it is not in (MR: on all others), defaced by the same version with other keys. Of each
kind of attempt the best setting counts, of the peel too. ``NAME.json`` holds the rows, so that a second call goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.heads.unmasking import KINDS, PEELS, Defaced, heads

VERSIONS = ("before", "after")
#: Columns of the table: version and kind of attempt.
COLUMNS = (
    *((v, k) for k in ("mask", "seam", "classifier", "level", "peel") for v in VERSIONS),
    ("after", "exact region"),
    *(("control", k) for k in ("mask", "seam", "classifier")),
)
TEACHERS = 10


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--then", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--no-classifier", action="store_true")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    only = {n for n in options.only.split(",") if n}
    for name, read in heads(options.data):
        file = options.out / f"{name}.json"
        if (only and name not in only) or file.exists() or not (options.then / f"{name}.npz").exists():
            continue
        facts = first_look(name, read(), options.then / f"{name}.npz", options.out)
        file.write_text(json.dumps(facts))
        print(name, {k: round(v, 2) for k, v in facts["rows"].items()}, flush=True)
    if not options.no_classifier:
        for group, teachers in taught(options.out):
            second_look(group, teachers, options.out)
    write_table(options.out)


def first_look(name: str, volume: Any, then: Path, out: Path) -> dict[str, Any]:
    """All that needs no training; what the classifier needs is kept beside it."""
    from defacedask.attacks.face_rays import Rays
    from defacedask.attacks.layer_classifier import lesson
    from defacedask.attacks.planted import planted
    from defacedask.attacks.skin_found import FaceSkin
    from defacedask.attacks.unmasking import peeled, unmasked
    from defacedask.attacks.unmasking_lines import mask_attempts, seam_attempt
    from defacedask.volume import geometry_of

    volume = volume.load()
    made = Defaced.of(name, volume)
    grid = geometry_of(volume)
    original, after = made.pair
    with np.load(then) as kept:
        region = np.unpackbits(kept["region"], count=volume.size).reshape(volume.shape).astype(bool)
        before = made.target(volume.copy(data=kept["values"]), region)
    truth = FaceSkin.of(original)
    weak = {kind: planted(original, kind) for kind in ("mask", "seam", "classifier")}
    tried: dict[str, dict[str, float]] = {}
    lessons: dict[str, Any] = {}
    for version, target in (("before", before), ("after", after)):
        found = [*unmasked(target, mm=()), *peeled(target, PEELS)]
        tried[version] = truth.shares(target, found)
        lessons[version] = lesson(original, target)
    exact = made.target(volume, np.asarray(made.plan.region(grid), bool)).mask
    aimed = dataclasses.replace(after, mask=exact)
    tried["exact"] = truth.shares(aimed, mask_attempts(aimed))
    lessons["weak"] = lesson(original, weak["classifier"])
    rows = {f"{v} {k}": best(tried[v], k) for v in VERSIONS for k in KINDS}
    rows["after exact region"] = best(tried["exact"], "mask")
    rows["control mask"] = max(truth.shares(weak["mask"], mask_attempts(weak["mask"], (0.0,))).values())
    rows["control seam"] = max(truth.shares(weak["seam"], seam_attempt(weak["seam"])).values(), default=0.0)
    kept_rays = {
        "before": (before, Rays.of(before)),
        "after": (after, Rays.of(after)),
        "weak": (weak["classifier"], Rays.of(weak["classifier"])),
    }
    (out / f"{name}.pickle").write_bytes(
        pickle.dumps({"truth": truth, "rays": kept_rays, "lessons": lessons})
    )
    return {"modality": original.modality, "tried": tried, "rows": rows}


def best(tried: dict[str, float], kind: str) -> float:
    """Largest share of one kind of attempt; 0 where there was none."""
    return max((v for k, v in tried.items() if k.startswith(kind)), default=0.0)


def taught(out: Path) -> list[tuple[list[str], list[str]]]:
    """Heads, and by which others they are taught: no head is in both."""
    groups: dict[str, list[str]] = {}
    for file in sorted(out.glob("*.pickle")):
        groups.setdefault(json.loads(file.with_suffix(".json").read_text())["modality"], []).append(file.stem)
    found = []
    for names in groups.values():
        if len(names) > 2 * TEACHERS:
            for part in (names[::2], names[1::2]):
                found.append((part, [n for n in names if n not in part][:TEACHERS]))
        elif len(names) > 1:
            found += [([name], [n for n in names if n != name]) for name in names]
    return found


def second_look(group: list[str], teachers: list[str], out: Path) -> None:
    """The classifier's attempts at some heads."""
    from defacedask.attacks.layer_classifier import LayerClassifier, attempts_by

    todo = [
        n for n in group if "control classifier" not in json.loads((out / f"{n}.json").read_text())["rows"]
    ]
    if not todo:
        return
    known = [pickle.loads((out / f"{n}.pickle").read_bytes())["lessons"] for n in teachers]
    classifiers = {v: LayerClassifier.trained([one[v] for one in known]) for v in (*VERSIONS, "weak")}
    for name in todo:
        kept = pickle.loads((out / f"{name}.pickle").read_bytes())
        facts = json.loads((out / f"{name}.json").read_text())
        for version, classifier in classifiers.items():
            target, rays = kept["rays"][version]
            shares = kept["truth"].shares(target, attempts_by([classifier], target, rays))
            row = "control classifier" if version == "weak" else f"{version} classifier"
            facts["rows"][row] = best(shares, "classifier")
            facts[f"auc {version}"] = classifier.auc(kept["lessons"][version])
        facts["taught_by"] = teachers
        (out / f"{name}.json").write_text(json.dumps(facts))
        print(name, {k: round(v, 2) for k, v in facts["rows"].items() if "classifier" in k}, flush=True)


def write_table(out: Path) -> None:
    """Percent of the skin found: median and most of each modality, then each head."""
    heads_ = {f.stem: json.loads(f.read_text()) for f in sorted(out.glob("*.json"))}
    lines = [
        "| head | " + " | ".join(f"{k}: {v}" for v, k in COLUMNS) + " |",
        "|" + " --- |" * (len(COLUMNS) + 1),
    ]

    def line(title: str, values: Sequence[float]) -> str:
        return f"| {title} | " + " | ".join("" if v != v else f"{100 * v:.0f}" for v in values) + " |"

    def cells(facts: dict[str, Any]) -> list[float]:
        return [facts["rows"].get(f"{v} {k}", np.nan) for v, k in COLUMNS]

    for modality in ("CT", "MR"):
        rows = [cells(h) for h in heads_.values() if h["modality"] == modality]
        if rows:
            table = np.array(rows)
            for what, take in (("median", np.nanmedian), ("least", np.nanmin), ("most", np.nanmax)):
                lines.append(line(f"{modality}, {what} of {len(rows)}", take(table, axis=0).tolist()))
    lines += [line(name, cells(h)) for name, h in heads_.items()]
    (out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
