"""Average heads in folders: the files of the built-in one's form, written and read."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from defacedask.anatomy.average_head import Template
from defacedask.errors import InputError, writing
from defacedask.geometry import Geometry
from defacedask.volume import make_volume, units_of
from defacedask.whole_files import write_whole

__all__ = ["FACTS", "read_template", "write_nifti", "write_template"]

#: File that makes a folder a template.
FACTS = "average_head.json"
FORMAT = 1
PARTS = ("image", "tissue", "labels", "structures", "skin")


def write_template(template: Template, folder: Path) -> str:
    """Write a template; the facts last, so that an unfinished folder is none.

    Returns
    -------
    str
        Its SHA-256.

    Raises
    ------
    OutputError
    """
    with writing(f"the template {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            part: write_nifti(folder / f"{part}.nii.gz", getattr(template, part).values, template.geometry)
            for part in PARTS
        }
        content: dict[str, Any] = {
            "format": FORMAT,
            "name": template.name,
            "modality": template.modality,
            "units": units_of(template.image),
            "regions": template.label_names,
            "tissues": template.tissue_names,
            "structures": list(template.structure_names),
            "landmarks": {key: np.asarray(point).tolist() for key, point in template.landmarks.items()},
            "facts": template.facts,
            "sha256": files,
        }
        write_whole(folder / FACTS, json.dumps(content, indent=1) + "\n")
    return _digest(folder)


def write_nifti(
    path: Path, array: np.ndarray, grid: Geometry, *, description: str = "", level: int = 6
) -> str:
    """Write an array as .nii.gz without a time stamp: the same array gives the same bytes.

    Parameters
    ----------
    path : Path
    array : (z, y, x) array
    grid : Geometry
        Where it lies, LPS mm.
    description : str
        For the header, at most 79 characters.
    level : int
        Of gzip.

    Returns
    -------
    str
        SHA-256 of the file.
    """
    import nibabel

    lps = np.eye(4)
    lps[:3, :3] = grid.affine[:3, 2::-1]  # columns x, y, z
    lps[:3, 3] = grid.origin
    image = nibabel.Nifti1Image(np.ascontiguousarray(array.T), np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps)
    image.header["descrip"] = description
    image.header.set_xyzt_units("mm")
    image.set_qform(image.affine, 1)
    image.set_sform(image.affine, 1)
    packed = gzip.compress(image.to_bytes(), level, mtime=0)
    path.write_bytes(packed)
    return hashlib.sha256(packed).hexdigest()


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for part in PARTS:
        digest.update((folder / f"{part}.nii.gz").read_bytes())
    return digest.hexdigest()


def read_template(folder: Path) -> Template:
    """Read a template; the same one is read once a process.

    Raises
    ------
    InputError
        If there is none, or its files are not those that were written.
    """
    try:
        stamp = (folder / FACTS).stat().st_mtime_ns
    except OSError:
        raise InputError(
            f"there is no template in {folder}.", "Name a folder that `defacedask template build` made."
        ) from None
    return _read(str(folder.resolve()), stamp)


@functools.lru_cache(maxsize=4)
def _read(place: str, stamp: int) -> Template:
    import nibabel

    folder = Path(place)
    try:
        content = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise InputError(f"the template in {folder} has a form that is not known here.")
        volumes: dict[str, xr.DataArray] = {}
        for part in PARTS:
            raw = (folder / f"{part}.nii.gz").read_bytes()
            if hashlib.sha256(raw).hexdigest() != content["sha256"][part]:
                raise InputError(
                    f"{part}.nii.gz of the template in {folder} was changed after it was written."
                )
            image = nibabel.Nifti1Image.from_bytes(gzip.decompress(raw))
            affine = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine)[
                :, [2, 1, 0, 3]
            ]  # NIfTI says RAS, x, y, z
            voxels = np.ascontiguousarray(np.asarray(image.dataobj).T)
            voxels.flags.writeable = False
            own = part == "image"
            volumes[part] = make_volume(
                voxels,
                Geometry(voxels.shape, affine),
                modality=content["modality"] if own else "SEG",
                units=content["units"] if own else "",
                slope=0.1 if part == "skin" else 1.0,
                name=part,
            )
        return Template(
            name=content["name"],
            modality=content["modality"],
            **volumes,
            label_names=content["regions"],
            tissue_names=content["tissues"],
            structure_names=tuple(content["structures"]),
            landmarks={key: np.array(point) for key, point in content["landmarks"].items()},
            sha256=_digest(folder),
            facts=content["facts"],
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError(
            f"the template in {folder} cannot be read ({type(error).__name__}: {error}).", "Build it again."
        ) from None
