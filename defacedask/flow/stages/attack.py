"""One original and its defaced version, from files that anybody may have written, attacked.

The head is found on the original. The defaced image is looked at on its own grid, with the original's pose, level
and couch; where its brain does not lie where the original's does, its own pose is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.anatomy.faceless import front_of_face
from defacedask.attacks.average_face import average_looks
from defacedask.attacks.deblurring_judged import deblurring_control
from defacedask.attacks.dose_face import dose_looks
from defacedask.attacks.enrolment import enrol
from defacedask.attacks.examination import Examination, Shown, examiner_for
from defacedask.attacks.likeness import OTHER_DETAIL, SAME, SAME_DETAIL, Likeness, compare, compare_moved
from defacedask.attacks.names import DOSE, ENROLMENT, FILLED
from defacedask.attacks.synthetic.judged import controls_of, judged_synthetic
from defacedask.attacks.unmasking_judged import control_shares, judged
from defacedask.errors import InputError, RefusedError
from defacedask.flow.result import Outcome
from defacedask.flow.stages.attack_objects import published_mask, shown_objects
from defacedask.flow.stages.attacked import HeadBoxes, head_boxes
from defacedask.flow.stages.faces import examination_of, recognisers_of
from defacedask.flow.stages.ingest import input_state
from defacedask.flow.stages.layout import ORIGINAL, one_thread, store_path
from defacedask.flow.stages.matching import Match, match_images
from defacedask.flow.stages.pictures import keep_pictures
from defacedask.flow.stages.residual_skin import ear_maps, known_ears
from defacedask.geometry import Geometry
from defacedask.io.store import writing
from defacedask.modality import FACES
from defacedask.volume import geometry_of, real_values

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head
    from defacedask.faces.looking import Examiner
    from defacedask.io.dicom.model import Case

__all__ = ["attack_case", "check_kind"]


def attack_case(
    *,
    original: Mapping[str, Any],
    defaced: Mapping[str, Any] | None,
    name: str,
    settings: Mapping[str, Any],
    pictures: str = "",
    surfaces: str = "",
    kind: str = "ply",
    store: str = "",
) -> Outcome:
    """Look at an original, and attack its defaced version.

    Parameters
    ----------
    original, defaced : dict
        `Case.to_dict`; without a defaced one the original is looked at for the gallery alone.
    name : str
        Of the defacer, for the tables.
    settings : mapping
        As for `defacedask.flow.stages.faces.judge_faces`.
    pictures, surfaces : str
        Folders, or "".
    kind : str
        ``ply`` or ``vtp``.
    store : str
        Folder in which both heads are kept for stages that come later, or "".

    Returns
    -------
    Outcome
        facts: ``original`` and ``defaced`` (looks of each), enrolled (looks that are for the gallery alone), notes,
        pictures, recognisers, levels (of the originals' skin, by path), ears (as
        `measure_skin` gives them, of the image that the head was found on); where the heads are kept, also store and
        places (see `defacedask.flow.stages.attacked.HeadBoxes`).

    Raises
    ------
    RefusedError
        If no head is found in the original, or the defaced image does not show the same head.
    """
    from defacedask.io.dicom.model import Case

    job = _Job(
        Case.from_dict(dict(original)),
        Case.from_dict(dict(defaced)) if defaced else None,
        name,
        settings,
        pictures,
        surfaces,
        kind,
    )
    key = f"{input_state(job.original)} {input_state(job.defaced) if job.defaced else ''}"
    with one_thread(), head_boxes(store, job.original.id, key) as job.boxes:
        job.run()
    specs = settings["recognisers"]
    kept = {"store": store_path(store, job.original.id), "places": job.boxes.places} if store else {}
    return Outcome(
        rows=job.rows,
        facts={
            "original": job.own.looks,
            "enrolled": job.enrolled,
            "planted": job.planted,
            "defaced": job.theirs.looks if job.theirs else [],
            "notes": job.notes,
            "pictures": job.kept,
            "recognisers": {one.name: spec for one, spec in zip(job.recognisers, specs, strict=True)},
            "levels": job.levels,
            "ears": job.ears,
            **kept,
        },
    )


class _Job:
    """One pair on its way through all attacks."""

    def __init__(
        self,
        original: Case,
        defaced: Case | None,
        name: str,
        settings: Mapping[str, Any],
        pictures: str,
        surfaces: str,
        kind: str,
    ) -> None:
        self.original, self.defaced, self.name = original, defaced, name
        self.pictures, self.surfaces, self.kind = pictures, surfaces, kind
        self.examination: Examination = examination_of(settings)
        self.recognisers = recognisers_of(settings)
        self.notes: list[str] = []
        self.kept: list[dict[str, Any]] = []
        self.theirs: Examiner | None = None
        self.boxes = HeadBoxes()
        self.enrolled: list[dict[str, Any]] = []
        self.planted: list[dict[str, Any]] = []
        self.guide: tuple[Shown, np.ndarray] | None = (
            None  # image that the head was found on; to the template
        )
        self.levels: dict[str, float] = {}
        self.ears: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, list[dict[str, Any]]] = {"unmasking": [], "synthetic": [], "deblurring": []}
        self.grids: dict[str, Geometry] = {}  # of the images that structures lie on

    def run(self) -> None:
        """Everything of the original, then everything of the defaced case."""
        from defacedask.anatomy.head import Head
        from defacedask.attacks.pairing import pair_series
        from defacedask.io.dicom.image import read_image

        volume = read_image(self.original.primary).load()
        head = Head(volume)
        head.require()
        self.own = examiner_for(self.examination, self.recognisers, head.pose)
        self.boxes.place(ORIGINAL, head.pose, head.to_template)
        self.grids[ORIGINAL] = head.geometry
        pairs = pair_series(self.original, self.defaced)
        named: dict[str, int] = {}
        looked_at = 0
        for series, twin in pairs:
            if not self.examination.wants(series.modality):
                continue
            named[series.modality] = number = named.get(series.modality, 0) + 1
            path = f"images/{series.modality}" + (f"-{number}" if number > 1 else "")
            primary = series is self.original.primary
            if not primary:
                volume = read_image(series).load()
            drop = np.asarray(head.drop) if primary else None
            self._original(path, volume, drop, head)
            if twin is None:
                if self.defaced:
                    self.notes.append(f"the defaced case has no {series.modality} to compare with.")
                continue
            # the other images of the frame follow the primary one: it comes first
            looked_at += self._defaced(
                path, read_image(twin).load(), volume, drop, head if primary else None, twin.files[0]
            )
        self._objects()
        if self.defaced and not looked_at:
            raise RefusedError("the defaced case has no image that the attacks look at.", "See --attacks.")

    # --- images

    def _original(self, path: str, volume: Any, drop: np.ndarray | None, head: Head) -> None:
        from defacedask.faces.surface import skin_level

        values, modality = real_values(volume).values, volume.attrs["modality"]
        self.levels[path] = float(skin_level(modality, values))
        shown = Shown(path, modality, values, geometry_of(volume), self.levels[path], drop)
        self._keep(ORIGINAL, shown, self.examination.original(self.own, shown), self.own)
        if drop is not None and modality in FACES:
            self.ears[path] = {"modality": modality, ORIGINAL: known_ears(head)}
        if modality in self.examination.modalities:
            if ENROLMENT in self.examination.attacks:
                self.enrolled += enrol(self.examination, self.own, shown)
            self.boxes.lay(ORIGINAL, shown, self.own.pose, volume.attrs["real_units"])
        if FILLED in self.examination.attempts(modality):
            target = self.examination.target(shown, self.own.pose, head.to_template)
            self.own.looks += average_looks(self.examination, self.own, target, path)
        if drop is not None and self.original.doses and DOSE in self.examination.attacks:
            self.guide = shown, np.asarray(head.to_template)

    def _defaced(
        self,
        path: str,
        volume: Any,
        original: Any,
        drop: np.ndarray | None,
        head: Head | None,
        file: str,
    ) -> int:
        from defacedask.anatomy.grid import resample

        values, geometry = real_values(volume).values, geometry_of(volume)
        modality, before = volume.attrs["modality"], geometry_of(original)
        to_template = None
        if head is not None:
            match = match_images(head, values, geometry)
            pose, to_template = head.pose, head.to_template
            own = real_values(original).values
            found = compare(own, before, values, geometry)
            if not match.in_place:
                pose, to_template = self._own_pose(volume, match)
                drop = None
            if found.verdict != SAME:
                start = np.linalg.inv(pose) @ head.pose
                self._prove(modality, found, compare_moved(own, before, values, geometry, start))
            if not match.in_place:
                pass
            elif (match.gain, match.offset) != (1.0, 0.0):
                values = (values - np.float32(match.offset)) / np.float32(match.gain)
                self.notes.append(
                    f"{modality}: the defaced values are {match.gain:.3g} times the original's plus "
                    f"{match.offset:.3g}; they were brought back."
                )
            self.theirs = examiner_for(self.examination, self.recognisers, pose, self.own.looks)
            self.grids[self.name] = geometry
            self.boxes.place(self.name, pose, to_template)
        if self.theirs is None:
            raise RefusedError("the image that the head is found on is missing among the defaced ones.")
        if not geometry.close_to(before):
            sizes = [
                f"{' x '.join(map(str, g.shape))} voxels of {' x '.join(f'{s:.3g}' for s in g.spacing)} mm"
                for g in (geometry, before)
            ]
            self.notes.append(
                f"{modality}: the defaced image lies on another grid ({sizes[0]}, the original {sizes[1]}); it "
                "was looked at on its own, and what is not body was resampled onto it."
            )
        theirs = drop
        if not geometry.close_to(before) and drop is not None:
            theirs = resample(drop, before, geometry, nearest=True).astype(bool)
        shown = Shown(path, modality, values, geometry, self.levels[path], theirs)
        if modality in self.examination.modalities:
            self.boxes.lay(self.name, shown, self.theirs.pose, original.attrs["real_units"])
        target = None
        if self.examination.attempts(modality):
            mask = published_mask(Path(file), geometry)
            target = self.examination.target(shown, self.theirs.pose, to_template, mask)
        surface = self.examination.defaced(self.theirs, shown, self.own.looks, to_template, target)
        in_place = head is not None and self.theirs.pose is head.pose
        if head is not None and match.in_place and geometry.close_to(before) and path in self.ears:
            if (match.gain, match.offset) == (1.0, 0.0):
                self.ears[path]["defaced"] = ear_maps(head, volume, self.ears[path][ORIGINAL])
            else:
                self.notes.append(
                    f"{modality}: the ears were not compared, for the values are not the original's."
                )
        unmasks, seeks, sharpens = (
            wants(modality)
            for wants in (self.examination.judges, self.examination.seeks, self.examination.sharpens)
        )
        if in_place and head is not None and target is not None and (unmasks or seeks or sharpens):
            was = Shown(path, modality, real_values(original).values, before, shown.level, drop)
            source = self.examination.target(was, head.pose, head.to_template)
            about = {"case": self.original.id, "defacer": self.name}
            if unmasks:
                tried = judged(source, target, control_shares(source), front_of_face(head))
                self.rows["unmasking"] += [{**about, **row} for row in tried]
            if seeks:
                found_again = judged_synthetic(source, target, controls_of(source))
                self.rows["synthetic"] += [{**about, **row} for row in found_again]
            if sharpens and (control := deblurring_control(source)):
                self.rows["deblurring"].append({"case": self.original.id, **control})
        self._keep(self.name, shown, surface, self.theirs)
        return 1

    def _own_pose(self, volume: Any, match: Match) -> tuple[np.ndarray, np.ndarray]:
        """Pose of a defaced head that lies elsewhere."""
        from defacedask.anatomy.head import Head

        found = Head(volume)
        try:
            found.require()
        except RefusedError as error:
            raise RefusedError(
                "the defaced image does not lie where the original does (their brains correlate by "
                f"{match.correlation:.2f}), and no head is found in it: {error.message}",
                "Are these two the same patient?",
            ) from None
        self.notes.append(
            f"{volume.attrs['modality']}: the defaced head lies elsewhere (the brains correlate by "
            f"{match.correlation:.2f}); its own pose was found."
        )
        return found.pose, found.to_template

    def _prove(self, modality: str, found: Likeness, moved: Likeness) -> None:
        """See that the defaced image shows the scan it is paired with; a name or an id is no proof of that.

        Raises
        ------
        RefusedError
            If the two differ wherever they are laid on each other.
        """
        if moved.verdict == SAME:
            return
        best = float(np.nanmax([found.detail, moved.detail, -1.0]))
        if best < OTHER_DETAIL:
            raise RefusedError(
                "the defaced image does not show the scan that it is paired with: behind the face, too, its voxels "
                f"are others (their details correlate by {best:.2f}; one scan and its defaced version reach "
                f"{SAME_DETAIL} and more).",
                "Look at the ids and names of the two.",
            )
        self.notes.append(
            f"{modality}: that the two images are of one scan is not sure (their details correlate by {best:.2f})."
        )

    # --- what hangs on the images

    def _objects(self) -> None:
        """Body contours and doses of both, if the attacks name them."""
        for case, examiner, who in (
            (self.original, self.own, ORIGINAL),
            (self.defaced, self.theirs, self.name),
        ):
            if case is None or examiner is None:
                continue
            if examiner is self.theirs:
                examiner.learn(self.own.looks)
            attacks, primary = self.examination.attacks, self.original.primary
            for shown in shown_objects(case, self.grids[who], primary, attacks, self.levels, self.notes):
                self.examination.plain(examiner, shown, guide=f"images/{self.original.primary.modality}")
                if who == ORIGINAL and shown.modality == "RTDOSE" and self.guide is not None:
                    image, to_template = self.guide
                    about = examiner.pose, to_template, image, shown, examiner.looks
                    self.planted += dose_looks(self.examination, self.recognisers, *about)
        if self.theirs is None:
            return
        for path in sorted({k["path"] for k in self.own.looks} - {k["path"] for k in self.theirs.looks}):
            self.notes.append(f"{path}: the original has it, the defaced case has not.")

    # --- what is kept

    def _keep(self, who: str, shown: Shown, surface: Any, examiner: Examiner) -> None:
        from defacedask.faces.render import write_surface

        case = self.original.id
        if self.surfaces:
            folder = Path(self.surfaces) / case
            with writing(f"the surfaces of {case}"):
                folder.mkdir(parents=True, exist_ok=True)
            write_surface(surface, folder / f"{who}-{shown.path.split('/')[1]}.{self.kind}")
        if self.pictures:
            about = {"folder": self.pictures, "case": case, "defacer": who, "modality": shown.modality}
            self.kept += keep_pictures(surface, examiner.pose, self.examination.size, **about)


def check_kind(kind: str) -> str:
    """``ply`` or ``vtp``.

    Raises
    ------
    InputError
        For anything else.
    """
    if kind not in ("ply", "vtp"):
        raise InputError(f"surfaces cannot be written as {kind!r}.", "Use ply or vtp.")
    return kind
