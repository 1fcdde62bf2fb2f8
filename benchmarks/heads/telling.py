"""Which of what a defacer leaves tells of the removed face: bone, kept skin, new skin, and where on the head.

    python -m benchmarks.heads.telling STUDY [--defacers surrogate] [--out telling.csv]

STUDY is the folder of a finished `defacedask study` with the attack ``inversion``; its depth maps are read, nothing
is rendered. Each line blinds the regression to all but a part of what is left (teachers and probe alike), and gives
the AUC of the own face against the others' by the agreement of the shapes, over persons: against the very scan that
was defaced and, where persons have two, against the other one. 0.5 is chance. *Kept* is the skin of rays that most
teachers keep, *new* that of the others. *Nothing* is the control: blind to all, it must find nothing.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.attacks.inversion.evidence import nearness, paired
from defacedask.attacks.inversion.maps import ANGLES, HEIGHTS, SHAPE, DepthMaps, face_rays
from defacedask.attacks.inversion.regression import CHANGED, Inverter, Known
from defacedask.flow.result import kept_result
from defacedask.flow.stages.inversion import DEPTHS
from defacedask.flow.stages.layout import KEPT, ORIGINAL
from defacedask.tables.files import read_table


@dataclasses.dataclass(frozen=True, eq=False)
class Heads:
    """Heads of one defacer, a scan each.

    Attributes
    ----------
    known : Known
    scales : list of (columns,) arrays
    """

    known: Known
    scales: list[np.ndarray]

    @classmethod
    def of(cls, study: Path, defacer: str, modality: str = "CT") -> Heads:
        """Read them."""
        persons, originals, left, scales = [], [], [], []
        cases = read_table(study / "tables", "cases")
        for case, person in zip(cases["case"], cases["patient"], strict=True):
            own, after = (kept_result(study / KEPT, case, DEPTHS, who) for who in (ORIGINAL, defacer))
            if own is None or after is None or not (own.ok and after.ok):
                continue
            for path, maps in own.facts["depths"].items():
                if maps["modality"] == modality and path in after.facts["depths"]:
                    persons.append(str(person))
                    originals.append(DepthMaps.unpacked(maps))
                    left.append(DepthMaps.unpacked(after.facts["depths"][path]))
                    scales.append(np.array(own.facts["scale"]))
        return cls(Known.of(persons, originals, left), scales)


def parts(known: Known) -> Iterator[tuple[str, Known]]:
    """What the regression is shown: name, and heads of which all else is blank."""
    with np.errstate(invalid="ignore"):
        moved = (np.abs(known.skin - known.original) >= CHANGED) | np.isnan(known.skin)
    new = np.median(moved & ~np.isnan(known.original), axis=0) > 0
    face = face_rays().ravel()
    height = np.broadcast_to(HEIGHTS[:, None], SHAPE).ravel()
    aside = np.abs(np.broadcast_to(ANGLES[None], SHAPE).ravel())
    rows = height[face]
    low, high = np.percentile(rows, [33, 67])
    front = aside <= 45

    def shown(skin: np.ndarray, bone: np.ndarray) -> Known:
        blank = dataclasses.replace(known, skin=known.skin.copy(), bone=known.bone.copy())
        blank.skin[:, ~skin], blank.bone[:, ~bone] = np.nan, np.nan
        return blank

    every, none = np.ones(len(face), bool), np.zeros(len(face), bool)
    yield "all that is left", shown(every, every)
    yield "bone alone", shown(none, every)
    yield "all but bone", shown(every, none)
    yield "kept skin alone", shown(~new, none)
    yield "new skin alone", shown(new, none)
    where = {
        "lower third, front (chin, jaw, teeth)": (height < low) & front,
        "lower third, sides (angle of the jaw)": (height < low) & ~front & (aside <= 120),
        "middle third, front (nose, maxilla)": (height >= low) & (height < high) & front,
        "upper third, front (orbits, brow)": (height >= high) & (height <= rows.max()) & front,
        "above the brow (forehead, vault)": height > rows.max(),
        "behind (beyond 120 degrees)": aside > 120,
    }
    for name, rays in where.items():
        yield f"bone of the {name}", shown(none, rays)
    yield "nothing", shown(none, none)


def judged(heads: Heads, shown: Known, other: bool) -> Any:
    """Leave one person out; against the own scan, or against the person's other one."""
    known, rows = heads.known, []
    taught = {person: Inverter(shown.without(person)) for person in np.unique(known.persons)}
    for k, person in enumerate(known.persons):
        second = [j for j in np.flatnonzero(known.persons == person) if j != k]
        if other and not second:
            continue
        truth = known.original[second[0] if other else k].copy()
        with np.errstate(invalid="ignore"):
            same = np.abs(known.skin[k] - known.original[k]) < CHANGED
        truth[same] = np.nan
        found = taught[person].predict(shown.skin[k], shown.bone[k])
        # of the changed rays alone: what was kept needs no prediction
        near = nearness(
            found, truth, np.full(len(truth), np.nan, np.float32), heads.scales[k], known.without(person)
        )
        if near is not None:
            rows.append((str(person), near.error_mm, near.average_mm, near.nearer))
    return paired(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--defacers", default="surrogate")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    lines = []
    for defacer in options.defacers.split(","):
        heads = Heads.of(options.study, defacer)
        for name, shown in parts(heads.known):
            for gallery in ("originals", "second-scan"):
                found = judged(heads, shown, gallery == "second-scan")
                lines.append(
                    {
                        "defacer": defacer,
                        "shown": name,
                        "gallery": gallery,
                        "persons": found.persons,
                        "auc": round(found.auc, 3),
                        "auc_low": round(found.low, 3),
                        "auc_high": round(found.high, 3),
                        "error_mm": round(found.error_mm, 2),
                        "average_mm": round(found.average_mm, 2),
                        "p": float(f"{found.p:.2g}"),
                    }
                )
                print(*lines[-1].values(), sep=" | ", flush=True)
    if options.out:
        with options.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)


if __name__ == "__main__":
    main()
