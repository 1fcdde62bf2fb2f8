"""What a function cannot use is one sentence, and nothing is read or written on a guess."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from support.nifti_kit import write

import defacedask as dd
from defacedask.errors import DefacedaskError, InputError
from defacedask.flow.stages.protecting import patterns_of
from defacedask.geometry import Geometry
from defacedask.runs.outputs import local_folder, output_of
from defacedask.volume import checked, make_volume

GRID = Geometry.from_spacing((6, 7, 8), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
VOLUME = make_volume(np.zeros(GRID.shape, np.int16), GRID, modality="MR", units="1")
NO_VOLUMES = {
    "nothing": None,
    "an array": VOLUME.values,
    "a lazy array": VOLUME.chunk().data,
    "a data set": VOLUME.to_dataset(name="head"),
    "no attributes": xr.DataArray(VOLUME.values, dims=VOLUME.dims),
    "no modality": VOLUME.drop_attrs().assign_attrs(
        {name: value for name, value in VOLUME.attrs.items() if name != "modality"}
    ),
    "no slope": VOLUME.drop_vars("slope"),
    "other axes": VOLUME.transpose("x", "y", "z"),
    "one slice": VOLUME[2],
    "complex numbers": VOLUME.astype(complex),
    "texts": VOLUME.astype(str),
    "objects": VOLUME.astype(object),
}


@pytest.mark.parametrize("kind", NO_VOLUMES)
def test_what_is_no_volume_is_told_so(kind):
    given = NO_VOLUMES[kind]
    for take in (checked, dd.Head, dd.get_defacer("none").plan(dd.Head(VOLUME)).apply):
        with pytest.raises(InputError, match="volume"):
            take(given)


def test_what_is_one_passes():
    assert checked(VOLUME).shape == checked(VOLUME.astype(">f4")).shape == (6, 7, 8)


@pytest.mark.parametrize("given", [None, 3, {}, np.zeros(3), object(), [None], VOLUME])
def test_what_is_no_input(given):
    with pytest.raises(InputError, match="nothing that can be worked on"):
        dd.scan(given)


@pytest.mark.parametrize("given", ["", " ", [""], b""])
def test_an_empty_name_is_not_the_current_folder(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.nii", "int16")
    with pytest.raises(InputError, match="is empty"):
        dd.scan(given)


@pytest.mark.parametrize("out", ["", " ", None, 3, [], b"x"])
def test_an_output_has_a_name(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = write(tmp_path / "in" / "x.nii", "int16")
    for make in (output_of, local_folder, lambda given: dd.deface(source, given, "quickshear")):
        with pytest.raises(DefacedaskError, match="named by a path"):
            make(out)
    assert [one.name for one in tmp_path.iterdir()] == ["in"]


def test_lists_of_inputs(tmp_path):
    """As they are taken everywhere else."""
    files = [write(tmp_path / name / f"{name}.nii", "int16") for name in ("a", "b")]
    whole = dd.scan(*files)
    assert len(whole.cases) == 2
    for given in (files, tuple(files), set(files), (one for one in files), [str(one) for one in files]):
        assert dd.scan(given).cases == whole.cases


@pytest.mark.parametrize("given", [None, 3, ["quickshear"], object])
def test_a_defacer_is_named_by_a_text(given):
    with pytest.raises(DefacedaskError, match="named by a text"):
        dd.get_defacer(given)


def test_structures_are_named_by_texts():
    assert patterns_of("PTV*, Brain") == patterns_of(["PTV*", "Brain"]) == patterns_of(["PTV*,Brain"])
    for given in (3, ["x", None], object()):
        with pytest.raises(DefacedaskError, match="named by texts"):
            patterns_of(given)


@pytest.mark.parametrize("shape", [None, "abc", (1, 2), 3])
def test_a_grid_of_anything_else(shape):
    with pytest.raises(InputError, match="grid"):
        Geometry(shape, np.eye(4))


def test_a_path_is_no_series(tmp_path):
    with pytest.raises(InputError, match="no series"):
        dd.read_image(tmp_path)
