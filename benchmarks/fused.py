"""Each fused kernel beside the plain expression that it stands for, and beside NumPy: values, and time on a card."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from defacedask.defacers.base import bits
from defacedask.defacers.elementary import exp2
from defacedask.defacers.fields import Stack
from defacedask.defacers.noise import NoiseField
from defacedask.defacers.protect import Protected
from defacedask.geometry import Geometry
from defacedask.kernels import unfused
from defacedask.sampling import Between, apply_affine

__all__ = ["kernels_beside", "timed"]


def timed(work: Callable[[], Any], cupy: Any, repeats: int) -> float:
    """Milliseconds on the card, median; warmed up first."""
    for _ in range(2):
        work()
    found = []
    for _ in range(repeats):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        work()
        end.record()
        end.synchronize()
        found.append(float(cupy.cuda.get_elapsed_time(begin, end)))
    return statistics.median(found)


def _expressions(count: int) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Name, and what evaluates it in a namespace; on ``count`` elements."""
    random = np.random.default_rng(3)
    side = round(count ** (1 / 3))
    turn = np.array([[0.9, 0.1, -0.2, 3.0], [-0.1, 1.1, 0.1, -7.0], [0.2, -0.1, 0.8, 5.0], [0, 0, 0, 1.0]])
    grid = Geometry((side, side, side), turn)
    coarse = Geometry.from_spacing((60, 70, 80), (2.0, 2.0, 2.0), (-20.0, -30.0, -20.0))
    field = random.normal(size=coarse.shape).astype(np.float32)
    index = [random.uniform(-2, n + 1, count) for n in coarse.shape]
    places = [random.uniform(-30, 130, count) for _ in range(3)]
    voxels = [random.integers(0, side, count) for _ in range(3)]
    values = random.uniform(-30, 30, count)
    stack = Stack(random.normal(size=(2, *coarse.shape)), coarse)
    noise = NoiseField(b"key", grid.affine, (0.5, 1.2, 1.2), "noise")
    kept = Protected("s", 3.0, coarse, random.integers(-50, 90, coarse.shape).astype(np.int8))
    held: dict[tuple[int, str], list[Any]] = {}
    rows, exponents = index[1:], [values]

    def there(xp: Any, arrays: Any) -> list[Any]:
        key = id(arrays), xp.__name__  # all of these lists live as long as this
        if key not in held:
            held[key] = [xp.asarray(a) for a in arrays]
        return held[key]

    yield (
        "a map between its elements",
        lambda xp: Between(field[0].shape, there(xp, rows), xp).read(field[0]),
    )
    yield (
        "a field between its elements",
        lambda xp: Between(field.shape, there(xp, index), xp).read(field, outside=9.0),
    )
    yield "two fields at places", lambda xp: stack.at(tuple(there(xp, places)), xp)
    yield "two fields at all voxels", lambda xp: stack.over(grid, turn, xp)
    yield "places of voxels", lambda xp: xp.stack(grid.positions_at(there(xp, voxels), xp))
    yield "an affine map", lambda xp: xp.stack(apply_affine(turn, *there(xp, places)))
    yield "a power", lambda xp: exp2(there(xp, exponents)[0], xp)
    yield "what is protected", lambda xp: kept.keep(grid, xp)
    yield "noise", lambda xp: noise.at(grid.positions_at(there(xp, voxels), xp), xp, within=grid)
    yield "uniform noise", lambda xp: noise.uniform(grid.positions_at(there(xp, voxels), xp), xp)


def kernels_beside(cupy: Any, repeats: int, count: int) -> list[dict[str, Any]]:
    """One row an expression: milliseconds fused and plain, and values that differ from NumPy's.

    Parameters
    ----------
    cupy : module
    repeats : int
    count : int
        Elements.
    """
    rows = []
    for name, evaluate in _expressions(count):
        here = np.asarray(evaluate(np))
        fused = timed(lambda evaluate=evaluate: evaluate(cupy), cupy, repeats)  # type: ignore[misc]
        differs = int((bits(evaluate(cupy).get()) != bits(here)).sum())
        with unfused():
            plain = timed(lambda evaluate=evaluate: evaluate(cupy), cupy, max(1, repeats // 3))  # type: ignore[misc]
            plain_differs = int((bits(evaluate(cupy).get()) != bits(here)).sum())
        rows.append(
            {
                "expression": name, "elements": here.size, "fused ms": fused, "plain ms": plain,
                "times": plain / max(fused, 1e-9), "differs": differs, "plain differs": plain_differs,
            }
        )  # fmt: skip
    return rows
