"""Feature classes of pyradiomics beyond the study's ten features, computed by pyradiomics on the structure's box.

Each feature is named ``class_Feature`` (``glcm_Contrast``). Cropping to the structure's box changes no value and
saves most of the time: the extractor otherwise checks the mask on the whole image.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from defacedask.costs.features import TEN_FEATURES
from defacedask.errors import ConfigError, MissingExtraError

__all__ = ["CLASSES", "check_classes", "class_features", "feature_names"]

#: Classes of pyradiomics that hold for volumes.
CLASSES = ("firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm", "shape")


def check_classes(classes: str | Iterable[str] | None) -> list[str]:
    """Names of feature classes, each once, in pyradiomics' order; None means those of the configuration.

    Raises
    ------
    ConfigError
        For a class that pyradiomics does not have.
    MissingExtraError
        If classes are wanted and pyradiomics is not installed.
    """
    if classes is None:
        from defacedask import config

        classes = config.option("radiomics.feature-classes") or ()
    parts = classes.split(",") if isinstance(classes, str) else list(classes)
    wanted = {str(part).strip() for part in parts if str(part).strip()}
    unknown = sorted(wanted - set(CLASSES))
    if unknown:
        raise ConfigError(
            f"pyradiomics has no feature class {', '.join(unknown)}.", f"Choose from: {', '.join(CLASSES)}."
        )
    if wanted and importlib.util.find_spec("radiomics") is None:
        raise _missing("it is not installed")
    return [name for name in CLASSES if name in wanted]


def _missing(why: object) -> MissingExtraError:
    return MissingExtraError(
        f"feature classes beside the study's ten features are computed by pyradiomics ({why}).",
        "Install it with: pip install 'defacedask[radiomics]' (it is compiled: docs/install.md says how).",
    )


def _pyradiomics(module: str = "radiomics") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:  # a worker may lack what the one who asked has
        raise _missing(error) from None


@functools.cache
def feature_names(name: str) -> tuple[str, ...]:
    """Features of a class that are not deprecated, without the study's ten."""
    found = _pyradiomics().getFeatureClasses()[name].getFeatureNames()
    known = set(TEN_FEATURES) if name == "firstorder" else set()
    return tuple(sorted(n for n, deprecated in found.items() if not deprecated and n not in known))


def class_features(
    values: np.ndarray,
    mask: np.ndarray,
    spacing: Iterable[float],
    classes: Iterable[str],
    *,
    bin_width: float = 25,
    shift: float = 0,
) -> tuple[dict[str, float], str]:
    """Features of one structure.

    Parameters
    ----------
    values : (z, y, x) array
        Real values of the structure's box.
    mask : (z, y, x) bool array
    spacing : (dz, dy, dx)
        mm.
    classes : iterable of str
        See `CLASSES`.
    bin_width, shift : float
        pyradiomics' ``binWidth`` and ``voxelArrayShift``.

    Returns
    -------
    features : dict
        ``class_Feature`` -> value; nan where pyradiomics gives none.
    note : str
        Why there is none.
    """
    wanted = {name: feature_names(name) for name in classes}
    nothing = {f"{name}_{feature}": float("nan") for name, features in wanted.items() for feature in features}
    if not nothing or not mask.any():
        return nothing, ""
    inside = values[mask]
    if not np.isfinite(inside.astype(np.float64)).all():
        return nothing, "not finite"
    import SimpleITK as sitk

    featureextractor = _pyradiomics("radiomics.featureextractor")
    # one voxel of border: neighbourhoods and the mesh end at the mask, not at the array
    image, label = (sitk.GetImageFromArray(np.pad(a, 1)) for a in (_plain(values), mask.astype(np.uint8)))
    for one in (image, label):
        one.SetSpacing([float(s) for s in reversed(list(spacing))])
    extractor = _quiet(featureextractor.RadiomicsFeatureExtractor)(
        binWidth=bin_width, voxelArrayShift=shift, additionalInfo=False
    )
    extractor.disableAllFeatures()
    extractor.enableFeaturesByName(**{name: list(features) for name, features in wanted.items()})
    try:
        found = _quiet(extractor.execute)(image, label)
    except ValueError as error:
        return nothing, f"pyradiomics: {str(error).splitlines()[0]}"
    return {**nothing, **{name: float(found.get(f"original_{name}", np.nan)) for name in nothing}}, ""


def _plain(values: np.ndarray) -> np.ndarray:
    """Types that SimpleITK knows; the values stay the same."""
    return values if values.dtype.kind in "iuf" and values.dtype.itemsize > 1 else values.astype(np.float64)


def _quiet(function: Any) -> Any:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        logger = logging.getLogger("radiomics")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            return function(*args, **kwargs)
        finally:
            logger.setLevel(level)

    return run
