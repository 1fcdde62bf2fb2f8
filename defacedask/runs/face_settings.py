"""How faces are looked at in a run: recognisers, attacks and views, checked before anything is started."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from defacedask import config
from defacedask.attacks import BUILT_IN, get_attack, resolve_attacks
from defacedask.defacers.sources import source_hash
from defacedask.errors import ConfigError
from defacedask.faces.galleries import ORIGINALS, SECOND_SCAN
from defacedask.faces.recognition import is_plug_in, open_recognisers, split_names
from defacedask.faces.tolerances import choose_tolerances

__all__ = ["Tolerance", "check_matrix", "face_settings", "resolve_tolerance", "upload_warning"]

#: As a user gives it; see `defacedask.faces.tolerances.read_tolerances`.
Tolerance = float | str | Mapping[str, float] | None


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
    InputError
        If the file of a recogniser is no network.
    """
    render = config.option("render")
    names = split_names(recogniser or config.option("recognition.recogniser"))
    chosen = resolve_attacks(attacks or config.option("recognition.attacks"))
    more: dict[str, Any] = {}
    several = open_recognisers(names, allow_upload=allow_upload)
    for one in several:
        if require := getattr(one, "require", None):
            require()
    # a file of another content is another recogniser
    files = {one.name: getattr(one, "fingerprint", "") for one in several}
    networks = {name: file for name, file in files.items() if file}
    if any(one.remote for one in several):
        more = {
            "allow_upload": True,
            "per_second": float(config.option("recognition.requests-per-second")),
            "face_folder": str(folder.absolute()),
            # face ids live for a day: what was seen on another day is looked at again
            "day": datetime.datetime.now(datetime.UTC).date().isoformat(),
        }
    # a plug-in's code belongs to what its attempts came to; ours goes by the version
    others = {name: source_hash(get_attack(name).function) for name in chosen if name not in BUILT_IN}
    others |= {one.name: source_hash(type(one)) for one in several if is_plug_in(one)}
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
        **({"networks": networks} if networks else {}),
    }


def resolve_tolerance(given: Tolerance, faces: Mapping[str, Any]) -> dict[str, float]:
    """Tolerance of each recogniser that has one: as given, else as configured, else its own.

    Parameters
    ----------
    given : float, str or mapping, optional
        See `defacedask.faces.tolerances.read_tolerances`.
    faces : mapping
        See `face_settings`.

    Raises
    ------
    ConfigError
        If it does not lie between 0 and 2, or is of a recogniser that the run does not use.
    """
    several = open_recognisers(faces["recognisers"], allow_upload=bool(faces.get("allow_upload")))
    return choose_tolerances(several, given, config.option("recognition.tolerance"))


def check_matrix(persons: int, gallery: str) -> int:
    """Persons of the sample, as the user gives them.

    Raises
    ------
    ConfigError
        If they are too few to tell anybody apart, or the gallery is one of photographs.
    """
    if persons and persons < 2:
        raise ConfigError(
            f"a matrix of {persons} persons tells nobody apart.", "Give 2 or more, or 0 for none."
        )
    if persons and gallery not in (ORIGINALS, SECOND_SCAN):
        raise ConfigError(
            "the forced crop as a full matrix puts a scan's landmarks on another, and a photograph has other ones.",
            "Leave out --gallery or --forced-matrix.",
        )
    return persons


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
