"""The part of `verify` that concerns published masks: with the originals at hand, no voxel outside of one changed.

Nothing is taken from the plan or from the code that made a mask: voxels are read from the files, and a mask is asked
by position.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from defacedask.io.nifti.opened import opened, stored_values
from defacedask.io.nifti.values import unpacked_size
from defacedask.modality import IMAGES
from defacedask.verify.lines import Line, Lines
from defacedask.whole_files import file_hash

__all__ = ["masks"]

#: mm by which positions may differ, in parts of a voxel.
NEAR = 0.1


#: Case, defacer, and hash of the original.
_Origin = tuple[str, str, str]


class _Found(Protocol):
    folder: Path

    def say(self, file: str, check: str, what: str) -> None: ...


def masks(found: _Found, named: Lines, sources: Iterable[str]) -> None:
    """Look at every mask on record.

    Parameters
    ----------
    found : object
        With ``folder`` and ``say``.
    named : iterable of dict
        Lines of the record whose files are there.
    sources : iterable of str
        Files of the originals; none, if they are not at hand: then it is seen only that a mask is one.
    """
    some = [
        line for line in named if line.get("modality") == "defacemask" or (line.get("made") and line["file"])
    ]
    if not some:
        return
    originals = _by_hash(sources, {line["input_sha256"] for line in named})
    images = _Images(found.folder, named)
    # a series of several volumes has a mask for each, and they are asked together
    together: defaultdict[tuple[str, bool], list[Line]] = defaultdict(list)
    for line in some:
        series = images.series.get(_origin(line))
        together[series or line["file"], line["file"].endswith(".dcm")].append(line)
    for lines in together.values():
        try:
            _these(found, lines, originals, images)
        except Exception as error:  # a file nobody foresaw
            found.say(
                lines[0]["file"], "tags", f"the mask cannot be read ({type(error).__name__}: {error})"[:200]
            )


def _by_hash(sources: Iterable[str], wanted: set[str]) -> dict[str, str]:
    out: dict[str, str] = {}
    for path in sources:
        with contextlib.suppress(OSError):
            digest = file_hash(path)
            if digest in wanted:
                out[digest] = path
    return out


def _origin(line: Line) -> _Origin:
    return str(line.get("case", "")), str(line.get("defacer", "")), str(line["input_sha256"])


class _Images:
    """Images on record that masks may be of; each defacer of a study has its own of one original."""

    def __init__(self, folder: Path, named: Lines) -> None:
        from defacedask.io.dicom.headers import open_dataset

        #: Case, defacer and hash of the original -> NIfTI image made of it; series of the first slice made of it.
        self.volumes: dict[_Origin, str] = {}
        self.series: dict[_Origin, str] = {}
        #: Series UID -> its slices.
        self.slices: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for line in named:
            if line.get("modality") not in IMAGES:
                continue
            name, original, origin = str(line["file"]), str(line["input_sha256"]), _origin(line)
            if name.lower().endswith((".nii", ".nii.gz")):
                self.volumes.setdefault(origin, name)
                continue
            uid = str(open_dataset(folder / name).get("SeriesInstanceUID", ""))
            self.series.setdefault(origin, uid)
            self.slices[uid].append((name, original))


def _these(found: _Found, lines: Sequence[Line], originals: Mapping[str, str], images: _Images) -> None:
    """Look at the masks of one series, or at the mask of one NIfTI image."""
    from defacedask.io.dicom.headers import open_dataset

    line = lines[0]
    own = _origin(line)
    if own in images.volumes and line["file"].lower().endswith((".nii", ".nii.gz")):
        _nifti(found, line, images.volumes[own], originals.get(line["input_sha256"]))
        return
    slices = images.slices[images.series[own]] if own in images.series else []
    held = []
    for one in lines:
        file = found.folder / one["file"]
        of = _at_positions(file) if one["file"].endswith(".nii.gz") else _by_reference(found, one)
        if of is None or not slices:
            found.say(one["file"], "references", "the image that it is the mask of is not there")
            return
        held.append(of)
    outside = 0
    for name, original in slices:
        before = originals.get(original)
        if before is None:
            continue
        dataset = open_dataset(found.folder / name)
        if "NumberOfFrames" not in dataset:
            inside = np.logical_or.reduce([of(dataset) for of in held])
            outside += int((_changed(before, found.folder / name) & ~inside).sum())
    if outside:
        which = "mask" if len(lines) == 1 else "masks of its series"
        found.say(line["file"], "tags", f"{outside} voxels outside of the {which} are not the original's")


def _changed(before: str, after: Path) -> np.ndarray:
    from defacedask.io.dicom.headers import read_header
    from defacedask.io.dicom.pixels import read_stored

    old, new = (np.asarray(read_stored(read_header(str(path))))[0] for path in (before, after))
    return np.asarray(old != new)


def _at_positions(file: Path) -> Any:
    """``held(dataset)``: values of a NIfTI mask at the pixels of a slice."""
    image = opened(file)
    values = np.asarray(image.dataobj) != 0
    back = np.linalg.inv(image.affine)

    def held(dataset: Any) -> np.ndarray:
        across, down = np.array([float(v) for v in dataset.ImageOrientationPatient]).reshape(2, 3)
        between = [float(v) for v in dataset.PixelSpacing]
        first = np.array([float(v) for v in dataset.ImagePositionPatient])
        i, j = np.meshgrid(np.arange(int(dataset.Rows)), np.arange(int(dataset.Columns)), indexing="ij")
        at = first + i[..., None] * down * between[0] + j[..., None] * across * between[1]
        ras = at * (-1.0, -1.0, 1.0)
        index = ras @ back[:3, :3].T + back[:3, 3]
        near = np.rint(index)
        inside = (np.abs(index - near) < NEAR).all(-1) & (near >= 0).all(-1) & (near < values.shape).all(-1)
        out = np.zeros(inside.shape, bool)
        out[inside] = values[tuple(near[inside].astype(int).T)]
        return out

    return held


def _by_reference(found: _Found, line: Line) -> Any:
    """``held(dataset)``: the frame of a segmentation that refers to a slice."""
    from defacedask.io.dicom.headers import open_dataset

    mask = open_dataset(found.folder / line["file"], pixels=True)
    if str(mask.get("SegmentationType", "")) != "BINARY" or len(mask.get("SegmentSequence", None) or ()) != 1:
        found.say(line["file"], "tags", "the mask is no binary segmentation of one segment")
    frames = np.asarray(mask.pixel_array).reshape(-1, int(mask.Rows), int(mask.Columns)) != 0
    by: dict[str, np.ndarray] = {}
    for frame, group in zip(frames, mask.PerFrameFunctionalGroupsSequence, strict=True):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        by[str(source.ReferencedSOPInstanceUID)] = frame

    def held(dataset: Any) -> np.ndarray:
        empty = np.zeros((int(dataset.Rows), int(dataset.Columns)), bool)
        return by.get(str(dataset.SOPInstanceUID), empty)

    return held


def _bytes(image: Any) -> int:
    """Of the voxels in its file."""
    return int(np.prod(image.shape, dtype=np.int64)) * image.header.get_data_dtype().itemsize


def _nifti(found: _Found, line: Line, image: str, before: str | None) -> None:
    mask, new = opened(found.folder / line["file"]), opened(found.folder / image)
    if mask.shape != new.shape[:3] or np.abs(mask.affine - new.affine).max() > 1e-3:
        found.say(line["file"], "tags", "the mask is not on the grid of its image")
        return
    more = unpacked_size(str(found.folder / image)) - int(new.dataobj.offset) - _bytes(new)
    if more > 0:
        found.say(image, "tags", f"{more} bytes follow its voxels, and no mask says what they show")
    if before is None:
        return
    source, away = opened(before), np.asarray(mask.dataobj).T == 0
    outside = 0
    for number in range(int(np.prod(new.shape[3:], dtype=np.int64))):
        old, now = (stored_values(p, im, number) for p, im in ((before, source), (found.folder / image, new)))
        same = (old == now) | ((old != old) & (now != now))
        outside += int((~same & away).sum())
    if outside:
        found.say(line["file"], "tags", f"{outside} voxels outside of the mask are not the original's")
