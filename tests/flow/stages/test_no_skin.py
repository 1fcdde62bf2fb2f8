"""An image that shows no skin of a face by itself, beside one that does: a diffusion-weighted volume, a map."""

from __future__ import annotations

import types

import numpy as np
import pytest

from defacedask.anatomy.witness import Sighting, Verdict
from defacedask.anatomy.witness.alignment import alignment
from defacedask.flow.stages import witnessing
from defacedask.geometry import Geometry
from defacedask.volume import make_volume

RADIUS = 88.0
NOSE, AHEAD, UP = np.array([0.0, -RADIUS, 0.0]), np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])
SEEN = Sighting(NOSE, AHEAD, 1.0, {}, "", np.zeros(3), np.eye(3))


def inside(radius, *, content=(0.0, 0.0, 0.0), placed=(0.0, 0.0, 0.0), noise=False):
    """A patterned ball whose content lies elsewhere than the grid says, or nothing but noise."""
    shape, spacing = (52, 52, 52), (4.0, 4.0, 4.0)
    grid = Geometry.from_spacing(shape, spacing, tuple(-102.0 + d for d in placed))
    x, y, z = (at - d for at, d in zip(grid.positions(dtype=np.float64), content, strict=True))
    pattern = 400 + 150 * np.sin(x / 17 + 0.4) * np.sin(y / 23) + 120 * np.sin(z / 19 + y / 31)
    values = np.where(x**2 + y**2 + z**2 < radius**2, pattern, 0)
    if noise:
        values = np.random.default_rng(1).uniform(0, 800, shape)
    return make_volume(values.astype(np.int16), grid, modality="MR", units="1")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (inside(70.0), ""),
        (inside(70.0, content=(0.0, 40.0, 0.0)), "mm away from where that shows it"),
        (
            inside(70.0, placed=(0.0, 200.0, 0.0), content=(0.0, 200.0, 0.0)),
            "",
        ),  # the face is not in its view
    ],
)
def test_what_shows_no_skin_is_laid_on_what_does(other, words, monkeypatch):
    volumes = {"images/MR": inside(RADIUS), "images/MR-2": other, "defaced/none/images/MR-2": other}
    store = types.SimpleNamespace(url="", key="", volume=volumes.__getitem__, images=list(volumes)[:2])
    monkeypatch.setattr(witnessing, "volume_path", lambda defacer, path: f"defaced/{defacer}/{path}")
    laid = []

    def lay(url, key, by, path):
        laid.append(by)
        return alignment(volumes[by], volumes[path], SEEN)

    monkeypatch.setattr(witnessing, "_alignment", lay)
    monkeypatch.setattr(witnessing, "_by_plan", lambda *a: None)
    none = Verdict(None, True, False, "no skin of the face is in view, so that none could be left", {})
    monkeypatch.setattr("defacedask.anatomy.witness.verdict", lambda *a, **k: none)
    seen = {"images/MR": SEEN, "images/MR-2": SEEN}
    planned = types.SimpleNamespace(facts={})
    found = witnessing._one(store, planned, "none", "images/MR-2", seen, (NOSE, AHEAD, UP))  # type: ignore[arg-type]
    assert words in found.reason
    assert bool(found.reason) == bool(words)
    if "mm away" in words:
        assert "it shows no skin of the face, where the MR does" in found.reason
        assert found.figures["by"] == "images/MR"


def test_what_has_nothing_in_common_with_it_is_held_back(monkeypatch):
    volumes = {"images/MR": inside(RADIUS), "images/MR-2": inside(RADIUS, noise=True)}
    store = types.SimpleNamespace(url="", key="", volume=volumes.__getitem__, images=list(volumes))
    far = types.SimpleNamespace(together=False, apart=False, mm=float("nan"), facts=dict)
    monkeypatch.setattr(witnessing, "_alignment", lambda *a: far)
    reason, _ = witnessing._no_skin_of_its_own(store, "images/MR-2", {"images/MR": SEEN})  # type: ignore[arg-type]
    assert "too little in common" in reason
