"""What is known of a modality, whoever asks: what empty space reads in it."""

from __future__ import annotations

from defacedask.errors import InputError

__all__ = ["AIR", "air_of"]

#: What empty space reads in each modality, in real units (HU, arbitrary, SUV or Bq/mL, Gy).
AIR = {"CT": -1000.0, "MR": 0.0, "PT": 0.0, "RTDOSE": 0.0}


def air_of(modality: str) -> float:
    """Real value of empty space in a modality.

    Raises
    ------
    InputError
        For a modality whose air is not known: nothing is guessed.
    """
    try:
        return AIR[modality]
    except KeyError:
        raise InputError(
            f"no fill value is known for modality {modality!r}.", f"Known: {', '.join(sorted(AIR))}."
        ) from None
