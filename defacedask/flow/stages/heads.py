"""The head's box of an image in the store, as stages look at it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.examination import Shown
from defacedask.flow.stages.places import loaded, one_thread, volume_path
from defacedask.volume import geometry_of

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.attacks.examination import Examination
    from defacedask.attacks.target import Target
    from defacedask.flow.result import Piece
    from defacedask.io.store import CaseStore

__all__ = ["head_box", "targets"]


def head_box(volume: xr.DataArray, path: str, pose: np.ndarray, level: float, drop: Any = None) -> Shown:
    """Real values of the head's box: of no other part they are made.

    Parameters
    ----------
    volume : xarray.DataArray
        Lazy.
    path : str
        See `Shown`.
    pose : (4, 4) array
        World LPS mm to the head's frame.
    level : float
        Of the skin.
    drop : (z, y, x) array, optional
        What is not body, on the volume's grid.
    """
    from defacedask.faces.surface import HEAD_BOX, box_in

    grid = geometry_of(volume)
    box = box_in(grid, pose, HEAD_BOX)
    with one_thread():
        values = loaded(volume[box]).values
    part = grid.block([s.start for s in box], [s.stop for s in box])
    return Shown(path, volume.attrs["modality"], values, part, level, None if drop is None else drop[box] > 0)


def targets(
    store: CaseStore, defacer: str, looked: Piece, levels: Any, examination: Examination
) -> Iterator[tuple[str, Target]]:
    """Path and target of each image of the anatomy, as one defacer left it.

    Parameters
    ----------
    store : CaseStore
    defacer : str
        Or ``original``.
    looked : Piece
        Of the stage ``look``.
    levels : mapping
        Path -> level of the original's skin.
    examination : Examination
        Whose modalities count.
    """
    pose, to_template = (np.array(looked.facts[name]) for name in ("pose", "to_template"))
    for path in store.images:
        with one_thread():
            volume = store.volume(volume_path(defacer, path))
            if volume.attrs["modality"] not in examination.modalities:
                continue
            # the couch was found on the image that plans were made on
            guide = path == looked.facts["image"]
            drop = store.volume(f"head/{path}").load().values if guide else None
        shown = head_box(volume, path, pose, float(levels[path]), drop)
        yield path, examination.target(shown, pose, to_template)
