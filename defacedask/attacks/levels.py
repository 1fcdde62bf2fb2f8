"""The image as it is, at other skin levels."""

from __future__ import annotations

import numpy as np

from defacedask.attacks.base import Attempt
from defacedask.attacks.names import BEST
from defacedask.attacks.target import Target
from defacedask.modality import modality_of

__all__ = ["level_attempts"]


def level_attempts(target: Target) -> list[Attempt]:
    """The image as it is, at skin levels below and above the usual one."""
    levels = modality_of(target.modality).attack_levels(target.level)
    values = np.asarray(target.values, np.float32)
    return [Attempt(BEST, f"level {level:.4g}", values, level) for level in levels]
