"""Somebody else's defacer in a study: what it gave back is laid beside the original, and then judged like ours.

An arm is a folder that was defaced already, or a command that is run here. Nothing of it is ever exported. What it
did not give back (a command that is given one NIfTI file gives back one image) is not judged.
"""

from __future__ import annotations

import shutil
import tempfile
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.likeness import OTHER, SAME, SAME_DETAIL, compare
from defacedask.errors import DefacedaskError, RefusedError
from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.arm_commands import gives_folder, run_command, takes_folder
from defacedask.flow.stages.arm_given import Changed
from defacedask.flow.stages.kept import load_kept
from defacedask.flow.stages.layout import loaded, one_thread, series_key, volume_path
from defacedask.flow.stages.matching import match_images
from defacedask.flow.stages.objects import find_outline
from defacedask.geometry import Geometry
from defacedask.io.store import CaseStore, consolidate, write_volume, writing
from defacedask.volume import geometry_of, make_volume, real_values

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case, Series

__all__ = ["arm_volumes", "take_arm"]

#: mm by which voxels may lie beside those of the input: headers of NIfTI hold 32-bit numbers.
BESIDE = 0.02


def take_arm(
    ingested: TaskResult,
    planned: TaskResult,
    *,
    case: Mapping[str, Any],
    arm: str,
    plans: str,
    command: str = "",
    seconds: float = 0.0,
    defaced: Mapping[str, Any] | None = None,
    why: str = "",
) -> Outcome:
    """Lay what an arm gave back of a case beside the original, in the store.

    Parameters
    ----------
    case : dict
        `Case.to_dict` of the original.
    arm : str
        Its name in the tables.
    plans : str
        Folder of the plans, for where the brain lies.
    command : str
        To run, see `defacedask.flow.stages.arm_commands`; without one, ``defaced`` is what was given.
    seconds : float
        How long the command may take.
    defaced : dict, optional
        `Case.to_dict` of the case that belongs to the original.
    why : str
        Why there is none.

    Returns
    -------
    Outcome
        facts: changed (path -> voxels, ml, fraction), outlines (paths of structure sets), notes.

    Raises
    ------
    RefusedError
        If the image lies on another grid, shows another scan, or has other units.
    DefacedaskError
        If the command failed.
    """
    from defacedask.io.dicom.model import Case

    original, store = Case.from_dict(dict(case)), CaseStore(ingested.facts["store"])
    job = _Arm(original, store, arm, plans, planned.facts.get("image") or store.images[0])
    # in the run's own folder: of a worker that is killed it stays, and holds the original
    own = Path(plans).parent / "arms"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    with one_thread(), tempfile.TemporaryDirectory(prefix=f"{arm}-", dir=own) as folder:
        if command:
            job.run(command, Path(folder), seconds)
        elif defaced is None:
            raise RefusedError(f"{why}.")
        else:
            job.case(Case.from_dict(dict(defaced)))
        if job.main not in job.changed:
            raise RefusedError("it gave back nothing of the image that the head was found on.")
        consolidate(store.url)
    return Outcome(facts={"changed": job.changed, "outlines": job.outlines, "notes": job.notes})


def arm_volumes(
    ingested: TaskResult, planned: TaskResult, applied: TaskResult, *, case: str, arm: str
) -> Outcome:
    """Volume of every structure, and the part of it in which an arm changed voxels; no contour was clipped."""
    from defacedask.costs.overlap import compare_volumes

    store = CaseStore(ingested.facts["store"])
    rows: list[dict[str, Any]] = []
    for part in store.structure_sets:
        path = store.structures_image(part)
        if path not in applied.facts["changed"]:
            continue
        about = {"case": case, "defacer": arm, "modality": store.volume(path).attrs["modality"]}
        found = compare_volumes(store.structures(part), store.geometry(part), Changed(store, arm, path))
        rows.extend({**about, **row, "structure_set": part.split("/")[-1]} for row in found)
    for row in rows:
        row["after_ml"] = row["volume_ml"]
        row["note"] = "voxels that changed; contours as they were" if row["volume_ml"] else row["note"]
    return Outcome(rows={"geometry": rows})


class _Arm:
    """One case on its way back from an arm."""

    def __init__(self, original: Case, store: CaseStore, arm: str, plans: str, main: str) -> None:
        self.original, self.store, self.arm = original, store, arm
        self.main = main  # the image that the head was found on
        self.brain = next((k for k in load_kept(plans, original.id) if k.name == "Brain"), None)
        self.changed: dict[str, dict[str, Any]] = {}
        self.outlines: list[str] = []
        self.notes: list[str] = []

    def run(self, command: str, folder: Path, seconds: float) -> None:
        """Run a command on this case, and take what it leaves."""
        from defacedask.io.dicom.catalogue import scan
        from defacedask.io.nifti.read import nifti_series

        many = gives_folder(command)
        wanted = folder / ("output" if many else "output.nii.gz")
        if many:
            wanted.mkdir()
        if takes_folder(command):
            given = folder / "input"
            given.mkdir()
            for number, file in enumerate(self.original.files):
                # copies: whatever it does to its input, the originals stay
                shutil.copyfile(file, given / f"{number:06d}{''.join(Path(file).suffixes[-2:])}")
        else:
            given = folder / "input.nii.gz"
            _write_nifti(given, *self._image(self.main))
        run_command(command, given, wanted, folder=folder, seconds=seconds)
        if many:
            found = scan(wanted)
            if not found.cases:
                raise DefacedaskError("no image was found in what it wrote.")
            self._paired(found.cases)
            return
        self._take(self.main, nifti_series(str(wanted)))

    def _paired(self, cases: Any) -> None:
        from defacedask.attacks.pairing import pair_cases

        pairs = pair_cases([self.original], list(cases)).pairs
        if not pairs:
            raise RefusedError(
                "what it wrote does not belong to its input, by patient, name, grid or voxels."
            )
        self.case(pairs[0].defaced)

    def case(self, defaced: Case) -> None:
        """Take all that belongs to something of the original."""
        from defacedask.attacks.pairing import pair_series
        from defacedask.io.dicom.structures import read_structures

        where = {series_key(self.store.volume(path)): path for path in self.store.images}
        for series, twin in pair_series(self.original, defaced):
            path = where.get(series.key)
            if path is not None and twin is not None:
                self._take(path, twin, series)
        self._doses(defaced.doses)
        sets = self.store.structure_sets
        if defaced.structures and len(defaced.structures) != len(sets):
            self.notes.append(
                f"{self.arm}: it gave back {len(defaced.structures)} of {len(sets)} structure sets."
            )
            return
        for path, part in zip(sets, defaced.structures, strict=False):
            grid = self.store.geometry(path)
            try:
                # contours may lie in a frame that was renamed with everything else
                outline = find_outline(read_structures(part, Geometry(grid.shape, grid.affine)))
            except DefacedaskError as error:
                self.notes.append(f"{self.arm}: a structure set was not read: {error}")
                continue
            if outline is not None:
                mask = np.asarray(outline.full(grid.shape)).astype(np.uint8)
                self._write(path, make_volume(mask, grid, modality="SEG", units=""))
                self.outlines.append(path)

    def _doses(self, given: Sequence[Series]) -> None:
        """Lay each dose beside the original's that it is most like, of those on its grid."""
        from defacedask.io.dicom.dose import read_dose

        found = []
        for part in given:
            try:
                found.append(read_dose(part))
            except DefacedaskError as error:
                self.notes.append(f"{self.arm}: a dose was not read: {error}")
        for path in self.store.doses:
            volume, grid = self.store.volume(path), self.store.geometry(path)
            before = real_values(volume, dtype="float64").values
            best: tuple[float, np.ndarray, int] | None = None
            for number, dose in enumerate(found):
                values = _onto(real_values(dose, dtype="float64").values, geometry_of(dose), grid)
                same = -1.0 if values is None else float((values == before).mean())
                if values is not None and (best is None or same > best[0]):
                    best = same, values, number
            if best is not None:
                self._keep(path, volume, grid, before, best[1])
                found.pop(best[2])
        if found:
            self.notes.append(
                f"{self.arm}: {len(found)} doses lie on no grid of the original's, and were not judged."
            )

    def _image(self, path: str) -> tuple[np.ndarray, Geometry]:
        return loaded(self.store.volume(path)).values, self.store.geometry(path)

    def _take(self, path: str, twin: Series, series: Series | None = None) -> None:
        """Take one image; the caller knows that it should be this one, and nobody believes it."""
        from defacedask.io.dicom.image import read_image
        from defacedask.io.dicom.registration import own_geometry

        volume = self.store.volume(path)
        before, grid = self._image(path)
        modality = volume.attrs["modality"]
        values = _onto(
            real_values(read_image(twin)).values, own_geometry(twin), own_geometry(series) if series else grid
        )
        if values is None:
            theirs = own_geometry(twin)
            raise RefusedError(
                f"its {modality} lies on another grid ({_size(theirs)}) than the input ({_size(grid)}), and nothing "
                "is compared that was resampled."
            )
        found = compare(before, grid, values, grid)
        if found.verdict == OTHER:
            raise RefusedError(
                f"its {modality} does not show the scan that it was given: behind the face, too, its voxels are "
                f"others "
                f"(their details correlate by {found.detail:.2f}; one scan and its defaced version reach "
                f"{SAME_DETAIL} and more)."
            )
        if found.verdict != SAME:
            self.notes.append(f"{self.arm}: that its {modality} is of the same scan is not sure.")
        self._same_units(modality, before, values, grid)
        self._keep(path, volume, grid, before, values)

    def _same_units(self, modality: str, before: np.ndarray, values: np.ndarray, grid: Geometry) -> None:
        from defacedask.anatomy.grid import resample

        if self.brain is None:
            return
        known = types.SimpleNamespace(
            grid=self.brain.grid, brain=self.brain.mask, values=resample(before, grid, self.brain.grid)
        )
        match = match_images(known, values, grid)  # type: ignore[arg-type]
        if (match.gain, match.offset) != (1.0, 0.0):
            raise RefusedError(
                f"the values of its {modality} are {match.gain:.3g} times the input's plus {match.offset:.3g}: no "
                "figure of theirs can be compared."
            )

    def _keep(self, path: str, volume: Any, grid: Geometry, before: np.ndarray, values: np.ndarray) -> None:
        """Write the twin in real values, as it was given: nothing is rounded to what the original could store."""
        count = int((before != values).sum())
        about = {"modality": volume.attrs["modality"], "units": volume.attrs["real_units"]}
        keep = {k: v for k, v in volume.attrs.items() if k in ("description",)}
        self._write(path, make_volume(values, grid, **about, attrs={**keep, "defaced_by": self.arm}))
        self.changed[path] = {
            "voxels": count,
            "ml": count * grid.voxel_volume / 1000,
            "fraction": count / values.size,
            "kept": {},
        }

    def _write(self, path: str, volume: Any) -> None:
        with writing(f"what {self.arm} gave back of {self.original.id}"):
            write_volume(self.store.url, volume_path(self.arm, path), volume)


def _size(grid: Geometry) -> str:
    return f"{' x '.join(map(str, grid.shape))} voxels of {' x '.join(f'{s:.3g}' for s in grid.spacing)} mm"


def _onto(values: np.ndarray, grid: Geometry, wanted: Geometry) -> np.ndarray | None:
    """The same voxels in the order of another grid; None if they do not lie on it, or are not all of it.

    A tool may turn the axes of a file without moving a voxel.
    """
    along = wanted.along(grid, 0.1)
    if along is None:
        return None
    turned = np.transpose(values, [axis for axis, _ in along])
    if turned.shape != wanted.shape:
        return None
    for axis, (there, place) in enumerate(along):
        if place[0] > place[-1]:
            turned, place = np.flip(turned, axis), place[::-1]
        if np.abs(place - np.arange(len(place))).max() * grid.spacing[there] > BESIDE:
            return None
    return np.ascontiguousarray(turned)


def _write_nifti(path: Path, values: np.ndarray, grid: Geometry) -> None:
    """Real values, (z, y, x) in patient LPS mm, as NIfTI-1; whole numbers as int16."""
    import nibabel

    whole = (values == np.rint(values)).all() and np.abs(values).max(initial=0) < 2**15
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(values.astype(np.int16 if whole else np.float32).T, affine)
    image.header.set_xyzt_units("mm")
    for kind in ("sform", "qform"):
        getattr(image, f"set_{kind}")(affine, code=1)
    nibabel.save(image, path)
