"""The head's box of an image in the store, as stages look at it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.examination import Shown
from defacedask.errors import DefacedaskError
from defacedask.flow.stages.layout import loaded, one_thread, volume_path
from defacedask.volume import geometry_of

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.head import Head
    from defacedask.anatomy.registration import Registration
    from defacedask.attacks.examination import Examination
    from defacedask.attacks.target import Target
    from defacedask.flow.result import TaskResult
    from defacedask.io.store import CaseStore

__all__ = ["couch", "head_box", "head_in_place", "place_of", "shown_head", "targets"]


def place_of(planned: TaskResult) -> Registration:
    """Where a head lies, as the stage ``plan`` found it: to find it again would cost as much as all the rest."""
    from defacedask.anatomy.registration import Registration

    pose = np.asarray(planned.facts["pose"])
    return Registration(pose, np.asarray(planned.facts["to_template"]), np.nan, np.nan, True, pose)


def head_in_place(store: CaseStore, path: str, planned: TaskResult) -> Head:
    """The head of an original whose place is known.

    Of the image that plans are made on what is not the patient was kept, too: then it is lazy, and no more is read of
    it than what is asked about.
    """
    from defacedask.anatomy.head import Head

    volume, drop = store.volume(path), None
    with contextlib.suppress(DefacedaskError):
        drop = store.volume(f"head/{path}").values != 0
    head = Head(volume.load() if drop is None else volume, registration=place_of(planned))
    if drop is not None:
        head.__dict__["drop"] = drop
    return head


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


def couch(store: CaseStore, path: str, guide: str) -> np.ndarray | None:
    """What is no head: couch and headrest were found on the image that plans were made on."""
    return store.volume(f"head/{path}").load().values if path == guide else None


def shown_head(
    store: CaseStore, path: str, defacer: str, pose: np.ndarray, level: float, guide: str
) -> Shown:
    """The head's box of an image as one defacer left it: of no other part real values are made.

    Parameters
    ----------
    store : CaseStore
    path : str
        Of the image in the store, the original's.
    defacer : str
        Or `ORIGINAL`.
    pose : (4, 4) array
        World LPS mm to the head frame.
    level : float
        Of the skin.
    guide : str
        Path of the image that pose and couch were found on.
    """
    with one_thread():
        volume, drop = store.volume(volume_path(defacer, path)), couch(store, path, guide)
    return head_box(volume, path, pose, level, drop)


def targets(
    store: CaseStore, defacer: str, planned: TaskResult, levels: Any, examination: Examination
) -> Iterator[tuple[str, Target]]:
    """Path and target of each image of the anatomy, as one defacer left it.

    Parameters
    ----------
    store : CaseStore
    defacer : str
        Or ``original``.
    planned : TaskResult
        Of the stage ``plan``.
    levels : mapping
        Path -> level of the original's skin.
    examination : Examination
        Whose modalities count.
    """
    pose, to_template = (np.array(planned.facts[name]) for name in ("pose", "to_template"))
    for path in store.images:
        if not store.holds(volume_path(defacer, path)):
            continue  # who defaces elsewhere need not give back all images
        with one_thread():
            volume = store.volume(volume_path(defacer, path))
            if volume.attrs["modality"] not in examination.modalities:
                continue
            drop = couch(store, path, planned.facts["image"])
        shown = head_box(volume, path, pose, float(levels[path]), drop)
        yield path, examination.target(shown, pose, to_template)
