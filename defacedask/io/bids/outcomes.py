"""What became of every participant of a data set: one row for each participant and session."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from defacedask.io.bids.names import parse
from defacedask.io.bids.tables import NONE

__all__ = ["COLUMNS", "DICTIONARY", "outcome_rows"]

#: Column -> what it says.
COLUMNS = {
    "participant_id": "Participant.",
    "session_id": "Session; n/a where the data set has none.",
    "status": "What became of the images of this row.",
    "images_defaced": "Images whose face was taken out, or covered, and that are in the data set.",
    "images_refused": "Images that were looked at and are not in the data set.",
    "images_left_out": "Images that could not be used, or were not to be, and are not in the data set.",
    "images_copied": "Images that said they were defaced before, and were passed on as they came.",
    "plans": "Plans that the images were defaced by: images in one space, or that a transform relates, share one.",
    "face_moved": "Smallest fraction of the face's skin, over the images, that moved by 3 mm or more.",
    "defacer": "Algorithm.",
    "reason": "Why images are not in the data set.",
}
#: Of the column ``status``.
LEVELS = {
    "defaced": "All images are in the data set.",
    "partly": "Some images are in the data set, others are not.",
    "refused": "No image is in the data set.",
}


def _dictionary() -> dict[str, Any]:
    out: dict[str, Any] = {name: {"Description": text} for name, text in COLUMNS.items()}
    out["status"]["Levels"] = LEVELS
    return out


#: Data dictionary of the table.
DICTIONARY = _dictionary()


def outcome_rows(images: Iterable[tuple[str, Mapping[str, Any]]], defacer: str) -> list[dict[str, str]]:
    """Rows of the table.

    Parameters
    ----------
    images : iterable of (str, mapping)
        Name of each image by BIDS, and its line of the record.
    defacer : str
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for name, line in images:
        found = parse(name)
        if found is not None:
            session = found.label("ses")
            groups[f"sub-{found.label('sub')}", f"ses-{session}" if session else NONE].append(line)
    return [_row(*who, lines, defacer) for who, lines in sorted(groups.items())]


def _row(participant: str, session: str, lines: list[Mapping[str, Any]], defacer: str) -> dict[str, str]:
    by = {
        kind: [one for one in lines if one["status"] == kind]
        for kind in ("written", "refused", "left out", "copied")
    }
    there = len(by["written"]) + len(by["copied"])
    moved = [float(one["face_moved"]) for one in by["written"] if one.get("face_moved") is not None]
    reasons = dict.fromkeys(str(one.get("reason", "")) for one in (*by["refused"], *by["left out"]))
    return {
        "participant_id": participant,
        "session_id": session,
        "status": "defaced" if there == len(lines) else "partly" if there else "refused",
        "images_defaced": str(len(by["written"])),
        "images_refused": str(len(by["refused"])),
        "images_left_out": str(len(by["left out"])),
        "images_copied": str(len(by["copied"])),
        "plans": str(len({one["plan_sha256"] for one in by["written"]})),
        "face_moved": f"{min(moved):.2f}" if moved else NONE,
        "defacer": defacer,
        "reason": "; ".join(filter(None, reasons)),
    }
