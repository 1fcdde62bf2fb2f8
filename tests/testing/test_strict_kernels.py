"""The stand-in's kernels: as strict as CuPy's, and a body that makes other sums than NumPy is told."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from defacedask import kernels, sampling
from defacedask.defacers import noise_kernels
from defacedask.kernels import OPTIONS, Kernel, fuses
from defacedask.sampling import Between
from defacedask.testing import strict_kernels
from defacedask.testing.strict_cupy import counted, ndarray, strict_cupy
from defacedask.testing.strict_kernels import FLAGS, StrictKernel, why_none

pytestmark = pytest.mark.skipif(bool(why_none()), reason=why_none())
HERE = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def xp():
    with strict_cupy(dispatch=False) as stand_in:
        yield stand_in


def test_it_does_what_its_body_says(xp):
    twice = xp.ElementwiseKernel(
        "T x, raw float64 y, int32 k", "T z", "z = x * 2 + y[k];", "k", options=OPTIONS
    )
    with counted() as asked:
        out = twice(xp.asarray(HERE), xp.asarray(np.array([3.0, 5.0])), 1)
    assert out.dtype == np.float32
    assert np.array_equal(out.get(), HERE * 2 + 5)
    assert asked.operations == 1
    # places broadcast, a view is written to where it lies, and nothing is launched for nothing
    add = xp.ElementwiseKernel(
        "float64 a, float64 b", "float64 c, float64 d", "c = a + b; d = a - b;", options=OPTIONS
    )
    a, b = np.arange(3.0)[:, None], np.arange(4.0)
    into = xp.asarray(np.zeros((4, 8)))
    c, d = add(xp.asarray(a), xp.asarray(b), xp.empty((3, 4)), into[:3, ::2])
    assert np.array_equal(c.get(), a + b)
    assert np.array_equal(d.get(), a - b)
    assert np.array_equal(into.get()[:3, ::2], a - b)
    with counted() as asked:
        assert add(xp.asarray(np.zeros(0)), 1.0)[0].shape == (0,)
    assert asked.operations == 0


@pytest.mark.parametrize(
    ("error", "wrong"),
    [
        (ValueError, lambda xp: xp.ElementwiseKernel("T x", "T y", "y = x;", "k")),
        (ValueError, lambda xp: xp.ElementwiseKernel("T x", "T y", "y = x;", "k", options=("--fmad=true",))),
        (ValueError, lambda xp: xp.ElementwiseKernel("T i", "T y", "y = i;", "k", options=OPTIONS)),
        (TypeError, lambda xp: _plain(xp)(HERE, 1)),
        (TypeError, lambda xp: _plain(xp)(xp.asarray(HERE.astype(np.int16)), xp.asarray(HERE))),
        (TypeError, lambda xp: _plain(xp)(xp.asarray(HERE))),
        (TypeError, lambda xp: _plain(xp)(xp.asarray(HERE), 1, HERE)),
        (ValueError, lambda xp: _plain(xp)(xp.asarray(HERE), 1, xp.asarray(HERE[:2]))),
        (ValueError, lambda xp: _plain(xp)(1, 1)),
        (ValueError, lambda xp: _plain(xp)(xp.asarray(HERE), 1, size=12)),
        (ValueError, lambda xp: _raw(xp, "z = x[0];")(xp.asarray(HERE))),
        (TypeError, lambda xp: _raw(xp, "z = x[0];")(xp.asarray(HERE)[:, ::2], size=1)),
        (IndexError, lambda xp: _raw(xp, "z = x[12];")(xp.asarray(HERE), size=1)),
        (IndexError, lambda xp: _raw(xp, "z = x[i - 1];")(xp.asarray(HERE), size=3)),
        (ValueError, lambda xp: _raw(xp, "z = y;")(xp.asarray(HERE), size=1)),
    ],
)
def test_what_cupy_refuses_or_should_fails(xp, error, wrong):
    with pytest.raises(error):
        wrong(xp)


def _plain(xp):
    return xp.ElementwiseKernel("float32 x, T y", "float32 z", "z = x + (float)y;", options=OPTIONS)


def _raw(xp, body):
    return xp.ElementwiseKernel("raw float32 x", "float32 z", body, options=OPTIONS)


def differing(body=None, flags=FLAGS, preamble=None):
    """Of 4000 values of a field, how many differ from SciPy's where the kernel has another body or compiler."""
    random = np.random.default_rng(5)
    field = random.normal(size=(9, 10, 11))
    index = [random.uniform(0, n - 1, 4000) for n in field.shape]
    for along in index:
        along[::2] *= 1e-3  # close to an element, what the first weight leaves of 1 is not the part
    real = sampling._READ[3]
    made = StrictKernel(
        ndarray, lambda: None, real.inputs, real.outputs, body or real.body,
        preamble=preamble or real.preamble, options=OPTIONS, flags=flags,
    )  # fmt: skip
    there = made(*map(ndarray, index), ndarray(field.ravel()), *field.shape, False, 0.0)
    return int((there.held != Between(field.shape, index).read(field)).sum())


def test_another_order_of_operations_is_told():
    body = sampling._READ[3].body
    planted = body.replace(
        "one = one * t[i0]; one = one * u[i1]; one = one * v[i2];", "one = one * (t[i0] * u[i1] * v[i2]);"
    )
    assert planted != body
    assert differing() == 0
    assert differing(planted) > 500
    other = sampling._READ[3].preamble.replace("weight[1] = 1.0 - first", "weight[1] = index - low")
    assert other != sampling._READ[3].preamble
    assert differing(preamble=other) > 10


@pytest.mark.skipif(
    " fma" not in Path("/proc/cpuinfo").read_text(), reason="this processor has no fused multiply-add"
)
def test_contraction_is_told():
    """The same body, and a compiler that may round a product and a sum once."""
    assert differing(flags=(*FLAGS, "-ffp-contract=fast", "-mfma")) > 500


def test_without_a_compiler_the_plain_expressions_are_evaluated(monkeypatch, rng):
    monkeypatch.setattr(strict_kernels, "compiler", lambda: None)
    assert "C++ compiler" in strict_kernels.why_none()
    field, index = rng.normal(size=(4, 5)), rng.uniform(0, 3, (2, 9))
    with strict_cupy() as xp:
        assert not fuses(xp)
        there = Between((4, 5), list(map(xp.asarray, index)), xp).read(field)
    assert np.array_equal(there.get(), Between((4, 5), list(index)).read(field))


def test_a_kernel_is_made_once_for_each_library(xp):
    made = []
    seen = functools.partial(_noted, made, xp.ElementwiseKernel)
    xp.ElementwiseKernel = seen
    kernel = Kernel("once", "float64 x", "float64 y", "y = -x;")
    Kernel.known.remove(kernel)
    for _ in range(3):
        assert kernel(xp, xp.asarray(np.arange(3.0))).get().tolist() == [0.0, -1.0, -2.0]
    assert len(made) == 1
    assert made[0]["options"] == OPTIONS


def _noted(made, real, *given, **named):
    made.append(named)
    return real(*given, **named)


def test_it_says_of_every_kernel_that_contraction_is_off():
    assert OPTIONS == ("--fmad=false",)
    assert all(kernel.name.startswith("defacedask_") for kernel in Kernel.known)
    assert noise_kernels._DRAW in Kernel.known
    assert not kernels.fuses(np)
