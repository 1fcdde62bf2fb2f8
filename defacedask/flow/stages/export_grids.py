"""What lies on a grid, out as files: images, their masks, and doses, each compared with what its plan may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.boxes import bounds
from defacedask.defacers.moved import plan_for
from defacedask.errors import DefacedaskError
from defacedask.flow.stages.body_slices import SKIN_HU
from defacedask.flow.stages.export_judged import JudgedExport
from defacedask.flow.stages.layout import volume_path
from defacedask.io.store import CaseStore, writing
from defacedask.showing import beside
from defacedask.volume import geometry_of, real_values
from defacedask.volume.above import above

if TYPE_CHECKING:
    from defacedask.defacers import Plan
    from defacedask.io.dicom.export import Written
    from defacedask.io.dicom.model import Series

__all__ = ["GridExport", "because", "sharing_files"]


class GridExport(JudgedExport):
    """A case whose images and doses are written."""

    taken = added = 0  # voxels of body removed, voxels of air filled
    to_template: np.ndarray | None = None  # world LPS mm -> the average's, where known
    kinds: tuple[str, ...] = ()  # of masks beside DICOM

    def images(
        self, together: Sequence[Series], plan: Plan, store: CaseStore, paths: Mapping[str, str]
    ) -> dict[str, int]:
        """Write one image, or those that share files; gives the number of voxels changed of each, by its key."""
        pairs = [
            (store.volume(paths[one.key]), store.volume(volume_path(self.defacer, paths[one.key])))
            for one in together
        ]
        first = together[0]
        if first.facts.get("format") == "NIfTI":
            return self.nifti(together, plan, pairs)
        with writing(f"the defaced {first.modality}"):
            if "frames" in first.facts:
                images, changed = self._frames(together, plan, pairs)
            else:
                images = self._slices(first, plan, *pairs[0])
                changed = {first.key: sum(one.voxels_changed for one in images)}
        self.done += images
        if self.kinds:
            from defacedask.flow.stages.masking import write_masks

            for one, (before, after) in zip(together, pairs, strict=True):
                with writing(f"the mask of the {one.modality}"):
                    self.done += write_masks(
                        self.kinds, one, plan, before, after, images, self.context, self.to_template
                    )
        return changed

    def _slices(self, series: Series, plan: Plan, before: Any, after: Any) -> list[Written]:
        """Write one file a slice."""
        from defacedask.io.dicom.export import write_images
        from defacedask.io.dicom.export.check import check_pixels

        now: dict[str, Any] = {}

        def slices(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
            original, defaced, region = self._allowed(series, plan, before, after, first, last)
            now.update(first=first, defaced=defaced, region=region)
            return original, defaced

        images = []
        for k, written in enumerate(write_images(series, slices, self.place, self.context)):
            at = slice(k - now["first"], k - now["first"] + 1)
            check_pixels(written, now["defaced"][at], now["region"][at])
            images.append(written)
        return images

    def _frames(
        self, together: Sequence[Series], plan: Plan, pairs: Sequence[tuple[Any, Any]]
    ) -> tuple[list[Written], dict[str, int]]:
        """Write the files of multi-frame images: every frame of a file is one of these volumes'."""
        from defacedask.io.dicom.export.check import check_pixels
        from defacedask.io.dicom.export.frames import write_frames

        series = together[0]
        frames = [np.asarray(one.facts["frames"]) for one in together]
        total = sum(series.frame_counts)
        if not np.array_equal(np.sort(np.concatenate(frames)), np.arange(total)):
            raise DefacedaskError("frames of a file belong to no volume, or to two.", "Please report this.")
        shape, dtype = (total, *pairs[0][0].shape[1:]), pairs[0][0].dtype
        original, defaced, region = np.empty(shape, dtype), np.empty(shape, dtype), np.empty(shape, bool)
        changed = {}
        for one, where, (before, after) in zip(together, frames, pairs, strict=True):
            parts = self._allowed(one, plan, before, after, 0, len(where))
            original[where], defaced[where], region[where] = parts
            changed[one.key] = int(np.count_nonzero(parts[0] != parts[1]))
        images, first = [], 0
        for number, count in enumerate(series.frame_counts):
            part = slice(first, first + count)
            written = write_frames(series, number, original[part], defaced[part], self.place, self.context)
            check_pixels(written, defaced[part], region[part])
            images.append(written)
            first += count
        return images, changed

    def _allowed(
        self, series: Series, plan: Plan, before: Any, after: Any, first: int, last: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Stored values of slices as they came and as they are now, and where these may differ.

        Raises
        ------
        DefacedaskError
            If they differ elsewhere.
        """
        original, defaced = before[first:last].values, after[first:last].values
        changed = original != defaced
        # the plan is asked where something changed; elsewhere nothing may have
        region = np.zeros_like(changed)
        box = bounds(changed)
        if box is not None:
            geometry = geometry_of(before)
            part = geometry.block((first, 0, 0), (first + len(changed), *geometry.shape[1:]))
            start, stop = zip(*((s.start, s.stop) for s in box), strict=True)
            region[box] = np.asarray(plan.region(part.block(start, stop)))
        if (changed & ~region).any():
            raise DefacedaskError(
                f"{self.defacer} changed values of the {series.modality} outside its own region.",
                "Please report this.",
            )
        if box is not None:
            self.weigh(series.modality, before[first:last][box[0]], original[box], defaced[box])
        return original, defaced, region

    def list_touched(self, plan: Plan, store: CaseStore) -> None:
        """Name the structures that are not to be analysed."""
        from defacedask.flow.stages.masking import touched_structures

        self.touched = [self._safe(name) for name in touched_structures(plan, store)]
        if self.touched:
            self.notes.append(
                f"not to be analysed, for the region of {self.defacer} reaches into them: {', '.join(self.touched)}"
            )

    def weigh(self, modality: str, part: Any, original: np.ndarray, defaced: np.ndarray) -> None:
        """Count what becomes air and what was air before, where the modality tells body from air."""
        if modality != "CT":
            return
        slope, intercept = (
            np.asarray(part.coords[name].values, np.float64) for name in ("slope", "intercept")
        )
        was, now = (above(values, slope, intercept, SKIN_HU) for values in (original, defaced))
        self.taken += int(np.count_nonzero(was > now))  # what did not change is in neither
        self.added += int(np.count_nonzero(now > was))

    @property
    def additive(self) -> bool:
        """Whether the plan only lays material on the face."""
        return self.added > 100 * self.taken and self.added > 0

    def nifti(
        self, together: Sequence[Series], plan: Plan, pairs: Sequence[tuple[Any, Any]]
    ) -> dict[str, int]:
        """Write one NIfTI file and its mask; gives the number of voxels changed of each volume, by its key."""
        from defacedask.io.nifti.write import exact_path, write_nifti

        with writing("the defaced NIfTI"):
            path = self.place(together[0].files[0])
            exact = exact_path(self.masks / path.name)
            written, changed = write_nifti(
                together, plan, pairs, path, self.context, to_template=self.to_template, exact=exact
            )
        self.done += written
        return changed

    def doses(self, plan: Plan, store: CaseStore) -> None:
        """Write doses; hold back what could not be read, or still tells where the skin was."""
        from defacedask.io.dicom.dose import read_dose
        from defacedask.io.dicom.dose_steps import planes_of_file
        from defacedask.io.dicom.export.check import check_pixels
        from defacedask.io.dicom.export.dose import write_doses
        from defacedask.io.dicom.export.record import carried_on
        from defacedask.io.dicom.export.shape import MOST_OF_SKIN, follows_skin
        from defacedask.io.dicom.export.structures import clip_contours

        paths = {}
        for path in store.doses:
            attrs = store.volume(path).attrs
            paths[attrs.get("sop_instance_uid") or attrs.get("series_uid")] = path
        for series in self.case.doses:
            found = [paths[u] for u in (*series.instances, series.uid) if u in paths]
            if not found:
                self.hold(series, because("the dose could not be read, so it was not cut", store, series))
                continue
            before, after = store.volume(found[0]), store.volume(volume_path(self.defacer, found[0]))
            geometry, original, defaced = geometry_of(before), before.values, after.values
            region = plan.region_of(before)
            if ((original != defaced) & ~region).any():
                raise DefacedaskError(
                    f"{self.defacer} changed the dose outside its own region.", "Please report this."
                )
            if self.additive:
                # in Gy: planes that are files of their own may each have a scaling of their own
                was, now = real_values(before).values, real_values(after).values
                left = follows_skin(was, now, region, geometry.spacing)
                if left > MOST_OF_SKIN:
                    self.hold(
                        series,
                        f"it still falls off at {beside(100 * left, 100 * MOST_OF_SKIN, '.0f')} % of the skin "
                        f"under the layer of {self.defacer} "
                        f"(at most {100 * MOST_OF_SKIN:.0f} % may)",
                    )
                    continue

            own = geometry_of(read_dose(series)) if "registered" in series.facts else geometry
            theirs = plan_for(plan, series.facts)

            order = list(before.attrs.get("frames", range(len(original))))
            in_file = planes_of_file(np.asarray(order))
            more = bool((defaced[in_file] > original[in_file]).any())

            def finish(dataset: Any, grid: Any = own, plan: Any = theirs, more: bool = more) -> None:
                clip_contours(dataset, plan, grid, lambda k: None)  # isodoses, where there are any
                if more:
                    carried_on(dataset)

            with writing("the defaced dose"):
                parts = write_doses(series, order, original, defaced, self.place, self.context, finish)
                for k, written in enumerate(parts):
                    part = slice(None) if len(series.files) == 1 else slice(k, k + 1)
                    check_pixels(written, defaced[in_file][part], region[in_file][part])
                    self.done.append(written)
            if more:
                self.notes.append(
                    "RTDOSE: the dose goes on in front of the face, where none was given"
                    + ("" if self.additive else ", and is extrapolated below its skin")
                )


def sharing_files(images: Sequence[Series]) -> list[list[Series]]:
    """Images of a case, those together that lie in the same files, in the order of the case."""
    out: dict[tuple[str, ...], list[Series]] = {}
    for series in images:
        out.setdefault(series.files, []).append(series)
    return list(out.values())


def because(text: str, store: CaseStore, series: Series) -> str:
    """A clause with what was said when the series was read."""
    said = [
        one["reason"] for one in store.facts.get("left_out", ()) if one["series"] in (series.key, series.uid)
    ]
    return f"{text}: {said[0].strip().rstrip('.')}" if said else text
