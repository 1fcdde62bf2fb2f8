"""The case store: one Zarr v3 group a case, opened with xarray.

Layout of a group::

    zarr.json             facts of the case; ``complete`` and ``input_key`` are written last of all
    images/CT             voxels (z, y, x), slope (z), intercept (z), coordinates z, y, x in mm; see `stored_volume`
    doses/RTDOSE          the same form
    structures/RTSTRUCT   mask (structure, z, y, x) bool on the grid of the image named in its attributes
    defaced/DEFACER/images/CT    written by the study, the same form as images

xarray opens it by itself (``xarray.open_datatree(url, engine="zarr")``): its metadata are consolidated, and voxels
that have one rescale are decoded to their units. Every volume also is an image of OME-NGFF 0.5.

Image chunks hold about 32 slices, compressed with lz4 + bitshuffle; empty chunks of masks are not written. A
group without its completion mark is never read. On a local path the group is written under a temporary name and
renamed; elsewhere (any fsspec URL) the mark alone decides.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from defacedask.errors import StoreError, writing
from defacedask.geometry import Geometry
from defacedask.io.store.format import VOXELS, consolidate, stored_volume, write_structures, write_volume
from defacedask.io.store.place import is_local, join_url, remove
from defacedask.volume import grid_of_attrs

__all__ = [
    "CaseStore",
    "StoredStructure",
    "called_as",
    "consolidate",
    "create_case",
    "input_key",
    "join_url",
    "remove",
    "write_volume",
    "writing",
]

FORMAT = 2
#: For whoever opens a store without this package.
_ABOUT = {
    "title": "Images, structures and doses of one head, as read and as defaced",
    "comment": "Holds the voxels of the original, which show a face: it stays on site.",
}
#: Volumes that a finished store never gets anew: a new ingest is a new store.
_FOR_GOOD = ("images/", "doses/")
#: Facts that are JSON text in the file, where attributes are flat.
_NESTED = ("unread_structures", "left_out")


#: What a file of this machine is called everywhere.
_CALLED: contextvars.ContextVar[Callable[[str], str]] = contextvars.ContextVar("called", default=str)


@contextlib.contextmanager
def called_as(name: Callable[[str], str]) -> Iterator[None]:
    """While a case's files lie in a folder of this process alone: `input_key` knows them by other names."""
    token = _CALLED.set(name)
    try:
        yield
    finally:
        _CALLED.reset(token)


def input_key(files: Sequence[str]) -> str:
    """SHA-256 that changes when a case's files change: their paths, sizes and times of change.

    Reading all bytes would cost as much as the ingest that it is to avoid. The whole path counts: files of one name,
    size and time in two folders are two.
    """
    digest = hashlib.sha256(f"format {FORMAT}".encode())
    called = _CALLED.get()
    for name in sorted(files, key=called):
        facts = Path(name).stat()
        digest.update(os.fsencode(called(name)) + f"\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _flat(value: Any) -> Any:
    """Value as a flat attribute: a list that holds more than words and numbers becomes JSON text."""
    nested = isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(one, (dict, list)) for one in value)
    )
    return json.dumps(value) if nested else value


@contextlib.contextmanager
def create_case(url: str, *, key: str, facts: dict[str, Any]) -> Iterator[CaseWriter]:
    """Write a case; it becomes visible when the block ends without an error, and not otherwise.

    Parameters
    ----------
    url : str
        Final place: a local path or any fsspec URL.
    key : str
        `input_key` of what it is made from.
    facts : dict
        JSON-able facts of the case.

    Yields
    ------
    CaseWriter

    Raises
    ------
    OutputError
        If it cannot be written; nothing is left under the final name.
    """
    local = is_local(url)
    place = f"{url}.partial-{uuid.uuid4().hex[:8]}" if local else url
    with writing(f"the case store {Path(url).name}"):
        try:
            if not local:
                remove(url)
            root = zarr.open_group(place, mode="w", zarr_format=3)
            yield CaseWriter(place)
            about = {name: _flat(value) for name, value in facts.items()}
            root.update_attributes(
                {**_ABOUT, "defacedask_format": FORMAT, **about, "input_key": key, "complete": True}
            )
            consolidate(place)
            if local:
                remove(url)
                Path(place).replace(url)
        except BaseException:
            remove(place)
            raise


@dataclasses.dataclass(frozen=True)
class CaseWriter:
    """Writes the parts of one case; see `create_case`."""

    url: str

    def volume(self, path: str, volume: xr.DataArray) -> None:
        """Write a volume (see `defacedask.volume`), computing it chunk by chunk if it is lazy.

        Parameters
        ----------
        path : str
            Such as ``images/CT``.
        volume : xarray.DataArray
        """
        write_volume(self.url, path, volume)

    def structures(self, path: str, structures: Sequence[Any], geometry: Geometry, image: str) -> None:
        """Write masks as (structure, z, y, x) bool.

        Parameters
        ----------
        path : str
            Such as ``structures/RTSTRUCT``.
        structures : sequence of defacedask.io.dicom.structures.Structure
        geometry : Geometry
            Grid of the masks.
        image : str
            Path of the image they belong to, such as ``images/CT``.
        """
        write_structures(self.url, path, structures, geometry, image)


@dataclasses.dataclass(frozen=True)
class StoredStructure:
    """One structure in a store: facts, and its mask on demand.

    Attributes
    ----------
    name, original_name : str
        Standard name and the name in the RTSTRUCT.
    number : int
        ROI number.
    colour : tuple of int or None
        RGB, 0..255.
    interpreted_type : str
        RT ROI interpreted type (PTV, ORGAN, EXTERNAL, ...), may be empty.
    start, shape : tuple of int
        Bounding box (z, y, x) on the grid of the image.
    warnings : tuple of str
        What its reader had to say.
    """

    name: str
    original_name: str
    number: int
    colour: tuple[int, ...] | None
    interpreted_type: str
    start: tuple[int, int, int]
    shape: tuple[int, int, int]
    warnings: tuple[str, ...]
    array: Any = dataclasses.field(repr=False)
    index: int = 0

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where the mask lies on the image's grid."""
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.shape, strict=True))  # type: ignore[return-value]

    @property
    def mask(self) -> np.ndarray:
        """Bool mask of the bounding box, read now."""
        if not np.prod(self.shape):
            return np.zeros(self.shape, bool)
        return self.array[self.index, *self.box]


class CaseStore:
    """One case, read lazily.

    Parameters
    ----------
    url : str
        Local path or fsspec URL of the group.

    Raises
    ------
    StoreError
        If nothing complete of a known version is there.
    """

    def __init__(self, url: str) -> None:
        self.url = str(url)
        self._opened: dict[str, xr.DataArray] = {}  # lazy: each opening reads five small files
        self._named: dict[str, list[str]] = {}
        try:
            self._group: Any = zarr.open_group(self.url, mode="r", use_consolidated=False)
        except (FileNotFoundError, OSError, ValueError) as error:
            raise StoreError(f"there is no case store at {self.url}.", "Run the ingest again.") from error
        self.facts: dict[str, Any] = dict(self._group.attrs)
        for name in _NESTED:
            if isinstance(self.facts.get(name), str):
                self.facts[name] = json.loads(self.facts[name])
        if not self.facts.get("complete"):
            raise StoreError(
                f"the case store {self.url} was never finished.", "Delete it and run the ingest again."
            )
        if self.facts.get("defacedask_format") != FORMAT:
            raise StoreError(
                f"the case store {self.url} has format {self.facts.get('defacedask_format')}, not {FORMAT}.",
                "Delete it and run the ingest again.",
            )

    @property
    def key(self) -> str:
        """`input_key` it was made from."""
        return self.facts["input_key"]

    def _names(self, kind: str) -> list[str]:
        if kind not in self._named:  # a finished store never gets more of them
            if is_local(self.url):  # by Zarr it takes twenty times as long
                found = [path.parent.name for path in Path(self.url, kind).glob("*/zarr.json")]
            else:
                found = list(self._group[kind].group_keys()) if kind in self._group else []
            self._named[kind] = sorted(found)
        return self._named[kind]

    @property
    def images(self) -> list[str]:
        """Paths of the images, the one that plans are made on first."""
        order = {name: i for i, name in enumerate(self.facts.get("images", []))}
        return sorted((f"images/{n}" for n in self._names("images")), key=lambda p: (order.get(p, 99), p))

    @property
    def doses(self) -> list[str]:
        """Paths of the dose grids."""
        return [f"doses/{n}" for n in self._names("doses")]

    @property
    def structure_sets(self) -> list[str]:
        """Paths of the structure sets."""
        return [f"structures/{n}" for n in self._names("structures")]

    def holds(self, path: str) -> bool:
        """Whether anything lies at a path, such as ``defaced/NAME/images/CT``."""
        return path in self._group

    def volume(self, path: str) -> xr.DataArray:
        """Open a volume lazily, one Dask chunk a stored chunk.

        Raises
        ------
        StoreError
            If it is not there.
        """
        try:
            if not path.startswith(_FOR_GOOD):
                return stored_volume(self.url, path)
            if path not in self._opened:
                self._opened[path] = stored_volume(self.url, path)
            # a copy, which may be loaded without what is known here
            return self._opened[path].copy(deep=False)
        except (FileNotFoundError, KeyError, OSError) as error:
            raise StoreError(
                f"the case store {self.url} holds no {path}.", "Run the ingest again."
            ) from error

    def structures(self, path: str) -> list[StoredStructure]:
        """Structures of one set, masks unread."""
        group = self._group[path]
        rows = json.loads(group.attrs["structures"])
        return [
            StoredStructure(
                name=row["name"],
                original_name=row["original_name"],
                number=row["number"],
                colour=tuple(row["colour"]) if row["colour"] is not None else None,
                interpreted_type=row["interpreted_type"],
                start=tuple(row["start"]),
                shape=tuple(row["shape"]),
                warnings=tuple(row["warnings"]),
                array=group["mask"],
                index=i,
            )
            for i, row in enumerate(rows)
        ]

    def structures_image(self, path: str) -> str:
        """Path of the image a structure set lies on."""
        return self._group[path].attrs["image"]

    def geometry(self, path: str) -> Geometry:
        """Grid of a volume or structure set, without reading voxels."""
        group = self._group[path]
        return grid_of_attrs((group["mask"] if "mask" in group else group[VOXELS]).attrs)

    def __repr__(self) -> str:
        return f"CaseStore({self.url!r})"
