"""Names of the built-in attacks, as on the command line and in the tables."""

from __future__ import annotations

from defacedask.faces.looking import FORCED, PLAIN

__all__ = [
    "AVERAGE",
    "AVERAGE_FORCED",
    "BEST",
    "BODY",
    "DEBLURRED",
    "DENOISED",
    "DOSE",
    "DOSE_AT_FACE",
    "ENROLMENT",
    "FILLED",
    "FORCED",
    "INVERSION",
    "PET",
    "PLAIN",
    "SYNTHETIC",
    "UNMASKED",
]

BEST, FILLED, UNMASKED, DENOISED = "best_view_level", "template_filled", "unmasked", "denoised_air"
SYNTHETIC, DEBLURRED = "synthetic_voxels", "deblurred"
#: Made when everybody has been looked at, for it learns of the others.
INVERSION = "inversion"
#: Not done to an image of the anatomy but made from something else that shows the head; they are told apart by the
#: modality in the tables (RTSTRUCT, RTDOSE, PT).
BODY, DOSE, PET = "body_contour", "dose_grid", "pet_skin"
#: No look of its own: a classifier that names every picture of the others.
ENROLMENT = "enrolment"
#: Controls on originals (`defacedask.attacks.average_face`, `defacedask.attacks.dose_face`): no attacks on a defaced
#: head, and not among those that a run chooses.
AVERAGE, DOSE_AT_FACE = "average_face", "dose_at_face"
#: The average face at the original's box and landmarks, which carry something of the person themselves.
AVERAGE_FORCED = f"{AVERAGE}_{FORCED}"
