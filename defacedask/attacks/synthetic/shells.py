"""What tissue looks like along the skin: means over shells of one depth.

Skin, fat and muscle lie one below the other, and a fill lies on top. A cube of voxels mixes them; a shell keeps them
apart, so that thin fills are seen on coarse voxels, too. Only neighbours of about one depth are compared.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

__all__ = ["LAYERS", "SHELL", "Layers", "shifted"]

#: Number of shells; the last reaches to the middle.
LAYERS = 7
#: mm along the skin that are averaged over, to each side.
REACH = 6.0
#: Names of the features.
SHELL = (
    "shell value",
    "shell spread",
    "shell along z",
    "shell along y",
    "shell along x",
    "shell two steps",
    "shell broad",
    "shell repeated",
    "shell air",
    "inner value",
    "outer value",
    "inner spread",
    "outer spread",
    "inner noise",
    "outer depth",
    "image noise",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Layers:
    """The shells of one image, in its own voxels.

    Attributes
    ----------
    unit : (z, y, x) float32 array
        Values, 0 in air and 1 in deep tissue.
    body, outside : (z, y, x) bool arrays
        Tissue, and the air that is connected with what lies around the image.
    depth : (z, y, x) float32 array
        mm below that air.
    number : (z, y, x) int array
        Of the shell, from 0; -1 where no body is.
    spacing : (z, y, x)
        mm.
    """

    unit: np.ndarray
    body: np.ndarray
    outside: np.ndarray
    depth: np.ndarray
    number: np.ndarray
    spacing: tuple[float, ...]

    @classmethod
    def of(cls, unit: np.ndarray, body: np.ndarray, spacing: tuple[float, ...]) -> Layers:
        """Find them."""
        from defacedask.anatomy.distances import distance_to
        from defacedask.attacks.outside import outside_air

        outside = outside_air(~body)
        thickness = max(3.0, float(np.cbrt(np.prod(spacing))))
        depth = distance_to(np.pad(outside, 1, constant_values=True), spacing)[1:-1, 1:-1, 1:-1]
        # from voxel centres to the border between voxels
        depth -= np.float32(thickness / 2)
        number = np.clip(np.floor(depth / thickness), 0, LAYERS - 1).astype(np.int8)
        number[~body] = -1
        return cls(unit, body, outside, depth, number, spacing)

    def looks(
        self,
        at: tuple[np.ndarray, ...],
        steps: tuple[int, ...],
        repeated: np.ndarray,
        deep: np.ndarray,
        below: np.ndarray,
    ) -> np.ndarray:
        """Features of some voxels, (n, features) float32 in the order of `SHELL`.

        Parameters
        ----------
        at : tuple of three (n,) int arrays
            Where they lie in the lattice of each n-th voxel.
        steps : (z, y, x)
            These n.
        repeated : (z, y, x) array
            Share of neighbours with the very same value.
        deep : (z, y, x) bool array
            Tissue that no defacer touches.
        below : (z, y, x) array
            mm below air of any kind.
        """
        pairs, noise = self._pairs(deep, below)
        means = self._means(pairs, steps, repeated)
        number = self.number[tuple(slice(None, None, n) for n in steps)][at]

        def of(name: str, beyond: int = 0) -> np.ndarray:
            chosen = np.clip(number + beyond, 0, LAYERS - 1)
            out = np.empty(len(number), np.float32)
            for k in range(LAYERS):
                here = chosen == k
                out[here] = means[k][name][tuple(axis[here] for axis in at)]
            return out

        own = np.log(noise + 1e-3)
        plane = np.float32(np.log(np.mean(noise[1:]) + 1e-3))
        steps_on = {name: of(name) for name in ("z", "y", "x")}
        in_plane = (steps_on["y"] + steps_on["x"]) / 2
        spread, value = _log(of("spread")), of("value")
        columns = (
            value,
            spread - plane,
            *(_log(steps_on[name]) - own[k] for k, name in enumerate("zyx")),
            _log(of("two")) - _log(in_plane),
            spread - _log((steps_on["z"] + 2 * in_plane) / 3),
            of("repeated"),
            of("air"),
            of("value", 1) - value,
            of("value", -1) - value,
            _log(of("spread", 1)) - spread,
            _log(of("spread", -1)) - spread,
            _log(of("x", 1) + of("y", 1)) - _log(2 * in_plane),
            self.depth[tuple(slice(None, None, n) for n in steps)][at] / 10.0,
            np.full(len(number), plane),
        )
        return np.stack(columns, axis=1).astype(np.float32)

    def _pairs(self, deep: np.ndarray, below: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
        """Sums and weights of squared steps between neighbours of one depth; and the usual step of soft tissue."""
        unit, body = self.unit, self.body
        soft = body & (below > 10.0) & (np.abs(unit - 1.0) < 0.15)
        if soft.sum() < 500:
            soft = deep
        out: dict[str, Any] = {}
        usual = []
        for axis, by in ((0, 1), (1, 1), (1, 2), (2, 1), (2, 2)):
            ahead, behind = shifted(axis, by)
            level = np.abs(self.depth[ahead] - self.depth[behind]) <= 0.75 * by * self.spacing[axis]
            level &= body[ahead] & body[behind]
            step = unit[ahead] - unit[behind]
            name = "two" if by == 2 else "zyx"[axis]
            total, weight = out.setdefault(name, (np.zeros_like(unit), np.zeros_like(unit)))
            for part in (ahead, behind):
                total[part] += np.square(step) * level
                weight[part] += level
            if by == 1:
                inside = np.abs(step)[soft[ahead] & soft[behind]]
                # half of the steps are smaller than 0.95 times a deviation of the noise
                usual.append(float(np.median(inside)) / 0.954 if inside.size > 50 else 0.05)
        return out, np.maximum(usual, 1e-4)

    def _means(
        self, pairs: dict[str, Any], steps: tuple[int, ...], repeated: np.ndarray
    ) -> list[dict[str, np.ndarray]]:
        """Each shell's means on the lattice."""
        from scipy.ndimage import uniform_filter

        points = tuple(slice(None, None, n) for n in steps)

        def sparse(field: np.ndarray) -> np.ndarray:
            return np.asarray((uniform_filter(field, steps) if max(steps) > 1 else field)[points])

        size = [2 * max(1, round(2.5 / s)) + 1 for s in self.spacing]
        air = self.outside.astype(np.float32)
        beside = {"air": [uniform_filter(np.clip(self.unit, 0, 1) * air, size), uniform_filter(air, size)]}
        known = {name: [sparse(part) for part in both] for name, both in {**pairs, **beside}.items()}
        one = self.body.astype(np.float32)
        there, value, square = sparse(one), sparse(self.unit * one), sparse(np.square(self.unit) * one)
        again, number = repeated[points], self.number[points]
        width = [2 * round(REACH / (s * n)) + 1 for s, n in zip(self.spacing, steps, strict=True)]
        out = []
        for k in range(LAYERS):
            here = (number == k).astype(np.float32)

            def along(field: np.ndarray, here: np.ndarray = here) -> Any:
                return uniform_filter(field * here, width)

            count = along(there) + np.float32(1e-3)
            mean = (along(value) + np.float32(1e-3)) / count
            found = {
                "value": mean,
                "spread": np.maximum(along(square) / count - mean**2, 0),
                "repeated": along(again) / count,
            }
            for name, (total, weight) in known.items():
                found[name] = (along(total) + np.float32(1e-7)) / (along(weight) + np.float32(1e-3))
            out.append(found)
        return out


def _log(squared: np.ndarray) -> np.ndarray:
    return np.log(np.sqrt(np.maximum(squared, 0)) + np.float32(1e-3))


def shifted(axis: int, by: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """All but the first, and all but the last, planes along an axis."""
    ahead, behind = [slice(None)] * 3, [slice(None)] * 3
    ahead[axis], behind[axis] = slice(by, None), slice(None, -by)
    return tuple(ahead), tuple(behind)
