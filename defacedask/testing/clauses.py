"""The contract of defacers, clause by clause: each looks at one thing and yields what is wrong with it."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator

import dask.array
import numpy as np

from defacedask.defacers import valid_name
from defacedask.defacers.base import Plan, bits
from defacedask.defacers.codec import decode
from defacedask.defacers.options import checked, spelled, split_options
from defacedask.defacers.sources import source_files, source_hash
from defacedask.testing.strict_cupy import ndarray, strict_cupy
from defacedask.testing.subject import KEY, OTHER_KEY, Subject, images

__all__ = ["CLAUSES"]

Clause = Callable[[Subject], Iterator[str]]


def named(it: Subject) -> Iterator[str]:
    """It has a name that can be typed, and says what it does."""
    if not valid_name(it.kind.name):
        yield f"the name {it.kind.name!r} has other characters than letters, digits, _, - and ."
    if not vars(it.kind).get("__doc__") or it.kind.describe().startswith(f"{it.kind.__name__}("):
        yield "the class has no docstring, whose first paragraph is what users read"


def optioned(it: Subject) -> Iterator[str]:
    """Its options are hashable and can be given as text."""
    maker = it.kind(**it.options)
    hash(maker)
    values = {field.name: getattr(maker, field.name) for field in dataclasses.fields(maker)}
    for name, value in values.items():
        again = checked("it", it.kind, split_options(spelled("it", {name: value}))[1])[name]
        if again != value or type(again) is not type(value):
            yield f"the option {name}={value!r} comes back from its text as {again!r}"


def protecting(it: Subject) -> Iterator[str]:
    """The brain and protected structures stay as they are, to the last bit."""
    kept = [one.name for one in it.plan.protected]
    if not it.plan.wants_nothing and kept != ["Brain", "Cheek"]:
        yield f"the plan protects {kept}, not Brain and Cheek"
    for name, after in it.applied.items():
        before, geometry = it.original(name)
        changed = bits(before) != bits(after)
        for one in it.kept:
            number = one.count(changed, geometry)
            if number:
                yield f"{number} voxels of {one.name} changed in the {name}"


def bounded(it: Subject) -> Iterator[str]:
    """Outside its region nothing changes, to the last bit."""
    for name, after in it.applied.items():
        before, geometry = it.original(name)
        outside = (bits(before) != bits(after)) & ~it.plan.region_of(images()[name])
        for one in it.plan.protected:  # has a clause of its own
            outside &= ~one.keep(geometry)
        if outside.any():
            yield f"{int(outside.sum())} voxels outside the region changed in the {name}"


#: Chunks along (z, y, x); -1 is all. The last chunk along an axis is often one or two voxels thick.
_CHUNKS = {
    "CT": ((27, 23, 26), (1, -1, -1), (-1, -1, 5)),
    "MR": ((26, 23, 19),),
    "PT": ((17, 50, 23),),
    "RTDOSE": ((21, 27, 23),),
}


def blockwise(it: Subject) -> Iterator[str]:
    """Block by block gives what the whole gives, whatever the blocks; so does the region."""
    for name, choices in _CHUNKS.items():
        volume = images()[name]
        for chunks in choices:
            lazy = volume.copy(data=dask.array.from_array(volume.values.copy(), chunks=chunks))
            new = it.plan.apply(lazy).data
            if not isinstance(new, dask.array.Array):
                yield f"a lazy {name} is no longer lazy"
                continue
            number = int((bits(new.compute(scheduler="synchronous")) != bits(it.applied[name])).sum())
            if number:
                yield f"{number} voxels of the {name} differ in chunks of {chunks}"
    _, geometry = it.original("CT")
    whole = it.plan.region(geometry)
    for axis, cut in ((0, 17), (1, 23), (2, 11)):
        stop = list(geometry.shape)
        stop[axis] = cut
        start = [0, 0, 0]
        start[axis] = cut
        parts = [
            it.plan.region(geometry.block(*ends)) for ends in (((0, 0, 0), stop), (start, geometry.shape))
        ]
        if not np.array_equal(np.concatenate(parts, axis=axis), whole):
            yield f"the region differs where the grid is cut along {'zyx'[axis]}"


def _same(it: Subject, again: Plan, how: str) -> Iterator[str]:
    if again.digest != it.plan.digest:
        yield f"{how} gives another digest"
    for name in ("CT", "MR"):
        number = int((bits(it.apply(again, name)) != bits(it.applied[name])).sum())
        if number:
            yield f"{how} changes {number} voxels of the {name} otherwise"


def written(it: Subject) -> Iterator[str]:
    """A plan comes back from JSON as it was."""
    facts = json.loads(json.dumps(it.plan.to_dict()))
    fields = {name: decode(value) for name, value in facts["fields"].items()}
    yield from _same(it, type(it.plan)(**fields), "JSON and back")


def pickled(it: Subject) -> Iterator[str]:
    """A plan comes back from a pickle as it was: it travels to workers."""
    yield from _same(it, pickle.loads(pickle.dumps(it.plan)), "a pickle and back")


def neutral(it: Subject) -> Iterator[str]:
    """A block of CuPy's gives a block of CuPy's, with the numbers that NumPy's gives; so does the region."""
    with strict_cupy(dispatch=False) as cupy:
        plan = dataclasses.replace(it.plan)  # what is kept for NumPy is not there yet
        for name in images():
            stored, geometry = it.original(name)
            volume = images()[name].copy(deep=True)
            tuned = plan.tuned(volume).protecting(plan.protected)
            slope, intercept = (volume.coords[c].values[:, None, None] for c in ("slope", "intercept"))
            try:
                new = tuned.deface_block(cupy.asarray(stored), geometry, slope, intercept, name)
            except Exception as error:
                yield f"a block of the {name} on a GPU: {type(error).__name__}: {error}"
                continue
            if not isinstance(new, ndarray):
                yield f"a block of the {name} on a GPU comes back as {type(new).__name__}"
            elif (bits(new.get()) != bits(it.applied[name])).any():
                yield f"a block of the {name} on a GPU has other numbers"
        _, geometry = it.original("MR")
        if (plan.region(geometry, cupy).get() != plan.region(geometry)).any():
            yield "the region on a GPU is another one"


def steady(it: Subject) -> Iterator[str]:
    """The same head, options and key give the same plan and the same bits."""
    digest = it.plan.digest
    yield from _same(it, it.planned(), "planning again with the same key")
    if it.plan.digest != digest:
        yield "applying the plan changes its digest"


def unspoiled(it: Subject) -> Iterator[str]:
    """The original is not changed in place."""
    for name in it.applied:
        if (bits(it.given[name].values) != bits(images()[name].values)).any():
            yield f"the {name} that it was given has changed"


def discreet(it: Subject) -> Iterator[str]:
    """The plan's summary can be written down, and holds no key."""
    text = json.dumps(it.plan.summary())
    if any(form in text for form in (KEY.hex(), json.dumps(repr(KEY))[1:-1], json.dumps(list(KEY))[1:-1])):
        yield "the key is in the summary: name its field in `secret`"


def traced(it: Subject) -> Iterator[str]:
    """The source of the defacer and of its plans is found: when it is edited, results are made anew."""
    for kind in (it.kind, type(it.plan)):
        if not source_hash(kind):
            yield f"no file holds the source of {kind.__name__}"
    missing = {path for _, path in source_files(type(it.plan))} - {path for _, path in source_files(it.kind)}
    if missing and source_hash(it.kind):
        yield f"the plans' source is no part of the defacer's: {', '.join(sorted(p.name for p in missing))}"


def keyed(it: Subject) -> Iterator[str]:
    """Another key that changes what is drawn changes the digest too."""
    other = it.planned(OTHER_KEY)
    if other.digest != it.plan.digest:
        return
    differ = [name for name in images() if (bits(it.apply(other, name)) != bits(it.applied[name])).any()]
    if differ:
        yield f"another key changes the {', '.join(differ)} under the same digest"


#: In this order; the last makes a plan with another key.
CLAUSES: dict[str, Clause] = {
    one.__name__: one
    for one in (
        named,
        optioned,
        protecting,
        bounded,
        blockwise,
        written,
        pickled,
        neutral,
        steady,
        unspoiled,
        discreet,
        traced,
        keyed,
    )
}
