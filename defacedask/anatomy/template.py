"""The average head: images, tissues, regions, structures and landmarks, in LPS millimetres.

The built-in one is derived from the MIT-licensed average T1 of pydeface by ``tools/average_head``; its mid-sagittal
plane is x = 0, it sits upright, and patient left is +x. Below z = -113 mm (lower lip) it is modelled, not measured.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import os
from importlib import resources
from pathlib import Path

import numpy as np
import xarray as xr

from defacedask.anatomy.average_head import Template
from defacedask.anatomy.template_folder import read_template
from defacedask.errors import ConfigError
from defacedask.geometry import Geometry
from defacedask.volume import make_volume

__all__ = ["Template", "load_template", "template_names"]

#: Built-in templates: modality and units of the image.
BUILT_IN = {"average_t1": ("MR", "1"), "average_ct": ("CT", "HU")}


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
