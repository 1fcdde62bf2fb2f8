"""How volumes and structures lie in a Zarr group: what is written, and the way back, bit for bit.

A volume's group holds the array ``voxels`` with its stored integers, ``slope`` and ``intercept`` along z, and the
coordinates z, y, x in mm. Where the whole volume has one rescale it also is the ``scale_factor`` and ``add_offset``
of the CF conventions, so that xarray decodes the voxels to their ``units``. A PET has a rescale a slice, which CF
does not know: there are no ``units`` then, and ``rescale`` says what to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec

from defacedask.config import option
from defacedask.coordinates import DIMS, coordinates_of
from defacedask.geometry import Geometry
from defacedask.io.store.local import is_plain, write_group
from defacedask.io.store.ngff import multiscales
from defacedask.io.store.place import is_local, remove
from defacedask.volume import geometry_of, grid_attrs, grid_of_attrs, on_host, placed_anew
from defacedask.whole_files import write_whole

__all__ = ["VOXELS", "consolidate", "stored_volume", "write_structures", "write_volume"]

#: Name of the array of a volume.
VOXELS = "voxels"
#: Attributes of the array that a volume in memory has not.
_OF_FILE = ("_FillValue", "scale_factor", "add_offset", "coordinates", "rescale")
#: Name of the file that holds the metadata of a group or an array.
_METADATA = "zarr.json"
_RESCALE = "real value = voxels * slope + intercept, in real_units"


def write_volume(url: str, path: str, volume: xr.DataArray) -> None:
    """Write one volume into a group of a store, whole or (on a local path) not at all.

    Parameters
    ----------
    url : str
        Of the store.
    path : str
        Such as ``images/CT``.
    volume : xarray.DataArray
        See `defacedask.volume`; a part of one is written as what it is now.

    Raises
    ------
    InputError
        If the volume no longer lies on its grid.
    """
    grid = geometry_of(volume)
    volume = on_host(volume)
    nz, ny, nx = volume.shape
    chunks = (min(nz, option("store.slices-per-chunk")), ny, nx)
    codec = BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=volume.dtype.itemsize)
    volume = placed_anew(volume, grid)
    # the voxels alone: `DataArray.chunk` makes tasks of the few numbers along the axes, too; and under a name of
    # their own: to name the chunks after their content reads and hashes all of it
    name = f"{VOXELS}-{uuid.uuid4().hex}"
    lazy = volume.variable.chunk(dict(zip(DIMS, chunks, strict=True)), name=name)
    data = volume.copy(deep=False, data=lazy.data)
    data.attrs = _in_file(volume)
    about = {"ome": multiscales(grid, VOXELS, path)}
    local = is_local(url)
    # beside the store, where nobody takes it for a part of it
    place, group = (f"{url}.partial-{uuid.uuid4().hex[:8]}", None) if local else (url, path)
    try:
        if local and is_plain(data):
            write_group(place, data, VOXELS, about, codec)
        else:
            data.to_dataset(name=VOXELS).assign_attrs(about).to_zarr(
                place,
                group=group,
                mode="w",
                zarr_format=3,
                consolidated=False,
                encoding={
                    VOXELS: {"chunks": chunks, "compressors": (codec,)},
                    **{name: {"compressors": ()} for name in data.coords},  # a few numbers
                },
            )
        if local:
            target = Path(url, path)
            above = target.relative_to(url).parent.as_posix()
            if above != ".":
                zarr.open_group(url, mode="a", use_consolidated=False).require_group(above)
            remove(str(target))
            Path(place).replace(target)
    finally:
        if local:
            remove(place)


def _in_file(volume: xr.DataArray) -> dict[str, Any]:
    """Attributes of the array in the file: true for who decodes it by the CF conventions, and who does not."""
    facts = {k: v for k, v in volume.attrs.items() if k not in ("units", *_OF_FILE)}
    slope, intercept = (np.asarray(volume.coords[name].values) for name in ("slope", "intercept"))
    if not ((slope == slope[0]).all() and (intercept == intercept[0]).all()):
        return {**facts, "rescale": _RESCALE}
    facts["units"] = facts.get("real_units", "")
    if slope[0] != 1:
        facts["scale_factor"] = float(slope[0])
    if intercept[0] != 0:
        facts["add_offset"] = float(intercept[0])
    return facts


def stored_volume(url: str, path: str) -> xr.DataArray:
    """Open a volume as it was written, lazily, one Dask chunk a stored chunk.

    Raises
    ------
    FileNotFoundError, KeyError
        If it is not there.
    """
    # not by xarray, which would read the coordinates too: they follow from the grid
    group: Any = zarr.open_group(url, path=path, mode="r", zarr_format=3, use_consolidated=False)
    voxels = group[VOXELS]
    facts = {k: v for k, v in voxels.attrs.items() if k not in _OF_FILE}
    if {"scale_factor", "add_offset"} & set(voxels.attrs):
        facts.pop("units", None)
    coords: dict[str, Any] = dict(coordinates_of(grid_of_attrs(facts)))
    # one for all slices stands in the attributes, too: files of their own take four times as long to read as the rest
    several = "rescale" in voxels.attrs
    for name, attribute, plain in (("slope", "scale_factor", 1.0), ("intercept", "add_offset", 0.0)):
        one = np.full(voxels.shape[0], voxels.attrs.get(attribute, plain))
        coords[name] = ("z", group[name][:] if several else one)
    # a name of its own: what lies at an address may be written anew
    data = dask.array.from_array(voxels, chunks=voxels.chunks, name=False)
    return xr.DataArray(data, dims=DIMS, coords=coords, attrs=facts, name=VOXELS)


def write_structures(url: str, path: str, structures: Sequence[Any], geometry: Geometry, image: str) -> None:
    """Write masks as (structure, z, y, x) bool, with the names of the structures as a coordinate.

    Parameters
    ----------
    url : str
        Of the store.
    path : str
        Such as ``structures/RTSTRUCT``.
    structures : sequence of defacedask.io.dicom.structures.Structure
    geometry : Geometry
        Grid of the masks.
    image : str
        Path of the image they belong to, such as ``images/CT``.
    """
    nz, ny, nx = geometry.shape
    rows = []
    group: Any = zarr.open_group(url, mode="a", use_consolidated=False).require_group(path)
    array = group.create_array(
        "mask",
        shape=(len(structures), nz, ny, nx),
        dtype="bool",
        chunks=(1, min(nz, option("store.slices-per-chunk")), ny, nx),
        compressors=BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=1),
        fill_value=False,
        dimension_names=("structure", *DIMS),
        attributes=grid_attrs(geometry),
    )
    for i, part in enumerate(structures):
        start, shape = part.start, part.mask.shape
        if part.mask.size:
            array[i, *(slice(a, a + n) for a, n in zip(start, shape, strict=True))] = part.mask
        rows.append(
            {
                "name": part.name,
                "original_name": part.original_name,
                "number": int(part.number),
                "colour": [int(c) for c in part.colour] if part.colour is not None else None,
                "interpreted_type": part.interpreted_type,
                "start": [int(a) for a in start],
                "shape": [int(n) for n in shape],
                "warnings": list(part.warnings),
            }
        )
    names = group.create_array("structure", shape=(len(rows),), dtype=str, dimension_names=("structure",))
    if rows:
        names[:] = np.array([row["name"] for row in rows], dtype=object)
    for dim, values in coordinates_of(geometry).items():
        axis = group.create_array(
            dim,
            shape=values.shape,
            dtype="float64",
            dimension_names=(dim,),
            fill_value=np.nan,
            attributes=values.attrs,
        )
        axis[:] = values.values
    group.update_attributes({"structures": json.dumps(rows), "image": image})


def consolidate(url: str) -> None:
    """Let the root of a store tell all that is in it, so that it opens in one read.

    Two tasks may write to one store at a time, and the later may not have seen what the other wrote: whoever writes
    looks again until what is told is what is there.

    Parameters
    ----------
    url : str
    """
    with warnings.catch_warnings():
        # Zarr 3 has no final word on consolidated metadata; what else is seen here is being written by another task
        warnings.filterwarnings("ignore", message="Consolidated metadata|Object at", category=UserWarning)
        for _ in range(10):
            told = _consolidated_here(url) if is_local(url) else _consolidated(url)
            if told == _there(url):
                return


def _consolidated(url: str) -> set[str]:
    told = zarr.consolidate_metadata(url)
    return {path for path, _ in told.members(max_depth=None)}


def _consolidated_here(url: str) -> set[str]:
    """As `zarr.consolidate_metadata`, which awaits one file after the other: 131 ms of a case's store, and 44 so."""
    root = Path(url, _METADATA)
    told = {}
    for path in sorted(_there(url)):  # a group before what is in it
        with contextlib.suppress(FileNotFoundError):  # another task is writing it anew
            told[path] = json.loads(Path(url, path, _METADATA).read_bytes())
            if told[path]["node_type"] == "group":
                told[path]["consolidated_metadata"] = _inline({})
    document = json.loads(root.read_bytes())
    document["consolidated_metadata"] = _inline(told)
    write_whole(root, json.dumps(document))  # indented it takes Python's own encoder, as long as all the rest
    return set(told)


def _inline(told: dict[str, Any]) -> dict[str, Any]:
    """Metadata of all that lies below a group, as Zarr 3 keeps them in it."""
    return {"kind": "inline", "must_understand": False, "metadata": told}


def _there(url: str) -> set[str]:
    """Paths of the groups and arrays below the root."""
    if is_local(url):
        found = (
            Path(place).relative_to(url).as_posix() for place, _, files in os.walk(url) if _METADATA in files
        )
        return {path for path in found if path != "."}
    group: Any = zarr.open_group(url, mode="r", use_consolidated=False)
    return {path for path, _ in group.members(max_depth=None)}
