"""The tasks of a build: a head onto the average, sums of heads, the next average. Paths in, paths and numbers out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from defacedask.averaging.members import load_member
from defacedask.averaging.register import affine_step, demons, places, pull, smooth_inverse
from defacedask.geometry import Geometry
from defacedask.modality import AIR
from defacedask.sampling import apply_affine, sample_field

__all__ = ["add", "align", "average_of", "load_average", "renew", "save_average"]


def save_average(path: str | Path, values: np.ndarray, grid: Geometry, seen: np.ndarray) -> str:
    """Keep an average: values, and how many heads each voxel is the mean of."""
    np.savez(path, values=values.astype(np.float32), grid=grid.affine, seen=seen.astype(np.float32))
    return str(path)


def load_average(path: str) -> tuple[np.ndarray, Geometry, np.ndarray]:
    """Values, grid and number of heads of `save_average`."""
    with np.load(path) as kept:
        values = kept["values"]
        return values, Geometry(values.shape, kept["grid"]), kept["seen"]


def align(
    member: dict[str, Any], average: str, *, modality: str, deform: bool, folder: str, label: str
) -> dict[str, Any]:
    """Bring one head onto the average.

    Parameters
    ----------
    member : dict
        Of `prepare`, or of an earlier `align`: ``path`` and ``affine``.
    average : str
        See `save_average`.
    modality : str
    deform : bool
        Whether to fit the shape too, after the affine.
    folder, label : str
        Where the result goes.

    Returns
    -------
    dict
        path (of the head), affine, partial (path of its sums), heads (1), shift_mm (mean over the head),
        difference (mean absolute, in the modality's units).
    """
    head = load_member(member["path"])
    values, grid, _ = load_average(average)
    air = AIR[modality]
    affine = np.array(member["affine"])

    def known(shift: np.ndarray | None = None) -> np.ndarray:
        """Where the acquisition saw something."""
        at = apply_affine(np.linalg.inv(affine), *places(grid, shift))
        index = head.view.to_index(np.stack([a.ravel() for a in np.broadcast_arrays(*at)], axis=-1))
        inside = ((index >= 0) & (index <= np.array(head.view.shape) - 1)).all(axis=1)
        return np.asarray(inside.reshape(grid.shape))

    def here(shift: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        seen = known(shift)
        return pull(head.values, head.grid, grid, affine, shift, outside=air), seen

    moving, seen = here()
    step = affine_step(values, grid, seen & _near(values, air), np.where(seen, moving, values), modality)
    affine = step @ affine
    moving, seen = here()
    shift = np.zeros((3, *grid.shape), np.float32)
    if deform:
        shift = demons(values, grid, np.where(seen, moving, values), modality)
        moving, seen = here(shift)
    path = Path(folder) / f"{label}.npz"
    np.savez(
        path, total=np.where(seen, moving, 0).astype(np.float32), seen=seen.astype(np.float32), shift=shift
    )
    body = seen & _near(values, air)
    return {
        "path": member["path"],
        "affine": affine.tolist(),
        "partial": str(path),
        "heads": 1,
        "shift_mm": float(np.sqrt((shift**2).sum(axis=0))[body].mean()),
        "difference": float(np.abs(moving - values)[body].mean()),
    }


def _near(values: np.ndarray, air: float) -> np.ndarray:
    """The average's body and some millimetres around."""
    from scipy.ndimage import binary_dilation

    level = -300.0 if air < 0 else 60.0
    return np.asarray(binary_dilation(values > level, iterations=3))


def add(parts: list[dict[str, Any]], *, folder: str, label: str) -> dict[str, Any]:
    """Sum some heads, or sums of heads; one branching of the tree. The parts' files go."""
    total: dict[str, np.ndarray] = {}
    for part in parts:
        with np.load(part["partial"]) as kept:
            for name in ("total", "seen", "shift"):
                total[name] = total[name] + kept[name] if name in total else kept[name]
    path = Path(folder) / f"{label}.npz"
    np.savez(path, total=total["total"], seen=total["seen"], shift=total["shift"])
    for part in parts:
        Path(part["partial"]).unlink(missing_ok=True)
    heads = sum(part["heads"] for part in parts)
    return {
        "partial": str(path),
        "heads": heads,
        "shift_mm": sum(part["shift_mm"] * part["heads"] for part in parts) / heads,
        "difference": sum(part["difference"] * part["heads"] for part in parts) / heads,
    }


def average_of(total: np.ndarray, seen: np.ndarray, before: np.ndarray, least: int) -> np.ndarray:
    """Mean where at least ``least`` heads are seen, the average before elsewhere, and no seam between them."""
    from scipy.ndimage import gaussian_filter, minimum_filter

    enough = seen >= least - 0.5
    # from the seam inwards: no voxel with too few heads has any weight
    weight = np.where(enough, gaussian_filter(minimum_filter(enough, 5).astype(np.float32), 2.0), 0.0)
    mean = total / np.maximum(seen, 1.0)
    return np.asarray(weight * mean + (1 - weight) * before, dtype=np.float32)


def renew(sums: dict[str, Any], average: str, *, least: int, folder: str, label: str) -> dict[str, Any]:
    """Make the next average: the mean of the heads, moved to their mean shape.

    Parameters
    ----------
    sums : dict
        Of `add`, over all heads.
    average : str
        The average they were brought onto.
    least : int
        Heads that a voxel must be the mean of.

    Returns
    -------
    dict
        average (path), heads, shift_mm, difference, drift_mm (how far the mean shape lay from the average's).
    """
    before, grid, _ = load_average(average)
    with np.load(sums["partial"]) as kept:
        seen, shift = kept["seen"], kept["shift"] / sums["heads"]
        values = average_of(kept["total"], seen, before, least)
    drift = float(np.sqrt((shift**2).sum(axis=0)).mean())
    if drift > 0:
        # a place of the average lies, on average over the heads, at x + shift(x): that is where it belongs
        at = places(grid, smooth_inverse(shift, grid))
        values = sample_field(values, grid, at, outside=float(values.min()))
        seen = sample_field(seen, grid, at, order=0)
    Path(sums["partial"]).unlink(missing_ok=True)
    path = save_average(Path(folder) / f"{label}.npz", values, grid, seen)
    return {
        "average": path,
        "heads": sums["heads"],
        "shift_mm": sums["shift_mm"],
        "difference": sums["difference"],
        "drift_mm": drift,
    }
