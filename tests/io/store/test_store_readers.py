"""The store as others read it: xarray without us, and readers of OME-NGFF."""

from __future__ import annotations

import json
import shutil
import threading

import numpy as np
import pytest
import xarray as xr
import zarr

from defacedask.geometry import Geometry
from defacedask.io.store import CaseStore, consolidate, create_case, write_volume
from defacedask.volume import geometry_of, make_volume, real_values

STEEP = np.array([[0.1, -0.3, 0.9], [0.2, 0.9, 0.3], [2.0, -0.1, 0.2]])


def grid(oblique=False):
    if not oblique:
        return Geometry.from_steps((40, 5, 4), (-3, 7, 99), (0, 0, 2.5), (0, 1, 0), (-0.5, 0, 0), "1.2.3")
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = STEEP, (5, 6, 7)
    return Geometry((40, 5, 4), affine, "1.2.3")


@pytest.fixture(scope="module")
def volumes():
    rng = np.random.default_rng(0)

    def made(low, high, dtype, oblique=False, **more):
        here = grid(oblique)
        return make_volume(rng.integers(low, high, here.shape).astype(dtype), here, **more)

    ct = {
        "modality": "CT",
        "units": "HU",
        "intercept": -1024.0,
        "attrs": {"series_uid": "9.9", "lossy": False},
    }
    pt = {"modality": "PT", "units": "g/mL", "slope": np.linspace(0.1, 0.4, 40)}
    return {
        "images/CT": made(0, 3000, np.int16, **ct),
        "images/MR": made(0, 900, np.uint16, oblique=True, modality="MR", units="1"),
        "images/PT": made(0, 9000, np.int16, **pt),
        "doses/RTDOSE": made(0, 2**31, np.uint32, modality="RTDOSE", units="Gy", slope=1e-7),
    }


class Part:
    original_name, number, colour, interpreted_type, warnings = "x", 1, (1, 2, 3), "ORGAN", ("odd",)

    def __init__(self, name, mask, start):
        self.name, self.mask, self.start = name, mask, start


@pytest.fixture(scope="module")
def url(tmp_path_factory, volumes):
    url = str(tmp_path_factory.mktemp("stores") / "case.zarr")
    facts = {"case": "c", "images": ["CT"], "notes": ["a"], "unread_structures": [{"names": ["b"]}]}
    with create_case(url, key="k", facts=facts) as writer:
        for path, volume in volumes.items():
            writer.volume(path, volume)
        parts = [
            Part("Brain", np.ones((3, 2, 2), bool), (2, 1, 1)),
            Part("Ä", np.ones((1, 1, 1), bool), (0, 0, 0)),
        ]
        writer.structures("structures/RTSTRUCT", parts, grid(), "images/CT")
    return url


@pytest.fixture(scope="module")
def tree(url):
    with xr.open_datatree(url, engine="zarr", consolidated=True) as tree:
        yield tree


def test_xarray_alone_gets_real_values_in_their_units(tree, volumes):
    for path in ("images/CT", "images/MR", "doses/RTDOSE"):
        voxels, real = tree[path]["voxels"], real_values(volumes[path], np.float64)
        np.testing.assert_allclose(voxels, real, rtol=1e-6)
        assert voxels.attrs["units"] == real.attrs["units"]
        assert not np.isnan(voxels).any()


def test_a_rescale_a_slice_is_said_and_no_unit_is_claimed(tree, volumes):
    pet = tree["images/PT"].to_dataset()
    assert "units" not in pet.voxels.attrs
    assert "slope" in pet.voxels.attrs["rescale"]
    assert pet.voxels.attrs["real_units"] == "g/mL"
    np.testing.assert_allclose(
        pet.voxels * pet.slope + pet.intercept, real_values(volumes["images/PT"]), rtol=1e-6
    )


def test_xarray_alone_gets_places_in_mm(tree, volumes):
    for path, volume in volumes.items():
        read, whole = tree[path]["voxels"], geometry_of(volume)
        for dim in "zyx":
            np.testing.assert_array_equal(read[dim], volume[dim])
            assert read[dim].attrs == volume[dim].attrs
            assert read[dim].attrs["units"] == "mm"
        np.testing.assert_array_equal(np.reshape(read.attrs["affine"], (4, 4)), whole.affine)
    brain = tree["structures/RTSTRUCT"]["mask"].sel(structure="Brain")
    assert int(brain.sum()) == 12
    np.testing.assert_array_equal(brain.z, volumes["images/CT"].z)
    assert bool(brain.sel(z=104, y=8, x=-3.5, method="nearest"))


def test_the_whole_store_is_told_by_its_root(url, tree, volumes):
    told = {path for path, _ in zarr.open_group(url, mode="r", use_consolidated=True).members(max_depth=None)}
    assert {f"{path}/voxels" for path in volumes} | {"structures/RTSTRUCT/mask"} <= told
    assert "stays on site" in tree.attrs["comment"]
    assert tree.attrs["complete"]


def test_attributes_are_flat_and_ngff_alone_is_nested(tree):
    for node in tree.subtree:
        for where in (node, *node.variables.values()):
            for name, value in where.attrs.items():
                if name == "ome":
                    continue
                assert isinstance(value, (str, int, float, list)), (node.path, name)
                assert not isinstance(value, list) or all(isinstance(v, (str, int, float)) for v in value)
    assert json.loads(tree["structures/RTSTRUCT"].attrs["structures"])[0]["name"] == "Brain"


def test_ours_reads_what_it_wrote_bit_for_bit(url, volumes):
    store = CaseStore(url)
    assert store.facts["unread_structures"] == [{"names": ["b"]}]
    for path, volume in volumes.items():
        again = store.volume(path)
        xr.testing.assert_identical(again.load(), volume.rename("voxels"))
        assert geometry_of(again) == geometry_of(volume) == store.geometry(path)
    assert [s.name for s in store.structures("structures/RTSTRUCT")] == ["Brain", "Ä"]
    assert store.geometry("structures/RTSTRUCT") == grid()


def test_a_part_is_written_as_what_it_is(tmp_path, volumes):
    url = str(tmp_path / "part.zarr")
    part = volumes["images/CT"][7:30, ::-1]
    with create_case(url, key="k", facts={}) as writer:
        writer.volume("images/CT", part)
    again = CaseStore(url).volume("images/CT")
    np.testing.assert_array_equal(again, part)
    assert geometry_of(again).close_to(geometry_of(part))


@pytest.mark.parametrize("path", ["images/CT", "images/MR", "images/PT", "doses/RTDOSE"])
def test_ngff_says_the_same_places_by_the_rules_of_its_version(url, volumes, path):
    """Rules of https://ngff.openmicroscopy.org/0.5/#multiscale-md, written down here."""
    group = zarr.open_group(url, mode="r", path=path, zarr_format=3)
    ome = group.attrs["ome"]
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    axes = image["axes"]
    assert 2 <= len(axes) <= 5
    assert [a["type"] for a in axes] == ["space"] * 3
    assert {a["unit"] for a in axes} == {"millimeter"}
    (dataset,) = image["datasets"]
    array = group[dataset["path"]]
    assert array.metadata.dimension_names == tuple(a["name"] for a in axes) == ("z", "y", "x")
    assert array.ndim == len(axes)
    scale, translation = dataset["coordinateTransformations"]  # one scale, then at most one translation
    assert (scale["type"], translation["type"]) == ("scale", "translation")
    assert len(scale["scale"]) == len(translation["translation"]) == 3
    for axis, dim in enumerate("zyx"):
        told = scale["scale"][axis] * np.arange(array.shape[axis]) + translation["translation"][axis]
        np.testing.assert_allclose(told, volumes[path][dim], atol=1e-9)
    directions, index = np.array(image["metadata"]["directions"]), np.array([3, 2, 1])
    mm = np.array(scale["scale"]) * index + translation["translation"]
    np.testing.assert_allclose(mm @ directions, geometry_of(volumes[path]).to_world(index), atol=1e-9)


def test_ome_zarr_models_agree(url, volumes):
    models = pytest.importorskip("ome_zarr_models")
    for path in volumes:
        group = zarr.open_group(url, mode="r", path=path, zarr_format=3)
        assert models.open_ome_zarr(group).ome_zarr_version == "0.5"


def test_two_writers_at_a_time_leave_all_told(tmp_path, volumes):
    url = str(tmp_path / "case.zarr")
    with create_case(url, key="k", facts={}) as writer:
        writer.volume("images/CT", volumes["images/CT"])
    failed = []

    def write(name):
        try:
            for path in ("images/CT", "doses/RTDOSE"):
                write_volume(url, f"defaced/{name}/{path}", volumes["images/CT"])
            consolidate(url)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(f"d{i}",)) for i in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not failed
    told = {path for path, _ in zarr.open_group(url, mode="r", use_consolidated=True).members(max_depth=None)}
    assert {f"defaced/d{i}/{p}/voxels" for i in range(4) for p in ("images/CT", "doses/RTDOSE")} <= told
    assert [p.name for p in tmp_path.iterdir()] == ["case.zarr"]
    assert not [path for path in told if "partial" in path]


def test_the_root_tells_what_zarr_itself_would_tell(tmp_path, volumes):
    url = str(tmp_path / "case.zarr")
    with create_case(url, key="k", facts={"notes": ["a"]}) as writer:
        for path, volume in volumes.items():
            writer.volume(path, volume)
    root = tmp_path / "case.zarr" / "zarr.json"
    consolidate(url)
    ours = json.loads(root.read_text())
    assert {"images", "images/CT", "images/CT/voxels"} <= set(ours["consolidated_metadata"]["metadata"])
    zarr.consolidate_metadata(url)
    assert ours == json.loads(root.read_text())
    # and one that was there before is no longer told once it is gone
    shutil.rmtree(tmp_path / "case.zarr" / "images" / "MR")
    consolidate(url)
    assert not [p for p in json.loads(root.read_text())["consolidated_metadata"]["metadata"] if "MR" in p]


def test_a_volume_opens_with_the_rescale_that_it_was_written_with(url, volumes):
    for path, volume in volumes.items():
        again = CaseStore(url).volume(path)
        for name in ("slope", "intercept"):
            np.testing.assert_array_equal(again[name].values, volume[name].values)
            assert again[name].dtype == volume[name].dtype
