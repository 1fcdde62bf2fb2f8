"""The independent witness on real heads: right plans that pass, wrong ones that are held back, and what it costs.

    uv run python -m benchmarks.heads.witness DATA --out witness [--only pt_100,ct_headsq] [--every 4]

DATA is a folder of real heads (see `benchmarks.heads.data`). ``witness/NAME.json`` holds each head's rows, so that a
second call goes on; ``witness/table.md`` the tables. *Right*: the plan as it was made. *Wrong*: the head turned or
moved after the plan was made (by the affine alone, so that no voxel changes): the plan then is one for another pose.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.heads.data import named_heads

DEFACERS = ("quickshear", "biometric_mask_strict", "mri_reface", "carina", "surrogate")
#: The published form leaves faces visible, and is held back for that: here it is only planned.
JUDGED_ELSEWHERE = ("biometric_mask",)
KEY = bytes(range(32))
#: Name -> degrees about the head's long axis, degrees about its left-right axis, mm (left, posterior, superior).
WRONG: dict[str, tuple[float, float, tuple[float, float, float]]] = {
    "turned 180": (180, 0, (0, 0, 0)),
    "turned 150": (150, 0, (0, 0, 0)),
    "turned 120": (120, 0, (0, 0, 0)),
    "turned 45": (45, 0, (0, 0, 0)),
    "upside down": (0, 180, (0, 0, 0)),
    "40 mm up": (0, 0, (0, 0, 40)),
    "40 mm down": (0, 0, (0, 0, -40)),
    "40 mm back": (0, 0, (0, 40, 0)),
    "40 mm left": (0, 0, (40, 0, 0)),
    "35 degrees, 18 mm": (35, 0, (0, 15, 10)),
    "22 mm back, 18 mm up": (0, 0, (0, 22, 18)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--every", type=int, default=1, help="wrong plans on every so manyth head alone")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    only = {n for n in options.only.split(",") if n}
    for number, (name, read) in enumerate(named_heads(options.data)):
        file = options.out / f"{name}.json"
        if file.exists() or (only and name not in only):
            continue
        facts = measure(read, wrong=number % options.every == 0)
        file.write_text(json.dumps(facts))
        print(name, {k: v for k, v in facts.items() if k != "rows"}, flush=True)
    write_table(options.out)


def measure(read: Callable[[], xr.DataArray], *, wrong: bool) -> dict[str, Any]:
    """One head's facts."""
    from defacedask.anatomy.head import Head
    from defacedask.anatomy.witness import sighting, verdict
    from defacedask.defacers import get_defacer
    from defacedask.errors import RefusedError

    volume = read().load()
    head = Head(volume)
    begun = time.process_time()
    seen = sighting(volume)
    facts: dict[str, Any] = {"seconds": round(time.process_time() - begun, 2), **seen.facts(), "rows": []}
    place = head.landmark("nose_tip")
    facing = np.linalg.inv(head.pose)[:3, :3] @ (0.0, -1.0, 0.0)
    facts["plans"] = {}
    for defacer in (*DEFACERS, *JUDGED_ELSEWHERE):
        try:
            head.require()
            plan = get_defacer(defacer).plan(head, key=KEY)
        except RefusedError as error:
            facts["plans"][defacer] = str(error)
            continue
        facts["plans"][defacer] = "done"
        if defacer in JUDGED_ELSEWHERE:
            continue
        begun = time.process_time()
        found = verdict(volume, plan.apply(volume).load(), seen, place, facing)
        facts["rows"].append(_row(defacer, "right", found, time.process_time() - begun))
        if not wrong or seen.reason:
            continue
        for what, (yaw, roll, shift) in WRONG.items():
            matrix = _motion(seen, yaw, roll, shift)
            there, theirs = _moved(volume, matrix), _seen_there(seen, matrix)
            found = verdict(there, plan.apply(there).load(), theirs, place, facing)
            facts["rows"].append(_row(defacer, what, found, 0.0))
    return facts


def _row(defacer: str, what: str, found: Any, seconds: float) -> dict[str, Any]:
    figures = {k: v for k, v in found.figures.items() if k != "sighting"}
    return {"defacer": defacer, "what": what, "held": found.held, "seconds": round(seconds, 2), **figures}


def _motion(seen: Any, yaw: float, roll: float, shift: Sequence[float]) -> np.ndarray:
    """About the middle of the skull, in the head's own axes; world LPS mm."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(np.radians(yaw) * seen.axes[:, 2]) * Rotation.from_rotvec(
        np.radians(roll) * seen.axes[:, 0]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn.as_matrix()
    matrix[:3, 3] = seen.centre - matrix[:3, :3] @ seen.centre + seen.axes @ np.array(shift, dtype=float)
    return matrix


def _moved(volume: xr.DataArray, matrix: np.ndarray) -> xr.DataArray:
    from defacedask.geometry import Geometry
    from defacedask.volume import geometry_of, make_volume, units_of

    grid = geometry_of(volume)
    return make_volume(
        volume.values,
        Geometry(grid.shape, matrix @ grid.affine),
        modality=volume.attrs["modality"],
        units=units_of(volume),
        slope=volume.coords["slope"].values,
        intercept=volume.coords["intercept"].values,
    )


def _seen_there(seen: Any, matrix: np.ndarray) -> Any:
    """What the witness sees of the moved head: it works along the image's own axes, so that it moves with them."""
    import dataclasses

    turn, by = matrix[:3, :3], matrix[:3, 3]
    return dataclasses.replace(
        seen,
        place=turn @ seen.place + by,
        facing=turn @ seen.facing,
        centre=turn @ seen.centre + by,
        axes=turn @ seen.axes,
    )


def write_table(folder: Path) -> None:
    """Write table.md from the heads' facts, and print it."""
    heads = {f.stem: json.loads(f.read_text()) for f in sorted(folder.glob("*.json"))}
    rows = [{**row, "head": name} for name, facts in heads.items() for row in facts["rows"]]
    lines = [
        "| plan | defacer | heads | held back | moved, median (least) % | seconds, median |",
        "|" + " --- |" * 6,
    ]
    for what in ("right", *WRONG):
        for defacer in DEFACERS:
            part = [r for r in rows if r["what"] == what and r["defacer"] == defacer]
            if not part:
                continue
            moved = [100 * r["moved"] for r in part if r.get("moved") is not None]
            lines.append(
                f"| {what} | {defacer} | {len(part)} | {sum(r['held'] for r in part)} | "
                f"{np.median(moved):.1f} ({min(moved):.1f}) | {np.median([r['seconds'] for r in part]):.1f} |"
            )
    right = [r for r in rows if r["what"] == "right" and "degrees" in r]
    once = [r for r in right if r["defacer"] == DEFACERS[0]]
    if once:
        lines += ["", *_summary(heads, right, once)]
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _summary(heads: Any, right: Any, once: Any) -> list[str]:
    degrees, mm = ([r[k] for r in once] for k in ("degrees", "mm"))
    seconds = [f["seconds"] for f in heads.values()]
    blind = sorted(name for name, f in heads.items() if f["reason"])
    held = sorted({f"{r['head']} {r['defacer']}" for r in right if r["held"]})
    plans = [
        f"{d} {sum(f['plans'].get(d) == 'done' for f in heads.values())}"
        for d in (*DEFACERS, *JUDGED_ELSEWHERE)
    ]
    refused = [
        f"{name} {d}: {why}" for name, f in heads.items() for d, why in f["plans"].items() if why != "done"
    ]
    return [
        f"Planned, of {len(heads)} heads: {', '.join(plans)}.",
        *refused,
        f"Sightings: {len(once)} of {len(heads)} (none: {', '.join(blind) or '-'}); from the plan by median "
        f"{np.median(degrees):.0f} (most {max(degrees):.0f}) degrees and {np.median(mm):.0f} (most {max(mm):.0f}) "
        f"mm; CPU seconds median {np.median(seconds):.1f}, most {max(seconds):.1f}.",
        f"Right plans held back: {len(held)} of {len(right)} ({', '.join(held) or '-'}).",
    ]


if __name__ == "__main__":
    main()
