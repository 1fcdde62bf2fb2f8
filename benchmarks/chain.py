"""The stages of one case in their order, each one call that can be timed; each uses what those before it made."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.patient import Patient, make_patient

#: Views that are rendered and shown to the recogniser: what the study does by default.
PITCHES = (-20.0, -10.0, 0.0, 10.0)
KEY = bytes(32)


class Chain:
    """One virtual patient on its way through the stages.

    Parameters
    ----------
    size : str
        One of `benchmarks.patient.SIZES`.
    folder : path, optional
        Where DICOM and stores lie; by default a temporary folder, removed by `close`.
    """

    def __init__(self, size: str, folder: str | Path | None = None) -> None:
        self._temporary = folder is None
        self.folder = Path(folder or tempfile.mkdtemp(prefix="defacedask-benchmark-"))
        self.size = size
        self.patient: Patient = make_patient(size, self.folder)
        self.made: dict[str, Any] = {}
        self.plans: dict[str, Any] = {}
        self.defaced: dict[str, np.ndarray] = {}
        self._stores = 0

    def close(self) -> None:
        """Remove what was written, if the folder was ours."""
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- the stages

    def scan(self) -> None:
        """DICOM headers to series and cases."""
        from defacedask.io.dicom.catalogue import scan

        found = scan(self.patient.folder)
        assert len(found.cases) == 1, found.skipped
        self.made["case"] = found.cases[0]

    def read(self) -> None:
        """DICOM pixels to a volume of stored values."""
        from defacedask.io.dicom.image import read_image

        self.made["volume"] = read_image(self.made["case"].primary)

    def store_write(self) -> None:
        """Volume and structures into the case store."""
        from defacedask.io.store import create_case

        url = str(self.folder / f"{self.size}-{self._stores}.zarr")
        self._stores += 1
        with synchronous(), create_case(url, key="benchmark", facts={"images": ["CT"]}) as writer:
            writer.volume("images/CT", self.made["volume"])
            writer.structures(
                "structures/RTSTRUCT", self.patient.structures, self.patient.geometry, "images/CT"
            )
        self.made["store"] = url

    def store_read(self) -> None:
        """Stored values back from the case store."""
        from defacedask.io.store import CaseStore

        store = CaseStore(self.made["store"])
        with synchronous():
            self.made["volume"] = store.volume("images/CT").load()

    def head(self) -> None:
        """Body, brain, pose and registration to the average head, with their quality."""
        from defacedask.anatomy.head import Head

        head = Head(self.made["volume"])
        head.require()
        assert head.brain.any()
        assert np.isfinite(np.asarray(head.pose)).all()
        self.made["head"] = head

    def plan(self, defacer: str) -> None:
        """Decide: what goes, what stays, what is filled in."""
        from defacedask.defacers import get_defacer

        self.plans[defacer] = get_defacer(defacer).plan(self.made["head"], key=KEY)

    def apply(self, defacer: str) -> None:
        """Carry the plan out on the stored image, chunk by chunk, into memory."""
        from defacedask.io.store import CaseStore

        volume = CaseStore(self.made["store"]).volume("images/CT")
        with synchronous():
            self.defaced[defacer] = self.plans[defacer].apply(volume).values

    def render(self) -> None:
        """Skin surface and one picture for each view."""
        from defacedask.faces.render import View, render_views, skin_level, skin_surface
        from defacedask.volume import real_values

        values = real_values(self.made["volume"]).values
        surface = skin_surface(
            values, self.patient.geometry, level=skin_level("CT", values), pose=self.made["head"].pose
        )
        self.made["views"] = render_views(
            surface, self.made["head"].pose, [View(0.0, pitch) for pitch in PITCHES]
        )

    def recognise(self) -> None:
        """Detect and encode the face in every picture."""
        from defacedask.faces.recognition import get_recogniser

        self.made["faces"] = get_recogniser("face_recognition").analyse(self.made["views"])

    def radiomics(self) -> None:
        """Ten features of every structure, original against defaced."""
        from defacedask.costs.radiomics import compare_structures
        from defacedask.volume import real_values

        before = self.made["volume"]
        after = before.copy(data=next(iter(self.defaced.values()), before.values))
        self.made["radiomics"] = compare_structures(
            real_values(before), real_values(after), self.patient.structures, self.patient.geometry
        )

    def copy(self) -> None:
        """Copy the image in memory, pages warm: the unit of all ratios."""
        source = self.made["volume"].values
        target = self.made.setdefault("target", np.empty_like(source))
        np.copyto(target, source)

    # ---

    def stages(self, defacers: list[str]) -> list[tuple[str, Callable[[], None]]]:
        """(name, call) in the order in which they can run."""
        found: list[tuple[str, Callable[[], None]]] = [
            ("scan", self.scan),
            ("read", self.read),
            ("store write", self.store_write),
            ("store read", self.store_read),
            ("head", self.head),
        ]
        for name in defacers:
            found.append((f"plan {name}", lambda name=name: self.plan(name)))  # type: ignore[misc]
            found.append((f"apply {name}", lambda name=name: self.apply(name)))  # type: ignore[misc]
        tail = (self.render, self.recognise, self.radiomics)
        return [*found, *((call.__name__, call) for call in tail)]


@contextlib.contextmanager
def synchronous() -> Iterator[None]:
    """Compute lazy arrays on this one core, as the tasks of a study do."""
    import dask

    with dask.config.set(scheduler="synchronous"):
        yield


def available_defacers() -> list[str]:
    """The control and the study's defacers, as far as they are installed."""
    from defacedask.defacers import STUDY_DEFACERS, get_defacer

    found = []
    for name in ("none", *STUDY_DEFACERS):
        with contextlib.suppress(ImportError):
            get_defacer(name)
            found.append(name)
    return found
