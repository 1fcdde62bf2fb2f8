"""The one threshold of the page: at which distance a case counts as recognised, and how that is said."""

from __future__ import annotations

from defacedask.modality import IMAGES
from defacedask.report.run import Run
from defacedask.tables.evidence import Control

__all__ = ["image_controls", "name_of", "threshold_sentence", "threshold_words"]


def image_controls(run: Run) -> list[Control]:
    """Positive controls of images of the patient; of other surfaces only where there are no images."""
    return [c for c in run.controls if c.modality in IMAGES] or run.controls


def name_of(run: Run, control: Control) -> str:
    """Image of a control, with the recogniser where there are several."""
    several = len({c.recogniser for c in run.controls}) > 1
    return f"{control.modality} by {control.recogniser}" if several else control.modality


def threshold_words(run: Run) -> str:
    """Write the threshold of each image (and recogniser): ``0.33``, or ``0.33 (CT), 0.37 (MR)``."""
    known = {name_of(run, c): f"{c.limit:.2f}".rstrip("0") for c in run.controls}
    if not known:
        return f"{run.tolerance:g}"
    if len(set(known.values())) == 1:
        return next(iter(known.values()))
    return ", ".join(f"{limit} ({name})" for name, limit in known.items())


def threshold_sentence(run: Run) -> str:
    """Say what the threshold is, where it comes from, and that it is the only one."""
    if not any(c.limit > run.tolerance for c in run.controls):
        return (
            f"The threshold on this page is {threshold_words(run)}, the study’s: a picture matches if its distance "
            "to its own original is at most that."
        )
    return (
        f"The threshold on this page is {threshold_words(run)}: a picture matches if its distance to its own "
        f"original is at most that. It is the larger of the study’s {run.tolerance:g} and the distance within which "
        "1 % of the originals of different persons lie. The study’s own counts are in tables/faces_detected.csv."
    )
