"""How faces are looked at in a run: recognisers, attacks and views, checked before anything is started."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from defacedask import config
from defacedask.attacks import BUILT_IN, get_attack, resolve_attacks
from defacedask.defacers.sources import source_hash
from defacedask.faces.recognition import open_recognisers, split_names

__all__ = ["face_settings", "upload_warning"]


def face_settings(
    recogniser: str | Iterable[str] | None,
    attacks: str | Iterable[str] | None,
    allow_upload: bool,
    folder: Path,
) -> dict[str, Any]:
    """Settings of the stages ``faces`` and ``objects``; what is None comes from the configuration.

    Parameters
    ----------
    recogniser, attacks, allow_upload
        As in `defacedask.runs.study.study`.
    folder : Path
        Where a service's recogniser keeps the pictures behind its face ids.

    Raises
    ------
    ConfigError
        For an unknown recogniser or attack, or a service without ``allow_upload``.
    """
    render = config.option("render")
    names = split_names(recogniser or config.option("recognition.recogniser"))
    chosen = resolve_attacks(attacks or config.option("recognition.attacks"))
    more: dict[str, Any] = {}
    if any(one.remote for one in open_recognisers(names, allow_upload=allow_upload)):
        more = {
            "allow_upload": True,
            "per_second": float(config.option("recognition.requests-per-second")),
            "face_folder": str(folder.absolute()),
            # face ids live for a day: what was seen on another day is looked at again
            "day": datetime.datetime.now(datetime.UTC).date().isoformat(),
        }
    # a plug-in's code belongs to what its attempts came to; ours goes by the version
    others = {name: source_hash(get_attack(name).function) for name in chosen if name not in BUILT_IN}
    if others:
        more["plug_ins"] = others
    return {
        "recognisers": names,
        "attacks": list(chosen),
        "size": render["size"],
        "yaws": list(render["yaws"]),
        "pitches": list(render["pitches"]),
        "smooth_mm": render["smooth-mm"],
        "modalities": list(render["modalities"]),
        **more,
    }


def upload_warning(settings: dict[str, Any]) -> str:
    """One sentence on what leaves the site with these settings; "" if nothing does."""
    import os

    if not settings.get("allow_upload"):
        return ""
    where = os.environ.get("AZURE_FACE_ENDPOINT", "") or "the service"
    return (
        "Rendered pictures of every head, recognisable ones of the originals among them, are sent to "
        f"{where} by {', '.join(settings['recognisers'])}."
    )
