"""What refers to an image, out as files: structure sets, segmentations, plans and registrations, or held back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.defacers.moved import plan_for
from defacedask.errors import InputError, RefusedError
from defacedask.flow.stages.body_slices import body_slices
from defacedask.flow.stages.export_grids import GridExport
from defacedask.flow.stages.layout import ORIGINAL
from defacedask.geometry import Geometry
from defacedask.io.dicom.model import image_of
from defacedask.io.dicom.registration import own_geometry
from defacedask.io.store import CaseStore, writing

if TYPE_CHECKING:
    from defacedask.defacers import Plan
    from defacedask.io.dicom.model import Series

__all__ = ["ObjectExport"]


class ObjectExport(GridExport):
    """A case whose objects are written, after its images."""

    targets: tuple[str, ...] = ()  # what was clipped of target volumes

    def structures(self, series: Series, plan: Plan, store: CaseStore, paths: Mapping[str, str]) -> None:
        """Write the structure sets of a series, cleared of the face; hold back what cannot be."""
        from defacedask.io.dicom.export.clip import PlaneRegions
        from defacedask.io.dicom.export.shape import check_structures
        from defacedask.io.dicom.export.structures import write_structures

        image = image_of(series, self.case)
        path = paths.get(image.key)
        if path is None:
            held = image.key in self.barred
            self.hold(series, "the image it lies on was " + ("held back" if held else "not defaced"))
            return
        # in the coordinates that its contours have
        geometry = own_geometry(image) if "registered" in image.facts else store.geometry(path)
        plan = plan_for(plan, image.facts)
        body = body_slices(store, path, self.defacer)
        regions = PlaneRegions(plan, geometry)
        whole = regions.whole()
        original = body_slices(store, path, ORIGINAL)
        try:
            layer = not getattr(plan, "flat", False)
            found = {source: _roles(source, geometry, original, whole, layer) for source in series.files}
        except InputError as error:
            # a damaged one cannot be cleared; it costs nobody the images
            self.hold(series, f"it cannot be cleared of the face: {error.message.rstrip('.')}")
            return
        for source, roles in found.items():
            with writing("the defaced structure set"):
                written, clipped = write_structures(
                    source,
                    plan,
                    geometry,
                    body,
                    self.place,
                    self.context,
                    additive=self.additive,
                    roles=roles,
                    regions=regions,
                )
            frame = self.remap.frame(geometry.frame_of_reference) if self.identity else ""
            lost = check_structures(written, plan, geometry, self.additive, frame=frame, roles=roles)
            self.done.append(written)
            # a sliver between voxel centres is in the notes, and costs nobody a target
            self.targets += tuple(
                one.note() for one in clipped if one.target and one.touched and lost.get(one.number, 1)
            )
            self.notes += [f"{series.modality}: {note}" for note in written.notes]

    def object(self, series: Series, plan: Plan, store: CaseStore, paths: Mapping[str, str]) -> None:
        """Write a segmentation, a plan or a registration; hold back what cannot be cleared."""
        from defacedask.io.dicom.export.objects import reliefs, vectors_at_face, write_object
        from defacedask.io.dicom.export.segmentation import write_segmentation

        if series.modality == "SEG":
            own, frame = series.frame_of_reference, self.case.frame_of_reference
            if own and frame and own != frame and "registered" not in series.facts:
                # its numbers may mean another place: the plan would clear something else
                self.hold(series, "it lies in another frame of reference than the image")
                return
            if image_of(series, self.case).key in self.barred:
                self.hold(series, "the image it lies on was held back")
                return
            for source in series.files:
                try:
                    with writing("the segmentation"):
                        theirs = plan_for(plan, series.facts)
                        layer = self.additive or not getattr(plan, "flat", False)
                        skin = self.on_skin(plan, store) if layer else None
                        written, _ = write_segmentation(
                            source, theirs, self.place, self.context, on_skin=skin
                        )
                        self.done.append(written)
                except RefusedError as error:
                    self.hold(series, error.message)
            return
        if series.modality not in ("RTPLAN", "REG"):
            self.hold(series, f"a {series.modality} may show the face and cannot be cleared of it")
            return
        if series.modality == "REG" and any(
            vectors_at_face(source, plan, self.case.frame_of_reference) for source in series.files
        ):
            self.hold(
                series,
                "its vector grid (deformable registration) reaches the face, and its edge may draw the skin",
            )
            return
        if series.modality == "RTPLAN" and (points := max(map(reliefs, series.files))):
            self.hold(series, f"its compensators are maps of {points} points, which may follow the skin")
            return
        for source in series.files:
            with writing(f"the {series.modality}"):
                self.done.append(write_object(source, series.modality, self.place, self.context))

    def on_skin(self, plan: Plan, store: CaseStore) -> Any:
        """Which segments are drawn along the skin of the image that the plan was made on: a layer leaves them."""
        from defacedask.io.dicom.export.segment_shape import skin_segments

        path = self.planned_on
        geometry, body = store.geometry(path), body_slices(store, path, ORIGINAL)
        region = np.asarray(plan.region(geometry))
        return lambda dataset, frames, grids: skin_segments(dataset, frames, grids, geometry, body, region)


def _roles(source: str, geometry: Geometry, body: Any, region: np.ndarray, layer: bool) -> dict[int, str]:
    """What the structures of a file are by their shape, on the image as it came."""
    from defacedask.io.dicom.export.body_shape import roles_by_shape
    from defacedask.io.dicom.rois import TWICE, read_rois
    from defacedask.io.dicom.structures import read_structures

    rois = read_rois(source)
    twice = [one.number for one in rois if one.refused == TWICE]
    if twice:
        raise InputError(
            f"several of its structures have the ROI number {twice[0]}, so that nobody knows whose the contours are."
        )
    frame = geometry.frame_of_reference
    drawn = [one.frame for one in rois if one.contours]
    if frame and drawn and all(one and one != frame for one in drawn):
        raise InputError("its structures lie in another frame of reference than the image they are drawn on.")
    try:
        found = read_structures(source, geometry)
        return roles_by_shape(found, geometry, body, region, anywhere=layer)
    except RefusedError:
        return {}  # no contour of it lies on the image
