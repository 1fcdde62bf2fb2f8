from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
import xarray as xr
import zarr

from defacedask.errors import OutputError, StoreError
from defacedask.geometry import Geometry
from defacedask.io.store import CaseStore, create_case, input_key
from defacedask.volume import geometry_of, make_volume


@dataclasses.dataclass
class Part:
    name: str
    mask: np.ndarray
    start: tuple[int, int, int]
    original_name: str = "x"
    number: int = 1
    colour: tuple[int, int, int] | None = (1, 2, 3)
    interpreted_type: str = "ORGAN"
    warnings: tuple[str, ...] = ()


@pytest.fixture
def volume(rng):
    grid = Geometry.from_spacing((70, 9, 8), (2, 1, 1), (1, 2, 3), "1.2.3")
    stored = rng.integers(-1000, 2000, grid.shape, dtype=np.int16)
    return make_volume(stored, grid, modality="CT", units="HU", intercept=-4.0)


def write(url, volume, key="k"):
    box = np.ones((3, 2, 2), bool)
    box[1] = False
    with create_case(url, key=key, facts={"case": "c", "images": ["CT"]}) as writer:
        writer.volume("images/CT", volume)
        parts = [Part("Brain", box, (2, 3, 4)), Part("Empty", np.zeros((0, 0, 0), bool), (0, 0, 0))]
        writer.structures("structures/RTSTRUCT", parts, geometry_of(volume), "images/CT")


@pytest.mark.parametrize("address", ["{tmp}/case.zarr", "memory://{name}/case.zarr"])
def test_written_and_read_again(tmp_path, volume, address):
    url = address.format(tmp=tmp_path, name=tmp_path.name)
    write(url, volume)
    store = CaseStore(url)
    assert store.key == "k"
    assert store.images == ["images/CT"]
    again = store.volume("images/CT")
    xr.testing.assert_identical(again.load().drop_attrs(), volume.rename("voxels").drop_attrs())
    assert again.dtype == np.int16
    assert geometry_of(again) == geometry_of(volume)
    assert store.volume("images/CT").data.chunksize == (32, 9, 8)
    brain, empty = store.structures("structures/RTSTRUCT")
    assert brain.mask.sum() == 8
    assert brain.colour == (1, 2, 3)
    assert not empty.mask.size
    assert store.structures_image("structures/RTSTRUCT") == "images/CT"
    assert store.geometry("structures/RTSTRUCT") == geometry_of(volume)


def test_codec_and_format(tmp_path, volume):
    write(str(tmp_path / "a.zarr"), volume)
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["images/CT/voxels"]
    assert array.metadata.zarr_format == 3
    (codec,) = array.compressors
    names = tuple(getattr(one, "value", one) for one in (codec.cname, codec.shuffle))  # words since Zarr 3.4
    assert names == ("lz4", "bitshuffle")


def test_an_interrupted_write_leaves_nothing(tmp_path, volume):
    url = str(tmp_path / "case.zarr")

    def interrupted():
        with create_case(url, key="k", facts={}) as writer:
            writer.volume("images/CT", volume)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="no case store"):
        CaseStore(url)


def test_a_store_without_its_mark_is_not_read(tmp_path, volume):
    url = str(tmp_path / "case.zarr")
    write(url, volume)
    attrs = zarr.open_group(url, mode="a").attrs
    del attrs["complete"]
    with pytest.raises(StoreError, match="never finished"):
        CaseStore(url)


def test_another_format_is_not_read(tmp_path, volume):
    url = str(tmp_path / "case.zarr")
    write(url, volume)
    zarr.open_group(url, mode="a").update_attributes({"defacedask_format": 999})
    with pytest.raises(StoreError, match="format 999"):
        CaseStore(url)


def test_written_anew_over_an_old_one(tmp_path, volume):
    url = str(tmp_path / "case.zarr")
    write(url, volume, "old")
    write(url, volume + 1, "new")
    assert CaseStore(url).key == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["case.zarr"]


def test_unwritable_place_is_one_sentence(tmp_path, volume):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write the case store"):
        write(str(tmp_path / "file" / "case.zarr"), volume)


def test_missing_volume(tmp_path, volume):
    url = str(tmp_path / "case.zarr")
    write(url, volume)
    with pytest.raises(StoreError, match="holds no images/MR"):
        CaseStore(url).volume("images/MR")


def test_input_key_follows_the_files(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("1")
    b.write_text("2")
    key = input_key([str(a), str(b)])
    assert key == input_key([str(b), str(a)])
    os.utime(a, ns=(1, 1))
    assert input_key([str(a), str(b)]) != key
    assert input_key([str(a)]) != input_key([str(b)])


def test_an_original_is_opened_once_and_its_voxels_are_not_kept(tmp_path, volume, monkeypatch):
    import defacedask.io.store as stores

    url = str(tmp_path / "c.zarr")
    write(url, volume)
    opened = []
    real = stores.stored_volume
    monkeypatch.setattr(stores, "stored_volume", lambda *place: opened.append(place) or real(*place))
    store = CaseStore(url)
    first = store.volume("images/CT").load()
    first.attrs["note"] = "of who asked"
    again = store.volume("images/CT")
    assert len(opened) == 1
    assert again.chunks is not None  # lazy, whatever was loaded in between
    assert "note" not in again.attrs
    np.testing.assert_array_equal(again.values, first.values)
    # what a stage may write anew is opened anew
    for _ in range(2):
        with pytest.raises(StoreError):
            store.volume("defaced/x/images/CT")
    assert len(opened) == 3
