"""The average head: images, tissues, regions, structures and landmarks, in LPS millimetres.

The built-in one is derived from the MIT-licensed average T1 of pydeface by ``tools/average_head``; its mid-sagittal
plane is x = 0, it sits upright, and patient left is +x. Below z = -113 mm (lower lip) it is modelled, not measured.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from defacedask.errors import ConfigError, InputError
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, make_volume

__all__ = ["Template", "load_template", "template_names"]

#: Built-in templates: modality and units of the image.
BUILT_IN = {"average_t1": ("MR", "1"), "average_ct": ("CT", "HU")}

#: Regions that are made of several labels.
UNIONS = {"face": ("face", "brow_to_chin"), "ears": ("ear_left", "ear_right")}


@dataclasses.dataclass(frozen=True, eq=False)
class Template:
    """An average head.

    Attributes
    ----------
    name, modality : str
        ``average_t1`` or ``average_ct`` for the built-in ones; MR or CT.
    image : xarray.DataArray
        (z, y, x) int16 volume; T1 in arbitrary units (white matter about 330) or HU.
    tissue : xarray.DataArray
        (z, y, x) uint8 labels, see ``tissue_names``.
    labels : xarray.DataArray
        (z, y, x) uint8, exclusive regions, see ``label_names``: air, body, face and brow_to_chin (the face's skin
        within 4 mm from brow to chin), ear_left, ear_right. Face and ears include the air close in front.
    structures : xarray.DataArray
        (z, y, x) uint16, one bit per name of ``structure_names``: they overlap.
    skin : xarray.DataArray
        (z, y, x) int8 signed distance to the skin with slope 0.1 mm, negative inside, clipped at 12 mm.
    label_names, tissue_names : dict of str to int
        What the labels mean.
    structure_names : tuple of str
        The study's structures, in the order of the bits.
    landmarks : dict of str to (3,) array
        Points on the skin, LPS mm: nasion, nose_tip, menton, eye_left, ...
    sha256 : str
        Over all its files.
    facts : dict
        Source, licence and how it was made.
    """

    name: str
    modality: str
    image: xr.DataArray
    tissue: xr.DataArray
    labels: xr.DataArray
    structures: xr.DataArray
    skin: xr.DataArray
    label_names: dict[str, int]
    tissue_names: dict[str, int]
    structure_names: tuple[str, ...]
    landmarks: dict[str, np.ndarray]
    sha256: str
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def geometry(self) -> Geometry:
        """Grid of all its volumes."""
        return geometry_of(self.image)

    @property
    def names(self) -> list[str]:
        """Everything `mask` knows."""
        return sorted({*self.label_names, *UNIONS, *self.structure_names, *self.tissue_names})

    def mask(self, name: str) -> np.ndarray:
        """Region, structure or tissue as (z, y, x) bool.

        ``face`` includes ``brow_to_chin``; ``ears`` is both; a region's name wins over a tissue's (``air``).

        Raises
        ------
        InputError
            For an unknown name; the message lists the known ones.
        """
        if name in self.structure_names:
            bit = self.structure_names.index(name)
            return (self.structures.values >> np.uint16(bit) & np.uint16(1)).astype(bool)
        if name in UNIONS or name in self.label_names:
            return np.isin(self.labels.values, [self.label_names[n] for n in UNIONS.get(name, (name,))])
        if name in self.tissue_names:
            return self.tissue.values == self.tissue_names[name]
        raise InputError(f"the template has no {name!r}.", f"It has: {', '.join(self.names)}.")


def template_names() -> list[str]:
    """Names of the built-in templates."""
    return list(BUILT_IN)


def _read(name: str) -> tuple[np.ndarray, Geometry, bytes]:
    import nibabel

    raw = resources.files("defacedask").joinpath("data", f"{name}.nii.gz").read_bytes()
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(raw))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine  # NIfTI says RAS
    affine = lps[:, [2, 1, 0, 3]]  # its columns are x, y, z; ours z, y, x
    voxels = np.ascontiguousarray(np.asarray(image.dataobj).T)
    return voxels, Geometry(voxels.shape, affine), raw


def load_template(name: str | os.PathLike[str] = "average_t1") -> Template:
    """Load an average head. The result is shared: do not write into it.

    Parameters
    ----------
    name : str or path
        ``average_t1`` (measured average) or ``average_ct`` (HU synthesised from its tissues; same grid), or the
        folder of one that `defacedask.averaging.build_template` made.

    Raises
    ------
    ConfigError
        For an unknown name.
    InputError
        If a folder holds no template, or one that was changed.
    """
    if name in BUILT_IN:
        return _built_in(str(name))
    if Path(name).is_dir():
        from defacedask.anatomy.template_folder import read_template

        return read_template(Path(name))
    raise ConfigError(
        f"there is no template {os.fspath(name)!r}.",
        f"Choose from: {', '.join(BUILT_IN)}, or name a folder that `defacedask template build` made.",
    )


@functools.cache
def _built_in(name: str) -> Template:
    modality, units = BUILT_IN[name]
    facts = json.loads(resources.files("defacedask").joinpath("data", "average_head.json").read_text("utf-8"))
    digest = hashlib.sha256()
    volumes: dict[str, xr.DataArray] = {}
    for part in (name, "tissue", "labels", "structures", "skin"):
        voxels, geometry, raw = _read(part)
        digest.update(raw)
        voxels.flags.writeable = False
        image = part == name
        volumes["image" if image else part] = make_volume(
            voxels,
            geometry,
            modality=modality if image else "SEG",
            units=units if image else "",
            slope=0.1 if part == "skin" else 1.0,
            name=part,
        )
    return Template(
        name=name,
        modality=modality,
        **volumes,
        label_names=facts["regions"],
        tissue_names=facts["tissues"],
        structure_names=tuple(facts["structures"]),
        landmarks={key: np.array(point) for key, point in facts["landmarks"].items()},
        sha256=digest.hexdigest(),
        facts={key: facts[key] for key in ("source", "source_sha256", "alignment", "hounsfield", "t1")},
    )
