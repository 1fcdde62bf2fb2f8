"""Grids of the scans: what each size means, and where the field of view lies around a head."""

from __future__ import annotations

import dataclasses

import numpy as np

from defacedask.errors import ConfigError
from defacedask.geometry import Geometry
from defacedask.phantom.shape import Pose, subject_rng

__all__ = ["SIZES", "Protocol", "scan_grid"]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Grid of one modality: (slices, rows, columns), spacing in mm along them, inferior end of the field of view.

    ``bottom`` is in mm below the ears' level on the average head; the crown is always in view.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    bottom: float


SIZES: dict[str, dict[str, Protocol]] = {
    "coarse": {
        "CT": Protocol((75, 128, 128), (4.0, 2.2, 2.2), -200),
        "MR": Protocol((66, 128, 128), (4.0, 2.0, 2.0), -165),
        "PT": Protocol((60, 56, 56), (5.0, 5.0, 5.0), -200),
        "RTDOSE": Protocol((60, 56, 52), (5.0, 5.0, 5.0), -200),
    },
    "normal": {
        "CT": Protocol((120, 216, 216), (2.5, 1.3, 1.3), -200),
        "MR": Protocol((110, 208, 208), (2.4, 1.3, 1.3), -165),
        "PT": Protocol((92, 72, 72), (3.27, 4.0, 4.0), -200),
        "RTDOSE": Protocol((100, 92, 84), (3.0, 3.0, 3.0), -200),
    },
    "clinical": {
        "CT": Protocol((200, 512, 512), (1.5, 0.9766, 0.9766), -200),
        "MR": Protocol((264, 256, 256), (1.0, 1.05, 1.05), -165),
        "PT": Protocol((92, 168, 168), (3.27, 4.07, 4.07), -200),
        "RTDOSE": Protocol((120, 112, 100), (2.5, 2.5, 2.5), -200),
    },
}


def scan_grid(
    modality: str, size: str, seed: int, subject: int, scan: int, pose: Pose, frame: str
) -> Geometry:
    """Axis-aligned grid of one modality in scanner coordinates.

    The first scan has the protocol's field of view; further scans have another spacing and place.

    Raises
    ------
    ConfigError
        For an unknown size.
    """
    if size not in SIZES:
        raise ConfigError(f"there is no size {size!r}.", f"Choose from: {', '.join(SIZES)}.")
    protocol = SIZES[size][modality]
    spacing = np.array(protocol.spacing)
    offset = np.array([0.0, 0.0, 0.0])
    if scan > 1:
        u = subject_rng(seed, "view", subject, scan).uniform(-1, 1, 5)
        spacing = np.round(spacing * (1.03 + 0.03 * u[:3]), 4)
        offset = np.array([5 * u[3], 3.0, 8.0 + 8 * u[4]])
    # -2 mm: from the tip of the nose to the couch the head is not centred on the ears
    middle = pose.shift + offset * (1, 0, 0) + np.array([0.0, -2.0 + offset[1], 0.0])
    origin = np.array(
        [
            middle[0] - spacing[2] * (protocol.shape[2] - 1) / 2,
            middle[1] - spacing[1] * (protocol.shape[1] - 1) / 2,
            pose.shift[2] + protocol.bottom + offset[2],
        ]
    )
    return Geometry.from_spacing(protocol.shape, spacing.tolist(), np.round(origin, 2), frame)
