"""Names of the built-in attacks, as on the command line and in the tables."""

from __future__ import annotations

from defacedask.faces.looking import FORCED, PLAIN

__all__ = [
    "BEST",
    "BODY",
    "DEBLURRED",
    "DENOISED",
    "DOSE",
    "FILLED",
    "FORCED",
    "PET",
    "PLAIN",
    "SYNTHETIC",
    "UNMASKED",
]

BEST, FILLED, UNMASKED, DENOISED = "best_view_level", "template_filled", "unmasked", "denoised_air"
SYNTHETIC, DEBLURRED = "synthetic_voxels", "deblurred"
#: Not done to an image of the anatomy but made from something else that shows the head; they are told apart by the
#: modality in the tables (RTSTRUCT, RTDOSE, PT).
BODY, DOSE, PET = "body_contour", "dose_grid", "pet_skin"
