"""How robustly a head is found: real heads in made poses, fields of view and disturbances, as a table.

    uv run python -m benchmarks.heads.poses DATA --out poses [--only pt_100,mr_trio_b17] [--every 4]

Each head is looked at as it is; then it is turned, cut, flipped or disturbed in a known way, and looked at again.
*Right*: the pose found differs from the known one by at most 10 degrees and 12 mm at the brain's centre and at the
nasion. *Refused*: a quality figure stopped it. *Wrong*: neither, which is what must not happen. A change that leaves
too little of a head (a crown cut off what has none) may rightly be refused.
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

#: Largest error that counts as right: degrees, and mm at the brain's centre and the nasion.
DEGREES, MILLIMETRES = 10.0, 12.0


def _like(volume: xr.DataArray, head: Any, values: np.ndarray, grid: Any) -> xr.DataArray:
    """Real values on a grid, stored as a scanner would: whole numbers, 16 bits if they suffice."""
    from defacedask.volume import make_volume, units_of

    stored = np.rint(values).astype(np.int16 if values.max() < 32767 else np.int32)
    return make_volume(stored, grid, modality=head.modality, units=units_of(volume))


def turned(volume: xr.DataArray, head: Any, *, pitch: float = 0, yaw: float = 0, roll: float = 0) -> Any:
    """Turn the patient about the brain's centre; the field of view stays as large as it was."""
    from defacedask.anatomy.grid import resample
    from defacedask.anatomy.registration import rotation
    from defacedask.volume import geometry_of, real_values

    grid = geometry_of(volume)
    # rotation() maps the turned patient into the template's frame, so that its inverse turns the patient
    turn = rotation(pitch, yaw, roll)
    middle = _brain(head)
    back = np.eye(4)
    back[:3, :3] = turn
    back[:3, 3] = middle - turn @ middle
    values = real_values(volume).load().values.astype(np.float32)
    moved = resample(values, grid, grid, matrix=back, outside=head.air)
    return _like(volume, head, moved, grid), back


def regridded(volume: xr.DataArray, head: Any, spacing: Sequence[float]) -> Any:
    """On voxels of another size (z, y, x), over the box of the body in view."""
    from defacedask.anatomy.grid import resample
    from defacedask.geometry import Geometry
    from defacedask.volume import geometry_of, real_values

    points = head.grid.to_world(np.argwhere(head.body))
    low, high = points.min(axis=0) - 10, points.max(axis=0) + 10
    shape = np.ceil((high - low)[::-1] / spacing).astype(int)
    grid = Geometry.from_spacing(shape.tolist(), list(spacing), low)
    values = resample(
        real_values(volume).load().values.astype(np.float32), geometry_of(volume), grid, outside=head.air
    )
    return _like(volume, head, values, grid), np.eye(4)


def flipped(volume: xr.DataArray, head: Any, axes: Sequence[int]) -> Any:
    """Array axes in the other order, the world as it was: how feet-first and prone series are stored."""
    from defacedask.geometry import Geometry
    from defacedask.volume import geometry_of, make_volume, units_of

    grid = geometry_of(volume)
    step = [-1 if axis in axes else 1 for axis in range(3)]
    start = [0 if s > 0 else n - 1 for s, n in zip(step, grid.shape, strict=True)]
    stop = [n if s > 0 else -1 for s, n in zip(step, grid.shape, strict=True)]
    affine = grid.block(start, stop, step).affine
    stored = volume.load().values[tuple(slice(None, None, s) for s in step)].copy()
    rows = slice(None, None, step[0])
    out = make_volume(
        stored,
        Geometry(grid.shape, affine, grid.frame_of_reference),
        modality=head.modality,
        units=units_of(volume),
        slope=volume.coords["slope"].values[rows],
        intercept=volume.coords["intercept"].values[rows],
    )
    return out, np.eye(4)


def cut(volume: xr.DataArray, head: Any, *, crown: float | None = None, chin: float | None = None) -> Any:
    """Field of view ends ``crown`` mm above the eyes, or begins ``chin`` mm below them (world z)."""
    from defacedask.volume import geometry_of, real_values

    grid = geometry_of(volume)
    z = np.broadcast_to(grid.positions(dtype=np.float64)[2], grid.shape)
    eyes = (head.landmark("eye_left")[2] + head.landmark("eye_right")[2]) / 2
    gone = z > eyes + crown if crown is not None else z < eyes - float(chin or 0)
    keep = ~gone.all(axis=(1, 2))
    if keep.sum() < 4:
        keep[:] = True
    values = np.where(gone, head.air, real_values(volume).load().values)
    rows = np.flatnonzero(keep)
    part = grid.block((int(rows[0]), 0, 0), (int(rows[-1]) + 1, *grid.shape[1:]))
    return _like(volume, head, values[rows[0] : rows[-1] + 1], part), np.eye(4)


def disturbed(volume: xr.DataArray, head: Any, kind: str) -> Any:
    """Things that are not the patient: ``mask``, ``tube``, ``metal`` (CT), ``prone`` (a couch before the face)."""
    from scipy.ndimage import distance_transform_edt

    from defacedask.anatomy.grid import resample
    from defacedask.volume import geometry_of, real_values

    grid = geometry_of(volume)
    values = real_values(volume).load().values.astype(np.float32)
    bright = 3.0 * head.level if head.modality != "CT" else 300.0
    x, y, z = grid.positions(dtype=np.float64)
    mouth, nose = head.landmark("stomion"), head.landmark("nose_tip")
    body = resample(head.body, head.grid, grid, nearest=True)
    if kind == "mask":
        gap = distance_transform_edt(~body, sampling=grid.spacing)
        thick = max(grid.spacing)
        values[(gap > 2) & (gap <= 2 + thick) & (y < mouth[1] + 80)] = bright
    elif kind == "tube":
        out = (
            ((x - mouth[0]) ** 2 + (z - mouth[2] - 0.2 * (mouth[1] - y)) ** 2 < 64)
            & (y < mouth[1] + 10)
            & (y > mouth[1] - 90)
        )
        values[np.broadcast_to(out, values.shape) & ~body] = bright
    elif kind == "metal":
        teeth = mouth + np.array([0.0, 18.0, 0.0])
        near = (x - teeth[0]) ** 2 + (y - teeth[1]) ** 2
        angle = np.arctan2(y - teeth[1], x - teeth[0])
        streak = 500 * np.sin(14 * angle) * np.exp(-np.sqrt(near) / 60) * (np.abs(z - teeth[2]) < 8)
        values = values + np.where(body, streak, 0.5 * streak).astype(np.float32)
        for side in (-18, 18):
            values[
                np.broadcast_to(
                    (x - teeth[0] - side) ** 2 + (y - teeth[1]) ** 2 + (z - teeth[2]) ** 2 < 36, values.shape
                )
            ] = 3071
        values = np.clip(values, -1024, 3071)
    elif kind == "prone":
        board = np.broadcast_to(
            (y < nose[1] - 3) & (y > nose[1] - 12) & (np.abs(x - nose[0]) < 150), values.shape
        )
        values[board & ~body] = bright
    return _like(volume, head, values, grid), np.eye(4)


Change = Callable[[xr.DataArray, Any], Any]
CHANGES: dict[str, Change] = {
    "turned left 30": lambda v, h: turned(v, h, yaw=30),
    "turned left 45": lambda v, h: turned(v, h, yaw=45),
    "turned right 45": lambda v, h: turned(v, h, yaw=-45),
    "chin up 25 more": lambda v, h: turned(v, h, pitch=25),
    "chin down 25 more": lambda v, h: turned(v, h, pitch=-25),
    "leaning 20": lambda v, h: turned(v, h, roll=20),
    "turned 40, leaning 15": lambda v, h: turned(v, h, yaw=40, roll=15),
    "slices of 5 mm": lambda v, h: regridded(v, h, (5.0, 1.0, 1.0)),
    "voxels of 0.5 mm": lambda v, h: regridded(v, h, (1.0, 0.5, 0.5)),
    "feet first (stored from the feet, mirrored)": lambda v, h: flipped(v, h, (0, 2)),
    "prone (stored upside down)": lambda v, h: flipped(v, h, (1, 2)),
    "a couch before the face": lambda v, h: disturbed(v, h, "prone"),
    "crown cut 45 mm above the eyes": lambda v, h: cut(v, h, crown=45),
    "crown cut 25 mm above the eyes": lambda v, h: cut(v, h, crown=25),
    "chin cut 65 mm below the eyes": lambda v, h: cut(v, h, chin=65),
    "thermoplastic mask": lambda v, h: disturbed(v, h, "mask"),
    "tube in the mouth": lambda v, h: disturbed(v, h, "tube"),
    "dental metal": lambda v, h: disturbed(v, h, "metal"),
}
CT_ONLY = {"dental metal", "thermoplastic mask"}


def _brain(head: Any) -> np.ndarray:
    return head.grid.to_world(np.argwhere(head.brain).mean(axis=0))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--every", type=int, default=1, help="each n-th OpenKBP head alone")
    parser.add_argument("--changes", default="", help="parts of names, separated by commas")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    only = {n for n in options.only.split(",") if n}
    parts = [p for p in options.changes.split(",") if p]
    wanted = {n: c for n, c in CHANGES.items() if not parts or any(p in n for p in parts)}
    count = 0
    for name, read in named_heads(options.data):
        if only and name not in only:
            continue
        if name.startswith("pt_"):
            count += 1
            if (count - 1) % options.every:
                continue
        file = options.out / f"{name}.json"
        rows = json.loads(file.read_text()) if file.exists() and not parts else {}
        if not set(wanted) - set(rows):
            continue
        rows |= look(name, read(), {n: c for n, c in wanted.items() if n not in rows})
        file.write_text(json.dumps(rows))
    write_table(options.out)


def look(name: str, volume: xr.DataArray, changes: dict[str, Change]) -> dict[str, Any]:
    """What became of one head under each change."""
    from defacedask.anatomy.head import Head
    from defacedask.errors import RefusedError

    first = Head(volume)
    first.require()
    points = [_brain(first), first.landmark("nasion")]
    rows = {}
    for change, make in changes.items():
        if change in CT_ONLY and first.modality != "CT":
            continue
        new, back = make(volume, first)
        begun = time.perf_counter()
        head = Head(new)
        try:
            head.require()
        except RefusedError as error:
            rows[change] = {"outcome": "refused", "reason": str(error)}
        else:
            # a point p of the patient lies at inv(back) p now; both looks should send it to the same place
            found, known = head.pose, first.pose @ back
            turn = found[:3, :3] @ known[:3, :3].T
            angle = float(np.rad2deg(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
            now = [(np.linalg.inv(back) @ np.append(p, 1.0)) for p in points]
            gaps = [float(np.linalg.norm((found @ p - known @ p)[:3])) for p in now]
            right = angle <= DEGREES and max(gaps) <= MILLIMETRES
            rows[change] = {"outcome": "right" if right else "wrong", "degrees": angle, "mm": gaps}
        rows[change]["seconds"] = round(time.perf_counter() - begun, 2)
        print(name, change, rows[change], flush=True)
    return rows


def write_table(folder: Path) -> None:
    """Counts of each outcome by change."""
    heads = {f.stem: json.loads(f.read_text()) for f in sorted(folder.glob("*.json"))}
    lines = [
        "| change | heads | right | refused | wrong | median degrees | median mm, nasion |",
        "|" + " --- |" * 7,
    ]
    for change in CHANGES:
        rows = [h[change] for h in heads.values() if change in h]
        count = {o: sum(r["outcome"] == o for r in rows) for o in ("right", "refused", "wrong")}
        seen = [r for r in rows if "degrees" in r]
        middle = (
            [f"{np.median([r['degrees'] for r in seen]):.1f}", f"{np.median([r['mm'][1] for r in seen]):.1f}"]
            if seen
            else ["", ""]
        )
        cells = [change, len(rows), *count.values(), *middle]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
