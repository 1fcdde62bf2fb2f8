"""What somebody else's defacer gave back, where ours have a plan: changed voxels, contours and doses as given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.attacks.examination import Shown
from defacedask.attacks.names import BODY, DOSE
from defacedask.flow.stages.layout import ORIGINAL, loaded, one_thread, volume_path
from defacedask.flow.stages.objects import find_outline
from defacedask.flow.stages.plans import load_plan
from defacedask.geometry import Geometry
from defacedask.io.store import CaseStore

__all__ = ["Changed", "given_objects", "region_of"]


class Changed:
    """The voxels of one image that an arm changed, asked as a plan is asked for its region.

    Parameters
    ----------
    store : CaseStore
    arm : str
    path : str
        Of the image.
    """

    def __init__(self, store: CaseStore, arm: str, path: str) -> None:
        with one_thread():
            before, after = (loaded(store.volume(volume_path(who, path))).values for who in (ORIGINAL, arm))
        self.grid = store.geometry(path)
        self.mask: np.ndarray = before != after

    def region(self, geometry: Geometry) -> np.ndarray:
        """(z, y, x) bool: by the nearest voxel; False beyond the image."""
        from defacedask.anatomy.grid import resample

        return resample(self.mask.astype(np.uint8), self.grid, geometry, nearest=True) > 0


def region_of(store: CaseStore, plans: str, case: str, defacer: str, path: str) -> Any:
    """What may have changed in an image: a plan, or for an arm what did change."""
    planned = (Path(plans) / case / f"{defacer}.json").exists()
    return load_plan(plans, case, defacer) if planned else Changed(store, defacer, path)


def given_objects(
    store: CaseStore,
    arm: str,
    changed: Mapping[str, Mapping[str, Any]],
    outlines: Collection[str],
    attacks: Iterable[str],
    levels: Mapping[str, float],
) -> Iterator[Shown]:
    """Body contours and doses as an arm gave them back; nothing of what it did not.

    Parameters
    ----------
    store : CaseStore
    arm : str
    changed : mapping
        Path of an image or dose that it gave back -> ``voxels`` that are others.
    outlines : collection of str
        Paths of structure sets that it gave back.
    attacks : iterable of str
        ``body_contour`` and ``dose_grid``, if they are to be tried.
    levels : mapping
        Path -> level, from the original.
    """
    wanted = set(attacks)
    with one_thread():
        for path in store.structure_sets if BODY in wanted else ():
            if path in outlines:
                grid = store.geometry(path)
                mask, own = store.volume(volume_path(arm, path)).values > 0, np.zeros(grid.shape, bool)
                if (part := find_outline(store.structures(path))) is not None:
                    own[part.box] = part.mask
                yield Shown(path, "RTSTRUCT", mask, grid, 0.5, unchanged=np.array_equal(mask, own))
        for path in store.doses if DOSE in wanted else ():
            if path in changed and (level := levels.get(path, 0.0)) > 0:
                values = loaded(store.volume(volume_path(arm, path))).values
                same = not changed[path]["voxels"]
                yield Shown(path, "RTDOSE", values, store.geometry(path), level, unchanged=same)
