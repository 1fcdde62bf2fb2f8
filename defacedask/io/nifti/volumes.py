"""Volumes of a NIfTI file of four dimensions: times, directions, echoes. They share a grid, and leave together."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

from defacedask.io.dicom.series_facts import Series
from defacedask.io.dicom.several import numbered
from defacedask.io.nifti.names import stem_of

__all__ = ["GRADIENTS", "gradients_of", "is_of_nifti", "nifti_volumes"]

#: Ends of the files beside a diffusion-weighted image, and how many numbers they hold a volume.
GRADIENTS = {".bval": 1, ".bvec": 3}


def nifti_volumes(series: Series) -> list[Series]:
    """Each volume of a NIfTI file.

    Parameters
    ----------
    series : Series
        From `defacedask.io.nifti.read.nifti_series`: of the whole file.

    Returns
    -------
    list of Series
        As it is, if it holds one. Of several each has the fact ``volume`` (`defacedask.io.dicom.several.numbered`): a
        head is best looked for in the first with the lowest b-value, if there is a ``.bval``.
    """
    count = series.facts.get("volumes", 1)
    weights = _numbers(Path(series.files[0]).with_name(f"{stem_of(series.files[0])}.bval"))
    by: list[dict[str, Hashable]] = [{"place in the file": float(k + 1)} for k in range(count)]
    if len(weights) == count:
        by = [{"b-value": weight, **one} for weight, one in zip(weights, by, strict=True)]
    return numbered([(series, one) for one in by])


def gradients_of(path: str | Path, count: int) -> list[Path]:
    """Files of `GRADIENTS` beside an image of so many volumes that hold their numbers and nothing else."""
    path = Path(path)
    beside = {path.with_name(f"{stem_of(path)}{end}"): each * count for end, each in GRADIENTS.items()}
    return [one for one, numbers in beside.items() if len(_numbers(one)) == numbers]


def is_of_nifti(name: str) -> bool:
    """Whether a file that was written is a NIfTI image, or goes on beside one; by its name."""
    return name.lower().endswith((".nii", ".nii.gz", ".json", *GRADIENTS))


def _numbers(path: Path) -> list[float]:
    """Numbers of a text; none if it holds anything else, or is not there."""
    try:
        return [float(word) for word in path.read_text("ascii").split()]
    except (OSError, ValueError):
        return []
