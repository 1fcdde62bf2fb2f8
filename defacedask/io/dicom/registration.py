"""DICOM Spatial Registration: where images in another frame of reference lie in a case's own.

A registration object states, for each frame of reference it names, the matrix from that frame to the object's own
(PS3.3 C.20.2). Whichever of two images it was written for, CT or MR, the map from one to the other is the inverse
of the one matrix times the other. A registration that is deformable, damaged, implausible or contradicted by another
is not used, and the reason is said: the image then is a case of its own, as if there were none.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from defacedask.errors import RefusedError
from defacedask.geometry import Geometry
from defacedask.io.dicom.series_facts import Series

__all__ = [
    "AGREE",
    "OVERLAP",
    "Relation",
    "check_matrix",
    "furthest",
    "matrix_of",
    "moved",
    "own_geometry",
    "read_relations",
    "registered",
    "relate",
    "relations_of",
    "share_inside",
]

DEFORMABLE = "1.2.840.10008.5.1.4.1.1.66.3"
#: Least and largest stretch along any direction that two scans of one head can differ by.
STRETCH = (0.8, 1.25)
#: Two registrations of the same frames must agree within this many mm over the image.
AGREE = 2.0
#: Fraction of a registered image that must lie within the image it is registered to.
OVERLAP = 0.05


@dataclasses.dataclass(frozen=True)
class Relation:
    """One item of a registration object.

    Attributes
    ----------
    frame : str
        Frame of reference it moves, or "" where only images are named.
    images : tuple of str
        SOPInstanceUIDs of images in that frame, as far as they are named.
    matrix : (4, 4) array
        That frame's LPS mm -> the object's own frame's.
    """

    frame: str
    images: tuple[str, ...]
    matrix: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        # one image is enough to find the frame
        return {"frame": self.frame, "images": list(self.images[:1]), "matrix": self.matrix.tolist()}


def matrix_of(item: Any) -> np.ndarray:
    """Matrix of one item of a Registration Sequence, row-major and column vectors as in PS3.3 C.20.2.1.1.

    Raises
    ------
    RefusedError
        With the reason as a clause.
    """
    steps = [
        step
        for registration in item.get("MatrixRegistrationSequence", None) or ()
        for step in registration.get("MatrixSequence", None) or ()
    ]
    if not steps:
        raise RefusedError("it holds no matrix")
    matrices = []
    for step in steps:
        values = step.get("FrameOfReferenceTransformationMatrix", None)
        numbers = np.array([float(v) for v in (values if values is not None else ())])
        if numbers.size != 16 or not np.isfinite(numbers).all():
            raise RefusedError("its matrix does not hold sixteen numbers")
        matrix = numbers.reshape(4, 4)
        check_matrix(matrix, str(step.get("FrameOfReferenceTransformationMatrixType", "") or ""))
        matrices.append(matrix)
    # several stand in the order of multiplication: the last one meets the points first
    whole = functools.reduce(np.matmul, matrices)
    check_matrix(whole)
    return whole


def check_matrix(matrix: np.ndarray, kind: str = "") -> None:
    """See that two scans of one head can be related by a map, and that it is of the kind that it says.

    Parameters
    ----------
    matrix : (4, 4) array
        LPS mm -> LPS mm.
    kind : str
        RIGID, RIGID_SCALE, AFFINE or "".

    Raises
    ------
    RefusedError
        With the reason as a clause.
    """
    if np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise RefusedError("its matrix is no affine map (the last row is not 0, 0, 0, 1)")
    part = matrix[:3, :3]
    stretch = np.linalg.svd(part, compute_uv=False)
    if kind not in ("", "RIGID", "RIGID_SCALE", "AFFINE"):
        raise RefusedError(f"its matrix is of an unknown kind ({kind})")
    if np.linalg.det(part) <= 0:
        raise RefusedError("its matrix mirrors left and right or has no inverse")
    if stretch.min() < STRETCH[0] or stretch.max() > STRETCH[1]:
        raise RefusedError(
            f"its matrix stretches by {stretch.max():.2f} and {stretch.min():.2f}, "
            "which no two scans of one head differ by"
        )
    if kind == "RIGID" and np.abs(stretch - 1).max() > 0.01:
        raise RefusedError("its matrix says that it is rigid and is not")


def read_relations(dataset: Any) -> list[Relation]:
    """What a Spatial Registration object states.

    Parameters
    ----------
    dataset : pydicom.Dataset

    Raises
    ------
    RefusedError
        With the reason as a clause: deformable, damaged, or nothing in it.
    """
    if str(dataset.get("SOPClassUID", "")) == DEFORMABLE or "DeformableRegistrationSequence" in dataset:
        raise RefusedError("it is deformable, and plans are carried over by rigid and affine maps only")
    own = str(dataset.get("FrameOfReferenceUID", "") or "")
    if not own:
        raise RefusedError("it names no frame of reference of its own")
    out = []
    for item in dataset.get("RegistrationSequence", None) or ():
        frame = str(item.get("FrameOfReferenceUID", "") or "")
        images = [
            str(ref.get("ReferencedSOPInstanceUID", "") or "")
            for ref in item.get("ReferencedImageSequence", None) or ()
        ]
        if frame or any(images):
            matrix = matrix_of(item)
            if frame == own and np.abs(matrix - np.eye(4)).max() > 1e-3:
                raise RefusedError("it moves its own frame of reference")
            out.append(Relation(frame, tuple(u for u in images if u), matrix))
    if not out:
        raise RefusedError("it names neither images nor frames of reference")
    return out


def relations_of(series: Series, frame_of_image: dict[str, str]) -> list[tuple[str, np.ndarray]]:
    """(frame of reference, matrix to the object's own frame) of a REG series from a scan, its own frame first."""
    out = {series.frame_of_reference: np.eye(4)}
    for row in series.facts.get("registrations", ()):
        frame = row["frame"] or next((frame_of_image[u] for u in row["images"] if u in frame_of_image), "")
        if frame:
            out.setdefault(frame, np.array(row["matrix"]))
    return list(out.items())


def relate(
    source: Sequence[Series],
    target: Sequence[Series],
    registrations: Iterable[Series],
    frame_of_image: dict[str, str],
) -> tuple[np.ndarray, Series] | str | None:
    """Map from the frame of reference of some images to that of others.

    Parameters
    ----------
    source, target : sequence of Series
        Images, each sequence in one frame.
    registrations : iterable of Series
        Registration objects of the same patient.
    frame_of_image : dict
        SOPInstanceUID -> frame of reference.

    Returns
    -------
    matrix, series
        (4, 4) map LPS mm -> LPS mm, and the registration it comes from;
    str
        or why what is there cannot be used, a sentence;
    None
        or nothing if no registration names both.
    """
    here, there = source[0].frame_of_reference, target[0].frame_of_reference
    found: list[tuple[np.ndarray, Series]] = []
    for registration in registrations:
        known = dict(relations_of(registration, frame_of_image))
        if here in known and there in known and here != there:
            found.append((np.linalg.inv(known[there]) @ known[here], registration))
    if not found:
        return None
    matrix, first = found[0]
    image = own_geometry(source[0])
    apart = furthest(image, [one for one, _ in found])
    if apart > AGREE:
        return f"{len(found)} registrations of the same images disagree by {apart:.0f} mm, so none is used."
    inside = max(share_inside(image, matrix, Geometry.from_dict(s.geometry)) for s in target if s.geometry)
    if inside < OVERLAP:
        return (
            f"the registration puts the {source[0].modality} outside the {target[0].modality} "
            f"({100 * inside:.0f} % of it lies within), so it is not used."
        )
    return matrix, first


def _at(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


def furthest(image: Geometry, maps: Sequence[np.ndarray]) -> float:
    """Distance in mm by which maps of one image disagree at its corners."""
    first = _at(maps[0], image.corners)
    return max(float(np.linalg.norm(first - _at(one, image.corners), axis=1).max()) for one in maps)


def share_inside(image: Geometry, matrix: np.ndarray, other: Geometry) -> float:
    """Fraction of an image's field of view that lies within another's, once it is mapped into the other's space."""
    steps = [np.linspace(0, n - 1, 12) for n in image.shape]
    index = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    at = other.to_index(_at(matrix, image.to_world(index)))
    return float(((at >= -0.5) & (at <= np.array(other.shape) - 0.5)).all(axis=1).mean())


def registered(series: Series, matrix: np.ndarray, frame: str, by: Series) -> Series:
    """Series with the fact that, and how, it lies in another frame of reference."""
    before = series.facts.get("registered")
    if before:  # by another registration to the images that are now moved on
        matrix = matrix @ np.array(before["matrix"])
    fact = {"matrix": matrix.tolist(), "frame_of_reference": frame, "by": by.instances[0]}
    return dataclasses.replace(series, facts={**series.facts, "registered": fact})


def moved(geometry: Geometry, facts: dict[str, Any]) -> Geometry:
    """A series' own grid in the case's frame of reference; the same grid if the series is not registered."""
    fact = facts.get("registered")
    if not fact:
        return geometry
    return Geometry(geometry.shape, np.array(fact["matrix"]) @ geometry.affine, fact["frame_of_reference"])


def own_geometry(series: Series) -> Geometry:
    """An image's grid as its own headers say, in its own frame of reference."""
    return Geometry.from_dict(series.geometry or {})
