"""Align the MNI152 head to the built-in average: the affine that `defacedask.defacers.biometric_mask` carries.

    python -m tools.mni_alignment MNI152_2009_SSW.nii.gz

Prints the (4, 4) matrix from MNI152 (LPS mm) to the built-in average head (LPS mm).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

AVERAGE = Path(__file__).resolve().parents[1] / "defacedask" / "data" / "average_t1.nii.gz"


def align(path: Path) -> np.ndarray:
    """Rigid, then affine, by Mattes mutual information on every fifth voxel; one thread, so the same bits again."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    average = sitk.ReadImage(str(AVERAGE), sitk.sitkFloat32)
    published = sitk.ReadImage(str(path), sitk.sitkFloat32)
    if published.GetDimension() == 4:
        published = published[:, :, :, 0]
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.2)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 300)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([2, 1])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    rigid = sitk.Euler3DTransform()
    method.SetInitialTransform(rigid, True)
    method.Execute(published, average)
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    method.SetInitialTransform(affine, True)
    method.Execute(published, average)
    out = np.eye(4)
    out[:3, :3] = np.array(affine.GetMatrix()).reshape(3, 3)
    out[:3, 3] = affine.GetTranslation()
    return out


if __name__ == "__main__":
    print(np.array2string(align(Path(sys.argv[1])).round(4), suppress_small=True))
