"""Attempts at the old skin below a layer, by what each of them lives on (`defacedask.attacks.planted.KINDS`)."""

from __future__ import annotations

from defacedask.attacks.base import Attempt
from defacedask.attacks.layer_classifier import attempts_by
from defacedask.attacks.learned import learned
from defacedask.attacks.planted import KINDS
from defacedask.attacks.target import Target
from defacedask.attacks.unmasking_lines import mask_attempts, seam_attempt

__all__ = ["attempts_of", "uncovered"]


def uncovered(target: Target) -> dict[str, list[Attempt]]:
    """Attempts of each kind, made once: to be shown, and to be judged."""
    return target.once(_all)


def _all(target: Target) -> dict[str, list[Attempt]]:
    return {kind: attempts_of(target, kind) for kind in KINDS}


def attempts_of(target: Target, kind: str, *, weak: bool = False) -> list[Attempt]:
    """Attempts of one kind.

    Parameters
    ----------
    target : Target
    kind : str
    weak : bool
        By the classifiers that know the planted layer, for the control.
    """
    if kind == "mask":
        return mask_attempts(target)
    if kind == "seam":
        return seam_attempt(target)
    classifier, scans = (learned(target.modality, weak, teachers) for teachers in ("average", "patients"))
    if classifier is None:
        return []
    return attempts_by([classifier] if scans is None else [classifier, scans], target)
