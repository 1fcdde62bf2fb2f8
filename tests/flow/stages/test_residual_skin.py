"""The stage tells skin of every image that shows a face: four regions, and words where nothing could be measured."""

from __future__ import annotations

import numpy as np
from support.heads import posed

from defacedask.attacks.ear_relief import unpacked
from defacedask.flow.result import TaskResult
from defacedask.flow.stages import residual_skin
from defacedask.flow.stages.residual_skin import measure_skin


class Store:
    """Volumes by their place, in memory."""

    def __init__(self, volumes):
        self.volumes = volumes
        self.images = [path for path in volumes if path.startswith("images/")]

    def volume(self, path):
        from defacedask.errors import StoreError

        if path not in self.volumes:
            raise StoreError(f"no {path}.")
        return self.volumes[path]


def result(**facts):
    return TaskResult(stage="x", case="a", defacer="cut", key="", status="done", facts=facts)


def test_rows_of_a_head_that_lost_its_face_and_of_one_that_shows_no_ear(monkeypatch):
    volume, truth = posed(spacing=(3.0, 2.0, 2.0))
    gone = volume.copy(data=np.full(volume.shape, -1000, volume.dtype))
    narrow, cut = volume[:, :, 40:80], gone[:, :, 40:80]
    pet = volume.copy()
    pet.attrs = {**volume.attrs, "modality": "PT"}
    volumes = {"images/CT": volume, "images/CT_2": narrow, "images/PT": pet}
    twins = {"images/CT": gone, "images/CT_2": cut, "images/PT": pet}
    store = Store(volumes | {f"defaced/cut/{path}": twin for path, twin in twins.items()})
    monkeypatch.setattr(residual_skin, "CaseStore", lambda url: store)
    planned = result(pose=truth.tolist(), to_template=truth.tolist(), image="images/CT")
    out = measure_skin(result(store=""), planned, result(changed=list(volumes)), case="a", defacer="cut")
    rows = {(row["image"], row["region"]): row for row in out.rows["residual_skin"]}
    assert {image for image, _ in rows} == {"CT", "CT_2"}
    assert {region for _, region in rows} == {"brow_to_chin", "ears", "ear_left", "ear_right"}
    assert len(rows) == 8
    assert rows["CT", "brow_to_chin"]["kept"] == 0
    for side in ("left", "right"):
        row = rows["CT_2", f"ear_{side}"]
        assert (row["points"], row["note"]) == (0, "not in the image")
        assert "kept" not in row
    assert rows["CT_2", "ears"]["note"] == "not in the image"
    # the ears that could be measured are kept, to be compared when all are known
    ears = out.facts["ears"]
    assert set(ears) == {"images/CT", "images/CT_2"}
    assert set(ears["images/CT_2"]) == {"modality"}
    for side in ("left", "right"):
        before, after = (unpacked(ears["images/CT"][who][side], side) for who in ("original", "defaced"))
        assert np.isfinite(before).mean() > 0.9
        assert np.isnan(after).all()
