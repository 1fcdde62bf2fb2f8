"""An average head from a cohort whose true mean is known: the built-in head, bent in ways that cancel out."""

from __future__ import annotations

import functools
from pathlib import Path

import dask
import numpy as np
import pytest
from click.testing import CliRunner

from defacedask.anatomy.head import Head
from defacedask.anatomy.template import load_template
from defacedask.averaging import build as module
from defacedask.averaging import build_template
from defacedask.averaging.register import pull, smooth_inverse
from defacedask.averaging.steps import average_of
from defacedask.cli import program
from defacedask.errors import ConfigError, InputError, OutputError, RefusedError
from defacedask.geometry import Geometry
from defacedask.io.dicom.model import Case, Series
from defacedask.volume import real_values

SPACING = 6.0
#: mm by which each head's nose is longer or shorter, and its place in the scanner. Their mean is +3.
NOSES = (-7.0, 13.0, -1.0, 9.0, 1.0)


def bend(grid: Geometry, mm: float) -> np.ndarray:
    """Displacement that makes the front of the face reach further forward by ``mm``, smoothly over 25 mm."""
    x, y, z = grid.positions(dtype=np.float64)
    tip = load_template("average_ct").landmarks["nose_tip"]
    near = np.exp(-((x - tip[0]) ** 2 + (y - tip[1]) ** 2 + (z - tip[2]) ** 2) / (2 * 25.0**2))
    out = np.zeros((3, *grid.shape), np.float32)
    out[1] = mm * near  # y runs to the back: the place is taken from further back
    return out


def made_head(series, *, folder, number):
    """In place of `prepare`: a bent head, whose place is known."""
    if series["description"] == "no head":
        return {"path": "", "reason": "no head was found.", "affine": []}
    source = load_template("average_ct")
    grid = source.geometry.aligned(4.0, 12.0)
    rng = np.random.default_rng(number)
    place = np.eye(4)
    place[:3, 3] = rng.uniform(-30, 30, 3)  # scanner -> average
    values = pull(
        source.image.values.astype(np.float32),
        source.geometry,
        grid,
        np.eye(4),
        bend(grid, NOSES[number]),
        outside=-1000.0,
    )
    moved = Geometry(grid.shape, np.linalg.inv(place) @ grid.affine)
    top = grid.shape[0] - (8 if number % 2 else 0)  # half of them lack the crown
    path = Path(folder) / f"member-{number}.npz"
    np.savez(
        path,
        values=values[:top].astype(np.float32),
        grid=moved.affine,
        view=moved.affine,
        view_shape=(top, *grid.shape[1:]),
        to_average=place,
    )
    return {"path": str(path), "reason": "", "affine": place.tolist()}


def cases(count: int, headless: int = 0, modality: str = "CT") -> list[Case]:
    grid = {"shape": [4, 4, 4], "affine": np.eye(4).tolist(), "frame_of_reference": ""}
    out = []
    for k in range(count + headless):
        series = Series(
            f"1.{k}", modality, "", f"P{k}", "", "", "" if k < count else "no head", 0, (), (), geometry=grid
        )
        out.append(Case(f"case-{k}", f"P{k}", "", (series,)))
    return out


build = functools.partial(
    build_template, spacing=SPACING, compute=functools.partial(dask.compute, scheduler="synchronous")
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "ours"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "prepare", made_head)
        result = build(cases(len(NOSES), headless=1), folder, iterations=2)
    return folder, result


@pytest.mark.slow
def test_the_shape_is_the_cohorts_mean(built):
    folder, result = built
    ours, source = load_template(folder), load_template("average_ct")
    assert result.heads == 5
    assert result.refused == [("case-5", "no head was found.")]

    # the noses differ by 20 mm, and the mean of them is 3 mm longer than the one it started from
    moved = ours.landmarks["nose_tip"] - source.landmarks["nose_tip"]
    assert moved[1] == pytest.approx(-3.0, abs=1.5)
    assert np.abs(moved[[0, 2]]).max() < 2
    # it stays: the mean shape leaves the average by no more than a few hundredths of a voxel a round
    drift = [row["drift_mm"] for row in result.rounds]
    assert drift[0] == 0  # affines alone
    assert 0 < max(drift[1:]) < 0.25
    assert result.rounds[2]["difference"] < result.rounds[0]["difference"]
    assert all(row["heads"] == 5 for row in result.rounds)


def test_it_has_the_built_ins_form(built):
    folder, result = built
    ours, source = load_template(folder), load_template("average_ct")
    assert ours.sha256 == result.sha256
    assert ours.name == "ours"
    assert ours.names == source.names
    assert set(ours.landmarks) == set(source.landmarks)
    assert ours.facts["heads"] == 5
    assert load_template(folder) is ours
    for name in ("Brain", "face", "Eye_L", "bone"):
        a, b = ours.mask(name), source.mask(name)
        volumes = [float(m.sum() * t.geometry.voxel_volume) for m, t in ((a, ours), (b, source))]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.25), name
    moved = [
        np.linalg.norm(ours.landmarks[m] - source.landmarks[m]) for m in ("vertex", "tragion_left", "menton")
    ]
    assert max(moved) < 4
    # skin: negative inside, air outside
    skin, hu = real_values(ours.skin).values, ours.image.values
    assert (hu[skin < -6] > -400).mean() > 0.9
    assert (hu[skin > 8] < -700).mean() > 0.99
    assert not ours.mask("Brain")[skin > 0].any()
    # where only three of five are in view, the built-in stands in
    assert result.measured < 1.0
    assert not list(folder.glob(".build-*"))  # no head stays behind


def test_a_head_can_be_registered_to_it(built):
    from support.heads import pose_error, posed

    volume, truth = posed("CT", spacing=(4.0, 3.0, 3.0))
    head = Head(volume, template=load_template(built[0]))
    angle, mm = pose_error(head.pose, truth)
    assert angle < 6
    assert mm < 8


@pytest.mark.slow
def test_few_heads_are_refused_unless_forced(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "prepare", made_head)
    with pytest.raises(RefusedError, match="an average of 4 heads could give one of them back"):
        build(cases(4), tmp_path / "a")
    # five persons, but one of them without a head that can be found
    with pytest.raises(RefusedError, match=r"of 4 heads.*no head was found"):
        build(cases(4, headless=1), tmp_path / "b")
    assert not list(tmp_path.rglob("*.npz"))
    with pytest.raises(RefusedError, match="at least 2"):
        build(cases(1), tmp_path / "c", force=True)
    # several scans of one person are one person
    twice = [Case(f"{c.id}-{k}", "P", "", c.images) for c in cases(1) for k in range(6)]
    with pytest.raises(RefusedError, match="of 1 heads"):
        build(twice, tmp_path / "d")
    result = build(cases(2), tmp_path / "e", force=True, iterations=1)
    assert result.heads == 2
    assert load_template(tmp_path / "e").facts["forced"] is True


def test_bad_options(tmp_path):
    with pytest.raises(ConfigError, match="PT"):
        build(cases(6), tmp_path / "a", modality="PT")
    with pytest.raises(InputError, match="no MR image"):
        build(cases(6), tmp_path / "a", modality="MR")
    with pytest.raises(ConfigError, match="iterations"):
        build(cases(6), tmp_path / "a", iterations=0)
    with pytest.raises(ConfigError, match="no template 'grandma'"):
        load_template("grandma")
    with pytest.raises(InputError, match="no template in"):
        load_template(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_existing_or_a_changed_template(built, tmp_path):
    import shutil

    with pytest.raises(OutputError, match="already"):
        build(cases(6), built[0])
    shutil.copytree(built[0], tmp_path / "copy")
    (tmp_path / "copy" / "labels.nii.gz").write_bytes((built[0] / "tissue.nii.gz").read_bytes())
    with pytest.raises(InputError, match=r"labels\.nii\.gz.*was changed"):
        load_template(tmp_path / "copy")


def test_no_voxel_is_the_mean_of_few():
    """Wherever fewer heads are seen than needed, not a trace of them is in the average."""
    seen = np.zeros((20, 12, 12))
    seen[:10] = 6
    seen[10:14] = 4
    total = seen * 100.0
    total[10:14] = 1e6
    mean = average_of(total, seen, np.full(seen.shape, -7.0), 5)
    assert (mean[10:] == -7.0).all()
    assert ((mean[:10] >= -7.0) & (mean[:10] <= 100.001)).all()
    np.testing.assert_allclose(mean[:2], 100.0, atol=0.1)


def test_inverse_of_a_displacement():
    grid = Geometry.from_spacing((30, 30, 30), (4.0, 4.0, 4.0), (-60.0, -120.0, -120.0))
    shift = bend(grid, 9.0)
    back = smooth_inverse(shift, grid)
    from defacedask.averaging.register import places
    from defacedask.sampling import sample_field

    there = np.stack([sample_field(part, grid, places(grid, back)) for part in shift])
    inner = (slice(None), slice(4, -4), slice(4, -4), slice(4, -4))
    assert np.abs(there + back)[inner].max() < 0.1
    assert np.abs(shift).max() > 8


def test_show(built, tmp_path):
    from PIL import Image

    result = CliRunner().invoke(program, ["template", "show"])
    assert result.exit_code == 0
    assert "average_t1" in result.output
    picture = tmp_path / "p.png"
    result = CliRunner().invoke(program, ["template", "show", str(built[0]), "--picture", str(picture)])
    assert result.exit_code == 0, result.output
    assert "5 heads of one" in " ".join(result.output.split())
    with Image.open(picture) as image:
        assert image.size == (1200, 400)
        columns = np.asarray(image.convert("L")).reshape(400, 3, 400)
    assert all(columns[:, k].std() > 10 for k in range(3))
