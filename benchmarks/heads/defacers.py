"""Every defacer on every real head: what was done, what it moved, what it kept, who is still recognised.

    uv run python -m benchmarks.heads.defacers DATA --out heads [--only pt_100,ct_headsq] [--no-faces]

DATA is a folder of real heads (see `benchmarks.heads.data`). ``heads/NAME.json`` holds each head's facts, so that a
second call goes on; ``heads/table.md`` and ``heads/table.csv`` the table: head by defacer, done or refused with the
reason, brain voxels changed, percent of the facial skin from brow to chin that moved by at least 3 mm, faces that the
CNN detector found, the distance to the own original in the same view (as detected, and with the original's box and
landmarks put on the defaced picture) against the threshold calibrated on the originals, seconds of plan and apply.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.heads.data import named_heads

DEFACERS = ("quickshear", "biometric_mask", "biometric_mask_strict", "mri_reface", "carina", "surrogate")
PITCHES = (-20.0, -10.0, 0.0, 10.0)
KEY = bytes(range(32))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--defacers", default=",".join(DEFACERS))
    parser.add_argument("--no-faces", action="store_true", help="leave the recogniser out")
    parser.add_argument("--again", default="", help="defacers to do again, separated by commas")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    only = {n for n in options.only.split(",") if n}
    again = {n for n in options.again.split(",") if n}
    for name, read in named_heads(options.data):
        if only and name not in only:
            continue
        file = options.out / f"{name}.json"
        known = json.loads(file.read_text()) if file.exists() else {"rows": {}}
        rows = {k: v for k, v in known["rows"].items() if k not in again}
        facts = {**known, "rows": rows}
        wanted = [d for d in options.defacers.split(",") if d not in rows]
        if wanted:
            measure(name, read, wanted, facts, faces=not options.no_faces)
            file.write_text(json.dumps(facts))
            for defacer in wanted:
                print(name, defacer, {k: v for k, v in rows[defacer].items() if k != "looks"}, flush=True)
    write_table(options.out)


def measure(
    name: str,
    read: Callable[[], xr.DataArray],
    defacers: Sequence[str],
    facts: dict[str, Any],
    *,
    faces: bool,
) -> None:
    """Fill in one head's facts."""
    from defacedask.anatomy.head import Head
    from defacedask.defacers import get_defacer
    from defacedask.errors import RefusedError
    from defacedask.faces.surface_change import surface_change

    rows = facts["rows"]
    volume = read()
    begun = time.perf_counter()
    head = Head(volume)
    try:
        head.require()
        _ = head.brain, head.face_skin
    except RefusedError as error:
        for defacer in defacers:
            rows[defacer] = {"status": "refused", "reason": str(error)}
        return
    facts["modality"] = head.modality
    facts["head_seconds"] = round(time.perf_counter() - begun, 2)
    own = _looks(volume, head, ()) if faces else None
    if own is not None:
        facts["looks"] = own
    for defacer in defacers:
        begun = time.perf_counter()
        try:
            plan = get_defacer(defacer).plan(head, key=KEY)
        except RefusedError as error:
            rows[defacer] = {"status": "refused", "reason": str(error)}
            continue
        planned = time.perf_counter()
        defaced = plan.apply(volume)
        done = time.perf_counter()
        change = surface_change(head, defaced)
        rows[defacer] = {
            "status": "done",
            "brain_changed": change.brain_voxels_changed,
            "moved": change.moved,
            "median_mm": change.median_mm,
            "plan_seconds": round(planned - begun, 2),
            "apply_seconds": round(done - planned, 2),
        }
        if own is not None:
            rows[defacer]["looks"] = _looks(defaced, head, own)


def _looks(volume: xr.DataArray, head: Any, own: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Looks of an `Examiner`, of which those at the original force box and landmarks on the defaced pictures."""
    from defacedask.faces.looking import Examiner
    from defacedask.faces.recognition import get_recogniser
    from defacedask.faces.render import View, skin_level, skin_surface
    from defacedask.volume import geometry_of, real_values

    values = real_values(volume).load().values
    level = own[0]["level"] if own else skin_level(head.modality, values)
    surface = skin_surface(values, geometry_of(volume), level=level, drop=head.drop, pose=head.pose)
    recogniser = get_recogniser("face_recognition_cnn", detect_size=200)
    examiner = Examiner([recogniser], head.pose, known=own)
    views = [View(0.0, pitch) for pitch in PITCHES]
    examiner.see(surface, views, path="head", modality=head.modality, level=level)
    return examiner.looks


def _distance(a: Any, b: Any) -> float:
    return float(np.linalg.norm(np.array(a) - np.array(b)))


def thresholds(heads: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Threshold of each modality: one false match in a hundred among the originals at another view."""
    from defacedask.faces.identification import Sighting, score
    from defacedask.faces.rates import calibrate_threshold

    out = {}
    for modality in sorted({h["modality"] for h in heads.values() if "looks" in h}):
        seen = [
            Sighting(name, look["view"], look["encoding"], look["detected"])
            for name, facts in heads.items()
            if facts.get("modality") == modality and "looks" in facts
            for look in facts["looks"]
        ]
        found = score(seen, seen)
        out[modality] = calibrate_threshold(found.genuine, found.impostor)
    return out


def write_table(folder: Path) -> None:
    """Write table.csv and table.md from the heads' facts."""
    import pandas as pd

    heads = {f.stem: json.loads(f.read_text()) for f in sorted(folder.glob("*.json"))}
    limits = thresholds(heads)
    rows = []
    for name, facts in heads.items():
        limit = limits.get(facts.get("modality", ""))
        for defacer, row in facts["rows"].items():
            own = {look["view"]: look for look in facts.get("looks", ())}
            looks = row.get("looks", ())
            plain, forced = (
                [
                    _distance(look["encoding"], own[look["view"]]["encoding"])
                    for look in looks
                    if look["forced"] == way and look["encoding"] and own[look["view"]]["encoding"]
                ]
                for way in (False, True)
            )
            rows.append(
                {
                    "head": name,
                    "defacer": defacer,
                    "status": row["status"],
                    "reason": row.get("reason", ""),
                    "brain voxels changed": row.get("brain_changed"),
                    "face moved, %": None if "moved" not in row else round(100 * row["moved"], 1),
                    "median, mm": None if "moved" not in row else round(row["median_mm"], 1),
                    "CNN: original, views": sum(k["detected"] for k in own.values()),
                    "CNN: defaced, views": sum(k["detected"] for k in looks if not k["forced"]),
                    "distance, detected": round(min(plain), 3) if plain else None,
                    "distance, forced": round(min(forced), 3) if forced else None,
                    "threshold": None
                    if limit is None or math.isnan(limit.threshold)
                    else round(limit.threshold, 3),
                    "head, s": facts.get("head_seconds"),
                    "plan, s": row.get("plan_seconds"),
                    "apply, s": row.get("apply_seconds"),
                }
            )
    # of few heads there may be none of these at all
    table = pd.DataFrame(rows).astype(
        dict.fromkeys(("distance, detected", "distance, forced", "threshold"), float)
    )
    table.to_csv(folder / "table.csv", index=False)
    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    for row in table.itertuples(index=False):
        lines.append("| " + " | ".join("" if v is None or v != v else str(v) for v in row) + " |")
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    print(summary(table, limits))


def summary(table: Any, limits: Mapping[str, Any]) -> str:
    """One line a defacer."""
    lines = [f"threshold {m}: {c.threshold:.3f} ({c.reason or 'calibrated'})" for m, c in limits.items()]
    for defacer, rows in table.groupby("defacer", sort=False):
        done = rows[rows.status == "done"]
        lines.append(
            f"{defacer}: {len(done)} done, {len(rows) - len(done)} refused; brain voxels changed "
            f"{int(done['brain voxels changed'].sum())}; moved median {done['face moved, %'].median():.1f} %, least "
            f"{done['face moved, %'].min():.1f} %, over 95 % in {(done['face moved, %'] > 95).sum()}; CNN saw "
            f"{(done['CNN: defaced, views'] > 0).sum()}; matched as detected "
            f"{(done['distance, detected'] <= done['threshold']).sum()}, forced "
            f"{(done['distance, forced'] <= done['threshold']).sum()}; plan {done['plan, s'].median():.1f} s, apply "
            f"{done['apply, s'].median():.1f} s"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
