"""How numbers are written on the page: as many digits as they carry, a true minus, nothing rounded to zero."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["bound", "count", "distance", "interval", "percent", "rate", "seconds", "value"]

NOTHING = "–"
_MINUS = "\u2212"
_THIN = "\u202f"  # narrow no-break space


def _missing(number: Any) -> bool:
    try:
        return number is None or math.isnan(number)
    except TypeError:  # pandas.NA
        return True


def _signed(text: str) -> str:
    return text.replace("-", _MINUS)


def _grouped(number: float, digits: int) -> str:
    return _signed(f"{number:,.{digits}f}".replace(",", _THIN))


def percent(number: Any) -> str:
    """Write a percent change: ``0`` only if exactly zero, ``1.23``, ``−45.7``, ``−1 039``.

    A change too small for two decimals keeps its order of magnitude (``3e−5``) and is not shown as zero.
    """
    if _missing(number):
        return NOTHING
    number = float(number)
    if math.isinf(number):
        return "∞" if number > 0 else f"{_MINUS}∞"
    if number == 0:
        return "0"
    size = abs(number)
    if size < 0.005:
        return _signed(f"{number:.0e}".replace("e-0", "e-"))
    if size >= 1e6:
        return _signed(f"{number:.2e}".replace("e+0", "e").replace("e+", "e"))
    return _grouped(number, 2 if size < 10 else 1 if size < 100 else 0)


def value(number: Any, digits: int = 4) -> str:
    """Write a measured value with so many significant digits."""
    if _missing(number):
        return NOTHING
    number = float(number)
    if number == 0 or math.isinf(number):
        return "0" if number == 0 else percent(number)
    size = abs(number)
    if size >= 1e6 or size < 1e-3:
        return _signed(f"{number:.{digits - 1}e}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-"))
    return _grouped(number, max(0, digits - 1 - math.floor(math.log10(size))))


def rate(share: Any, n: Any = None) -> str:
    """Write a share 0..1 in percent: one decimal near 0 and 100 %, none between.

    Of fewer than 100 cases (``n``) there is no decimal: one case is more than a percent.
    """
    if _missing(share):
        return NOTHING
    hundred = 100 * float(share)
    fine = 0 < hundred < 10 or 90 < hundred < 100
    digits = 1 if fine and (n is None or _missing(n) or n >= 100) else 0
    return f"{hundred:.{digits}f}{_THIN}%"


def bound(share: Any) -> str:
    """Write an upper bound 0..1 in percent, rounded up and never down."""
    if _missing(share):
        return NOTHING
    hundred = 100 * float(share)
    digits = 1 if hundred < 10 else 0
    scale = 10**digits
    return f"{math.ceil(hundred * scale - 1e-9) / scale:.{digits}f}{_THIN}%"


def interval(low: Any, high: Any) -> str:
    """Write a two-sided interval of a share, in percent, rounded outwards."""
    digits = 1 if float(high) < 0.05 else 0
    scale = 100 * 10**digits
    ends = (math.floor(scale * float(low) + 1e-9), math.ceil(scale * float(high) - 1e-9))
    return " to ".join(f"{100 * end / scale:.{digits}f}" for end in ends) + f"{_THIN}%"


def count(number: Any) -> str:
    """Write a whole number."""
    return NOTHING if _missing(number) else _grouped(float(number), 0)


def distance(number: Any) -> str:
    """Write a distance between encodings."""
    return NOTHING if _missing(number) else _signed(f"{float(number):.2f}")


def seconds(number: Any) -> str:
    """Write a duration in seconds."""
    if _missing(number):
        return NOTHING
    number = float(number)
    return _grouped(number, 2 if number < 1 else 1 if number < 100 else 0)
