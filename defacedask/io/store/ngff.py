"""OME-NGFF 0.5 metadata of a volume, so that napari and other viewers open it at its place and scale."""

from __future__ import annotations

from typing import Any

from defacedask.coordinates import DIMS, axis_vectors
from defacedask.geometry import Geometry

__all__ = ["multiscales"]

VERSION = "0.5"


def multiscales(grid: Geometry, path: str, name: str) -> dict[str, Any]:
    """Value of a group's attribute ``ome`` for one image of one scale.

    Scale and translation of NGFF 0.5 can say no rotation. They give the coordinates z, y, x of
    `defacedask.coordinates`, in mm along the array's own axes: patient coordinates where the axes are straight. The
    affine to the patient stands in the metadata of the image.

    Parameters
    ----------
    grid : Geometry
    path : str
        Of the array in the group.
    name : str
        Of the image.
    """
    directions, first, steps = axis_vectors(grid)
    return {
        "version": VERSION,
        "multiscales": [
            {
                "name": name,
                "axes": [{"name": dim, "type": "space", "unit": "millimeter"} for dim in DIMS],
                "datasets": [
                    {
                        "path": path,
                        "coordinateTransformations": [
                            {"type": "scale", "scale": steps.tolist()},
                            {"type": "translation", "translation": first.tolist()},
                        ],
                    }
                ],
                "metadata": {
                    "description": "patient LPS mm = z * directions[0] + y * directions[1] + x * directions[2]",
                    "directions": directions.T.tolist(),
                    "affine": grid.affine.tolist(),
                    "affine_maps": "index (z, y, x, 1) to patient LPS mm (x, y, z, 1)",
                    "frame_of_reference": grid.frame_of_reference,
                },
            }
        ],
    }
