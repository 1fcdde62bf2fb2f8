"""An average head for people to look at: from the front, from the side, and cut along the middle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from defacedask.anatomy.template import Template
from defacedask.errors import writing
from defacedask.volume import real_values

__all__ = ["draw", "write_picture"]

#: Grey values that are black and white in the slice.
WINDOWS = {"CT": (-200.0, 300.0), "MR": (0.0, 450.0)}


def draw(template: Template, size: int = 400) -> np.ndarray:
    """Three views side by side.

    Returns
    -------
    (size, 3 * size, 3) uint8 array
        RGB.
    """
    from PIL import Image

    from defacedask.faces.render import render_view, skin_surface

    values = real_values(template.image).values
    # the stored distance to the skin is what the defacers use: its zero is the surface
    skin = real_values(template.skin).values
    surface = skin_surface(-skin, template.geometry, level=0.0, smooth_mm=0.0)
    views = [render_view(surface, yaw=yaw, size=size) for yaw in (0.0, 90.0)]
    grid = template.geometry
    middle = round(float(grid.to_index([0.0, 0.0, 0.0])[2]))
    low, high = WINDOWS.get(template.modality, (float(values.min()), float(values.max())))
    plane = np.clip((values[::-1, :, middle] - low) / (high - low), 0, 1)
    wide = max(plane.shape)
    square = np.zeros((wide, wide), np.uint8)
    top, left = (wide - plane.shape[0]) // 2, (wide - plane.shape[1]) // 2
    square[top : top + plane.shape[0], left : left + plane.shape[1]] = (plane * 255).astype(np.uint8)
    cut = Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC).convert("RGB")
    return np.concatenate([*views, np.asarray(cut)], axis=1)


def write_picture(template: Template, path: Path) -> None:
    """Write `draw` as a PNG.

    Raises
    ------
    OutputError
    """
    from PIL import Image

    picture = Image.fromarray(draw(template))
    with writing(f"the picture {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, format="PNG", optimize=True)
