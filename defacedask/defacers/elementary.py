"""Powers of e and 2 by single operations, so that every array library, processor and card gives the same bits.

A library's own ``exp`` differs in its last bit from one to the next, and from one processor to the next. Here the
whole part of the exponent goes into the number's exponent, and a polynomial (the series of 2^r for r within a half)
gives the rest: within 4e-16 of the true value, relatively.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from defacedask.kernels import Kernel, fuses

__all__ = ["EXP2", "exp", "exp2"]

#: Of the series of 2^r: ln(2)^k / k!, highest power first. The next term is below 1e-17.
_SERIES = [math.log(2.0) ** k / math.factorial(k) for k in range(13, -1, -1)]


#: `exp2` for kernels; 17 digits hold a double exactly.
EXP2 = (
    f"__device__ const double SERIES[14] = {{{', '.join(f'{c:.17e}' for c in _SERIES)}}};"
    + """
__device__ double power_of_2(double value) {
    double v = value < -1022.0 ? -1022.0 : value > 1022.0 ? 1022.0 : value;
    double whole = rint(v), rest = v - whole, sum = rest * SERIES[0];
    sum = sum + SERIES[1];
    for (int k = 2; k < 14; ++k) { sum = sum * rest; sum = sum + SERIES[k]; }
    return ldexp(sum, (int)whole);
}
"""
)
_EXP2 = Kernel("exp2", "float64 value", "float64 power", "power = power_of_2(value);", EXP2)


def exp2(values: Any, xp: Any = np) -> Any:
    """2 to the power of float64 values between -1022 and 1022; others count as these."""
    if fuses(xp) and values.dtype == np.float64:
        return _EXP2(xp, values)
    values = xp.clip(values, -1022.0, 1022.0)
    whole = xp.rint(values)
    rest = values - whole
    total = rest * _SERIES[0]
    total += _SERIES[1]
    for factor in _SERIES[2:]:
        total *= rest
        total += factor
    return xp.ldexp(total, whole.astype(xp.int32))


def exp(values: Any, xp: Any = np) -> Any:
    """E to the power of float64 values between -708 and 708; others count as these."""
    return exp2(values * math.log2(math.e), xp)
