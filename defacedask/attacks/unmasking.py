"""Looking below added material: by levels in the tissue, peeling, texture, the seam, and what is published with it.

A defacer that lays material on the face leaves the face inside; one that puts another face on may leave what it
did not reach. None of these attempts knows the original.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defacedask.attacks.base import Attempt
from defacedask.attacks.names import UNMASKED
from defacedask.attacks.outside import outside_air, skin_depth, voxel_step
from defacedask.attacks.target import Target, span_of
from defacedask.attacks.uncovering import uncovered

__all__ = ["peeled", "texture_split", "unmasked"]

#: mm below the skin within which added material is looked for.
DEEPEST = 25.0
#: Real values of soft tissue on CT: bone, teeth and air have textures of their own.
SOFT_HU = (-250.0, 250.0)


def unmasked(target: Target, mm: Sequence[float] = (3.0, 6.0, 10.0)) -> list[Attempt]:
    """Look for a face below added material.

    On CT the levels are those of fat against muscle and of muscle against bone; elsewhere, two and three times
    the skin's.
    """
    levels = [2.0 * target.level, 3.0 * target.level]
    if target.modality == "CT":
        levels = [-60.0, 30.0, 150.0]
    values = np.asarray(target.values, np.float32)
    by_level = [Attempt(UNMASKED, f"level {level:.4g}", values, level) for level in levels]
    return [
        *by_level,
        *peeled(target, mm),
        *texture_split(target),
        *(attempt for kind in uncovered(target).values() for attempt in kind),
    ]


def peeled(target: Target, mm: Sequence[float]) -> list[Attempt]:
    """Take a layer of constant thickness off the skin.

    Only what the outside air can reach is peeled: cavities inside the head stay as they are.

    Parameters
    ----------
    target : Target
    mm : sequence of float
        Thicknesses, one attempt each.
    """
    values, depth = np.asarray(target.values, np.float32), target.once(skin_depth)
    span, step = span_of(target), voxel_step(target)
    out = []
    for thickness in mm:
        # a ramp across the new skin, so that its surface is smooth, and never above what is there
        ramp = target.level + span * np.clip((depth - thickness) / step, -1.0, 1.0)
        out.append(Attempt(UNMASKED, f"peeled {thickness:g} mm", np.minimum(values, ramp), target.level))
    return out


def texture_split(target: Target) -> list[Attempt]:
    """Tell added material from tissue by its local noise, and take off what lies outside.

    The standard deviation in 3 x 3 x 3 voxels of soft tissue within `DEEPEST` mm of the skin is parted in two
    classes (Otsu 1979, of its logarithm). If one of them lies clearly farther out, what of it the outside air can
    reach is removed.

    Returns
    -------
    list of Attempt
        Empty where the two classes lie equally deep: there is no layer to be told apart.
    """
    from scipy.ndimage import binary_closing, uniform_filter
    from skimage.filters import threshold_otsu

    values, depth = np.asarray(target.values, np.float32), target.once(skin_depth)
    shell = (depth > 0) & (depth <= DEEPEST) & (values > target.level)
    if target.modality == "CT":
        shell &= (values > SOFT_HU[0]) & (values < SOFT_HU[1])
    if shell.sum() < 1000:
        return []
    weight = np.maximum(uniform_filter(shell.astype(np.float32), 3), 1e-6)
    # about the shell's middle value, so that squares of float32 keep their digits
    centred = np.where(shell, values - np.median(values[shell]), 0).astype(np.float32)
    mean = uniform_filter(centred, 3) / weight
    spread = np.sqrt(np.maximum(uniform_filter(centred**2, 3) / weight - mean**2, 0))
    texture = np.log(spread + 1e-3 * float(spread[shell].mean()) + 1e-6)
    sample = texture[shell]
    if float(np.ptp(sample)) < 1e-6:
        return []
    rough = texture > threshold_otsu(sample)
    # single voxels say little: the majority of their surroundings decides
    rough = uniform_filter((rough & shell).astype(np.float32), 3) > 0.5 * weight
    depths = [
        float(np.median(depth[part])) if part.any() else np.nan for part in (shell & rough, shell & ~rough)
    ]
    if not abs(depths[0] - depths[1]) >= max(1.0, 0.5 * voxel_step(target)):
        return []
    added = shell & (rough if depths[0] < depths[1] else ~rough)
    # partial volume leaves a sliver between the added material and the air: closed, one voxel
    empty = outside_air(
        binary_closing(np.pad((values < target.level) | added, 1, constant_values=True))[1:-1, 1:-1, 1:-1]
    )
    air = target.level - span_of(target)
    return [Attempt(UNMASKED, "texture", np.where(empty, np.float32(air), values), target.level)]
