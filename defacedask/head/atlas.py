"""What registration and the brain need of the average head: two images, its brain, its landmarks."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.errors import InputError
from defacedask.geometry import Geometry

__all__ = ["Atlas", "average_head", "read_atlas"]


@dataclasses.dataclass(frozen=True, eq=False)
class Atlas:
    """The average head, on a grid whose axes are S, P, L (that is the head's frame).

    Attributes
    ----------
    grid : Geometry
        LPS mm of the average head.
    ct, t1 : (z, y, x) arrays
        HU; T1 intensity.
    brain : bool array
    landmarks : dict of (3,) arrays
        mm on the skin: glabella, nasion, nose_tip, menton, vertex, eye_left, eye_right, ...
    sha256 : str
        Of the files it was read from.
    """

    grid: Geometry
    ct: np.ndarray
    t1: np.ndarray
    brain: np.ndarray
    landmarks: dict[str, np.ndarray]
    sha256: str

    @functools.cached_property
    def centre(self) -> np.ndarray:
        """Centre of the brain, mm."""
        return self.grid.to_world(np.argwhere(self.brain).mean(axis=0))

    @functools.cached_property
    def brain_ml(self) -> float:
        """Volume of the brain, mL."""
        return float(self.brain.sum() * self.grid.voxel_volume / 1000.0)

    def image(self, modality: str) -> np.ndarray:
        """What a modality is registered to."""
        return self.ct if modality == "CT" else self.t1


def read_atlas(folder: Path) -> Atlas:
    """Read an average head from a folder: ``average_head.json``, ``average_ct``, ``average_t1``, ``structures``.

    Raises
    ------
    InputError
        If a file is missing or of another form.
    """
    import nibabel

    try:
        facts = json.loads((folder / "average_head.json").read_text(encoding="utf-8"))
        arrays: dict[str, np.ndarray] = {}
        affine = np.eye(4)
        for name in ("average_ct", "average_t1", "structures"):
            image: Any = nibabel.load(folder / f"{name}.nii.gz")
            arrays[name] = np.ascontiguousarray(np.asanyarray(image.dataobj).T)
            affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine[:, [2, 1, 0, 3]]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"the average head in {folder} cannot be read ({error}).") from None
    grid = Geometry(arrays["structures"].shape, affine)
    bit = facts["structures"].index("Brain")
    return Atlas(
        grid=grid,
        ct=arrays["average_ct"],
        t1=arrays["average_t1"],
        brain=(arrays["structures"] >> bit & 1).astype(bool),
        landmarks={name: np.array(point) for name, point in facts["landmarks"].items()},
        sha256=facts["sha256"]["average_t1"],
    )


@functools.lru_cache(maxsize=1)
def average_head() -> Atlas:
    """The built-in average head, read once a process."""
    return read_atlas(Path(__file__).resolve().parents[1] / "data")
