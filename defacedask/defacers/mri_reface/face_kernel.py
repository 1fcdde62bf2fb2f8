"""The average's face painted into a block on a device, by one kernel once the noise is drawn.

It makes the operations of `MriRefacePlan.change_block`, and of the methods that it calls, in their order and in their
types.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.backend import constant, to_numpy
from defacedask.defacers.elementary import EXP2
from defacedask.defacers.fields import INTERPOLATED, PLACED, Stack
from defacedask.defacers.mri_reface.intensity import PAINT, Palette
from defacedask.defacers.noise import NoiseField
from defacedask.defacers.noise_kernels import BETWEEN
from defacedask.kernels import PLACE, Kernel
from defacedask.modality import air_of
from defacedask.volume import stored_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from defacedask.geometry import Geometry

__all__ = ["Face"]

#: What the kernel paints; 0: air alone.
_KINDS = {"CT": 1, "MR": 2, "RTDOSE": 3, "PT": 4}
#: Numbers that the kernel takes, in this order (``q``).
_NAMES = (
    "to_share", "empty", "near", "crust", "least", "bone", "lean", "capped", "gain_step", "dose_from", "dose_over",
    "around", "kind", "air", "noise_air", "noise_more", "step", "base", "more", "keeps", "whole", "low", "high",
)  # fmt: skip
_HEAD = "\n".join(f"#define Q_{name} q[{k}]" for k, name in enumerate(_NAMES))

_FACE = Kernel(
    "face",
    "T stored, raw float64 b, raw float64 grids, raw float32 wheres, raw float32 froms, raw float32 average, "
    "raw float32 palette, raw float32 deeps, raw float32 bones, raw float32 knots, int32 knot_count, "
    "raw float32 noise, raw float32 second, raw float64 lattice, raw float32 rescale, raw float32 q",
    "T out",
    PLACED
    + """
    float where[2];
    read(p, grids, 0, wheres, 2, where);
    if (where[0] > 0.0f) {
        long long z = i / (nx * ny);
        float s = rescale[2 * z], t = rescale[2 * z + 1], above = where[1], value = Q_air;
        float old = (float)stored * s;
        old = old + t;
        int kind = (int)Q_kind;
        if (kind != 0) {
            float painted = Q_empty, grain = 0.0f, other = 0.0f;
            if (above < Q_near) {
                float from[4], found[1];
                read(p, grids, 1, froms, 4, from);
                double moved[3] = {p[0] - (double)from[0], p[1] - (double)from[1], p[2] - (double)from[2]};
                read(moved, grids, 2, average, 1, found);
                float over = -above - Q_crust, under = from[3] / 2.0f, lack = Q_least - found[0];
                over = unit(over / 2.0f); under = unit(under + 1.0f);
                float layer = over * under;
                layer = layer * (lack > 0.0f ? lack : 0.0f);
                painted = found[0] + layer;
            }
            if (kind != 3) {
                double m[12]; for (int k = 0; k < 12; ++k) m[k] = lattice[k];
                const float rho[3] = {(float)lattice[17], (float)lattice[18], (float)lattice[19]};
                const long long box[5] = {(long long)lattice[12], (long long)lattice[13], (long long)lattice[14],
                                          (long long)lattice[15], (long long)lattice[16]};
                grain = noise_between(w, m, rho, noise, box);
                if (kind == 2) other = noise_between(w, m, rho, second, box);
            }
            if (kind == 1) {
                float body = painted + 1000.0f;
                body = unit(body / 900.0f);
                float mean = painted_as(painted, knots, knot_count), amplitude = Q_noise_more * body;
                if ((Q_capped != 0.0f || old < Q_bone) && mean > Q_lean) mean = Q_lean;
                amplitude = Q_noise_air + amplitude;
                amplitude = amplitude * grain;
                value = mean + amplitude;
            } else if (kind == 2) {
                float octaves[1];
                read(p, grids, 3, palette, 1, octaves);
                float gain = (float)power_of_2((double)(octaves[0] * Q_gain_step));
                float body = unit(painted / 100.0f), mean = painted_as(painted, knots, knot_count) * gain;
                mean = mean * body;
                float amplitude = Q_noise_more * body;
                amplitude = Q_noise_air + amplitude;
                grain = amplitude * grain; other = amplitude * other;
                float real = mean + grain;
                real = real * real; other = other * other;
                value = sqrt(real + other);
            } else if (kind == 3) {
                float dose[1], deep[1];
                read(p, grids, 3, palette, 1, dose);
                float body = above / 2.0f;
                body = unit(0.5f - body);
                value = body * dose[0]; value = value * Q_step;
                read(p, grids, 4, deeps, 1, deep);
                float keep = deep[0] < -above ? deep[0] : -above;
                keep = keep - Q_dose_from;
                keep = unit(keep / Q_dose_over);
                float back = old - value;
                back = keep * back;
                value = keep < 1.0f ? value + back : old;
            } else {
                float body = painted + 1000.0f;
                body = unit(body / 1000.0f);
                float amplitude = Q_noise_more * body, mean = Q_more * body;
                amplitude = Q_noise_air + amplitude;
                amplitude = amplitude * grain;
                mean = Q_base + mean;
                value = mean + amplitude;
                value = value > 0.0f ? value : 0.0f;
            }
        }
        if (Q_keeps != 0.0f && old > Q_bone) {
            float away[1];
            read(p, grids, 5, bones, 1, away);
            if (away[0] < Q_around) value = old;
        }
        float share = unit(where[0] * Q_to_share), rest = 2.0f * share;
        rest = 3.0f - rest; share = share * share; share = share * rest;
        float mixed = value - old;
        mixed = share * mixed; mixed = old + mixed;
        mixed = mixed - t; mixed = mixed / s;
        if (Q_whole != 0.0f) {
            mixed = rint(mixed);
            mixed = mixed < Q_low ? Q_low : mixed > Q_high ? Q_high : mixed;
        }
        out = (T)mixed;
    }
    """,
    PLACE
    + INTERPOLATED
    + BETWEEN
    + PAINT
    + EXP2
    + _HEAD
    + """
__device__ float unit(float v) { return v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v; }
template <typename G, typename F>
__device__ void read(const double* p, const G& grids, int which, const F& table, int channels, float* found) {
    double grid[9];
    for (int k = 0; k < 9; ++k) grid[k] = grids[9 * which + k];
    interpolated(p, grid, table, channels, channels, found, 0, 1);
}
""",
)

_NONE = np.zeros(1, np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
    """What is painted, and with which numbers.

    Attributes
    ----------
    to_template : (4, 4) array
        World LPS mm -> the average's LPS mm.
    key : bytes
        Secret.
    palette : Palette
        Of the image; another modality's: air alone is written.
    stacks : sequence of Stack or None
        mm within the replaced part and above the new skin; shift, and mm above the old skin; the average's values;
        gain or dose; mm from where a dose ends; mm from bone that stays.
    numbers : dict
        The first of `_NAMES`, as `MriRefacePlan` has them.
    """

    to_template: np.ndarray
    key: bytes
    palette: Palette
    stacks: Sequence[Stack | None]
    numbers: Mapping[str, float]

    def paint(
        self, stored: Any, out: Any, part: Geometry, slope: Any, intercept: Any, modality: str, xp: Any
    ) -> None:
        """Write the new values of a part of a block, in place.

        Parameters
        ----------
        stored, out : (z, y, x) arrays
            Values before, and where those of the replaced part are written.
        part : Geometry
        slope, intercept : (z, 1, 1) arrays
            Of the part's slices.
        modality : str
        xp : module
        """
        palette = self.palette
        kind = _KINDS[modality] if palette.modality == modality else 0
        noises, lattice = [constant(_NONE, xp)] * 2, np.zeros(20)
        if kind in (1, 2, 4):
            streams = ("noise", "second channel") if kind == 2 else ("noise",)
            fields = [
                NoiseField(self.key, palette.noise.lattice, palette.noise.sigma, name) for name in streams
            ]
            drawn = [one.box(part, xp) for one in fields]
            noises = [drawn[0][0].ravel(), drawn[-1][0].ravel()]
            lattice = drawn[0][1]
        rescale = np.stack([to_numpy(one).astype(np.float32).ravel() for one in (slope, intercept)], axis=-1)
        rescale = np.ascontiguousarray(np.broadcast_to(rescale, (part.shape[0], 2))).ravel()
        painted = kind in (1, 2)
        place = np.concatenate([part.root(), np.asarray(self.to_template, np.float64)[:3].ravel()])
        tables = [_NONE if one is None else one.table for one in self.stacks]
        grids = np.concatenate([np.zeros(9) if one is None else one.grid for one in self.stacks])
        _FACE(
            xp,
            stored,
            xp.asarray(place),
            xp.asarray(grids),
            *(constant(table, xp).ravel() for table in tables),
            constant(palette.segments if painted else _NONE, xp),
            len(palette.knots) if painted else 0,
            *noises,
            xp.asarray(lattice),
            xp.asarray(rescale),
            xp.asarray(self._numbers(kind, modality, np.dtype(stored.dtype))),
            out,
        )

    def _numbers(self, kind: int, modality: str, dtype: np.dtype) -> np.ndarray:
        """As `_NAMES` has them. Python's numbers become float32 where they meet an array of these, and so here."""
        palette, noise = self.palette, self.palette.noise
        whole = dtype.kind in "iu"
        low, high = stored_limits(dtype, np.dtype(np.float32)) if whole else (0.0, 0.0)
        last = palette.knots[-1][1] if kind == 4 else 0.0
        values = {
            **self.numbers,
            "kind": kind,
            "air": air_of(modality),
            "noise_air": noise.air,
            "noise_more": noise.tissue - noise.air,
            "step": palette.step,
            "base": palette.air,
            "more": last - palette.air,
            "keeps": self.stacks[5] is not None,
            "whole": whole,
            "low": low,
            "high": high,
        }
        return np.array([values[name] for name in _NAMES], np.float32)
