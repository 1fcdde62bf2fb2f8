"""Can the face still be recognised: skin surface, pictures from locked cameras, detection and encoding.

Level, pose, crop and what is dropped (couch, headrest) are decided on the original and used for its defaced
versions unchanged, so that two pictures differ by the defacing alone. Distances are computed when the whole
cohort's originals are known (see `defacedask.cohort_tables`); a piece carries encodings, which are biometric
data and stay in the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.pieces import Outcome, Piece
from defacedask.stages.places import loaded, one_thread, volume_path
from defacedask.store import CaseStore, writing
from defacedask.volume import geometry_of

__all__ = ["PICTURED", "judge_faces"]

#: Directions kept as pictures for the report: name, yaw, pitch.
PICTURED = (("front", 0.0, 0.0), ("45 degrees", 45.0, 0.0), ("side", 90.0, 0.0))

PLAIN, FORCED = "plain", "forced_crop"


def judge_faces(
    ingested: Piece,
    looked: Piece,
    *before: Piece,
    case: str,
    defacer: str,
    settings: Mapping[str, Any],
    pictures: str = "",
) -> Outcome:
    """Render one case as one defacer left it (or as it came) and let the recogniser look.

    Parameters
    ----------
    *before : Piece
        For a defacer: the same stage on the original, then `apply`.
    settings : mapping
        recogniser, size, yaws, pitches, smooth_mm, modalities.
    pictures : str
        Folder for pictures, or "".

    Returns
    -------
    Outcome
        facts: looks (one a modality, view and attack: detected, box, landmarks, encoding), levels, pictures.
    """
    from defacedask.evaluation.recognition import get_recogniser
    from defacedask.evaluation.render import View, render_views, skin_level, skin_surface, view_grid

    own = before[0] if before else None
    store = CaseStore(ingested.facts["store"])
    pose = np.array(looked.facts["pose"])
    recogniser = get_recogniser(settings["recogniser"])
    views = view_grid(settings["yaws"], settings["pitches"])
    extra = [View(yaw, pitch) for _, yaw, pitch in PICTURED] if pictures else []
    looks: list[dict[str, Any]] = []
    levels: dict[str, float] = {}
    kept: list[dict[str, Any]] = []
    for path in store.images:
        with one_thread():
            volume = loaded(store.volume(volume_path(defacer, path)))
            modality = volume.attrs["modality"]
            if modality not in settings["modalities"]:
                continue
            # the pose and the couch were found on the image that plans were made on
            drop = store.volume(f"head/{path}").load().values > 0 if path == looked.facts["image"] else None
        values = volume.values
        level = own.facts["levels"][path] if own else skin_level(modality, values)
        levels[path] = float(level)
        surface = skin_surface(
            values, geometry_of(volume), level=level, drop=drop, pose=pose, smooth_mm=settings["smooth_mm"]
        )
        images = render_views(surface, pose, [*views, *extra], size=settings["size"])
        known = _by_view(own.facts["looks"], path) if own else {}
        for view, image in zip(views, images, strict=False):
            faces = recogniser.analyse([image])[0]
            about = {"path": path, "modality": modality, "view": view.name, "level": float(level)}
            looks.append({**about, "attack": PLAIN, **_face(faces)})
            # a detector that finds nothing proves nothing: put the original's box on the same picture
            there = known.get(view.name)
            if there is not None and there["box"] is not None:
                looks.append({**about, "attack": FORCED, **_forced(recogniser, image, there, bool(faces))})
        if pictures:
            for (name, _, _), image in zip(PICTURED, images[len(views) :], strict=True):
                file = _save(Path(pictures), case, defacer, modality, name, image)
                kept.append(
                    {
                        "case": case,
                        "defacer": defacer,
                        "modality": modality,
                        "view": name,
                        "kind": "render",
                        "file": file,
                    }
                )
    return Outcome(facts={"looks": looks, "levels": levels, "pictures": kept, "recogniser": recogniser.name})


def _by_view(looks: Sequence[Mapping[str, Any]], path: str) -> dict[str, Mapping[str, Any]]:
    return {look["view"]: look for look in looks if look["path"] == path and look["attack"] == PLAIN}


def _face(faces: Sequence[Any]) -> dict[str, Any]:
    if not faces:
        return {"detected": False, "box": None, "landmarks": None, "encoding": None}
    face = faces[0]
    return {
        "detected": True,
        "box": [int(v) for v in face.box],
        "landmarks": None if face.landmarks is None else np.asarray(face.landmarks).round(2).tolist(),
        "encoding": np.asarray(face.encoding).tolist(),
    }


def _forced(recogniser: Any, image: np.ndarray, there: Mapping[str, Any], detected: bool) -> dict[str, Any]:
    from defacedask.evaluation.recognition.base import Box

    points = None if there["landmarks"] is None else [np.array(there["landmarks"])]
    codes = recogniser.encode(image, [Box(*there["box"])], points)
    return {
        "detected": detected,
        "box": there["box"],
        "landmarks": there["landmarks"],
        "encoding": np.asarray(codes[0]).tolist() if codes else None,
    }


def _save(folder: Path, case: str, defacer: str, modality: str, view: str, image: np.ndarray) -> str:
    from PIL import Image

    name = f"{case}/{defacer}-{modality}-{view.replace(' ', '')}.png"
    path = folder / name
    with writing(f"the picture {name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        Image.fromarray(image).save(partial, format="PNG", optimize=True)
        partial.replace(path)
    return name
