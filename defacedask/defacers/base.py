"""The contract of all defacers: look at one head, return a small plan; apply the plan anywhere in its frame.

A plan is plain data. What it does at a voxel depends on that voxel's world position and original value alone,
never on the grid or on neighbours, so applying it block by block equals applying it to the whole volume, and
the plan made on a CT applies to the PET, the MR and the dose grid in the same frame of reference.
"""

from __future__ import annotations

import abc
import base64
import dataclasses
import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import dask.array
import numpy as np
import xarray as xr

from defacedask.backend import namespace
from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, to_stored

if TYPE_CHECKING:
    from defacedask.defacers.protect import Protected
    from defacedask.head import Head

__all__ = ["AIR", "Defacer", "Plan", "air_of", "plan_from_dict", "plan_types", "record"]

#: What empty space reads in each modality, in real units (HU, arbitrary, SUV or Bq/mL, Gy).
AIR = {"CT": -1000.0, "MR": 0.0, "PT": 0.0, "RTDOSE": 0.0}

plan_types: dict[str, type[Plan]] = {}
_records: dict[str, type] = {}


def record(kind: type) -> type:
    """Let a frozen dataclass with a ``kind`` (class attribute, unique) be a field of plans."""
    _records[kind.kind] = kind  # type: ignore[attr-defined]
    return kind


def air_of(modality: str) -> float:
    """Real value of empty space in a modality.

    Raises
    ------
    InputError
        For a modality whose air is not known: nothing is guessed.
    """
    try:
        return AIR[modality]
    except KeyError:
        raise InputError(
            f"no fill value is known for modality {modality!r}.", f"Known: {', '.join(sorted(AIR))}."
        ) from None


@dataclasses.dataclass(frozen=True, eq=False)
class Plan(abc.ABC):
    """What one defacer decided about one head.

    Subclasses are frozen dataclasses whose fields are JSON-able values, `Geometry`, other such dataclasses'
    dicts, or NumPy arrays; that is what makes them serialisable and hashable. Fields named in ``secret``
    (noise keys) appear in `summary` only as their SHA-256.

    Attributes
    ----------
    defacer : str
        Registered name.
    secret : tuple of str
        Names of fields that must not leave the site.
    hull_boxes : tuple of `defacedask.defacers.boxes.Box`
        In the average's space: hold all that the plan may change, whatever the patient's face; see `hull`.
    flat : bool
        The region ends at planes, and so does what is cut along it. Otherwise its edge may follow the skin.
    """

    defacer: ClassVar[str] = ""
    secret: ClassVar[tuple[str, ...]] = ()
    hull_boxes: ClassVar[tuple[Any, ...]] = ()
    flat: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.defacer:
            plan_types[cls.defacer] = cls

    # --- what a subclass says

    @abc.abstractmethod
    def region(self, geometry: Geometry, xp: Any = np) -> Any:
        """Voxels that may change.

        Parameters
        ----------
        geometry : Geometry
            Any grid in the plan's frame of reference, or a block of one.
        xp : module
            Array namespace of the answer.

        Returns
        -------
        bool array of ``geometry.shape``
        """

    def fill(self, values: Any, region: Any, geometry: Geometry, modality: str, xp: Any = np) -> Any:
        """Real values after defacing, used inside ``region`` only. Default: the modality's air.

        Parameters
        ----------
        values : float32 array
            Original real values of the block (HU, SUV, Gy, ...).
        region : bool array
            The region's answer for this block.
        geometry : Geometry
            Of the block.
        modality : str
            CT, MR, PT or RTDOSE.
        xp : module
            Namespace of ``values``.
        """
        return xp.full_like(values, air_of(modality))

    def constant(self, modality: str) -> float | None:
        """One real value for the whole region, if that is all that `fill` puts there; None: ask `fill`.

        Default: the modality's air, unless the class has a `fill` of its own.
        """
        return air_of(modality) if type(self).fill is Plan.fill else None

    def tuned(self, volume: xr.DataArray) -> Plan:
        """Let the plan see intensities of the volume it will be applied to, once and as a whole.

        For defacers whose fill imitates the image: a plan made on a CT knows nothing of a PET's uptake. The
        answer may differ from the plan in what it fills in, never in where, but for `region_of`.

        Parameters
        ----------
        volume : xarray.DataArray
            Uncut.
        """
        return self

    def region_of(self, volume: xr.DataArray) -> np.ndarray:
        """Voxels of a volume that `apply` may change: `region`, unless a dose ends elsewhere than the image shows.

        Parameters
        ----------
        volume : xarray.DataArray
            Uncut.
        """
        return np.asarray(self.region(geometry_of(volume)))

    def hull(self, to_template: np.ndarray | None) -> Sequence[Any] | None:
        """What may be published of the region: convex pieces that do not follow the skin (`defacers.hull`).

        Parameters
        ----------
        to_template : (4, 4) array or None
            World LPS mm -> the average's LPS mm, where known.

        Returns
        -------
        sequence of tuple of (4,) tuples, or None
            For each piece its planes in the world, normal and offset; inside is ``normal . p > offset``. None: the
            box around the region is taken. Default: `hull_boxes` through the head's affine.
        """
        from defacedask.defacers.hull import box_pieces

        return (
            box_pieces(self.hull_boxes, to_template) if self.hull_boxes and to_template is not None else None
        )

    def summary(self) -> dict[str, Any]:
        """Plain facts for the report and the audit: every public field that is not an array."""
        out: dict[str, Any] = {"defacer": self.defacer}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in self.secret:
                out[f"{field.name}_sha256"] = hashlib.sha256(repr(value).encode()).hexdigest()
            elif isinstance(value, (tuple, list)) and any(type(v) in _records.values() for v in value):
                out[field.name] = [v.summary() for v in value]
            elif isinstance(value, (str, int, float, bool, type(None), tuple, list, dict)):
                out[field.name] = value
        return out

    # --- what all plans share

    def deface_block(self, stored: Any, geometry: Geometry, slope: Any, intercept: Any, modality: str) -> Any:
        """Pure kernel: one block of stored values in, the same type out.

        Parameters
        ----------
        stored : (z, y, x) array
            NumPy or CuPy.
        geometry : Geometry
            Of this block.
        slope, intercept : (z, 1, 1) arrays
            Rescale of the block's slices.
        modality : str

        Returns
        -------
        array
            Of the same library, shape and dtype; bit-identical outside `region`.
        """
        xp = namespace(stored)
        region = self.region(geometry, xp)
        box = _bounds(region, xp)
        out = stored.copy()
        if box is None:
            return out
        region = region[box]
        slope, intercept = (xp.asarray(part[box[0]], dtype=np.float32) for part in (slope, intercept))
        new = self.constant(modality)
        if new is None:
            part = geometry.block([s.start for s in box], [s.stop for s in box])
            values = stored[box].astype(np.float32) * slope + intercept
            new = self.fill(values, region, part, modality, xp)
        else:
            new = xp.full((1, 1, 1), new, dtype=np.float32)
        fresh = to_stored(new, slope, intercept, stored.dtype, xp)
        xp.copyto(out[box], xp.broadcast_to(fresh, region.shape), where=region)
        return out

    def apply(self, volume: xr.DataArray) -> xr.DataArray:
        """Deface a volume, lazily if it is lazy.

        Parameters
        ----------
        volume : xarray.DataArray
            See `defacedask.volume.make_volume`; stored values, backed by NumPy, CuPy or Dask.

        Returns
        -------
        xarray.DataArray
            Same grid, dtype, coordinates and attributes.

        Raises
        ------
        InputError
            For a modality whose air value is not known.
        """
        modality = volume.attrs["modality"]
        air_of(modality)
        tuned = self.tuned(volume)
        geometry = geometry_of(volume)
        slope = np.asarray(volume.coords["slope"].values)[:, None, None]
        intercept = np.asarray(volume.coords["intercept"].values)[:, None, None]

        def kernel(block: Any, block_info: Any = None) -> Any:
            location = block_info[0]["array-location"] if block_info else [(0, n) for n in geometry.shape]
            start, stop = zip(*location, strict=True)
            rows = slice(start[0], stop[0])
            part = geometry.block(start, stop)
            return tuned.deface_block(block, part, slope[rows], intercept[rows], modality)

        data = volume.data
        if isinstance(data, dask.array.Array):
            data = dask.array.map_blocks(kernel, data, dtype=data.dtype, meta=data._meta)
        else:
            data = kernel(data)
        return volume.copy(data=data)

    @property
    def digest(self) -> str:
        """SHA-256 of the plan in canonical form; secret fields enter it too."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def __dask_tokenize__(self) -> str:
        return self.digest

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict; arrays are compressed and base64-coded. It holds the secret fields."""
        fields = {f.name: _encode(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"defacer": self.defacer, "fields": fields}


def _bounds(region: Any, xp: Any) -> tuple[slice, ...] | None:
    """Smallest box around a region, None if it is empty."""
    box: list[slice] = []
    for axis in range(3):
        # axes already bounded are cut first: most regions are a small part of their block
        part = region[tuple(box)]
        there = xp.nonzero(part.any(axis=tuple(k for k in range(3) if k != axis)))[0]
        if there.size == 0:
            return None
        box.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(box)


def plan_from_dict(facts: dict[str, Any]) -> Plan:
    """Inverse of `Plan.to_dict`, for any registered kind of plan.

    Raises
    ------
    InputError
        For an unknown defacer.
    """
    # both make the records among the fields known: what is protected, and the defacer's own
    import defacedask.defacers.protect  # noqa: F401
    from defacedask.defacers import get_plan_type

    kind = get_plan_type(facts["defacer"])
    return kind(**{name: _decode(value) for name, value in facts["fields"].items()})


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        packed = base64.b64encode(zlib.compress(np.ascontiguousarray(value).tobytes(), 6)).decode()
        return {"__array__": packed, "dtype": value.dtype.str, "shape": list(value.shape)}
    if type(value) in _records.values():
        fields = {f.name: _encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"__record__": value.kind, "fields": fields}
    if isinstance(value, Geometry):
        return {"__geometry__": value.to_dict()}
    if isinstance(value, bytes):
        return {"__bytes__": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {k: _encode(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if "__array__" in value:
            raw = zlib.decompress(base64.b64decode(value["__array__"]))
            return np.frombuffer(raw, dtype=value["dtype"]).reshape(value["shape"]).copy()
        if "__geometry__" in value:
            return Geometry.from_dict(value["__geometry__"])
        if "__record__" in value:
            fields = {name: _decode(v) for name, v in value["fields"].items()}
            return _records[value["__record__"]](**fields)
        if "__bytes__" in value:
            return base64.b64decode(value["__bytes__"])
        return {k: _decode(v) for k, v in value.items()}
    if isinstance(value, list):
        return tuple(_decode(v) for v in value)
    return value


@dataclasses.dataclass(frozen=True)
class Defacer(abc.ABC):
    """Makes plans. Its dataclass fields are its options.

    Attributes
    ----------
    name : str
        What the user types after ``--defacer``.
    reversible : bool
        The face is only covered: whoever has the result can recover it. Such a result is written only if the user
        asks for it by name, and never stamped as free of recognizable features.
    """

    name: ClassVar[str] = ""
    reversible: ClassVar[bool] = False

    @abc.abstractmethod
    def plan(self, head: Head, *, key: bytes = b"", protected: Sequence[Protected] = ()) -> Plan:
        """Look at a head and decide.

        Parameters
        ----------
        head : Head
            Everything that may be asked about one head.
        key : bytes
            Secret of the run and case, for defacers that draw noise.
        protected : sequence of Protected
            Structures that stay as they are, besides the brain (see `defacedask.defacers.protect`).

        Raises
        ------
        RefusedError
            If the head does not allow a trustworthy plan.
        """

    @classmethod
    def describe(cls) -> str:
        """First paragraph of the docstring."""
        return (cls.__doc__ or "").split("\n\n")[0].strip()


Registry = dict[str, Callable[..., Defacer]]
