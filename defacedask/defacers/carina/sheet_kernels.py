"""What a sheet says of voxels, on a device: one kernel a sheet, with the bits of `CarinaPlan`'s plain expressions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.backend import constant
from defacedask.kernels import LINEAR, PLACE, Kernel

if TYPE_CHECKING:
    from defacedask.defacers.carina.layer import Sheet
    from defacedask.geometry import Geometry

__all__ = ["Deepest", "mark"]

#: ``s``: origin, spacing, rows, columns, axis, sign of a sheet; the edge before its envelope, the overlap behind its
#: skin and whether it has a floor (see `_numbers`). ``h``: a place in the head's frame.
_SHEET = (
    LINEAR
    + """
struct Sheet { int row[2], column[2], columns; double u[2], v[2], height; bool out; };
template <typename S> __device__ Sheet found(const S& s, const double* h) {
    Sheet it;
    int axis = (int)s[5];
    double row = (h[2] - s[0]) / s[2], column = (h[1 - axis] - s[1]) / s[2];
    it.out = outside_of(row, (int)s[3]) || outside_of(column, (int)s[4]);
    it.columns = (int)s[4];
    sides(row, (int)s[3], it.row, it.u);
    sides(column, (int)s[4], it.column, it.v);
    it.height = s[6] * h[axis];
    return it;
}
template <typename F> __device__ float sampled(const Sheet& it, const F& map) {
    double sum = 0.0;
    for (int k = 0; k < 4; ++k) {
        double one = (double)map[(long long)it.row[k >> 1] * it.columns + it.column[k & 1]];
        one = one * it.u[k >> 1]; one = one * it.v[k & 1];
        sum = sum + one;
    }
    return (float)sum;
}
template <typename F> __device__ double over(const Sheet& it, const F& map) {
    float height = sampled(it, map) * 0.05f;
    return it.height - (double)height;
}
template <typename G> __device__ double below_envelope(const Sheet& it, float under, const G& thick) {
    float added = it.out ? 0.0f : sampled(it, thick);
    if (!(added > 0.3f)) return -1000.0;
    float envelope = under + added;
    return (double)envelope - it.height;
}
"""
)

_MARK = Kernel(
    "sheet_mark",
    "raw float64 b, raw float64 s, raw float32 skin, raw float32 thick, raw float32 floor_map",
    "bool region",
    """
    if (!region) {
        long long nx = (long long)b[20], ny = (long long)b[19];
        double iz = b[12] + b[15] * (double)(i / (nx * ny)), iy = b[13] + b[16] * (double)(i / nx % ny);
        double ix = b[14] + b[17] * (double)(i % nx);
        double w[3] = {world(b, 0, iz, iy, ix), world(b, 1, iz, iy, ix), world(b, 2, iz, iy, ix)};
        double h[3] = {mapped(b, 21, 0, w), mapped(b, 21, 1, w), mapped(b, 21, 2, w)};
        Sheet it = found(s, h);
        float under = sampled(it, skin);
        double below = below_envelope(it, under, thick);
        if (s[9] != 0.0) region = below > -s[7] && over(it, floor_map) > 0.0;
        else region = below > 0.0 && it.height - (double)under > -s[8];
    }
    """,
    PLACE + _SHEET,
)
_DEEPEST = Kernel(
    "sheet_deepest",
    "float64 x, float64 y, float64 z, raw float64 s, raw float32 skin, raw float32 thick, raw float32 floor_map, "
    "raw float32 seam_map, raw float32 upright, raw float32 tones",
    "float64 deep, float64 seam, float64 above, float64 tone, float64 weight",
    """
    double h[3] = {x, y, z};
    Sheet it = found(s, h);
    float under = sampled(it, skin);
    double below = below_envelope(it, under, thick), share = 0.0;
    if (below > -s[7] && over(it, floor_map) > 0.0) {
        double behind = over(it, seam_map), height = it.height - (double)under;
        below = below * (double)sampled(it, upright);
        deep = below > deep ? below : deep;
        seam = behind > seam ? behind : seam;
        above = height > above ? height : above;
        share = below + 1.0;
        share = share < 0.05 ? 0.05 : share > 20.0 ? 20.0 : share;
    }
    double more = share * (double)sampled(it, tones);
    more = more / 64.0;
    tone = tone + more;
    weight = weight + share;
    """,
    _SHEET,
)


def mark(
    sheet: Sheet, region: Any, part: Geometry, pose: np.ndarray, edge: float, overlap: float, xp: Any
) -> None:
    """Set in a region, in place, the voxels of a part that a sheet wants (see `CarinaPlan.wanted`)."""
    place = xp.asarray(np.concatenate([part.root(), np.asarray(pose, np.float64)[:3].ravel()]))
    maps = (sheet._skin_mm, sheet._thick_mm, sheet.as_floats("floor" if sheet.floor.size else "skin"))
    _MARK(
        xp,
        place,
        xp.asarray(_numbers(sheet, edge, overlap)),
        *(constant(m, xp).ravel() for m in maps),
        region,
    )


class Deepest:
    """How deep places lie in the sheets together, and how dark the tissue there is (see `CarinaPlan.fill`).

    Parameters
    ----------
    head : tuple of (n,) arrays
        L, P, S in mm of the head's frame.
    edge : float
        mm before the envelope.
    xp : module

    Attributes
    ----------
    deep, seam, above, tone, weight : (n,) float64 arrays
    """

    def __init__(self, head: tuple[Any, Any, Any], edge: float, xp: Any) -> None:
        self.head, self.edge, self.xp = head, edge, xp
        n = head[0].shape
        self.deep, self.seam, self.above = (xp.full(n, -1000.0) for _ in range(3))
        self.tone, self.weight = xp.zeros(n), xp.full(n, float(np.float32(1e-3)))

    def add(self, sheet: Sheet) -> None:
        """Look at one sheet more."""
        maps = (
            sheet._skin_mm,
            sheet._thick_mm,
            *(sheet.as_floats(name) for name in ("floor", "seam", "upright", "tone")),
        )
        _DEEPEST(
            self.xp,
            *self.head,
            self.xp.asarray(_numbers(sheet, self.edge, 0.0)),
            *(constant(m, self.xp).ravel() for m in maps),
            self.deep,
            self.seam,
            self.above,
            self.tone,
            self.weight,
        )


def _numbers(sheet: Sheet, edge: float, overlap: float) -> np.ndarray:
    has_floor = float(sheet.floor.size > 0)
    shape = sheet.skin.shape
    return np.array(
        [*sheet.origin, sheet.spacing, *shape, sheet.axis, sheet.sign, edge, overlap, has_floor], np.float64
    )
