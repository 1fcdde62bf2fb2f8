"""A structure must not change outside the region; a voxel whose middle lies on a drawn line says nothing."""

from __future__ import annotations

import types

import numpy as np
import pytest
from support.rt_writers import FRAME, contour, roi, write_struct

from defacedask.errors import DefacedaskError
from defacedask.geometry import Geometry
from defacedask.io.dicom.export.shape import check_structures

GRID = Geometry.from_spacing((3, 24, 24), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), FRAME)


class Front:
    """Takes what lies before the fifth row."""

    flat = True

    def region(self, geometry, xp=np):
        return xp.broadcast_to(geometry.positions(xp, np.float64)[1] < 5.0, geometry.shape)


def drawn(path, slip, name="Parotid_L"):
    """A wedge whose slanted edge runs through middles of voxels, moved by ``slip`` mm."""
    corners = [(1.75 + slip, 6.25), (5.75 + slip, 18.25), (20.0, 18.25), (20.0, 6.25)]
    contours = [contour(np.array([(x, y, z) for x, y in corners])) for z in (0.0, 2.0, 4.0)]
    return write_struct(path, [roi(name, contours)])


def checked(tmp_path, slip, name="Parotid_L"):
    source, path = drawn(tmp_path / "a.dcm", 0.0, name), drawn(tmp_path / "b.dcm", slip, name)
    return check_structures(types.SimpleNamespace(source=str(source), path=str(path)), Front(), GRID, False)


@pytest.mark.parametrize("slip", [1e-7, -1e-7, 1e-5, -1e-5])
def test_a_voxel_on_a_line_may_fall_to_either_side(tmp_path, slip):
    from defacedask.io.dicom.structures import read_structures

    lost = checked(tmp_path, slip)
    before, after = (
        read_structures(str(tmp_path / f"{name}.dcm"), GRID)[0].mask.sum() for name in ("a", "b")
    )
    assert list(lost.values()) == [max(int(before) - int(after), 0)]


@pytest.mark.parametrize("slip", [0.3, -0.6])
def test_more_than_that_is_told(tmp_path, slip):
    with pytest.raises(DefacedaskError, match="changed outside the region"):
        checked(tmp_path, slip)


def test_ties_are_in_the_test(tmp_path):
    """Without the rule, one of the slips would change the mask."""
    from defacedask.io.dicom.structures import read_structures

    sizes = set()
    for k, slip in enumerate((0.0, 1e-5, -1e-5)):
        sizes.add(int(read_structures(str(drawn(tmp_path / f"{k}.dcm", slip)), GRID)[0].mask.sum()))
    assert len(sizes) > 1
