"""From where a head is looked at: angles, light, and a frame fixed in millimetres.

A camera depends on the head's pose and on these numbers alone, never on the surface or the image, so an
original and its defaced versions are seen by the same camera, to the last bit.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable

import numpy as np

from defacedask.errors import ConfigError

__all__ = [
    "AMBIENT",
    "BACKGROUND",
    "DIFFUSE",
    "FACE",
    "LIGHTS",
    "SKIN",
    "STUDY_VIEWS",
    "Framing",
    "View",
    "view_grid",
]

#: Direction to the key light as parts of the camera's right, up and towards-the-viewer axes; its strength; and
#: the strength of a weak lamp at the camera. A face lit from the camera is flat. Measured on 28 planning CTs that
#: the lights were not chosen on (three pitches; dlib): the lamp at the camera gives faces in 61 of 84 pictures and
#: an AUC of 0.90 to 0.97 between same and different persons, ``studio`` 77 to 79 of 84 and 0.99 to 1.00.
LIGHTS: dict[str, tuple[tuple[float, float, float], float, float]] = {
    "studio": ((-0.5, 0.7, 1.0), 0.85, 0.25),
    "side": ((-1.0, 1.0, 1.0), 0.85, 0.25),
    "head": ((0.0, 0.0, 1.0), 1.0, 0.0),
}


#: Colours of skin and background, 0..1, and the parts of the light that come from everywhere and from the lamps.
SKIN, BACKGROUND = (0.87, 0.72, 0.61), (0.35, 0.35, 0.38)
AMBIENT, DIFFUSE = 0.08, 0.92


@dataclasses.dataclass(frozen=True, order=True)
class View:
    """One direction of view.

    Parameters
    ----------
    yaw : float
        Degrees the camera is turned to the patient's left; 0 is frontal, 90 sees the left profile.
    pitch : float
        Degrees the camera looks up; negative looks down from above, which is what a chin-up head needs.
    light : str
        One of `LIGHTS`: ``studio`` (above the camera and a little to its left), ``side`` (farther round, with
        deeper shadows) or ``head`` (at the camera).
    """

    yaw: float = 0.0
    pitch: float = 0.0
    light: str = "studio"

    def __post_init__(self) -> None:
        if self.light not in LIGHTS:
            raise ConfigError(f"unknown light {self.light!r}.", f"Choose from: {', '.join(LIGHTS)}.")
        if not -90 < self.pitch < 90:
            raise ConfigError(
                f"the pitch of a view must lie between -90 and 90 degrees, not at {self.pitch:g}."
            )

    @property
    def name(self) -> str:
        """Short name for tables and files, such as ``yaw+15_pitch-20`` (light named unless it is the studio's)."""
        text = f"yaw{self.yaw:+g}_pitch{self.pitch:+g}"
        return text if self.light == "studio" else f"{text}_{self.light}"

    @classmethod
    def from_name(cls, name: str) -> View:
        """Inverse of `name`.

        Raises
        ------
        ConfigError
            If it is no view's name.
        """
        number = r"[+-](?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
        found = re.fullmatch(rf"yaw({number})_pitch({number})(?:_(\w+))?", name)
        if found is None:
            raise ConfigError(f"{name!r} is no view's name.", "It looks like yaw+15_pitch-20.")
        return cls(float(found[1]), float(found[2]), found[3] or "studio")

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Right, up and towards-the-camera unit vectors in the head frame (L, P, S)."""
        yaw, pitch = np.radians([self.yaw, self.pitch])
        towards = np.array([np.sin(yaw) * np.cos(pitch), -np.cos(yaw) * np.cos(pitch), -np.sin(pitch)])
        right = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        return right, np.cross(towards, right), towards

    def lamps(self) -> list[tuple[np.ndarray, float]]:
        """Unit vector towards each lamp in the head frame, and its strength."""
        axes = self.axes()
        parts, key, fill = LIGHTS[self.light]
        direction = sum((part * axis for part, axis in zip(parts, axes, strict=True)), np.zeros(3))
        lamps = [(direction / np.linalg.norm(direction), key), (axes[2], fill)]
        return [lamp for lamp in lamps if lamp[1] > 0]


@dataclasses.dataclass(frozen=True)
class Framing:
    """What part of the head frame fills the picture.

    Parameters
    ----------
    focus : (L, P, S)
        mm in the head frame; middle of the picture and centre of all rotations.
    extent : float
        Height and width of the picture at the focus, mm.
    distance : float
        Of the camera from the focus, mm; `math.inf` for a parallel projection.
    """

    focus: tuple[float, float, float] = (0.0, -55.0, -45.0)
    extent: float = 280.0
    distance: float = 1400.0


#: The average head's face with its forehead and chin, and room for a neck.
FACE = Framing()


def view_grid(
    yaws: Iterable[float], pitches: Iterable[float], lights: Iterable[str] = ("studio",)
) -> tuple[View, ...]:
    """Every combination, yaw running fastest."""
    return tuple(View(y, p, light) for light, p, y in itertools.product(lights, pitches, tuple(yaws)))


#: Views of the study: frontal and a little to the sides, at the pitches that planning CTs (chin up) need.
STUDY_VIEWS = view_grid((0.0, -15.0, 15.0), (0.0, -10.0, -20.0))
