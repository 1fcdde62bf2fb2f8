"""Columns of the tables about attacks that look at one image at a time, and the skin that is left."""

from __future__ import annotations

from defacedask.tables.schemas.column import Column, columns

__all__ = ["ATTACKS"]

ATTACKS: dict[str, tuple[Column, ...]] = {
    "unmasking": columns(
        ("case", "text", "name of the case"),
        ("defacer", "text", "who defaced"),
        ("modality", "text", "of the image"),
        ("attempt", "text", "mask | seam | classifier: how the old skin was looked for"),
        ("skin_found", "number", "share of the face's true skin within 2 mm of what was found (0..1)"),
        ("peel_found", "number", "the same for the best peel of constant thickness, which knows nothing"),
        ("control_found", "number", "the same below a weak layer planted on the original: must be 0.8"),
        (
            "control_holds",
            "flag",
            "the positive control holds; if not, the attempt proves nothing; empty where a part of the original's "
            "face is missing",
        ),
        ("reason", "text", "why it does not, or is not judged", False),
    ),
    "inversion": columns(
        ("case", "text", "name of the case"),
        ("defacer", "text", "who defaced; 'original' for a weak defacer that was planted as a control"),
        ("modality", "text", "of the image"),
        ("planted", "text", "the control: constant cut (must be seen through) | rim left; else empty"),
        ("persons", "count", "other persons that it was learnt from"),
        ("replaced", "number", "share of the face's rays whose skin is taken for not the patient's (0..1)"),
        (
            "error_mm",
            "number",
            "mean distance of the predicted from the true skin, where it was changed",
            False,
        ),
        ("average_mm", "number", "the same of the average face", False),
        (
            "nearer",
            "number",
            "share of other persons whose face agrees less with the prediction (0..1); 0.5 is chance",
            False,
        ),
        (
            "shuffled_mm",
            "number",
            "error where the teachers' faces were exchanged: nothing can be learnt",
            False,
        ),
        ("shuffled_average_mm", "number", "of the average face beside it", False),
        ("shuffled_nearer", "number", "as nearer: must be about 0.5", False),
    ),
    "residual_skin": columns(
        ("case", "text", "name of the case"),
        ("defacer", "text", "who defaced"),
        ("modality", "text", "of the image"),
        ("image", "text", "which of the case's images", False),
        ("region", "text", "brow_to_chin | ears (both that could be measured) | ear_left | ear_right"),
        ("points", "count", "voxels of the original's skin there, at 1.5 mm; 0: could not be measured"),
        ("moved", "number", "share of them with no skin of the defaced image within least_mm (0..1)", False),
        ("kept", "number", "1 - moved: skin where it was", False),
        (
            "untouched",
            "number",
            "ears: share of them where the image's values are as they were (0..1)",
            False,
        ),
        ("least_mm", "number", "mm that count as moved", False),
        ("median_mm", "number", "median distance to the defaced image's nearest skin", False),
        ("note", "text", "why it could not be measured, such as: not in the image", False),
    ),
    "ears": columns(
        ("defacer", "text", "who defaced; 'original' is the positive control"),
        ("modality", "text", "of the images"),
        ("images", "count", "with an ear that could be measured"),
        ("judged", "count", "of these, with a person to be compared with, and others"),
        ("persons", "count", "whose they are"),
        ("rank_1", "count", "judged images whose own person's ears are the most alike"),
        (
            "auc",
            "number",
            "area under the ROC of the own ears against others', by the correlation of their reliefs",
        ),
        ("auc_low", "number", "its 95 % bootstrap interval over persons", False),
        ("auc_high", "number", "its 95 % bootstrap interval over persons", False),
        ("exchanged_auc", "number", "the same where everybody goes by the name of another: about 0.5"),
        ("exchanged_low", "number", "its 95 % bootstrap interval over persons", False),
        ("exchanged_high", "number", "its 95 % bootstrap interval over persons", False),
        ("second_scan", "flag", "compared with other scans alone, not with the very scan"),
        ("note", "text", "why nothing was judged", False),
    ),
    "synthetic": columns(
        ("case", "text", "name of the case"),
        ("defacer", "text", "who defaced"),
        ("modality", "text", "of the image"),
        (
            "changed",
            "number",
            "share of the tissue within 25 mm of the released skin that is not the original's",
        ),
        ("told", "number", "share of it that the detector tells to be synthetic"),
        ("dice", "number", "Dice coefficient of the two; empty where no tissue was added or replaced", False),
        ("dice_place", "number", "the same for one that knows only where heads are usually changed", False),
        ("control_dice", "number", "least Dice at weak defacers planted on the original: must be 0.7"),
        ("control_false", "number", "share of the untouched original told to be synthetic: at most 0.15"),
        ("control_holds", "flag", "the controls hold; if not, the row proves nothing"),
        ("reason", "text", "why they do not", False),
    ),
    "deblurring": columns(
        ("case", "text", "name of the case"),
        ("modality", "text", "of the image"),
        ("untouched_mm", "number", "blur that the original's face seems to have beside its head: must be 0"),
        ("measured_mm", "number", "the same of the face with a blur of 5 mm planted on it"),
        ("blurred_found", "number", "share of the face's true skin within 2 mm in that blurred image (0..1)"),
        ("control_found", "number", "the same once the blur is undone: must be 0.8"),
        ("control_holds", "flag", "the controls hold; if not, the attack proves nothing about this head"),
        ("reason", "text", "why they do not", False),
    ),
}
