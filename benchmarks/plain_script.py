"""What a careful person writes in an afternoon with public packages: the peer that `benchmarks.compare` runs.

SimpleITK reads, pydicom and Pillow make the masks, the quickshear of PyPI defaces with the contoured brain, pyvista
draws the skin, face_recognition looks at it, and pyradiomics' extractor measures the structures before and after.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

#: Degrees of the views, as the study's basic attack has them; HU of the skin; pixels of a picture.
PITCHES, SKIN, SIZE = (-20.0, -10.0, 0.0, 10.0), -300.0, 400


def files_of(folder: Path) -> dict[str, list[Path]]:
    """Modality -> files, in the order of their names."""
    import pydicom

    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.dcm")):
        found.setdefault(str(pydicom.dcmread(path, specific_tags=["Modality"]).Modality), []).append(path)
    return found


def read_ct(files: list[Path]) -> Any:
    """SimpleITK image of a CT, in HU."""
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    names = reader.GetGDCMSeriesFileNames(str(files[0].parent))
    reader.SetFileNames(names)
    return reader.Execute()


def masks_of(structure_set: Path, ct: Any) -> dict[str, np.ndarray]:
    """Name of a structure -> (z, y, x) bool mask, its contours filled slice by slice (exclusive or)."""
    import pydicom
    from PIL import Image, ImageDraw

    data = pydicom.dcmread(structure_set)
    names = {int(item.ROINumber): str(item.ROIName) for item in data.StructureSetROISequence}
    width, height, depth = ct.GetSize()
    origin, spacing = np.array(ct.GetOrigin()), np.array(ct.GetSpacing())
    out = {}
    for roi in data.ROIContourSequence:
        mask = np.zeros((depth, height, width), bool)
        for contour in roi.get("ContourSequence", None) or ():
            points = (np.array(contour.ContourData, float).reshape(-1, 3) - origin) / spacing
            k = round(float(points[0, 2]))
            if 0 <= k < depth and len(points) > 2:
                picture = Image.new("1", (width, height))
                ImageDraw.Draw(picture).polygon([tuple(p) for p in points[:, :2]], fill=1)
                mask[k] ^= np.asarray(picture)
        out[names[int(roi.ReferencedROINumber)]] = mask
    return out


def defaced_by_quickshear(values: np.ndarray, brain: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """The quickshear of PyPI on (z, y, x) values; it wants the axes L, P, S, and fills with 0."""
    import nibabel
    from quickshear import quickshear

    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    image, mask = (
        nibabel.Nifti1Image(np.ascontiguousarray(a.transpose(2, 1, 0)), affine)
        for a in (values + 1024, brain.astype(np.int16))
    )
    return np.asarray(quickshear(image, mask, 10).dataobj).transpose(2, 1, 0) - 1024


def pictures(values: np.ndarray, spacing: np.ndarray) -> list[np.ndarray]:
    """The skin from four sides above and below, RGB."""
    import pyvista

    grid = pyvista.ImageData(dimensions=values.shape[::-1], spacing=tuple(spacing))
    grid["HU"] = values.ravel().astype(np.float32)
    skin = grid.contour([SKIN], scalars="HU")
    out = []
    for pitch in np.radians(PITCHES):
        plotter = pyvista.Plotter(off_screen=True, window_size=(SIZE, SIZE))
        plotter.add_mesh(skin, color="white")
        away = np.array([0.0, -np.cos(pitch), np.sin(pitch)])
        plotter.camera_position = [np.array(skin.center) + 700 * away, skin.center, (0, 0, 1)]
        out.append(plotter.screenshot(return_img=True))
        plotter.close()
    return out


def faces(views: list[np.ndarray]) -> list[np.ndarray]:
    """Encodings of the faces that are found."""
    import face_recognition

    return [code for view in views for code in face_recognition.face_encodings(np.ascontiguousarray(view))]


def features(
    values: np.ndarray, masks: dict[str, np.ndarray], spacing: np.ndarray, cropped: bool
) -> list[Any]:
    """First-order features by pyradiomics' extractor, on the whole image as usual, or on the structure's box."""
    import logging

    import SimpleITK as sitk
    from radiomics import featureextractor

    logging.getLogger("radiomics").setLevel(logging.ERROR)
    extractor = featureextractor.RadiomicsFeatureExtractor(additionalInfo=not cropped)
    extractor.disableAllFeatures()
    extractor.enableFeatureClassByName("firstorder")
    out = []
    for mask in masks.values():
        if mask.sum() < 2:
            continue
        part: Any = np.s_[:, :, :]
        if cropped:
            part = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(mask))
        image, label = (
            sitk.GetImageFromArray(np.ascontiguousarray(a[part])) for a in (values, mask.astype(np.uint8))
        )
        for one in (image, label):
            one.SetSpacing(tuple(float(s) for s in spacing))
        out.append(extractor.execute(image, label))
    return out


def whole_case(folder: Path, cropped: bool) -> int:
    """One patient: read, deface, draw, recognise, measure; gives how many faces and structures that were."""
    found = files_of(folder)
    ct = read_ct(found["CT"])
    import SimpleITK as sitk

    values, spacing = sitk.GetArrayFromImage(ct), np.array(ct.GetSpacing())
    masks = masks_of(found["RTSTRUCT"][0], ct)
    defaced = defaced_by_quickshear(values, masks["Brain"], spacing)
    count = 0
    for one in (values, defaced):
        count += len(faces(pictures(one, spacing))) + len(features(one, masks, spacing, cropped))
    return count
