"""What is known of each modality, in one record: a new one is added here, and where its values are made or read."""

from __future__ import annotations

import dataclasses

from defacedask.errors import InputError

__all__ = [
    "AIR",
    "FACES",
    "IMAGES",
    "MODALITIES",
    "NARROWEST",
    "THICKEST",
    "Modality",
    "air_of",
    "modality_of",
]

#: mm between slices, and mm of the field of view, beyond which an image shows no shape of a face.
THICKEST, NARROWEST = 7.5, 90.0
_ROOT = "1.2.840.10008.5.1.4.1.1."


@dataclasses.dataclass(frozen=True)
class Modality:
    """One modality of images of the anatomy.

    Attributes
    ----------
    name : str
        As in the header.
    air : float
        What empty space reads, in real units.
    units : str
        Of real values where the header says nothing else; "1" is arbitrary.
    classes, enhanced : tuple of str
        SOP classes: one slice an instance, and many.
    shows_face : bool
        Whether an image by itself shows where a face is.
    average : str
        Built-in average head of its kind; the T1's serves for those that have none.
    skin : float or None
        Level of the skin, in real units; None where it is measured.
    skin_part : float
        Measured, it is this part of the level between air and tissue, since skin is darker than most tissue.
    other_levels : tuple of float
        Levels at which an attacker also looks for a skin: in real units, or where it is measured as parts of it.
    window : tuple of float or None
        Real values shown black and white; None: by the values.
    prefix : str
        Of its columns in published tables.
    match, outline : float
        Gates of a head's place, see `defacedask.anatomy.quality`: the score of the average head laid on it, and the
        overlap of its outline with the average's. Those of MR serve where no head of the modality was measured.
    """

    name: str
    air: float
    units: str
    classes: tuple[str, ...]
    enhanced: tuple[str, ...]
    shows_face: bool = True
    average: str = "average_t1"
    skin: float | None = None
    skin_part: float = 1.0
    other_levels: tuple[float, ...] = ()
    window: tuple[float, float] | None = None
    prefix: str = ""
    match: float = 0.33
    outline: float = 0.88

    def attack_levels(self, skin: float) -> tuple[float, ...]:
        """`other_levels` in real units, of an image whose skin lies at a level."""
        return tuple(level if self.skin is not None else level * skin for level in self.other_levels)


#: All, those that plans are rather made on first.
MODALITIES: dict[str, Modality] = {
    one.name: one
    for one in (
        Modality(
            "CT",
            air=-1000.0,
            units="HU",
            classes=(_ROOT + "2",),
            enhanced=(_ROOT + "2.1", _ROOT + "2.2"),
            average="average_ct",
            # low enough to keep thin parts such as nostrils, high enough to leave hair and blankets out
            skin=-300.0,
            other_levels=(-600.0, -100.0),
            window=(-400.0, 600.0),
            prefix="ct",
            match=0.22,
            outline=0.7,
        ),
        Modality(
            "MR",
            air=0.0,
            units="1",
            classes=(_ROOT + "4",),
            enhanced=(_ROOT + "4.1", _ROOT + "4.4"),
            # also fat-suppressed skin
            skin_part=0.5,
            other_levels=(0.5, 1.6),
            prefix="mri",
        ),
        Modality(
            "PT",
            air=0.0,
            units="1",
            classes=(_ROOT + "128",),
            enhanced=(_ROOT + "130", _ROOT + "128.1"),
            shows_face=False,
            # the skin takes up little
            skin_part=0.25,
            other_levels=(0.5, 1.6),
            prefix="pet",
            outline=0.86,
        ),
    )
}
#: Names of all, in that order.
IMAGES: tuple[str, ...] = tuple(MODALITIES)
#: Names of those of which an image by itself shows where a face is.
FACES: tuple[str, ...] = tuple(name for name, one in MODALITIES.items() if one.shows_face)
#: What empty space reads in real units (HU, arbitrary, SUV or Bq/mL, Gy), in images and doses.
AIR: dict[str, float] = {**{name: one.air for name, one in MODALITIES.items()}, "RTDOSE": 0.0}


def modality_of(name: str) -> Modality:
    """The record of a modality.

    Raises
    ------
    InputError
        For one that is not known: nothing is guessed.
    """
    try:
        return MODALITIES[name]
    except KeyError:
        raise InputError(
            f"{name!r} is no known modality of images.", f"Known: {', '.join(IMAGES)}."
        ) from None


def air_of(modality: str) -> float:
    """Real value of empty space in a modality.

    Raises
    ------
    InputError
        For a modality whose air is not known: nothing is guessed.
    """
    try:
        return AIR[modality]
    except KeyError:
        raise InputError(
            f"no fill value is known for modality {modality!r}.", f"Known: {', '.join(sorted(AIR))}."
        ) from None
