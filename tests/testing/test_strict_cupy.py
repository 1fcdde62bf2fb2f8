"""The stand-in is as strict as CuPy: each way to mix the two libraries up fails, and all that costs is counted."""

from __future__ import annotations

import importlib
import pickle
import sys

import numpy as np
import pytest

from defacedask.backend import constant, namespace, ndimage_of, to_numpy
from defacedask.testing.strict_cupy import counted, strict_cupy

HERE = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def xp():
    with strict_cupy(dispatch=False) as stand_in:
        yield stand_in


def test_it_is_there_for_a_block_of_code_alone():
    before = sys.modules.get("cupy")
    with strict_cupy() as xp:
        assert importlib.import_module("cupy") is xp
        assert namespace(xp.asarray(HERE)) is xp
        assert ndimage_of(xp) is importlib.import_module("cupyx.scipy.ndimage")
        assert xp.cuda.is_available()
    assert sys.modules.get("cupy") is before


@pytest.mark.parametrize(
    "mixed",
    [
        lambda xp, a: a + HERE,
        lambda xp, a: HERE + a,
        lambda xp, a: np.less(HERE, a),
        lambda xp, a: a.__iadd__(HERE),
        lambda xp, a: a + np.array(2.0),
        lambda xp, a: a[np.array([0, 1])],
        lambda xp, a: a.__setitem__(0, HERE[0]),
        lambda xp, a: xp.where(a > 1, HERE, a),
        lambda xp, a: xp.stack([a, HERE]),
        lambda xp, a: xp.maximum(a, HERE),
        lambda xp, a: xp.add(a, a, out=np.empty_like(HERE)),
        lambda xp, a: HERE.__setitem__(slice(None), a),
        lambda xp, a: np.asarray(a),
        lambda xp, a: np.array([a, a]),
        lambda xp, a: np.sqrt(a),
        lambda xp, a: np.where(a > 1, a, a),
        lambda xp, a: np.add.reduce(a),
        lambda xp, a: float(np.asarray(HERE) @ a),
    ],
)
def test_what_mixes_the_two_fails(xp, mixed):
    with pytest.raises((TypeError, IndexError)):
        mixed(xp, xp.asarray(HERE))


@pytest.mark.parametrize("name", ["trapz2", "lib", "apply_over_everything", "nditer", "isnat", "spacing"])
def test_what_cupy_lacks_is_not_there(xp, name):
    with pytest.raises(AttributeError):
        getattr(xp, name)
    with pytest.raises(AttributeError):
        getattr(xp.asarray(HERE), "newbyteorder")  # noqa: B009
    assert not hasattr(ndimage_of(xp), "watershed_ift")


def test_numbers_and_its_own_arrays_are_fine(xp):
    a = xp.asarray(HERE)
    for one, other in (
        (np.float32(1) - a, 1 - HERE),
        (a * 2.0 + np.float32(3), HERE * 2 + 3),
        (xp.where(a > 2, a, -1.0), np.where(HERE > 2, HERE, -1.0)),
        (a[a > 2], HERE[HERE > 2]),
        (a[xp.asarray([2, 0])], HERE[[2, 0]]),
        (xp.clip(a, 1, 5).T.ravel(), np.clip(HERE, 1, 5).T.ravel()),
        (a.max(axis=0), HERE.max(axis=0)),
        (a.sum(), HERE.sum()),
    ):
        assert isinstance(one, xp.ndarray)
        assert one.dtype == np.asarray(other).dtype
        assert np.array_equal(one.get(), other)
    view = a[1]
    view += 1
    assert np.array_equal(a.get()[1], HERE[1] + 1)
    assert np.array_equal(pickle.loads(pickle.dumps(a)).get(), a.get())


def test_with_dispatch_numpys_functions_find_its_own_as_they_find_cupys():
    with strict_cupy() as xp:
        a = xp.asarray(HERE)
        assert isinstance(np.sqrt(a), xp.ndarray)
        assert isinstance(np.concatenate([a, a]), xp.ndarray)
        with pytest.raises(TypeError):
            np.nditer(a)
        with pytest.raises(TypeError):
            np.concatenate([a, HERE])


def test_what_is_asked_of_the_device_is_counted(xp):
    with counted() as sent:
        a = xp.asarray(HERE)
    assert (sent.uploads, sent.bytes_up, sent.operations, sent.waits) == (1, HERE.nbytes, 0, 0)
    with counted() as reckoned:
        b = (a + 1) * a
        b += a
        b[0] = 2.0
        xp.copyto(b, a, where=a > 1)
    assert (reckoned.operations, reckoned.waits, reckoned.uploads) == (6, 0, 0)
    with counted() as room:
        xp.empty((2, 3))
    assert room.operations == 0
    with counted() as seen:
        _ = a[1:, ::2], a.T, a.reshape(-1), xp.broadcast_to(a, (2, 3, 4))
    assert (seen.operations, seen.waits) == (0, 0)
    for wait in (
        lambda: bool(a[0, 0]),
        lambda: int(a[0, 1]),
        lambda: a[0, 1].item(),
        lambda: a.tolist(),
        lambda: a[a > 2],
        lambda: xp.nonzero(a),
        lambda: a.nonzero(),
        lambda: list(range(a[0, 2].astype(int))),
    ):
        with counted() as waited:
            wait()
        assert waited.waits == 1
    with counted() as back:
        to_numpy(a)
        xp.asnumpy(a)
    assert (back.downloads, back.bytes_down) == (2, 2 * HERE.nbytes)


def test_a_plans_array_goes_to_the_device_once(xp):
    field = HERE.copy()
    with counted() as first:
        there = constant(field, xp)
        assert constant(field, xp) is there
        constant(field, xp, np.float64)
        constant(field, xp, np.float64)
    assert first.uploads == 2
    assert constant(field) is field
    # another array may get the same address
    del field
    for k in range(50):
        assert np.array_equal(constant(np.full((3, 4), float(k)), xp).get(), np.full((3, 4), float(k)))
    with strict_cupy() as other:
        assert isinstance(constant(HERE, other), other.ndarray)


def test_a_card_offers_all_that_the_stand_in_offers(cupy):
    if getattr(cupy, "STAND_IN", False):
        from defacedask.testing.strict_cupy import _NAMES

        assert {"where", "searchsorted", "ldexp", "copyto"} <= _NAMES["functions"]
        return
    from defacedask.testing.strict_cupy import _NAMES

    assert not [name for name in _NAMES["functions"] if not hasattr(cupy, name)]
    assert not [name for name in _NAMES["arrays"] if not hasattr(cupy.ndarray, name)]
