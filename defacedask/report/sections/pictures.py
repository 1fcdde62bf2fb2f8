"""Pictures original | defaced of a few chosen cases, made small enough to travel inside the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.report.run import CONTROL, Run
from defacedask.report.sections.chosen import chosen_cases
from defacedask.tables.evidence import ORIGINAL
from defacedask.tables.sampled import case_hashes

__all__ = ["Album", "album"]

#: Longest edge of a picture in the page, pixels.
EDGE = {"render": 220, "slice": 220, "sheet": 1100}
#: All pictures together, bytes before base64; what does not fit stays in the pictures folder.
BUDGET = 4_000_000


class Album(dict):
    """Template data: ``cases`` (list), and counts: ``shown``, ``left_out``, ``missing``, ``others`` (not chosen)."""


def album(run: Run, budget: int = BUDGET) -> Album:
    """Read the pictures listed in ``pictures/index.json``.

    Only files below the output folder are read, and only of `chosen_cases`; the control ``none`` looks like the
    original and is left out. Each case gets a strip a (kind, image, view), original first.
    """
    shown = missing = left_out = spent = 0
    order = {ORIGINAL: -1, **{d: i for i, d in enumerate(run.defacers)}}
    cases: dict[str, dict[tuple[str, str, str], list[dict[str, Any]]]] = {}
    ranks = {"sheet": 0, "render": 1, "slice": 2}
    views = {view: k for k, view in enumerate(dict.fromkeys(str(p.get("view", "")) for p in run.pictures))}
    chosen = chosen_cases(run)
    rank = {case: k for k, case in enumerate(chosen)}
    everybody = len(np.unique(case_hashes(str(p.get("case", "")) for p in run.pictures)))
    among = {case for p in run.pictures if (case := str(p.get("case", ""))) in chosen}
    listed = sorted(
        (p for p in run.pictures if str(p.get("case", "")) in chosen and p.get("defacer") != CONTROL),
        key=lambda p: (
            rank[str(p.get("case", ""))],
            ranks.get(str(p.get("kind")), 3),
            str(p.get("modality", "")),
            views[str(p.get("view", ""))],
            order.get(str(p.get("defacer")), len(order)),
        ),
    )
    for picture in listed:
        path = _inside(run.out, str(picture["file"]))
        if path is None:
            missing += 1
            continue
        kind = str(picture.get("kind", ""))
        if spent > budget:
            left_out += 1
            continue
        packed = _packed(path, EDGE.get(kind, 320))
        if packed is None:
            missing += 1
            continue
        data, width, height = packed
        spent += len(data)
        shown += 1
        strip = (kind, str(picture.get("modality", "")), str(picture.get("view", "")))
        who = str(picture.get("defacer", ""))
        cases.setdefault(str(picture.get("case", "")), {}).setdefault(strip, []).append(
            {
                "who": who,
                "width": width,
                "height": height,
                "alt": f"{who or 'picture'}, {' '.join(s for s in strip if s)}",
                "src": f"data:image/jpeg;base64,{base64.b64encode(data).decode()}",
            }
        )
    return Album(
        cases=[
            {
                "case": case,
                "why": chosen[case],
                "strips": [
                    {"kind": k, "label": " · ".join(s for s in (m, v, k) if s), "pictures": found}
                    for (k, m, v), found in strips.items()
                ],
            }
            for case, strips in cases.items()
        ],
        shown=shown,
        left_out=left_out,
        missing=missing,
        others=everybody - len(among),
    )


def _inside(out: Path, name: str) -> Path | None:
    """Path of a listed picture: relative to the pictures folder or to OUT, never outside OUT."""
    for base in (out / "pictures", out):
        path = (base / name).resolve()
        if path.is_relative_to(out.resolve()) and path.is_file():
            return path
    return None


def _packed(path: Path, edge: int) -> tuple[bytes, int, int] | None:
    from PIL import Image

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError):
        return None
    picture.thumbnail((edge, edge))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=82, optimize=True)
    return stream.getvalue(), picture.width, picture.height
