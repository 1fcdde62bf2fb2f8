"""Enhanced multi-frame CT, MR and PET (PS3.3 C.7.6.16): one volume or several, in one file or a concatenation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from defacedask.errors import InputError, RefusedError
from defacedask.io.dicom.frames import Frames, joined_frames, read_frames
from defacedask.io.dicom.headers import Header, open_dataset
from defacedask.io.dicom.mosaic import projected
from defacedask.io.dicom.series import ENHANCED, HU_TYPES, check_pixels, common_facts, same
from defacedask.io.dicom.series_facts import Series
from defacedask.io.dicom.several import in_order, numbered
from defacedask.io.dicom.stack import MAX_VOXELS, stack_slices
from defacedask.io.dicom.suv import enhanced_suv_facts
from defacedask.io.dicom.telling_frames import frame_elements
from defacedask.io.dicom.volumes import places_of, split
from defacedask.showing import counted

__all__ = ["enhanced_volumes"]


def _check_rescale(modality: str, frames: Frames) -> None:
    given = np.isfinite(frames.slope) & np.isfinite(frames.intercept)
    if modality == "CT":
        if not given.all():
            raise RefusedError(
                "it is a CT without rescale slope and intercept: its Hounsfield units are not known"
            )
        if not frames.rescale_types <= HU_TYPES:
            raise RefusedError(
                f"its values are not Hounsfield units (RescaleType {', '.join(frames.rescale_types)})"
            )
    if modality == "PT" and not given.all():
        raise RefusedError("it is a PET without rescale slope: its activity is not known")
    if (given.any() and not given.all()) or (frames.slope == 0).any():
        raise RefusedError("its rescale slope is zero, or missing in some of its frames")


def _stacks(frames: Frames, problem: str) -> str:
    if "same position" in problem or "orientations" in problem or "stacks" in frames.kinds:
        for name, values in frames.kinds.items():
            if len(set(values)) <= len(values) // 2:
                return f"{problem}: it holds {len(set(values))} {name}"
    return problem


def enhanced_volumes(headers: list[Header]) -> tuple[list[Series], list[tuple[list[Header], str]]]:
    """Check the multi-frame images of one series, and order the frames of each of their volumes.

    Images of one concatenation are one; any other image is taken by itself.

    Returns
    -------
    list of Series
        One for each volume. ``facts["frames"]`` has its frames in ascending order along the stack: their numbers
        among those of all its files one after the other, from 0. ``facts["frame_counts"]``, where that is not
        evident, has the number of frames of each file. Of several volumes each has the fact ``volume``
        (`defacedask.io.dicom.several.numbered`).
    list of (list of Header, str)
        Images that cannot be used, and why, as a clause.
    """
    groups: dict[str, list[Header]] = {}
    for header in headers:
        whole = header.text("ConcatenationUID") if "ConcatenationUID" in header.values else ""
        groups.setdefault(whole or f"one {header.text('SOPInstanceUID')}", []).append(header)
    found: list[tuple[Series, Mapping[str, Hashable]]] = []
    left: dict[str, list[Header]] = {}
    for group in groups.values():
        number = group[0].values.get("InstanceNumber", 0) if len(groups) > 1 else None
        which: dict[str, Hashable] = {} if number is None else {"InstanceNumber": float(number)}
        try:
            found += [(series, {**which, **by}) for series, by in _volumes_of(group)]
        except RefusedError as error:
            left.setdefault(error.message, []).extend(group)
    return numbered(in_order(found)), [(some, reason) for reason, some in left.items()]


def _volumes_of(headers: list[Header]) -> list[tuple[Series, Mapping[str, Hashable]]]:
    """Volumes of one multi-frame image, or of the images of one concatenation."""
    modality = ENHANCED[headers[0].text("SOPClassUID")]
    check_pixels(headers)
    rows, columns = headers[0].values["Rows"], headers[0].values["Columns"]
    for header in headers:
        count = header.values.get("NumberOfFrames", 0)
        if count * rows * columns > MAX_VOXELS or count < 1:
            raise RefusedError(
                f"it claims {count} x {rows} x {columns} voxels, and at most {MAX_VOXELS} are read"
            )
        need = count * rows * columns * header.values["BitsAllocated"] // 8
        if 0 < header.pixel_length < need:
            raise RefusedError(f"its pixel data are too short ({header.pixel_length} of {need} bytes)")
    try:
        datasets = [open_dataset(header.path) for header in headers]
        if len(headers) > 1 or "ConcatenationUID" in headers[0].values:
            order = _concatenated(headers, datasets)
            headers, datasets = [headers[k] for k in order], [datasets[k] for k in order]
        parts = [read_frames(dataset) for dataset in datasets]
        frames = joined_frames(parts)
        _check_rescale(modality, frames)
        volumes = _told_apart(frames, datasets)
        return [
            (_series(headers, datasets[0], modality, frames, [len(p.slope) for p in parts], some), by)
            for some, by in volumes
        ]
    except RefusedError:
        raise
    except InputError as error:
        raise RefusedError(error.message.rstrip(".")) from None


def _concatenated(headers: list[Header], datasets: list[Any]) -> list[int]:
    """Order of the parts of a concatenation (PS3.3 C.7.6.16.2.2.4).

    Raises
    ------
    RefusedError
        If a part is missing, there twice, or unlike the others.
    """
    numbers = [int(dataset.get("InConcatenationNumber", 0) or 0) for dataset in datasets]
    totals = {int(dataset.get("InConcatenationTotalNumber", 0) or 0) for dataset in datasets} - {0}
    offsets = [dataset.get("ConcatenationFrameOffsetNumber", None) for dataset in datasets]
    order = sorted(range(len(headers)), key=lambda k: numbers[k])
    said = "it is part of an image in several files (a concatenation)"
    if sorted(numbers) != list(range(1, len(numbers) + 1)) or (totals and totals != {len(numbers)}):
        whole = max(totals, default=max(numbers))
        raise RefusedError(f"{said}, of which {len(numbers)} of {whole or 'an unknown number'} are there")
    if not totals and len(numbers) == 1:
        raise RefusedError(f"{said} that does not say how many there are")
    before = 0
    for k in order:
        if offsets[k] is not None and int(offsets[k]) != before:
            raise RefusedError(f"{said} whose parts do not follow one another")
        before += headers[k].values.get("NumberOfFrames", 0)
    for keyword in ("SOPClassUID", "FrameOfReferenceUID", "BitsStored"):
        if not same(headers, keyword):
            raise RefusedError(f"{said} whose parts differ in {keyword}")
    return order


def _told_apart(frames: Frames, datasets: list[Any]) -> list[tuple[list[int], Mapping[str, Hashable]]]:
    """Frames of each volume. A file leaves whole or not at all, so that none may be left over."""
    every = list(range(len(frames.slope)))
    places = places_of(frames.positions, frames.cosines)
    if places is None or places.max() < 1 or np.bincount(places).max() < 2:
        return [(every, {})]
    repeated = int(len(every) - len(set(places.tolist())))
    problem = _stacks(
        frames, f"several slices lie at the same position ({repeated} repeated of {len(every)})"
    )
    try:
        found = split(places, frame_elements(datasets))
    except RefusedError as error:
        raise RefusedError(f"{problem}; {error.message}") from None
    if found.rest:
        some = sum(len(left) for left, _ in found.rest)
        raise RefusedError(f"{problem}; {counted(some, 'frame')} in no whole volume ({found.rest[0][1]})")
    return list(zip(found.volumes, found.by, strict=True))


def _series(
    headers: list[Header], dataset: Any, modality: str, frames: Frames, counts: list[int], some: list[int]
) -> Series:
    """One volume: these frames, ordered."""
    header = headers[0]
    one = np.array(sorted(some))
    try:
        order, geometry = stack_slices(
            frames.positions[one],
            frames.cosines[one],
            frames.spacing[one],
            header.values["Rows"],
            header.values["Columns"],
            header.text("FrameOfReferenceUID"),
            frames.thickness[one],
        )
    except RefusedError as error:
        raise RefusedError(_stacks(frames, error.message)) from None
    if reason := next(filter(None, (projected(h, modality, geometry, dataset) for h in headers)), ""):
        raise RefusedError(reason)
    facts = common_facts(dataset, header)
    facts["frames"] = one[order].tolist()
    if len(headers) > 1 or len(one) < sum(counts):
        facts["frame_counts"] = counts
    if modality == "PT":
        facts["suv"] = enhanced_suv_facts(dataset)
    return Series(
        uid=header.text("SeriesInstanceUID"),
        modality=modality,
        sop_class_uid=header.text("SOPClassUID"),
        patient_id=header.text("PatientID"),
        study_uid=header.text("StudyInstanceUID"),
        frame_of_reference=header.text("FrameOfReferenceUID"),
        description=header.text("SeriesDescription"),
        number=header.values.get("SeriesNumber", 0),
        files=tuple(h.path for h in headers),
        instances=tuple(h.text("SOPInstanceUID") for h in headers),
        geometry=geometry.to_dict(),
        facts=facts,
    )
