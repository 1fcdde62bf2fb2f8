"""What a card gives: the same values as the processor, and how fast. Needs one card and CuPy, a few minutes, no data.

    python -m benchmarks.gpu --plans plans.json.gz --prepare    anywhere: makes the plans and writes them down
    python -m benchmarks.gpu --plans plans.json.gz              where the card is: no registration is needed there
    python -m benchmarks.gpu --rehearse --small                 without a card, on the stand-in for CuPy
    python -m benchmarks.gpu --plans plans.json.gz --counts     without a card, too

Five tables, on the built-in average head: voxels that differ between NumPy and CuPy, for each defacer and kind of
image, by fused kernels and by plain expressions (0 everywhere, or exit code 1); each fused kernel beside the plain
expression that it stands for, values and time (`benchmarks.fused`); the time of a planning CT of 512 x 512 x 200
beside a copy on the same card, whose bandwidth is measured first; and the way from a Zarr store through the card and
back. ``--record`` adds them to ``benchmarks/RESULTS.md``, with card and date. A rehearsal's times say nothing of a
card. ``--counts`` needs none: what one block asks of a device, counted on the stand-in.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fused import kernels_beside, timed
from defacedask.anatomy.atlas import atlas_of
from defacedask.defacers import get_defacer, plan_from_dict
from defacedask.defacers.base import Plan, bits
from defacedask.devices import require_card
from defacedask.kernels import unfused
from defacedask.testing.strict_cupy import counted, strict_cupy
from defacedask.testing.subject import Subject, images
from defacedask.volume import geometry_of, make_volume

__all__ = ["main"]

RESULTS = Path(__file__).with_name("RESULTS.md")
DEFACERS: dict[str, dict[str, Any]] = {
    "quickshear": {},
    "biometric_mask": {},
    "biometric_mask:fill=shuffle": {"fill": "shuffle"},
    "biometric_mask_strict": {},
    "mri_reface": {},
    "surrogate": {},
    "carina": {},
}
#: Voxels of the CT that is timed, and slices of a block.
SHAPE, SLAB = (200, 512, 512), 32


def plans_of(path: Path | None, names: list[str]) -> dict[str, Plan]:
    """Plans of the average head, read or made (and then written)."""
    if path is not None and path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            return {name: plan_from_dict(facts) for name, facts in json.load(stream).items() if name in names}
    plans = {}
    for name in names:
        kind = type(get_defacer(name.partition(":")[0]))
        plans[name] = Subject(kind, DEFACERS[name]).plan
        print(f"planned {name}", file=sys.stderr, flush=True)
    if path is not None:
        with gzip.open(path, "wt", encoding="utf-8") as stream:
            json.dump({name: plan.to_dict() for name, plan in plans.items()}, stream)
    return plans


def parts_of(volume: Any) -> tuple[Any, ...]:
    """Grid, slopes, intercepts and modality of a volume."""
    slope, intercept = (np.asarray(volume.coords[c].values)[:, None, None] for c in ("slope", "intercept"))
    return geometry_of(volume), slope, intercept, volume.attrs["modality"]


def equality(plans: dict[str, Plan], cupy: Any) -> list[dict[str, Any]]:
    """Voxels whose bits differ, of whole images and of these cut into blocks."""
    kinds = dict(images())
    ct = kinds["CT"]
    kinds["CT, float32"] = ct.astype(np.float32, keep_attrs=True)
    above = (ct.values.astype(np.int32) + 1024).astype(np.uint16)
    kinds["CT, uint16"] = make_volume(above, geometry_of(ct), modality="CT", units="HU", intercept=-1024.0)
    rows = []
    for name, plan in plans.items():
        for kind, volume in kinds.items():
            geometry, slope, intercept, modality = parts_of(volume)
            stored = volume.values
            tuned = plan.tuned(volume).protecting(plan.protected)
            here = tuned.deface_block(stored, geometry, slope, intercept, modality)
            there = cupy.asarray(stored)
            whole = tuned.deface_block(there, geometry, slope, intercept, modality)
            with unfused():
                plain = tuned.deface_block(there, geometry, slope, intercept, modality)
            cut = []
            for first in range(0, len(stored), 7):
                rows_of = slice(first, min(first + 7, len(stored)))
                part = geometry.block((first, 0, 0), (rows_of.stop, *geometry.shape[1:]))
                cut.append(
                    tuned.deface_block(there[rows_of], part, slope[rows_of], intercept[rows_of], modality)
                )
            rows.append(
                {
                    "defacer": name,
                    "image": kind,
                    "changed": int((bits(here) != bits(stored)).sum()),
                    "whole differs": int((bits(whole.get()) != bits(here)).sum()),
                    "plain differs": int((bits(plain.get()) != bits(here)).sum()),
                    "blocks differ": int((bits(cupy.concatenate(cut).get()) != bits(here)).sum()),
                }
            )
    return rows


def planning_ct(shape: tuple[int, int, int]) -> Any:
    """The average head's CT with that many voxels."""
    volume = images()["CT"]
    old = geometry_of(volume)
    steps = [s * o / n for s, o, n in zip(old.spacing, old.shape, shape, strict=True)]
    grid = old.resampled(steps)
    index = [np.minimum((np.arange(n) * o) // n, o - 1) for n, o in zip(grid.shape, old.shape, strict=True)]
    return make_volume(np.ascontiguousarray(volume.values[np.ix_(*index)]), grid, modality="CT", units="HU")


def speed(plans: dict[str, Plan], volume: Any, cupy: Any, repeats: int) -> list[dict[str, Any]]:
    """Milliseconds of the whole volume in blocks, beside a copy of it on the card."""
    geometry, slope, intercept, modality = parts_of(volume)
    there = cupy.asarray(volume.values)
    target = cupy.empty_like(there)
    copy = timed(lambda: cupy.copyto(target, there), cupy, 10 * repeats)
    pool = cupy.get_default_memory_pool()
    rows = [{"defacer": "copy", "ms": copy, "% of copy": 100.0, "GB/s": 2 * there.nbytes / copy / 1e6}]
    blocks = [slice(a, min(a + SLAB, len(there))) for a in range(0, len(there), SLAB)]
    for name, plan in plans.items():
        tuned = plan.tuned(volume).protecting(plan.protected)

        def apply(tuned: Plan = tuned) -> None:
            for rows_of in blocks:
                part = geometry.block((rows_of.start, 0, 0), (rows_of.stop, *geometry.shape[1:]))
                tuned.deface_block(there[rows_of], part, slope[rows_of], intercept[rows_of], modality)

        apply()
        pool.free_all_blocks()
        used = pool.used_bytes()
        with counted() as asked:
            apply()
        peak = (pool.total_bytes() - used) / (there.nbytes * SLAB / len(there))
        ms = timed(apply, cupy, repeats)
        with unfused():
            plain = timed(apply, cupy, 1)
        row = {"defacer": name, "ms": ms, "% of copy": 100 * copy / ms, "GB/s": 2 * there.nbytes / ms / 1e6}
        row["plain ms"] = plain
        rows.append({**row, "memory, blocks": peak, **(counts(asked) if is_stand_in(cupy) else {})})
    return rows


def one_block(plans: dict[str, Plan]) -> list[dict[str, Any]]:
    """What the second block of a plan asks of a card, at the nose's height, counted on the stand-in."""
    volume = planning_ct(SHAPE)
    geometry, slope, intercept, modality = parts_of(volume)
    middle = int(geometry.to_index(np.asarray(atlas_of().landmarks["nose_tip"]))[0])
    first = max(0, min(middle - SLAB // 2, geometry.shape[0] - SLAB))
    rows_of = slice(first, first + SLAB)
    part = geometry.block((first, 0, 0), (first + SLAB, *geometry.shape[1:]))
    rows = []
    with strict_cupy() as stand_in:
        block = stand_in.asarray(volume.values[rows_of])
        for name, plan in plans.items():
            tuned = plan.tuned(volume).protecting(plan.protected)
            row: dict[str, Any] = {"defacer": name}
            tuned.deface_block(block, part, slope[rows_of], intercept[rows_of], modality)
            with counted() as asked:
                tuned.deface_block(block, part, slope[rows_of], intercept[rows_of], modality)
            row |= counts(asked)
            rows.append(row)
            print(f"counted {name}", file=sys.stderr, flush=True)
    return rows


def is_stand_in(cupy: Any) -> bool:
    """Whether this is no card."""
    return bool(getattr(cupy, "STAND_IN", False))


def counts(asked: Any) -> dict[str, int]:
    """What the stand-in counted."""
    return {
        "kernels": asked.operations,
        "waits": asked.waits + asked.downloads,
        "uploads": asked.uploads,
        "kB up": asked.bytes_up // 1000,
    }


def through_the_store(plans: dict[str, Plan], volume: Any) -> list[dict[str, Any]]:
    """Seconds from a Zarr store and back, on either device, with what reading and writing alone take."""
    import dask

    from defacedask.io.store import CaseStore, create_case, write_volume

    rows = []
    with tempfile.TemporaryDirectory() as folder, dask.config.set(scheduler="synchronous"):
        url = str(Path(folder, "case.zarr"))
        with create_case(url, key="benchmark", facts={}) as writer:
            writer.volume("images/CT", volume)
        stored = CaseStore(url).volume("images/CT")

        def seconds(work: Callable[[], Any]) -> float:
            work()
            begin = time.perf_counter()
            work()
            return time.perf_counter() - begin

        decoding = seconds(lambda: stored.copy().values)
        both = seconds(lambda: write_volume(url, "images/again", stored))
        for name, plan in plans.items():
            row: dict[str, Any] = {"defacer": name, "decode": decoding, "decode and encode": both}
            for device in ("cpu", "cuda"):

                def through(plan: Plan = plan, device: str = device) -> None:
                    write_volume(url, f"images/{device}", plan.apply(stored, device=device))

                row[device] = seconds(through)
            after = [CaseStore(url).volume(f"images/{device}").values for device in ("cpu", "cuda")]
            rows.append({**row, "differs": int((bits(after[0]) != bits(after[1])).sum())})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown."""
    heads = list(dict.fromkeys(name for row in rows for name in row))

    def cell(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    lines += ["| " + " | ".join(cell(row.get(name, "")) for name in heads) + " |" for row in rows]
    return "\n".join(lines)


def about(cupy: Any) -> str:
    """Card, driver, CuPy and date, one line."""
    facts = cupy.cuda.runtime.getDeviceProperties(0)
    name = facts["name"].decode() if isinstance(facts["name"], bytes) else facts["name"]
    versions = f"driver {cupy.cuda.runtime.driverGetVersion()}, CUDA {cupy.cuda.runtime.runtimeGetVersion()}"
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    return f"{day}: {name}, {versions}, CuPy {cupy.__version__}, NumPy {np.__version__}"


@contextlib.contextmanager
def _library(rehearse: bool) -> Iterator[Any]:
    if not rehearse:
        yield require_card()
        return
    with strict_cupy() as stand_in:
        yield stand_in


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and say by the exit code whether every value is the same."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plans", type=Path, help="file of the plans: read if it is there, else written")
    parser.add_argument("--prepare", action="store_true", help="make the plans, and measure nothing")
    parser.add_argument("--rehearse", action="store_true", help="on the stand-in for CuPy")
    parser.add_argument("--small", action="store_true", help="a small CT, few repeats")
    parser.add_argument("--defacers", default=",".join(DEFACERS), help="names with commas")
    parser.add_argument(
        "--counts", action="store_true", help="count what one block asks, and measure nothing"
    )
    parser.add_argument("--record", action="store_true", help="add the tables to benchmarks/RESULTS.md")
    given = parser.parse_args(arguments)
    plans = plans_of(given.plans, given.defacers.split(","))
    if given.prepare:
        return 0
    if given.counts:
        print(table(one_block(plans)))
        return 0
    volume = planning_ct((20, 64, 64) if given.small else SHAPE)
    repeats = 1 if given.small else 7
    with _library(given.rehearse) as cupy:
        title = about(cupy)
        same = equality(plans, cupy)
        beside = kernels_beside(cupy, 1 if given.small else 10, 20_000 if given.small else 4_000_000)
        fast = speed(plans, volume, cupy, repeats)
        way = through_the_store({n: p for n, p in plans.items() if ":" not in n}, volume)
    wrong = sum(
        sum(number for name, number in row.items() if "differ" in name) for row in (*same, *beside, *way)
    )
    text = "\n\n".join(
        [
            f"## {'Rehearsal' if given.rehearse else 'GPU'}, {title}",
            f"Values that differ between NumPy and CuPy: {wrong}.",
            table(same),
            "One kernel in place of many, ms of the card:",
            table(beside),
            f"A CT of {' x '.join(map(str, volume.shape))}, int16, in blocks of {SLAB} slices; GB/s of both.",
            table(fast),
            "From the store and back, seconds:",
            table(way),
        ]
    )
    print(text)
    if given.record:
        with RESULTS.open("a", encoding="utf-8") as stream:
            stream.write(f"\n{text}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
