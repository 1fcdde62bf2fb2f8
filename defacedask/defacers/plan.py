"""What one defacer decided about one head, as plain data, and how it is applied; see `defacedask.defacers.base`."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import json
import uuid
from collections.abc import Sequence
from typing import Any, ClassVar

import dask.array
import numpy as np
import xarray as xr

from defacedask.backend import namespace, to_numpy
from defacedask.boxes import bounds
from defacedask.defacers.boxes import box_pieces
from defacedask.defacers.codec import encode, fields_alone, is_record
from defacedask.defacers.contract import PLAN_HOOKS, keep_final
from defacedask.defacers.protect import Protected, unprotected
from defacedask.defacers.provenance import defaced_attrs
from defacedask.defacers.shown import plan_table
from defacedask.defacers.solid import Solid, restore
from defacedask.devices import space_of
from defacedask.errors import ContractError
from defacedask.geometry import Geometry
from defacedask.kernels import fuses
from defacedask.modality import air_of
from defacedask.showing import Shown
from defacedask.volume import checked, geometry_of, on_host, to_stored

__all__ = ["Plan", "bits", "plan_types"]

plan_types: dict[str, type[Plan]] = {}
#: Voxels that are asked about together where one value is put in: 4 MB of stored values and 2 MB of answers.
_IN_CACHE = 2**21


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Plan(Shown):
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
    wants_nothing : bool
        Whether plans of this class change nothing, as the control's; the base then asks them for nothing.
    protected : tuple of Protected
        What stays as it is, the brain first. `Defacer.plan` sets it, whatever a plug-in put there.
    """

    defacer: ClassVar[str] = ""
    secret: ClassVar[tuple[str, ...]] = ()
    hull_boxes: ClassVar[tuple[Any, ...]] = ()
    flat: ClassVar[bool] = False
    wants_nothing: ClassVar[bool] = False

    protected: tuple[Protected, ...] = dataclasses.field(default=(), kw_only=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        keep_final(cls, Plan, PLAN_HOOKS)
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = Plan.__repr__  # type: ignore[method-assign]  # or each dataclass would write its arrays out
        if cls.defacer:
            _register(cls)

    def _title(self) -> str:
        return f"{type(self).__name__} of {self.defacer or 'a defacer without name'}"

    def _table(self) -> Any:
        return plan_table(self.summary())

    # --- what a subclass says

    @abc.abstractmethod
    def wanted(self, geometry: Geometry, xp: Any = np) -> Any:
        """Voxels that the defacer wants to change; what must stay is taken out of it by the base (see `region`).

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

    def placed(self, volume: xr.DataArray) -> Plan:
        """Let the plan that says where `apply` may change a volume differ from this one: a dose may end elsewhere.

        Parameters
        ----------
        volume : xarray.DataArray
            Uncut.
        """
        return self

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
        return (
            box_pieces(self.hull_boxes, to_template) if self.hull_boxes and to_template is not None else None
        )

    def solid(self) -> Solid | None:
        """Planes and boxes that are all that `wanted` asks: a device then asks and writes in one kernel.

        Returns
        -------
        Solid or None
            None: only `wanted` knows. A subclass that writes `wanted` anew and not this is asked for `wanted`.
        """
        return None

    def change_block(self, stored: Any, geometry: Geometry, slope: Any, intercept: Any, modality: str) -> Any:
        """One block of stored values, changed inside `region`: what `fill` says, rounded.

        For defacers that mix old and new, where `fill` is not enough. Arguments and answer as in `deface_block`;
        ``stored`` must not be changed in place.
        """
        xp = namespace(stored)
        new = self.constant(modality)
        solid = self._solid(xp)
        if solid is not None and new is not None:
            return solid.filled(stored, geometry, new, slope, intercept, self.protected, xp)
        if xp is np and new is not None:
            return self._by_slabs(stored, geometry, new, slope, intercept)
        region = self.region(geometry, xp)
        box = bounds(region, xp)
        out = stored.copy()
        if box is None:
            return out
        region = region[box]
        slope, intercept = (xp.asarray(part[box[0]], dtype=np.float32) for part in (slope, intercept))
        if new is None:
            part = geometry.block([s.start for s in box], [s.stop for s in box])
            values = stored[box].astype(np.float32) * slope + intercept
            # where to write is not for it to change
            new = self.fill(values, region.copy(), part, modality, xp)
        else:
            new = xp.full((1, 1, 1), new, dtype=np.float32)
        fresh = to_stored(new, slope, intercept, stored.dtype, xp)
        xp.copyto(out[box], xp.broadcast_to(fresh, region.shape), where=region)
        return out

    def _by_slabs(self, stored: Any, geometry: Geometry, new: float, slope: Any, intercept: Any) -> Any:
        """One value for the whole region, some slices at a time: what is asked about them stays in the cache."""
        out = np.empty_like(stored, order="C")
        depth = max(1, _IN_CACHE // max(1, stored[:1].size))
        for first in range(0, len(stored), depth):
            rows = slice(first, min(first + depth, len(stored)))
            out[rows] = stored[rows]
            part = geometry.block((rows.start, 0, 0), (rows.stop, *geometry.shape[1:]))
            region = self.region(part)
            box = bounds(region)
            if box is not None:
                by, shift = (np.asarray(some[rows][box[0]], dtype=np.float32) for some in (slope, intercept))
                fresh = to_stored(np.full((1, 1, 1), new, np.float32), by, shift, stored.dtype, np)
                region = region[box]
                np.copyto(out[rows][box], np.broadcast_to(fresh, region.shape), where=region)
        return out

    def summary(self) -> dict[str, Any]:
        """Plain facts for the report and the audit: every public field that is not an array."""
        out: dict[str, Any] = {"defacer": self.defacer}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "protected" and not value:
                continue
            if field.name in self.secret:
                out[f"{field.name}_sha256"] = hashlib.sha256(repr(value).encode()).hexdigest()
            elif isinstance(value, (tuple, list)) and any(is_record(v) for v in value):
                out[field.name] = [v.summary() for v in value]
            elif isinstance(value, (str, int, float, bool, type(None), tuple, list, dict)):
                out[field.name] = value
        return out

    # --- what belongs to the base

    def region(self, geometry: Geometry, xp: Any = np) -> Any:
        """Voxels that may change: those `wanted`, without what is protected.

        Parameters
        ----------
        geometry : Geometry
            Any grid in the plan's frame of reference, or a block of one.
        xp : module
            Array namespace of the answer.

        Returns
        -------
        bool array of ``geometry.shape``

        Raises
        ------
        ContractError
            If `wanted` gives anything but such an array.
        """
        solid = self._solid(xp)
        if solid is not None:
            return solid.region(geometry, self.protected, xp)
        return unprotected(self._wanted(geometry, xp), self.protected, geometry, xp)

    def _solid(self, xp: Any) -> Solid | None:
        """`solid`, where a kernel is to ask it and `wanted` says the same."""
        return self.solid() if fuses(xp) and not self.wants_nothing and _of_one_class(type(self)) else None

    def _wanted(self, geometry: Geometry, xp: Any) -> Any:
        if self.wants_nothing:
            return xp.zeros(geometry.shape, dtype=bool)
        wanted = self.wanted(geometry, xp)
        if (
            not isinstance(wanted, xp.ndarray)
            or wanted.shape != tuple(geometry.shape)
            or wanted.dtype != bool
        ):
            raise ContractError(
                f"`wanted` of {type(self).__name__} gave no bool array of the grid's shape {geometry.shape} "
                f"in {xp.__name__}.",
                "It must answer for whatever grid and array library it is asked.",
            )
        return wanted

    def region_of(self, volume: xr.DataArray) -> np.ndarray:
        """Voxels of a volume that `apply` may change: `region`, unless a dose ends elsewhere than the image shows.

        Parameters
        ----------
        volume : xarray.DataArray
            Uncut.
        """
        return np.asarray(self.placed(on_host(volume)).protecting(self.protected).region(geometry_of(volume)))

    def protecting(self, protected: Sequence[Protected]) -> Plan:
        """The same plan with these structures protected and no others.

        Parameters
        ----------
        protected : sequence of Protected
        """
        if tuple(map(id, protected)) == tuple(map(id, self.protected)):
            return self
        return dataclasses.replace(self, protected=tuple(protected))

    def withheld(self, geometry: Geometry) -> dict[str, int]:
        """Count the voxels of a grid that are wanted, and stay because of each protected structure.

        Returns
        -------
        dict
            Name of the structure -> voxels; a voxel near two structures counts for both.
        """
        wanted = self._wanted(geometry, np)
        out: dict[str, int] = {}
        for one in self.protected:
            out[one.name] = max(out.get(one.name, 0), int((wanted & one.keep(geometry)).sum()))
        return out

    def deface_block(self, stored: Any, geometry: Geometry, slope: Any, intercept: Any, modality: str) -> Any:
        """Pure kernel: one block of stored values in, the same type out.

        Parameters
        ----------
        stored : (z, y, x) array
            NumPy or CuPy; it is not changed.
        geometry : Geometry
            Of this block.
        slope, intercept : (z, 1, 1) arrays
            Rescale of the block's slices.
        modality : str

        Returns
        -------
        array
            Of the same library, shape and dtype; what is protected has its bits, whatever `change_block` did.

        Raises
        ------
        ContractError
            If `change_block` gives anything else.
        """
        xp = namespace(stored)
        if self.wants_nothing:
            return stored.copy()
        own = type(self).change_block is not Plan.change_block
        given = (
            _guarded(stored, xp) if own or xp is np else stored
        )  # the base's own writes to its answer alone
        out = self.change_block(given, geometry, slope, intercept, modality)
        same = isinstance(out, xp.ndarray) and out.shape == stored.shape and out.dtype == stored.dtype
        if not same:
            raise ContractError(
                f"{type(self).__name__} gave back a block of another library, shape or type of number.",
                "`change_block` must give what it was given.",
            )
        if out is given or (xp is np and not out.flags.writeable):
            out = out.copy()
        if own:  # the base's own writes to the region alone
            self._restore(out, stored, geometry, xp)
        return out

    def _restore(self, out: Any, stored: Any, geometry: Geometry, xp: Any) -> None:
        """Put back what changed within what is protected, in place; looks only where something changed."""
        if not self.protected:
            return
        if fuses(xp):
            restore(bits(out), bits(stored), self.protected, geometry, xp)
            return
        for one in self.protected:
            near = one.near(geometry)
            if near is None:
                continue
            changed = bits(out[near]) != bits(stored[near])
            box = bounds(changed, xp)
            if box is None:
                continue
            changed, may = changed[box], changed[box].copy()
            box = tuple(slice(n.start + b.start, n.start + b.stop) for n, b in zip(near, box, strict=True))
            one.withdraw(may, geometry.block([s.start for s in box], [s.stop for s in box]), xp)
            xp.copyto(out[box], stored[box], where=changed & ~may)

    def apply(self, volume: xr.DataArray, *, device: str | None = None) -> xr.DataArray:
        """Deface a volume, lazily if it is lazy.

        Parameters
        ----------
        volume : xarray.DataArray
            See `defacedask.volume.make_volume`; stored values, backed by NumPy, CuPy or Dask.
        device : str, optional
            One of `defacedask.devices.DEVICES`: each block is sent there, defaced, and comes back as NumPy's. By
            default it stays where it is.

        Returns
        -------
        xarray.DataArray
            Same grid, dtype and coordinates; the attributes say that, by what and from what it was defaced (see
            `defacedask.defacers.provenance`).

        Raises
        ------
        InputError
            For what is no volume, and for a modality whose air value is not known.
        ConfigError, MissingExtraError
            For ``cuda`` where there is no card.
        """
        geometry = checked(volume)
        modality = volume.attrs["modality"]
        air_of(modality)
        # without what it is not asked for, and with what must stay
        tuned = self if self.wants_nothing else self.tuned(on_host(volume)).protecting(self.protected)
        slope = np.asarray(volume.coords["slope"].values)[:, None, None]
        intercept = np.asarray(volume.coords["intercept"].values)[:, None, None]

        def kernel(block: Any, block_info: Any = None) -> Any:
            location = block_info[0]["array-location"] if block_info else [(0, n) for n in geometry.shape]
            start, stop = zip(*location, strict=True)
            rows = slice(start[0], stop[0])
            part = geometry.block(start, stop)
            space = space_of(device)  # of the worker that has the block
            block = block if space is None else to_numpy(block) if space is np else space.asarray(block)
            out = tuned.deface_block(block, part, slope[rows], intercept[rows], modality)
            return out if space is None else to_numpy(out)

        data = volume.data
        if isinstance(data, dask.array.Array):
            meta = data._meta if device is None else np.empty((0, 0, 0), data.dtype)
            # a name of its own: else Dask pickles the whole plan to find one
            name = f"deface-{uuid.uuid4().hex}"
            data = dask.array.map_blocks(kernel, data, name=name, dtype=data.dtype, meta=meta)
        else:
            data = kernel(data)
        out = volume.copy(data=data)
        out.attrs = dict(volume.attrs)
        if not self.wants_nothing:
            out.attrs = defaced_attrs(volume.attrs, self.defacer or type(self).__name__, self.digest)
        return out

    @property
    def digest(self) -> str:
        """SHA-256 of the plan in canonical form; secret fields enter it too."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def __dask_tokenize__(self) -> str:
        return self.digest

    def __getstate__(self) -> dict[str, Any]:
        return fields_alone(self)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict; arrays are compressed and base64-coded. It holds the secret fields."""
        fields = {f.name: encode(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"defacer": self.defacer, "fields": fields}


def _register(kind: type[Plan]) -> None:
    """Make a class of plans known by its defacer's name.

    A class that was typed at a prompt or in a notebook is a draft: a later class takes its name.

    Raises
    ------
    ContractError
        If another class has that name.
    """
    other = plan_types.get(kind.defacer, kind)
    same = (other.__module__, other.__qualname__) == (kind.__module__, kind.__qualname__)
    if not same and other.__module__ != "__main__":
        raise ContractError(
            f"the plans {kind.__module__}.{kind.__qualname__} go by the name {kind.defacer!r}, which "
            f"{other.__module__}.{other.__qualname__} has.",
            "Choose another name for the defacer and its plans.",
        )
    plan_types[kind.defacer] = kind


def _of_one_class(kind: type) -> bool:
    """Whether the same class says `wanted` and `solid`: a subclass may want something else than its base's solid."""
    said = [next(one for one in kind.__mro__ if name in vars(one)) for name in ("wanted", "solid")]
    return said[0] is said[1]


def bits(values: Any) -> Any:
    """Array to compare bit by bit: floats as whole numbers, so that a NaN is like itself."""
    return values.view(f"u{values.dtype.itemsize}") if values.dtype.kind == "f" else values


def _guarded(stored: Any, xp: Any) -> Any:
    """Block that a plug-in may read: writing to it must not reach the original."""
    if xp is not np:
        return stored.copy()
    view = stored.view()
    view.flags.writeable = False
    return view
