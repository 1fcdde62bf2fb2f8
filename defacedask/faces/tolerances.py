"""How far apart two faces may be to count as one person's: each recogniser has a scale of its own.

The study's 0.3 is a Euclidean distance of dlib's encodings. On another recogniser's distances it means nothing: among
cosine distances it takes a tenth or a third of all strangers for the same person. So a tolerance belongs to its
recogniser, and one that has none is judged at its threshold calibrated on originals alone.

Everywhere in the package tolerances are a mapping from the recogniser's name, as in the tables, to its distance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from defacedask.errors import ConfigError

__all__ = ["STUDY_NAMES", "choose_tolerances", "largest_distance", "read_tolerances", "tolerance_of"]

#: Recognisers whose distances the study's tolerance is made of: dlib's embedding, whichever detector finds the face.
STUDY_NAMES = ("face_recognition", "face_recognition_cnn", "face_recognition_centerface")

_HINT = "Write a number for face_recognition, or NAME=NUMBER for another recogniser, with commas between."


def tolerance_of(tolerances: Mapping[str, float], recogniser: str) -> float:
    """A recogniser's tolerance; NaN if it has none."""
    return float(tolerances.get(recogniser, math.nan))


def largest_distance(tolerance: float, threshold: float) -> float:
    """Largest distance that counts as recognised: the larger of tolerance and calibrated threshold.

    Returns
    -------
    float
        The other one where one of them is NaN; NaN, within which nothing lies, where both are.
    """
    return float(np.fmax(tolerance, threshold))


def read_tolerances(given: Any) -> dict[str, float]:
    """Tolerances as a user or a configuration gives them.

    Parameters
    ----------
    given : float, str or mapping
        A number (face_recognition's), ``NAME=NUMBER`` with commas between, both mixed, or name -> number.

    Raises
    ------
    ConfigError
        If it is none of these, or a number does not lie between 0 and 2.
    """
    if isinstance(given, Mapping):
        pairs = [(str(name), number) for name, number in given.items()]
    else:
        parts = [part.strip() for part in str(given).split(",") if part.strip()]
        # the last sign: a file's name may hold one
        pairs = [(part.rpartition("=")[0].strip(), part.rpartition("=")[2]) for part in parts]
    found: dict[str, float] = {}
    for name, number in pairs:
        try:
            value = float(number)
        except (TypeError, ValueError):
            raise ConfigError(f"{number!r} is no tolerance.", _HINT) from None
        if not 0 < value < 2:
            raise ConfigError(
                f"the tolerance must lie between 0 and 2, not at {value}.", "The study's is 0.3."
            )
        found |= dict.fromkeys([name] if name else STUDY_NAMES, value)
    if not found:
        raise ConfigError("no tolerance was given.", _HINT)
    return found


def choose_tolerances(recognisers: Iterable[Any], given: Any, configured: Any) -> dict[str, float]:
    """Tolerance of each recogniser of a run that has one.

    Parameters
    ----------
    recognisers : iterable of Recogniser
    given : float, str, mapping or None
        By the user, for this run; see `read_tolerances`.
    configured : float, str, mapping or None
        For all runs: what it says of recognisers that this run does not use is passed over.

    Returns
    -------
    dict
        Name in the tables -> tolerance: as given, else as configured, else the recogniser's own.

    Raises
    ------
    ConfigError
        Also if one is given for a recogniser that the run does not use.
    """
    own = {one.name: float(getattr(one, "tolerance", math.nan)) for one in recognisers}
    general = {} if configured is None else read_tolerances(configured)
    special = {} if given is None else read_tolerances(given)
    unused = [name for name in special if name not in own]
    if unused and not (set(special) <= set(STUDY_NAMES) and set(special) & set(own)):
        raise ConfigError(
            f"a tolerance was given for {unused[0]}, which this run does not use.",
            f"It uses: {', '.join(own)}. Write NAME=NUMBER for one of these.",
        )
    chosen = own | {name: value for name, value in {**general, **special}.items() if name in own}
    return {name: value for name, value in chosen.items() if not math.isnan(value)}
