"""Real heads turned against their header through the whole sphere, and images without a head: what would be exported.

    uv run python -m benchmarks.heads.orientations DATA --out turned [--turns 60] [--only pt_100,...] [--part 0/2]

The voxels stay as they are, and the header's axes are turned: so every orientation is exact, and the face lies in the
same voxels each time. Where it lies is known from the look at the head as it came. *Exported with a face*: the case
would be written, and more than a tenth of the tissue in the skin of its face has its old value. That measure shares
nothing with the turned look. Each row is kept in OUT/HEAD.jsonl, so that a second call goes on where one was stopped.
"""

from __future__ import annotations

import argparse
import collections
import csv
import json
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from benchmarks.heads.data import named_heads
from benchmarks.heads.non_heads import non_heads
from defacedask.anatomy.head import Head
from defacedask.anatomy.turns import angle_between, sphere
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, make_volume, units_of

if TYPE_CHECKING:
    from defacedask.defacers.base import Plan

__all__ = ["main", "moved_by", "turned"]

#: Part of the face's skin that may keep its value, and what counts as the right pose (degrees, mm).
LEFT, DEGREES, MILLIMETRES = 0.10, 10.0, 12.0


def moved_by(volume: xr.DataArray, turn: np.ndarray, *, mirror: bool = False) -> np.ndarray:
    """(4, 4) motion of the world that turns a volume about its centre; mirrored left to right before, if asked."""
    centre = geometry_of(volume).centre
    out = np.eye(4)
    out[:3, :3] = turn @ (np.diag([-1.0, 1.0, 1.0]) if mirror else np.eye(3))
    out[:3, 3] = centre - out[:3, :3] @ centre
    return out


def turned(volume: xr.DataArray, motion: np.ndarray) -> xr.DataArray:
    """The same voxels under another header: its positions are moved by ``motion`` (4, 4)."""
    grid = geometry_of(volume)
    return make_volume(
        volume.data,
        Geometry(grid.shape, motion @ grid.affine, grid.frame_of_reference),
        modality=volume.attrs["modality"],
        units=units_of(volume),
        slope=volume.coords["slope"].values,
        intercept=volume.coords["intercept"].values,
    )


def face_voxels(volume: xr.DataArray, head: Head) -> np.ndarray:
    """Bool (z, y, x): tissue in the skin of the face, by a look at the head as it came."""
    from defacedask.anatomy.grid import resample
    from defacedask.anatomy.morphology import dilate
    from defacedask.volume import real_values

    near = resample(dilate(head.face_skin, 1), head.grid, geometry_of(volume), nearest=True)
    return near & (real_values(volume).values > head.level)


def judged(
    volume: xr.DataArray, face: np.ndarray | None, defacer: str, right: Callable[[Head], bool] | None = None
) -> dict[str, Any]:
    """What becomes of one image: refused, held back or done, and how much of the face's skin is unchanged.

    ``right`` tells a pose that is known to be right: then the last checks, which are there to catch wrong ones, are
    spared where the face has gone.
    """
    from defacedask.anatomy.witness import sighting, verdict
    from defacedask.defacers import get_defacer
    from defacedask.errors import RefusedError
    from defacedask.faces.surface_change import surface_change
    from defacedask.flow.stages.residual import Residual

    head = Head(volume)
    row: dict[str, Any] = {"score": head.registration.score, "margin": head.registration.margin}
    try:
        head.require()
        plan = get_defacer(defacer).plan(head, key=b"orientations")
    except RefusedError as error:
        failed = [f.name for f in head.quality.values() if not f.ok]
        return row | {"outcome": "refused", "why": failed[0] if failed else "plan", "reason": str(error)}
    row |= {"outline": head.outline_agreement, "pose": np.asarray(head.pose).tolist()}
    if face is not None:
        row["unchanged"] = unchanged(volume, plan, face)
    if right is not None and right(head) and row.get("unchanged", 1.0) < LEFT:
        return row | {"outcome": "done"}
    defaced = plan.apply(volume)
    gaze = np.linalg.inv(head.pose)[:3, :3] @ (0.0, -1.0, 0.0)
    checked = verdict(volume, defaced, sighting(volume), head.landmark("nose_tip"), gaze)
    if checked.held:
        return row | {"outcome": "held", "why": "witness", "reason": checked.sentence}
    # the export asks in the plan's own pose, too
    planned = Residual(surface_change(head, defaced).moved)
    if not planned.ok:
        return row | {"outcome": "held", "why": "planned", "reason": planned.sentence}
    return row | {"outcome": "done"}


def unchanged(volume: xr.DataArray, plan: Plan, face: np.ndarray) -> float:
    """Part of a face's voxels that keep their value; only the block of the volume around them is defaced."""
    import dask.array

    from defacedask.anatomy.morphology import box_of

    box = box_of(face)
    cuts = [(b.start, b.stop - b.start, n - b.stop) for b, n in zip(box, face.shape, strict=True)]
    chunks = tuple(tuple(c for c in cut if c) for cut in cuts)
    lazy = volume.copy(data=dask.array.from_array(volume.data, chunks=chunks))
    part = plan.apply(lazy).data[box].compute(scheduler="synchronous")
    return float((part == volume.data[box])[face[box]].mean())


def rows_of(
    name: str,
    volume: xr.DataArray,
    turns: Sequence[tuple[str, np.ndarray]],
    defacer: str,
    seen: set[str],
    spare: bool,
) -> Iterator[dict[str, Any]]:
    """One row a turn that has none yet."""
    todo = [(label, motion) for label, motion in turns if label not in seen]
    if not todo:
        return
    first = Head(volume)
    face = face_voxels(volume, first)
    points = [first.grid.to_world(np.argwhere(first.brain).mean(axis=0)), first.landmark("nasion")]
    for label, motion in todo:

        def error(head: Head, motion: np.ndarray = motion) -> dict[str, Any]:
            known = first.pose @ np.linalg.inv(motion)
            now = [(motion @ np.append(p, 1.0)) for p in points]
            mm = [float(np.linalg.norm(((head.pose - known) @ p)[:3])) for p in now]
            return {"degrees": float(angle_between(head.pose[:3, :3], known[:3, :3])), "mm": mm}

        def right(head: Head, error: Any = error) -> bool:
            found = error(head)
            return found["degrees"] <= DEGREES and max(found["mm"]) <= MILLIMETRES

        # of a mirrored head no turn is the known one
        mirrored = np.linalg.det(motion[:3, :3]) < 0
        begun = time.process_time()
        row = judged(turned(volume, motion), face, defacer, None if mirrored or not spare else right)
        row["cpu"] = round(time.process_time() - begun, 2)
        if "pose" in row and not mirrored:
            row |= error(types.SimpleNamespace(pose=np.array(row["pose"])))
        row.pop("pose", None)
        yield {"head": name, "turn": label, **row}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="how many of them now; 0: all")
    parser.add_argument("--only", default="")
    parser.add_argument("--defacer", default="quickshear")
    parser.add_argument(
        "--spare",
        action="store_true",
        help="make the last checks only where the pose is wrong, or the face left",
    )
    parser.add_argument("--part", default="0/1", help="K/N: each N-th head, from the K-th")
    parser.add_argument("--known", type=Path, help="looks.csv of earlier calls, which are not made again")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    only = {n for n in options.only.split(",") if n}
    part, parts = (int(n) for n in options.part.split("/"))
    if options.known:
        take_over(options.known, options.out)
    for k, (name, read) in enumerate(named_heads(options.data)):
        if k % parts != part or (only and name not in only):
            continue
        volume = read().load()
        file = options.out / f"{name}.jsonl"
        seen = {r["turn"] for r in _read(file)}
        # a stride that shares no factor with the count: the first few are spread over the sphere, too
        order = [(17 * k) % options.turns for k in range(options.first or options.turns)]
        turns = [(str(n), moved_by(volume, sphere(options.turns)[n])) for n in order]
        turns.append(("mirrored", moved_by(volume, np.eye(3), mirror=True)))
        with file.open("a") as out:
            for row in rows_of(name, volume, turns, options.defacer, seen, options.spare):
                out.write(json.dumps(row) + "\n")
                out.flush()
                print(name, row["turn"], row["outcome"], row.get("why", ""), row.get("unchanged"), flush=True)
    if part == 0 and not only:
        file = options.out / "non-heads.jsonl"
        seen = {r["head"] for r in _read(file)}
        with file.open("a") as out:
            for name, make in non_heads(options.data):
                if name not in seen:
                    out.write(
                        json.dumps({"head": name, "turn": "", **judged(make().load(), None, options.defacer)})
                    )
                    out.write("\n")
                    out.flush()
    write_looks(options.out)
    write_table(options.out)
    write_figure(options.out)


#: Columns of looks.csv; ``brain`` and ``nasion`` are mm.
COLUMNS = (
    "head",
    "turn",
    "outcome",
    "why",
    "unchanged",
    "score",
    "margin",
    "outline",
    "degrees",
    "brain",
    "nasion",
)


def write_looks(folder: Path) -> None:
    """All rows in one file, from which `take_over` can go on."""
    with (folder / "looks.csv").open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(COLUMNS)
        for one in sorted(folder.glob("*.jsonl")):
            for row in sorted(
                _read(one), key=lambda r: (not r["turn"].isdigit(), r["turn"].zfill(3), r["head"])
            ):
                known = {**row, **dict(zip(("brain", "nasion"), row.get("mm", ()), strict=False))}
                cells = (known.get(c, "") for c in COLUMNS)
                out.writerow([f"{c:.4g}" if isinstance(c, float) else c for c in cells])


def take_over(file: Path, folder: Path) -> None:
    """Make the rows of a looks.csv known to a folder, where it has none for that head."""
    heads: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    with file.open(newline="") as text:
        for cells in csv.DictReader(text):
            row: dict[str, Any] = {
                c: cells[c] for c in ("head", "turn", "outcome", "why") if cells[c] or c == "turn"
            }
            row |= {c: float(cells[c]) for c in COLUMNS[4:9] if cells[c]}
            if cells["brain"]:
                row["mm"] = [float(cells["brain"]), float(cells["nasion"])]
            heads[row["head"] if row["turn"] else "non-heads"].append(row)
    for head, rows in heads.items():
        path = folder / f"{head}.jsonl"
        if not path.exists():
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def write_table(folder: Path) -> None:
    """Counts of outcomes, and every case that would have been exported with a face."""
    rows = [r for f in sorted(folder.glob("*.jsonl")) if f.stem != "non-heads" for r in _read(f)]
    lines = ["| | looks | done | of these with a face | refused | held back | why |", "|" + " --- |" * 7]
    groups: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for row in rows:
        group = "OpenKBP" if row["head"].startswith("pt_") else row["head"]
        groups[f"{group}{', mirrored' if row['turn'] == 'mirrored' else ''}"].append(row)
    groups["all"] = rows
    groups["no heads"] = _read(folder / "non-heads.jsonl")
    for name, some in groups.items():
        count = collections.Counter(r["outcome"] for r in some)
        faces = [r for r in some if r["outcome"] == "done" and r.get("unchanged", 0.0) > LEFT]
        why = collections.Counter(r["why"] for r in some if "why" in r)
        reasons = ", ".join(f"{k} {n}" for k, n in why.most_common())
        cells = [name, len(some), count["done"], len(faces), count["refused"], count["held"], reasons]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += [
        f"With a face: {r['head']} {r['turn']} {r['unchanged']:.2f}"
        for r in rows
        if r["outcome"] == "done" and r.get("unchanged", 0.0) > LEFT
    ]
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def write_figure(folder: Path) -> None:
    """Match and margin of right poses, of the best pose elsewhere, and of images without a head, with the gates."""
    from matplotlib.figure import Figure

    from defacedask.anatomy.quality import GATES
    from defacedask.modality import modality_of

    rows = [r for f in sorted(folder.glob("*.jsonl")) if f.stem != "non-heads" for r in _read(f)]
    right = [r for r in rows if max(r.get("mm", [99.0])) <= MILLIMETRES and r.get("degrees", 99.0) <= DEGREES]
    none = _read(folder / "non-heads.jsonl")
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for some, label, colour, marker in (
        (right, "right pose", "tab:blue", "."),
        (none, "no head", "tab:red", "x"),
    ):
        axes.scatter([r["score"] for r in some], [r["margin"] for r in some], 18, colour, marker, label=label)
    # the best pose elsewhere has the right one for a rival
    wrong = [((1 - r["margin"]) * r["score"], 1 - 1 / max(1 - r["margin"], 0.2)) for r in right]
    axes.scatter(*zip(*wrong, strict=True), 18, "tab:orange", "+", label="best pose elsewhere")
    axes.axhline(GATES["margin"], color="grey", linewidth=0.8)
    for modality in ("CT", "MR"):
        axes.axvline(modality_of(modality).match, color="grey", linewidth=0.8, linestyle=":")
    axes.set(
        xlabel="match, nats a point (dotted: gates of CT and MR)",
        ylabel="margin over the best pose elsewhere",
    )
    axes.set_ylim(-1.1, 0.7)
    axes.legend(loc="lower right")
    figure.savefig(folder / "orientations.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
