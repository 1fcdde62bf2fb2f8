"""The largest image of a frame of reference need not show the head: a plan is made on the first that does."""

from __future__ import annotations

import numpy as np
import pytest
from support import make
from support.export_kit import HalfSpace, ball, geometry, half_space, head_ct, one_case, run_export  # noqa: F401

from defacedask.anatomy.witness.alignment import Alignment
from defacedask.errors import RefusedError
from defacedask.flow.stages import plans, witnessing
from defacedask.flow.stages.plans import _first_with_a_head
from defacedask.io.store import CaseStore, create_case
from defacedask.testing.subject import images
from defacedask.volume import geometry_of, make_volume


def store_of(tmp_path, *volumes):
    url = str(tmp_path / "case.zarr")
    names = [f"{volume.attrs['modality']}-{k}" for k, volume in enumerate(volumes)]
    with create_case(url, key="k", facts={"images": names}) as writer:
        for name, volume in zip(names, volumes, strict=True):
            writer.volume(f"images/{name}", volume)
    return CaseStore(url)


def trunk():
    """A tube of water with more voxels than the head."""
    head = images()["CT"]
    values = np.full((head.shape[0] + 30, *head.shape[1:]), -1000, np.int16)
    _, y, x = np.indices(values.shape)
    values[(y - 40) ** 2 + (x - 32) ** 2 < 28**2] = 30
    grid = geometry_of(head)
    return make_volume(values, type(grid)(values.shape, grid.affine, "1.2.3"), modality="CT", units="HU")


def test_the_head_is_looked_for_in_the_next_image(tmp_path):
    store = store_of(tmp_path, trunk(), images()["CT"])
    path, head, notes = _first_with_a_head(store)
    assert path == store.images[1]
    assert head.ok
    (note,) = notes
    assert note.startswith("the plan was made on CT-1, and not on CT-0: no head was found")


@pytest.mark.parametrize("doubts", [{0}, {0, 1}, {1}])
def test_where_the_witness_sees_another_face_the_next_image_is_tried(tmp_path, monkeypatch, doubts):
    """And where it doubts all of them, the first is planned on: the export says why it may not leave."""

    class Found:
        def __init__(self, volume):
            self.volume = volume

        def require(self):
            return

        def facts(self):
            return {}

    monkeypatch.setattr("defacedask.anatomy.head.Head", Found)
    store = store_of(tmp_path, images()["MR"], images()["MR"])
    doubted = {store.images[k] for k in doubts}
    monkeypatch.setattr(witnessing, "elsewhere", lambda _, path, facts: "no face" if path in doubted else "")
    path, _, notes = _first_with_a_head(store)
    assert path == store.images[1 if doubts == {0} else 0]
    assert notes == (["the plan was made on MR-1, and not on MR-0: no face."] if doubts == {0} else [])


def test_where_none_shows_a_head_the_first_says_why(tmp_path, monkeypatch):
    """And what is no use to the witness is not looked at, nor more than some."""
    looked = []

    class Headless:
        def __init__(self, volume):
            looked.append(volume.attrs["modality"])
            self.which = len(looked)

        def require(self):
            raise RefusedError(f"no head {self.which}.")

    monkeypatch.setattr("defacedask.anatomy.head.Head", Headless)
    small = images()["MR"]
    thin = small[:4]  # 16 mm of a head
    store = store_of(tmp_path, small, thin, images()["PT"], *[small] * 5)
    with pytest.raises(RefusedError, match=r"^no head 1\.$"):
        _first_with_a_head(store)
    assert looked == ["MR"] * plans.MOST_LOOKED_AT


def test_a_pet_alone_says_what_it_needs(tmp_path, monkeypatch):
    """Whatever was found missing of a head in it: nothing could see that its face is gone."""

    class Headless:
        def __init__(self, volume):
            pass

        def require(self):
            raise RefusedError("no head was found (its outline is that of a bottle).")

    monkeypatch.setattr("defacedask.anatomy.head.Head", Headless)
    store = store_of(tmp_path, images()["PT"])
    with pytest.raises(RefusedError) as found:
        _first_with_a_head(store)
    assert found.value.message == (
        "a PT does not show by itself where a face is, and no image of its frame of reference does, so that the face "
        "cannot be seen to be gone (no head was found (its outline is that of a bottle))."
    )
    assert found.value.hint.startswith("Give it together with a CT or MR of its frame of reference")


def test_what_shows_no_head_is_held_back_and_the_rest_goes_out(tmp_path):
    """The image that the plan was made on decides about the case, whichever it is."""
    grid = geometry()
    make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
    less = grid.block((0, 0, 0), (grid.shape[0] - 2, *grid.shape[1:]))
    make.write_series(tmp_path / "in" / "CT2", head_ct(grid)[:-2], less, series="second")
    first = one_case(tmp_path / "in").primary

    def judge(store, planned, defacer):
        assert str(store.volume(store.images[0]).attrs["series_uid"]) == first.uid
        return [
            witnessing.Judged(
                path, "no face can be found in it" if path == store.images[0] else "", (), 1.0, {}
            )
            for path in store.images
        ]

    outcome, out = run_export(tmp_path / "in", tmp_path, judge=judge, planned_on=1)
    assert outcome.facts["written"] == {"CT": grid.shape[0] - 2}
    assert len(outcome.facts["held_back"]) == grid.shape[0]
    assert {path.parent.name for path in out.rglob("*.dcm")} == {"CT2"}
    with pytest.raises(RefusedError, match="no face can be found in it"):
        run_export(tmp_path / "in", tmp_path, out=tmp_path / "again", judge=judge)
    assert not list((tmp_path / "again").rglob("*.dcm"))


@pytest.mark.parametrize(
    ("mm", "kind", "held"),
    [
        (float("nan"), ["DERIVED", "SECONDARY", "REFORMATTED"], True),
        (float("nan"), ["ORIGINAL", "PRIMARY"], False),
        (float("nan"), None, False),
        (1.5, ["DERIVED", "SECONDARY"], False),
    ],
)
def test_what_was_made_later_and_shows_nothing_of_the_head_may_be_pictures(mm, kind, held):
    """A stack of renderings as a PET lies anywhere; a PET of the chest, as it was taken, is none."""
    lies = Alignment(mm, mm, mm)
    said = witnessing._made_later(lies, {} if kind is None else {"image_type": kind}, "CT")
    assert ("may be pictures" in said) is held
