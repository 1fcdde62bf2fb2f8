"""The one threshold of the page: at which distance a case counts as recognised, and how that is said."""

from __future__ import annotations

import math

from defacedask.modality import IMAGES
from defacedask.report.run import Run
from defacedask.tables.evidence import Control

__all__ = ["image_controls", "limit_words", "name_of", "threshold_sentence", "threshold_words"]


def image_controls(run: Run) -> list[Control]:
    """Positive controls of images of the patient; of other surfaces only where there are no images."""
    return [c for c in run.controls if c.modality in IMAGES] or run.controls


def name_of(run: Run, control: Control) -> str:
    """Image of a control, with the recogniser where there are several."""
    several = len({c.recogniser for c in run.controls}) > 1
    return f"{control.modality} by {control.recogniser}" if several else control.modality


def threshold_words(run: Run, recogniser: str = "") -> str:
    """Write the threshold of each image (and recogniser): ``0.33``, or ``0.33 (CT), 0.37 (MR)``; or of one alone."""
    known = {
        c.modality if recogniser else name_of(run, c): limit_words(c.limit)
        for c in run.controls
        if recogniser in ("", c.recogniser)
    }
    if not known:
        return ", ".join(f"{value:g} ({name})" for name, value in _used(run).items()) or "none"
    if len(set(known.values())) == 1:
        return next(iter(known.values()))
    return ", ".join(f"{limit} ({name})" for name, limit in known.items())


def limit_words(limit: float) -> str:
    """Write a threshold: ``0.33``, or ``none`` where neither a tolerance nor a calibration says one."""
    return "none" if math.isnan(limit) else f"{limit:.2f}".rstrip("0")


def _used(run: Run) -> dict[str, float]:
    """Tolerances of the recognisers that looked; of all where nobody did."""
    looked = {c.recogniser for c in run.controls} or set(run.looked.recognisers)
    return {name: value for name, value in run.tolerances.items() if name in looked or not looked}


def threshold_sentence(run: Run) -> str:
    """Say what the threshold of each recogniser is, where it comes from, and that it is the only one."""
    own = _used(run)
    fixed = " and ".join(f"{value:g} ({name})" for name, value in own.items())
    if own and not any(c.limit != own.get(c.recogniser) for c in run.controls):
        return (
            f"The threshold on this page is {threshold_words(run)}, the study’s: a picture matches if its distance "
            "to its own original is at most that."
            if set(own.values()) == {0.3}
            else f"The threshold on this page is {threshold_words(run)}, the recogniser’s own: a picture matches if "
            "its distance to its own original is at most that."
        )
    sentences = [
        f"The threshold on this page is {threshold_words(run)}: a picture matches if its distance to its own "
        "original is at most that."
    ]
    calibrated = "the distance within which 1 % of the originals of different persons lie"
    alone = sorted({c.recogniser for c in run.controls} - set(own))
    if own:
        sentences.append(f"It is the larger of the recogniser’s tolerance, {fixed}, and {calibrated}.")
        sentences.append("Counts at the tolerance alone are in tables/faces_detected.csv.")
    if alone:
        sentences.append(
            f"{' and '.join(alone)}, whose distances are on a scale of their own, "
            f"{'has' if len(alone) == 1 else 'have'} no tolerance: the threshold is {calibrated}."
        )
    if any(math.isnan(c.limit) for c in run.controls):
        sentences.append("Where it is none, nothing could be calibrated, and no distance counts as a match.")
    return " ".join(sentences)
