"""What columns the tables of a run have: one schema each, with the meaning of every column."""

from __future__ import annotations

from dataclasses import dataclass

from defacedask.costs.features import TEN_FEATURES

__all__ = ["SCHEMAS", "TEN_FEATURES", "Column"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name : str
    kind : str
        ``text``, ``number`` (float64, NaN where there is none), ``count`` (nullable integer) or ``flag``
        (nullable boolean).
    meaning : str
        One line for people, with the unit.
    required : bool
        False for columns that rows need not bring; they are filled with "nothing".
    """

    name: str
    kind: str
    meaning: str
    required: bool = True


def _columns(*rows: tuple[str, str, str] | tuple[str, str, str, bool]) -> tuple[Column, ...]:
    return tuple(Column(*row) for row in rows)


SCHEMAS: dict[str, tuple[Column, ...]] = {
    "cases": _columns(
        ("case", "text", "name of the case, unique in the run"),
        ("patient", "text", "patient the case belongs to", False),
        ("modality", "text", "modality of the image the head was found on", False),
        ("status", "text", "done | refused | failed"),
        ("reason", "text", "why it was refused or failed", False),
        ("peak_rss_mb", "number", "largest resident memory of the worker, MB", False),
        ("notes", "text", "what was left out or unusual though the case was done", False),
        ("face_kept_percent", "number", "most of the face's skin that protected structures keep, %", False),
        ("face_kept", "text", "by defacer: what of the face stays visible because of them", False),
        (
            "virtual",
            "flag",
            "a virtual patient of `defacedask phantom`, by the headers of all its images",
            False,
        ),
    ),
    "skipped": _columns(
        ("path", "text", "the file, or the first file of the series"),
        ("reason", "text", "why it was not used"),
        ("series_uid", "text", "series, where it is known", False),
        ("patient_id", "text", "patient, where it is known", False),
        ("files", "count", "files left out", False),
        ("modality", "text", "modality, where it is known", False),
    ),
    "recognition": _columns(
        ("case", "text", "name of the case"),
        ("defacer", "text", "who defaced; 'original' is the positive control"),
        ("modality", "text", "what the surface was made from"),
        ("recogniser", "text", "which face recogniser looked"),
        ("attack", "text", "plain, or what was done before looking"),
        ("view", "text", "camera direction"),
        ("level", "number", "value of the skin surface, in the modality's unit"),
        ("detected", "flag", "a face was detected"),
        ("distance_to_own", "number", "distance to the same person in the gallery; none if not encoded"),
        ("rank_of_own", "count", "1 = the right person is the nearest of the gallery", False),
        ("gallery_size", "count", "persons in the gallery", False),
        ("nearest_other", "number", "distance to the nearest other person of the gallery", False),
        ("comparable", "flag", "the gallery has something of this person to compare with", False),
        ("variant", "text", "which attempt of the attack", False),
        ("forced", "flag", "encoded at the original's box and landmarks, whatever was detected", False),
    ),
    "best_attempts": _columns(
        ("case", "text", "name of the case"),
        ("defacer", "text", "who defaced; 'original' is the positive control"),
        ("modality", "text", "what the surface was made from"),
        ("recogniser", "text", "which face recogniser looked"),
        ("attack", "text", "plain, or what was done before looking"),
        ("attempts", "count", "pictures looked at"),
        ("detected", "flag", "a face was detected in any of them"),
        ("distance_to_own", "number", "smallest distance to the own original; none if never encoded", False),
        ("rank_of_own", "count", "in that picture, 1 = the right person is the nearest", False),
        ("nearest_other", "number", "smallest distance of any attempt to another person", False),
        ("named", "flag", "the own person is nearer than everybody else over all attempts", False),
        ("view", "text", "camera direction of the nearest attempt", False),
        ("variant", "text", "which attempt of the attack it was", False),
        ("level", "number", "value of its skin surface", False),
        ("forced", "flag", "it was encoded at the original's box and landmarks", False),
    ),
    "controls": _columns(
        ("modality", "text", "what the surface was made from"),
        ("recogniser", "text", "which face recogniser looked"),
        ("persons", "count", "persons whose originals were looked at"),
        ("persons_detected", "count", "of these, with a face detected in any view"),
        ("positive_n", "count", "persons with a face in at least two views"),
        (
            "positive_matches",
            "count",
            "of these, matched to themselves at another view, calibrated threshold",
        ),
        (
            "positive_matches_at_tolerance",
            "count",
            "the same at the recogniser's tolerance, if it has one",
            False,
        ),
        ("positive_rank_1", "count", "of these, nearest to themselves at another view", False),
        ("negative_n", "count", "comparisons of different persons", False),
        ("negative_rate", "number", "share of these within that tolerance (0..1)", False),
        (
            "negative_matches",
            "count",
            "of these, within the larger of that tolerance and the calibrated threshold",
            False,
        ),
        ("threshold", "number", "distance calibrated on originals at threshold_fpr", False),
        (
            "threshold_fpr",
            "number",
            "share of different persons taken for the same one at the threshold",
            False,
        ),
        ("threshold_tpr", "number", "share of same-person pairs within the threshold", False),
        ("holds", "flag", "the positive control holds"),
        ("reason", "text", "why it does not", False),
        ("auc", "number", "area under the ROC of originals against originals", False),
        ("eer", "number", "equal error rate of the same (0..1)", False),
        ("threshold_note", "text", "why there is no threshold, or a caution", False),
        ("gallery", "text", "originals | second-scan | photographs", False),
        ("not_in_gallery", "text", "persons of whom the gallery holds nothing to compare with", False),
        ("gallery_note", "text", "why, and what else is unusual about the gallery's pictures", False),
    ),
    "verification": _columns(
        ("defacer", "text", "who defaced; 'original' is the positive control"),
        ("modality", "text", "what the surface was made from; 'any': the nearest by any of them"),
        ("recogniser", "text", "which face recogniser looked; 'any': the nearest by any of them"),
        ("attack", "text", "plain, or what was done before looking; 'any': the nearest by any of them"),
        ("cases", "count", "cases looked at"),
        ("judged", "count", "of these, with their person in the gallery"),
        ("with_face", "count", "cases with a face encoded in any picture", False),
        ("gallery_size", "count", "persons in the gallery", False),
        ("genuine", "count", "comparisons with the own person, one a case", False),
        ("impostor", "count", "comparisons with other persons", False),
        ("limit", "number", "distance that counts as recognised ('any': part of each recogniser's)", False),
        ("matched", "count", "cases within the limit of their own person"),
        ("chance", "number", "share of comparisons with other persons within it (0..1)", False),
        ("matched_tolerance", "count", "cases within the recogniser's tolerance, if it has one", False),
        ("chance_tolerance", "number", "share of comparisons with other persons within it (0..1)", False),
        ("rank_1", "count", "cases whose nearest person is the right one", False),
        ("auc", "number", "area under the ROC of cases", False),
        ("auc_low", "number", "95 % bootstrap interval over persons", False),
        ("auc_high", "number", "95 % bootstrap interval over persons", False),
        ("tpr_at_0.01", "number", "cases recognised at 1 % false positives; none if not measurable", False),
        ("tpr_at_0.01_low", "number", "95 % bootstrap interval over persons", False),
        ("tpr_at_0.01_high", "number", "95 % bootstrap interval over persons", False),
        (
            "tpr_at_0.001",
            "number",
            "cases recognised at 0.1 % false positives; none if not measurable",
            False,
        ),
        ("tpr_at_0.001_low", "number", "95 % bootstrap interval over persons", False),
        ("tpr_at_0.001_high", "number", "95 % bootstrap interval over persons", False),
        ("eer", "number", "equal error rate (0..1)", False),
        ("note", "text", "what cannot be told from so few comparisons", False),
    ),
    "curves": _columns(
        ("defacer", "text", "who defaced; 'original' is the positive control"),
        ("modality", "text", "as in verification"),
        ("recogniser", "text", "as in verification"),
        ("attack", "text", "as in verification"),
        ("curve", "text", "roc (x: false positive rate, y: true positive rate) or cmc (x: rank)"),
        ("x", "number", "false positive rate, or rank"),
        ("y", "number", "share of cases (0..1)"),
    ),
    "radiomics": _columns(
        ("case", "text", "name of the case"),
        ("defacer", "text", "who defaced"),
        ("structure", "text", "standard name of the structure"),
        ("feature", "text", "first-order feature"),
        ("original", "number", "value before"),
        ("defaced", "number", "value after"),
        ("percent", "number", "100*(original-defaced)/original"),
        ("voxels", "count", "voxels of the structure", False),
        ("voxels_changed", "count", "of these, changed by defacing", False),
        ("note", "text", "what keeps the percentage from meaning what it says", False),
        ("modality", "text", "image the structure lies on", False),
        ("structure_set", "text", "which of the case's structure sets", False),
    ),
    "dose": _columns(
        ("case", "text", "name of the case"),
        ("defacer", "text", "who defaced"),
        ("structure", "text", "standard name of the structure"),
        ("metric", "text", "Dmean, D2, ... (unit in its name or Gy)"),
        ("original", "number", "value before"),
        ("defaced", "number", "value after"),
        ("difference", "number", "original - defaced: negative means increased by defacing", False),
        ("voxels", "count", "voxels of the structure", False),
        ("voxels_outside", "count", "of these, outside the dose grid: left out", False),
        ("note", "text", "what is unusual", False),
        ("dose", "text", "which of the case's dose grids", False),
        ("structure_set", "text", "which of the case's structure sets", False),
    ),
    "geometry": _columns(
        ("case", "text", "name of the case"),
        ("defacer", "text", "who defaced"),
        ("modality", "text", "image the structure lies on"),
        ("structure", "text", "standard name of the structure"),
        ("original_name", "text", "its name in the structure set", False),
        ("target", "flag", "it is a target volume (PTV, CTV, GTV, ITV)"),
        ("volume_ml", "number", "volume before"),
        ("region_ml", "number", "the part of it that the plan may change"),
        ("region_percent", "number", "that part in percent of the volume"),
        ("after_ml", "number", "volume of the contours on export, clipped to what lies outside the region"),
        ("note", "text", "what is unusual", False),
        ("structure_set", "text", "which of the case's structure sets", False),
    ),
    "exports": _columns(
        ("case", "text", "name of the case"),
        ("defacer", "text", "who defaced"),
        ("status", "text", "done | refused | failed: whether it was written"),
        ("reason", "text", "why it was not", False),
        ("instances", "count", "files written", False),
        ("held_back", "count", "files of the case held back", False),
        ("face_moved", "number", "share of the face's skin that moved by 3 mm or more (0..1)", False),
        ("visible", "flag", "written though the face is still visible", False),
        ("reversible", "flag", "written though the face is only covered", False),
        (
            "recognised",
            "flag",
            "the run's attacks recognised people behind this defacer, more than chance gives: what is written says "
            "that the face is visible",
            False,
        ),
        ("targets", "text", "what was clipped of target volumes", False),
    ),
    "unmasking": _columns(
        ("case", "text", "name of the case"),
        ("defacer", "text", "who defaced"),
        ("modality", "text", "of the image"),
        ("attempt", "text", "mask | seam | classifier: how the old skin was looked for"),
        ("skin_found", "number", "share of the face's true skin within 2 mm of what was found (0..1)"),
        ("peel_found", "number", "the same for the best peel of constant thickness, which knows nothing"),
        ("control_found", "number", "the same below a weak layer planted on the original: must be 0.8"),
        ("control_holds", "flag", "the positive control holds; if not, the attempt proves nothing"),
        ("reason", "text", "why it does not", False),
    ),
    "timing": _columns(
        ("case", "text", "name of the case"),
        ("stage", "text", "part of the work"),
        ("defacer", "text", "who defaced; empty for what concerns the whole case", False),
        ("status", "text", "done | refused | failed"),
        ("seconds", "number", "wall time of the part"),
        ("peak_rss_mb", "number", "largest resident memory of the worker meanwhile, MB", False),
    ),
    "faces_detected": _columns(
        ("defacer", "text", "who defaced"),
        ("modality", "text", "what the surface was made from"),
        ("recogniser", "text", "which face recogniser looked", False),
        ("cases", "count", "cases looked at"),
        ("faces_detected", "count", "cases with a face detected in any plain view"),
        ("matches", "count", "cases within the tolerance of their own original in any plain view"),
        ("tolerance", "number", "the recogniser's largest distance of a match, if it has one", False),
        ("upper_bound_95", "number", "one-sided 95 % upper bound of the match rate (0..1)"),
        ("matches_any_attack", "count", "cases matched by any of the attacks", False),
        ("attacks", "count", "attacks tried, plain included", False),
        ("rank_1", "count", "cases whose nearest person is the right one in any plain view", False),
        ("matches_calibrated", "count", "cases within the calibrated threshold in any plain view", False),
        ("threshold", "number", "that threshold", False),
        ("upper_bound_95_calibrated", "number", "upper bound of that match rate (0..1)", False),
        ("detected_upper_bound_95", "number", "upper bound of the detection rate (0..1)", False),
        ("judged", "count", "cases that can be matched: the gallery has something of their person", False),
    ),
    "radiomics_percent": _columns(
        ("defacer", "text", "who defaced"),
        ("structure", "text", "standard name of the structure"),
        *((name, "number", "mean over cases of 100*(original-defaced)/original") for name in TEN_FEATURES),
        ("modality", "text", "image the structures lie on", False),
    ),
    "radiomics_summary": _columns(
        ("defacer", "text", "who defaced"),
        ("structure", "text", "standard name of the structure"),
        ("feature", "text", "first-order feature"),
        ("n", "count", "cases in the numbers of this row"),
        ("mean", "number", "mean over cases of the percent changes"),
        ("median", "number", "median of them"),
        ("q1", "number", "lower quartile", False),
        ("q3", "number", "upper quartile", False),
        ("p95", "number", "95th percentile of the absolute percent changes", False),
        ("max", "number", "largest absolute percent change", False),
        ("ratio_of_means", "number", "100*(mean original - mean defaced)/mean original", False),
        ("iqr", "number", "q3 - q1", False),
        ("cases", "count", "rows in all", False),
        ("undefined", "count", "of these, without a percent change: in no number of this row", False),
        ("near_zero", "count", "of these, with an original value near zero", False),
        ("mean_without_near_zero", "number", "mean without those", False),
        ("cases_touched", "count", "cases with a voxel changed", False),
        ("equal", "count", "cases whose value is exactly the same", False),
        ("voxels", "count", "voxels of all cases", False),
        ("fraction_changed", "number", "share of them that changed (0..1)", False),
        ("concordance", "number", "Lin's concordance of original and defaced values", False),
        ("modality", "text", "image the structures lie on", False),
        ("untouched", "count", "cases without a voxel changed", False),
        ("untouched_equal", "count", "of these, with exactly the same value: must be all", False),
        ("repeated", "count", "rows of further structure sets of the same case, left out", False),
    ),
}
