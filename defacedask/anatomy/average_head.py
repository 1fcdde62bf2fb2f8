"""What an average head holds, in LPS millimetres: images, tissues, regions, structures and landmarks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import xarray as xr

from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of

__all__ = ["Template"]

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
