"""One image of one head, shown to the recognisers: as it is, and as each attack makes it.

The original comes first: its level, its views with a face and its boxes are what the defaced versions are looked at
with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks import get_attack
from defacedask.attacks.names import (
    AVERAGE,
    AVERAGE_FORCED,
    BEST,
    DEBLURRED,
    FORCED,
    PET,
    PLAIN,
    SYNTHETIC,
    UNMASKED,
)
from defacedask.attacks.target import Target, target_of
from defacedask.faces.looking import Examiner, best_views
from defacedask.faces.views import View, view_grid
from defacedask.geometry import Geometry
from defacedask.modality import FACES

if TYPE_CHECKING:
    import pyvista

    from defacedask.attacks.base import Attempt
    from defacedask.faces.recognition import Recogniser

__all__ = [
    "PET_LEVELS",
    "PET_SMOOTH_MM",
    "Examination",
    "Shown",
    "examiner_for",
    "extra_views",
]

#: Levels at which a PET's skin is looked for, as parts of `defacedask.faces.surface.skin_level`. How bright skin
#: is beside the rest depends on how much brain and body are in view: on a whole-body PET faces were found at 5 to 10
#: times that level and none at it, on heads alone at a quarter to a half of it.
PET_LEVELS = (1.0, 0.5, 0.25, 2.0, 4.0, 8.0)
#: Standard deviation of the blur of a PET, whose noise would roughen its skin, mm.
PET_SMOOTH_MM = 4.0


def extra_views(best: View) -> tuple[View, ...]:
    """Where else to look from: a little to both sides of the best view, and with deeper shadows."""
    return (
        View(best.yaw - 15, best.pitch),
        View(best.yaw + 15, best.pitch),
        View(best.yaw, best.pitch, "side"),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """One image of a head.

    Attributes
    ----------
    path : str
        As in the case store, such as ``images/CT``: the same for an original and its defaced versions.
    modality : str
    values : (z, y, x) array
        Real values.
    geometry : Geometry
    level : float
        Of the skin, from the original.
    drop : (z, y, x) bool array, optional
        What is not body in the original.
    unchanged : bool
        Whether it is known to be what the original is, at each voxel: then it looks as that does.
    """

    path: str
    modality: str
    values: np.ndarray
    geometry: Geometry
    level: float
    drop: np.ndarray | None = None
    unchanged: bool = False


@dataclasses.dataclass(frozen=True)
class Examination:
    """How heads are looked at; the same for a whole study.

    Attributes
    ----------
    attacks : tuple of str
        See `defacedask.attacks.names`.
    yaws, pitches : tuple of float
        Of the plain views, degrees.
    modalities : tuple of str
        In which a skin surface is looked for.
    size : int
        Of the pictures, pixels.
    smooth_mm : float, optional
        See `defacedask.faces.surface.skin_surface`.
    """

    attacks: tuple[str, ...] = (PLAIN, FORCED)
    yaws: tuple[float, ...] = (0.0,)
    pitches: tuple[float, ...] = (-20.0, -10.0, 0.0, 10.0)
    modalities: tuple[str, ...] = FACES
    size: int = 400
    smooth_mm: float | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Examination:
        """From a study's settings of the stage ``faces``; what else they hold is left alone."""
        known = {f.name for f in dataclasses.fields(cls)} & set(settings)
        given: dict[str, Any] = {name: settings[name] for name in known}
        ready: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in given.items()}
        return cls(**ready)

    @property
    def views(self) -> tuple[View, ...]:
        """The plain ones."""
        return view_grid(self.yaws, self.pitches)

    def wants(self, modality: str) -> bool:
        """Whether an image of this modality is looked at."""
        return modality in self.modalities or (modality == "PT" and PET in self.attacks)

    def surface(self, shown: Shown, pose: np.ndarray) -> pyvista.PolyData:
        """Skin of an image."""
        from defacedask.faces.surface import skin_surface

        return skin_surface(
            shown.values,
            shown.geometry,
            level=shown.level,
            drop=shown.drop,
            pose=pose,
            smooth_mm=PET_SMOOTH_MM if self.smooth_mm is None and shown.modality == "PT" else self.smooth_mm,
            # around a contoured structure and a dose there is nothing
            air=0.0 if shown.modality in ("RTSTRUCT", "RTDOSE") else None,
        )

    def plain(self, examiner: Examiner, shown: Shown, guide: str = "") -> pyvista.PolyData | None:
        """Look from the plain views alone: at a contour or a dose grid. None if it is unchanged and was not drawn.

        ``guide`` is the path of the image that shows where the original's face is (see `Examiner.see`).
        """
        if shown.unchanged and examiner.repeat(shown.path):
            return None
        surface = self.surface(shown, examiner.pose)
        about: dict[str, Any] = {"path": shown.path, "modality": shown.modality, "level": shown.level}
        examiner.see(surface, self.views, **about, guide=guide)
        return surface

    def original(self, examiner: Examiner, shown: Shown) -> pyvista.PolyData:
        """Look at an original: the plain views, and those that `extra_views` adds around the best of them.

        A PET is looked at at whichever of `PET_LEVELS` shows a face in most views: an attacker would turn that knob.
        """
        shown, surface = self._found(examiner, shown)
        about: dict[str, Any] = {"path": shown.path, "modality": shown.modality, "level": shown.level}
        examiner.see(surface, self.views, **about)
        if BEST in self.attacks and shown.modality in self.modalities:
            more = extra_views(self._best(examiner.looks, shown.path)[0])
            examiner.see(surface, more, **about, attack=BEST)
        return surface

    def defaced(
        self,
        examiner: Examiner,
        shown: Shown,
        own: Sequence[Mapping[str, Any]],
        to_template: np.ndarray | None = None,
        target: Target | None = None,
    ) -> pyvista.PolyData:
        """Look at a defaced image: plain, with the forced crop, and by every attack of the examination.

        Parameters
        ----------
        examiner : Examiner
        shown : Shown
        own : sequence of looks
            At the original. The level is theirs, where they have this image.
        to_template : (4, 4) array, optional
            World LPS mm to the template, affine; default the pose.
        target : Target, optional
            What `target` gives for this image at the original's level, if it is there already.
        """
        levels = [look["level"] for look in own if (look["path"], look["attack"]) == (shown.path, PLAIN)]
        shown = dataclasses.replace(shown, level=levels[0]) if levels else shown
        names = self.attempts(shown.modality)
        surface = self.surface(shown, examiner.pose)
        about: dict[str, Any] = {"path": shown.path, "modality": shown.modality}
        examiner.see(surface, self.views, **about, level=shown.level)
        if not names:
            return surface
        best = self._best(own, shown.path)
        if BEST in names:
            examiner.see(surface, extra_views(best[0]), **about, level=shown.level, attack=BEST)
        target = target or self.target(shown, examiner.pose, to_template)
        # attack by attack: images take much room
        for attempt in (made for one in names for made in get_attack(one).attempts(target)):
            self.look_at(examiner, attempt, target, own, shown.path)
        return surface

    def look_at(
        self,
        examiner: Examiner,
        attempt: Attempt,
        target: Target,
        own: Sequence[Mapping[str, Any]],
        path: str,
    ) -> pyvista.PolyData:
        """Look at an attempt from the original's best views.

        Parameters
        ----------
        examiner : Examiner
        attempt : Attempt
            Of an attack that `defacedask.attacks.get_attack` knows.
        target : Target
            That it was made of.
        own : sequence of looks
            At the original.
        path : str
            See `Shown`.
        """
        from defacedask.faces.surface import skin_surface

        made = skin_surface(
            attempt.values,
            attempt.geometry or target.geometry,
            level=attempt.level,
            pose=examiner.pose,
            smooth_mm=self.smooth_mm,
        )
        examiner.see(
            made,
            self._best(own, path)[: get_attack(attempt.attack).views],
            path=path,
            modality=target.modality,
            level=attempt.level,
            attack=attempt.attack,
            variant=attempt.variant,
        )
        return made

    def target(
        self,
        shown: Shown,
        pose: np.ndarray,
        to_template: np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ) -> Target:
        """What the attacks are done to."""
        return target_of(
            shown.values,
            shown.geometry,
            modality=shown.modality,
            level=shown.level,
            pose=pose,
            to_template=to_template,
            drop=shown.drop,
            mask=mask,
        )

    def attempts(self, modality: str) -> list[str]:
        """Attacks that make images of their own of an image of this modality."""
        return [a for a in self.attacks if get_attack(a).makes] if modality in self.modalities else []

    def judges(self, modality: str) -> bool:
        """Whether un-masking of this modality is judged against the original."""
        return UNMASKED in self.attacks and modality in self.modalities

    def seeks(self, modality: str) -> bool:
        """Whether what is told to be synthetic in this modality is judged against the original."""
        return SYNTHETIC in self.attacks and modality in self.modalities

    def sharpens(self, modality: str) -> bool:
        """Whether deblurring of this modality has its control on the original."""
        return DEBLURRED in self.attacks and modality in self.modalities

    def _found(self, examiner: Examiner, shown: Shown) -> tuple[Shown, pyvista.PolyData]:
        """Settle the level of an original, and give the surface at it."""
        from defacedask.faces.render import render_views

        usual = shown, self.surface(shown, examiner.pose)
        # a service is asked no more than it must be
        eye = next((one for one in examiner.recognisers if not one.remote), None)
        if shown.modality != "PT" or eye is None:
            return usual
        best, most = usual, -1
        for part in PET_LEVELS:
            at = dataclasses.replace(shown, level=shown.level * part)
            surface = usual[1] if part == 1.0 else self.surface(at, examiner.pose)
            pictures = render_views(surface, examiner.pose, self.views, size=self.size)
            faces = sum(bool(found) for found in eye.analyse(pictures))
            if faces > most:
                best, most = (at, surface), faces
            if faces == len(pictures):
                break
        return best

    def _best(self, looks: Sequence[Mapping[str, Any]], path: str) -> list[View]:
        """The original's best views; where it shows no face in any, the plain view nearest to the middle."""
        named = [View.from_name(name) for name in best_views(looks, path)]
        return named or [sorted(self.views, key=lambda v: (abs(v.yaw), abs(v.pitch + 10), v.pitch))[0]]


def examiner_for(
    examination: Examination,
    recognisers: Sequence[Recogniser],
    pose: Any,
    known: Sequence[Mapping[str, Any]] = (),
) -> Examiner:
    """Examiner of one head; of what is known of it, boxes in pictures of a control are none of its own."""
    return Examiner(
        recognisers,
        np.asarray(pose),
        size=examination.size,
        known=[look for look in known if look["attack"] not in (AVERAGE, AVERAGE_FORCED)],
        forced=FORCED in examination.attacks,
    )
