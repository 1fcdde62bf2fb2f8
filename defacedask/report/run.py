"""One run as the report sees it: its tables, its configuration, its pictures, and published numbers beside them."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from defacedask.defacers import BUILT_IN
from defacedask.errors import InputError
from defacedask.faces.tolerances import read_tolerances
from defacedask.modality import IMAGES
from defacedask.report.gathered import CONTROL
from defacedask.report.gathered.cases import Cases, Exports, cases, exports
from defacedask.report.gathered.doses import Doses, doses
from defacedask.report.gathered.features import Features, features
from defacedask.report.gathered.looks import Looked, looked
from defacedask.report.gathered.masks import Masks, masks
from defacedask.report.gathered.pictures import Listed
from defacedask.report.gathered.skin import Skin, skin
from defacedask.report.gathered.times import Times, times
from defacedask.report.gathered.volumes import Volumes, volumes
from defacedask.tables import evidence
from defacedask.tables.batches import Reader, reader
from defacedask.tables.files import empty_table, table_names
from defacedask.tables.lazy import LazyTables

__all__ = ["CONTROL", "Reference", "Run", "read_reference", "read_run"]

#: Lines of a table of cases; of the one that is printed. The rest is in the tables beside the page.
MOST_LINES, MOST_NAMED = 200, 20
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
    pictures: Collection[Mapping[str, Any]] = field(default_factory=list)
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
        for table in (self.looked, self.features, self.doses):
            names.update(table.defacers)
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

    @property
    def read(self) -> Reader:
        """Rows of a table, batch by batch: of those that have rows for every case."""
        return reader(self.tables)

    @functools.cached_property
    def looked(self) -> Looked:
        """What was seen by the recognisers."""
        controls = self.tables["controls"] if "controls" in self.tables else empty_table("controls")
        return looked(self.read, self.tolerances, controls)

    @functools.cached_property
    def features(self) -> Features:
        """What became of the radiomics."""
        return features(self.read)

    @functools.cached_property
    def doses(self) -> Doses:
        """What became of the doses."""
        return doses(self.read)

    @functools.cached_property
    def volumes(self) -> Volumes:
        """What lies in the region that may change."""
        return volumes(self.read)

    @functools.cached_property
    def masks(self) -> Masks:
        """What our own methods find before and after."""
        return masks(self.read)

    @functools.cached_property
    def skin(self) -> Skin:
        """What of the skin is where it was."""
        return skin(self.read)

    @functools.cached_property
    def times(self) -> Times:
        """What the work took."""
        return times(self.read)

    @functools.cached_property
    def cases(self) -> Cases:
        """What became of everybody."""
        return cases(self.read, self.defacers, MOST_LINES, MOST_NAMED)

    @functools.cached_property
    def exports(self) -> Exports:
        """What was written."""
        return exports(self.read)

    @property
    def attacks_tried(self) -> dict[tuple[str, str, str], int]:
        """(defacer, modality, recogniser) -> attacks tried."""
        return {key: len(attacks) for key, attacks in self.looked.attacks.items()}

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
        return self.cases.virtual, self.cases.rows

    @property
    def release(self) -> Mapping[str, Any]:
        """Options of what was written, as in the configuration."""
        settings = self.config.get("settings")
        chosen = settings.get("release") if isinstance(settings, Mapping) else None
        return chosen if isinstance(chosen, Mapping) else {}

    def not_defaced(self, defacer: str) -> int:
        """Cases that a defacer did not deface, refused by itself or before."""
        if not self.times.applied:  # of folders that were attacked nothing else is known
            return self.cases.rows - self.cases.statuses["done"]
        return self.cases.rows - self.times.defaced[defacer]

    @functools.cached_property
    def controls(self) -> list[evidence.Control]:
        """Positive controls, images of patients before other surfaces."""
        return sorted(self.looked.controls(), key=lambda c: (c.modality not in IMAGES, c.recogniser))

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
    if not folder.is_dir():
        raise InputError(f"there is no folder {out}.", "Give the output folder of `defacedask study`.")
    if not (folder / "tables").is_dir():
        raise InputError(f"{folder} holds no tables.", "Give the output folder of `defacedask study`.")
    config: Any = {}
    path = folder / "config.yaml"
    if path.is_file():
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is damaged ({type(error).__name__}).") from error
    return Run(
        folder,
        LazyTables(folder, table_names()),
        config if isinstance(config, Mapping) else {},
        Listed(folder / "pictures" / "index.json"),
        read_reference(reference) if reference else None,
    )
