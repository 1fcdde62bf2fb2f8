"""One run as the report sees it: its tables, its configuration, its pictures, and published numbers beside them."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from defacedask.defacers import BUILT_IN
from defacedask.errors import InputError
from defacedask.faces.tolerances import read_tolerances
from defacedask.modality import IMAGES
from defacedask.tables import evidence
from defacedask.tables.files import read_tables

__all__ = ["CONTROL", "Reference", "Run", "read_reference", "read_run"]

CONTROL = "none"
#: The study's, if the configuration is gone.
TOLERANCE = 0.3


@dataclass(frozen=True)
class Reference:
    """Published tables: percent changes (defacer, structure, ten features) and faces detected."""

    folder: str
    percent: pd.DataFrame
    faces: pd.DataFrame


@dataclass(frozen=True)
class Run:
    """Everything the sections read."""

    out: Path
    tables: Mapping[str, pd.DataFrame]
    config: Mapping[str, Any]
    pictures: list[dict[str, str]] = field(default_factory=list)
    reference: Reference | None = None

    @functools.cached_property
    def tolerances(self) -> dict[str, float]:
        """Recogniser -> its tolerance, where it has one; a single number is face_recognition's."""
        for place in (self.config.get("settings"), self.config):
            given = place.get("tolerance") if isinstance(place, Mapping) else None
            if isinstance(given, (int, float, Mapping)):
                return read_tolerances(given) if given != {} else {}
        return read_tolerances(TOLERANCE)

    @functools.cached_property
    def defacers(self) -> list[str]:
        """All defacers of the run: the control first, then the built-in ones in their order, then others."""
        names: dict[str, None] = {}
        settings = self.config.get("settings")
        if isinstance(settings, Mapping) and isinstance(settings.get("defacers"), (Mapping, list)):
            names.update(dict.fromkeys(map(str, settings["defacers"])))
            names.update(dict.fromkeys(self.arms))
        for table in ("recognition", "radiomics", "dose"):
            names.update(dict.fromkeys(self.tables[table]["defacer"]))
        names.pop(evidence.ORIGINAL, None)
        names.pop("", None)
        known = [n for n in BUILT_IN if n in names]
        return known + [n for n in names if n not in known]

    @property
    def arms(self) -> list[str]:
        """Other people's defacers among them."""
        settings = self.config.get("settings")
        return list(map(str, settings.get("arms") or ())) if isinstance(settings, Mapping) else []

    def look(self, defacer: str) -> int:
        """Colour and marker number of a defacer, the same in every figure."""
        return self.defacers.index(defacer)

    @functools.cached_property
    def by_case(self) -> pd.DataFrame:
        """See `evidence.by_case`."""
        limit = evidence.limits(self.tables["controls"], self.tolerances)
        return evidence.by_case(self.tables["recognition"], self.tolerances, limit)

    @functools.cached_property
    def attacks_tried(self) -> dict[tuple[str, str, str], int]:
        """(defacer, modality, recogniser) -> attacks tried."""
        keys = ["defacer", "modality", "recogniser"]
        if not len(self.by_case):
            return {}
        return self.by_case.groupby(keys)["attack"].nunique().to_dict()

    def chance(self, defacer: str) -> float:
        """Share of other persons that match a case by any attack, image or recogniser; NaN if not known."""
        table = self.tables["verification"]
        for column in ("modality", "recogniser", "attack"):
            table = table.loc[table[column] == evidence.ANY]
        rows = table.loc[table["defacer"] == defacer, "chance"]
        return float(rows.iloc[0]) if len(rows) else float("nan")

    @property
    def virtual(self) -> tuple[int, int]:
        """Cases that are virtual patients, and cases in all."""
        flags = self.tables["cases"]["virtual"].fillna(False).astype(bool)
        return int(flags.sum()), len(flags)

    @property
    def release(self) -> Mapping[str, Any]:
        """Options of what was written, as in the configuration."""
        settings = self.config.get("settings")
        chosen = settings.get("release") if isinstance(settings, Mapping) else None
        return chosen if isinstance(chosen, Mapping) else {}

    def not_defaced(self, defacer: str) -> int:
        """Cases that a defacer did not deface, refused by itself or before."""
        cases, timing = self.tables["cases"], self.tables["timing"]
        applied = timing.loc[timing["stage"] == "apply"]
        if not len(applied):  # of folders that were attacked nothing else is known
            return int((cases["status"] != "done").sum())
        done = applied.loc[(applied["defacer"] == defacer) & (applied["status"] == "done"), "case"]
        return len(cases) - done.nunique()

    @functools.cached_property
    def controls(self) -> list[evidence.Control]:
        """Positive controls, images of patients before other surfaces."""
        found = evidence.positive_controls(self.by_case, self.tolerances, self.tables["controls"])
        return sorted(found, key=lambda c: (c.modality not in IMAGES, c.recogniser))

    @functools.cached_property
    def detectors(self) -> list[tuple[str, str, evidence.Rate]]:
        """See `defacedask.tables.evidence.detectors`."""
        return evidence.detectors(self.tables["controls"])


def read_reference(folder: str | Path) -> Reference:
    """Read published tables from a folder of CSV files.

    Files are known by their columns: one with ``structure`` and features holds percent changes; one with
    ``MODALITY_cases`` and ``MODALITY_faces_detected`` holds faces detected.

    Raises
    ------
    InputError
        If there is no such folder, or no such table in it.
    """
    percent, faces = [], []
    if not Path(folder).is_dir():
        raise InputError(
            f"there is no folder {folder}.", "Give the folder that holds the published tables as CSV."
        )
    for path in sorted(Path(folder).glob("*.csv")):
        try:
            frame = pd.read_csv(path)
        except (ValueError, UnicodeDecodeError) as error:
            raise InputError(f"the published table {path.name} cannot be read ({error}).") from error
        if {"defacer", "structure"} <= set(frame.columns):
            percent.append(frame)
        elif "defacer" in frame.columns and any(c.endswith("_faces_detected") for c in frame.columns):
            faces.append(frame)
    if not percent and not faces:
        raise InputError(
            f"no published table was found in {folder}.",
            "Expected: CSV files with columns defacer,structure,FEATURES or defacer,ct_cases,ct_faces_detected.",
        )
    nothing = pd.DataFrame(columns=["defacer", "structure"])
    return Reference(
        str(folder),
        pd.concat(percent, ignore_index=True) if percent else nothing,
        pd.concat(faces, ignore_index=True) if faces else nothing,
    )


def read_run(out: str | Path, reference: str | Path | None = None) -> Run:
    """Read what a run left.

    Raises
    ------
    InputError
        If the folder holds nothing of a run, or something in it is damaged.
    """
    folder = Path(out)
    tables = read_tables(folder)
    if not (folder / "tables").is_dir():
        raise InputError(f"{folder} holds no tables.", "Give the output folder of `defacedask study`.")
    config: Any = {}
    path = folder / "config.yaml"
    if path.is_file():
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is damaged ({type(error).__name__}).") from error
    pictures: Any = []
    path = folder / "pictures" / "index.json"
    if path.is_file():
        try:
            pictures = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path} is damaged ({error}).") from error
    return Run(
        folder,
        tables,
        config if isinstance(config, Mapping) else {},
        [p for p in pictures if isinstance(p, dict) and p.get("file")],
        read_reference(reference) if reference else None,
    )
