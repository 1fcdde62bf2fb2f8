"""One head of the cohort, made ready: found, freed of couch and air, in the average's intensities."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.anatomy.template import Template, load_template
from defacedask.geometry import Geometry
from defacedask.modality import AIR, FACES, MODALITIES

__all__ = ["BUILT_IN", "Member", "load_member", "prepare"]

#: Built-in average of each modality that can be built.
BUILT_IN = {name: MODALITIES[name].average for name in FACES}
#: The largest value kept: metal must not enter a mean.
MOST = {"CT": 2000.0, "MR": 900.0}


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """A prepared head.

    Attributes
    ----------
    values : (z, y, x) float32 array
        On ``grid``: HU, or MR scaled so that the brain reads as in the built-in average. Air but for the body.
    grid : Geometry
        2 mm, axes S, P, L; patient LPS mm.
    view : Geometry
        Of the acquisition: outside of it nothing is known.
    to_average : (4, 4) array
        Patient LPS mm -> the built-in average's LPS mm.
    """

    values: np.ndarray
    grid: Geometry
    view: Geometry
    to_average: np.ndarray


def prepare(series: Mapping[str, Any], *, folder: str, number: int) -> dict[str, Any]:
    """Find the head of an image series and keep what is needed of it in ``folder``.

    Never raises: what cannot be used is said in ``reason``, and the build goes on without it.

    Parameters
    ----------
    series : dict
        `defacedask.io.dicom.model.Series.to_dict`.
    folder : str
    number : int
        Names the file; nothing else of the patient does.

    Returns
    -------
    dict
        path ("" if it cannot be used), reason, affine (to the built-in average).
    """
    from defacedask.anatomy.head import Head
    from defacedask.anatomy.morphology import dilate
    from defacedask.errors import DefacedaskError
    from defacedask.io.dicom.image import read_image
    from defacedask.io.dicom.model import Series

    try:
        head = Head(read_image(Series.from_dict(dict(series))))
        head.require()
        values = np.where(dilate(head.body, 2) & ~head.other, head.values, AIR[head.modality])
        values = values.astype(np.float32)
        if head.modality == "MR":
            values *= _brain_level(load_template(BUILT_IN["MR"])) / max(
                float(np.median(values[head.brain])), 1e-6
            )
        np.clip(values, AIR[head.modality], MOST[head.modality], out=values)
        path = Path(folder) / f"member-{number}.npz"
        np.savez(
            path,
            values=values,
            grid=head.grid.affine,
            view=head.geometry.affine,
            view_shape=head.geometry.shape,
            to_average=head.to_template,
        )
    except DefacedaskError as error:
        return {"path": "", "reason": str(error), "affine": []}
    except Exception as error:
        return {"path": "", "reason": f"{type(error).__name__}: {error}", "affine": []}
    return {"path": str(path), "reason": "", "affine": np.asarray(head.to_template).tolist()}


def _brain_level(template: Template) -> float:
    return float(np.median(template.image.values[template.mask("Brain")]))


def load_member(path: str) -> Member:
    """Read what `prepare` left."""
    with np.load(path) as kept:
        values = kept["values"]
        view = Geometry(kept["view_shape"].tolist(), kept["view"])
        return Member(values, Geometry(values.shape, kept["grid"]), view, kept["to_average"])
