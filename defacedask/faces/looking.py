"""Pictures of one head, and what recognisers make of them.

An `Examiner` belongs to one head: camera, size and recognisers are the same for the original and its defaced
versions. Each picture is looked at twice: as the detector finds it, and, where the original's picture of the same
view showed a face, with the original's box and landmarks put on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.faces.recognition import compares, is_plug_in
from defacedask.faces.recognition.base import Box

if TYPE_CHECKING:
    import pyvista

    from defacedask.faces.recognition import Recogniser
    from defacedask.faces.views import View

__all__ = ["FORCED", "PLAIN", "Examiner", "best_views"]

#: How a picture was looked at, as the attacks are called: as the detector finds it, or with the original's box.
PLAIN, FORCED = "plain", "forced_crop"

Look = dict[str, Any]


class Examiner:
    """Renders surfaces of one head, shows them to recognisers, and keeps what they say.

    Parameters
    ----------
    recognisers : sequence of Recogniser
    pose : (4, 4) array
        World LPS mm to the head frame.
    size : int
        Of the pictures, pixels.
    known : sequence of looks
        At the original: faces whose box and landmarks are forced on the same view. Empty for the original itself.
    forced : bool
        Whether the forced crop is tried.

    Attributes
    ----------
    looks : list of dict
        path, modality, view, level, attack, variant, recogniser, forced, detected, box, landmarks, encoding.
    """

    def __init__(
        self,
        recognisers: Sequence[Recogniser],
        pose: np.ndarray,
        *,
        size: int = 400,
        known: Iterable[Mapping[str, Any]] = (),
        forced: bool = True,
    ) -> None:
        self.recognisers, self.pose, self.size, self.forced = (
            tuple(recognisers),
            np.asarray(pose),
            size,
            forced,
        )
        self.looks: list[Look] = []
        self._known: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        self._plain: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        self.learn(known)

    def learn(self, known: Iterable[Mapping[str, Any]]) -> None:
        """Take over faces of the original whose box and landmarks are forced on the same view from now on."""
        for look in known:
            if look["attack"] == PLAIN:
                self._plain[look["recogniser"], look["path"], look["view"]] = look
            if look["box"] is not None:
                self._known[look["recogniser"], look["path"], look["view"]] = look

    def see(
        self,
        surface: pyvista.PolyData,
        views: Sequence[View],
        *,
        path: str,
        modality: str,
        level: float,
        attack: str = PLAIN,
        variant: str = "",
        guide: str = "",
    ) -> list[np.ndarray]:
        """Look at a surface from some views.

        Parameters
        ----------
        surface : pyvista.PolyData
        views : sequence of View
        path : str
            What the surface was made from, as in the case store: its original's views are looked up by it.
        modality : str
            For the tables.
        level : float
            Of the surface.
        attack, variant : str
            Name of the attack and which of its settings.
        guide : str
            Path of an image of the same head: where no face is detected in the original of something that is no image
            (a dose grid), the face is where that image shows it, for the camera is the same.

        Returns
        -------
        list of (size, size, 3) uint8 arrays
            The pictures.
        """
        from defacedask.faces.render import render_views

        pictures = render_views(surface, self.pose, views, size=self.size)
        self.show(
            pictures,
            [view.name for view in views],
            path=path,
            modality=modality,
            level=level,
            attack=attack,
            variant=variant,
            guide=guide,
        )
        return pictures

    def show(
        self,
        pictures: Sequence[np.ndarray],
        views: Sequence[str],
        *,
        path: str,
        modality: str,
        level: float,
        attack: str = PLAIN,
        variant: str = "",
        guide: str = "",
    ) -> None:
        """Let the recognisers look at pictures that are there already; arguments as in `see`."""
        for recogniser in self.recognisers:
            for picture, view in zip(pictures, views, strict=True):
                faces = recogniser.analyse([_lent(recogniser, picture)])[0]
                about = {
                    "path": path,
                    "modality": modality,
                    "recogniser": recogniser.name,
                    "view": view,
                    "level": float(level),
                    "attack": attack,
                    "variant": variant,
                }
                lead = (
                    None
                    if faces or not self.forced or not compares(recogniser)
                    else self._lead(recogniser.name, guide, view)
                )
                if lead is not None:
                    self.looks.append({**about, "forced": True, **_forced(recogniser, picture, lead, False)})
                else:
                    self.looks.append({**about, "forced": False, **_face(faces)})
                # a detector that finds nothing proves nothing: put the original's box on the same picture
                if not compares(recogniser):
                    continue  # there is nothing to be compared
                there = self._known.get((recogniser.name, path, view)) if self.forced else None
                if there is not None:
                    if attack == PLAIN:
                        about["attack"] = FORCED
                    self.looks.append(
                        {**about, "forced": True, **_forced(recogniser, picture, there, bool(faces))}
                    )

    def repeat(self, path: str) -> bool:
        """Say of an unchanged picture what was said of the original's: it is not drawn and looked at once more.

        Parameters
        ----------
        path : str
            What the surface was made from; plain views alone.

        Returns
        -------
        bool
            False, and nothing is said, where a service is asked: what it answers belongs to one picture.
        """
        if any(one.remote for one in self.recognisers):
            return False
        silent = {one.name for one in self.recognisers if not compares(one)}
        for look in self._plain.values():
            if look["path"] != path:
                continue
            seen = look["detected"] and not look["forced"]
            if seen or look["box"] is None:
                self.looks.append(dict(look))
            else:
                # put on the original's picture by another image: nothing is detected in this one
                self.looks.append({**look, "forced": False, "box": None, "landmarks": None, "encoding": None})
            if self.forced and look["box"] is not None and look["recogniser"] not in silent:
                self.looks.append({**look, "attack": FORCED, "forced": True})
        return True

    def _lead(self, recogniser: str, guide: str, view: str) -> Look | None:
        """Look at the original's image from the same view, with a face; only for originals, which come first."""
        for look in self.looks if guide and not self._known else ():
            if (look["recogniser"], look["path"], look["view"]) == (recogniser, guide, view) and look["box"]:
                return look
        return None


def best_views(looks: Sequence[Mapping[str, Any]], path: str, count: int = 2) -> list[str]:
    """Views at which the original's face is most itself.

    Parameters
    ----------
    looks : sequence of looks
        At the original.
    path : str
        What the surface was made from.
    count : int

    Returns
    -------
    list of str
        Names of the plain views with a face whose encodings lie nearest to those of the other views (the largest
        box where there is nothing to compare), best first; by the first recogniser that found any. Empty if none
        did.
    """
    several = dict.fromkeys(look["recogniser"] for look in looks)
    # who compares nobody tells least of which view is good
    encoding = {look["recogniser"] for look in looks if look["encoding"] is not None}
    for name in sorted(several, key=lambda name: name not in encoding):
        seen = [
            look
            for look in looks
            if (look["recogniser"], look["path"], look["attack"]) == (name, path, PLAIN)
            and look["box"] is not None
        ]
        if not seen:
            continue
        codes = [look["encoding"] for look in seen]
        apart = [0.0] * len(seen)
        if all(isinstance(code, (list, np.ndarray)) for code in codes):
            vectors = np.array(codes, dtype=np.float64)
            gaps = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
            apart = gaps.mean(axis=1).round(6).tolist()
        order = sorted(range(len(seen)), key=lambda k: (apart[k], -_area(seen[k]["box"]), seen[k]["view"]))
        return [seen[k]["view"] for k in order[:count]]
    return []


def _area(box: Sequence[int]) -> int:
    top, right, bottom, left = box
    return (bottom - top) * (right - left)


def _face(faces: Sequence[Any]) -> dict[str, Any]:
    if not faces:
        return {"detected": False, "box": None, "landmarks": None, "encoding": None}
    face = faces[0]
    return {
        "detected": True,
        "box": [int(v) for v in face.box],
        "landmarks": None if face.landmarks is None else np.asarray(face.landmarks).round(2).tolist(),
        "encoding": _plain(face.encoding),
    }


def _lent(recogniser: Recogniser, picture: np.ndarray) -> np.ndarray:
    """The picture, of which a plug-in gets one of its own: others look at it afterwards."""
    return picture.copy() if is_plug_in(recogniser) else picture


def _forced(recogniser: Any, picture: np.ndarray, there: Mapping[str, Any], detected: bool) -> dict[str, Any]:
    points = None if there["landmarks"] is None else [np.array(there["landmarks"])]
    codes = recogniser.encode(_lent(recogniser, picture), [Box(*there["box"])], points)
    return {
        "detected": detected,
        "box": there["box"],
        "landmarks": there["landmarks"],
        "encoding": _plain(codes[0]) if codes else None,
    }


def _plain(encoding: Any) -> Any:
    """An encoding as JSON holds it: numbers as a list, a service's face id as its text."""
    return encoding if encoding is None or isinstance(encoding, str) else np.asarray(encoding).tolist()
