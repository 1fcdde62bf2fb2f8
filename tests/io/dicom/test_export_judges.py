"""Independent programs read what was written as they read the original, and find no new fault in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pydicom
import pytest
from support.export_kit import HalfSpace, half_space, one_case, run_export, write_patient  # noqa: F401
from support.judges import dcm2niix, named_errors, need, plastimatch, plastimatch_masks, simple_itk
from support.rt_writers import openkbp_dicom

from defacedask.io.dicom.image import read_image
from defacedask.io.dicom.structures import read_structures
from defacedask.volume import geometry_of, real_values

REAL = {
    "ct_pycerr_hn": (0.0, "CT"),
    "mr_trio_b17": (-60.0, "MR"),
    "pet_qin_hn_0024": (-150.0, "PT"),
}


def centre_plan(folder: Path) -> HalfSpace:
    """Cut the front 40 % of whatever the primary image is."""
    corners = geometry_of(read_image(one_case(folder).primary)).corners
    low, high = corners[:, 1].min(), corners[:, 1].max()
    return HalfSpace(float(low + 0.4 * (high - low)))


def sample(files: list[Path], count: int = 6) -> list[Path]:
    return files[:: max(1, len(files) // count)]


def judge(source: Path, out: Path, work: Path) -> None:
    """All judges on one exported case."""
    before, after = one_case(source), one_case(out)
    for old, new in zip(before.series, after.series, strict=True):
        names = {Path(f).name: Path(f) for f in new.files}
        for path in sample([Path(f) for f in old.files]):
            assert named_errors(names[path.name]) <= named_errors(path), path.name
    old, new = before.primary, after.primary
    ours = real_values(read_image(new)).values
    itk_old, itk_new = simple_itk(list(old.files)), simple_itk(list(new.files))
    import SimpleITK as sitk

    assert itk_old.GetOrigin() == itk_new.GetOrigin()
    assert itk_old.GetSpacing() == itk_new.GetSpacing()
    assert itk_old.GetDirection() == itk_new.GetDirection()
    if new.modality != "PT":  # SimpleITK applies one slice's rescale to all, and no SUV
        assert np.allclose(sitk.GetArrayFromImage(itk_new), ours)
    folders = [Path(series.files[0]).parent for series in (old, new)]
    if shutil.which("dcm2niix"):
        first, second = (dcm2niix(f, work / f"nii{i}") for i, f in enumerate(folders))
        assert np.array_equal(first[1], second[1])
        assert first[0].shape == second[0].shape
        changed = first[0] != second[0]
        assert 0.02 < changed.mean() < 0.7
        if new.modality != "PT":
            assert changed.sum() == (ours != real_values(read_image(old)).values).sum()
    if shutil.which("plastimatch") and new.modality == "CT":
        assert np.array_equal(plastimatch(folders[1], work / "pm"), ours)


def test_made_patient(tmp_path):
    need("dciodvfy")
    write_patient(tmp_path / "in")
    _, out = run_export(tmp_path / "in", tmp_path)
    judge(tmp_path / "in", out, tmp_path / "work")


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", list(REAL))
def test_real_images(name, shared_data, tmp_path):
    need("dciodvfy")
    source = shared_data / name
    _, out = run_export(source, tmp_path, centre_plan(source))
    judge(source, out, tmp_path / "work")


@pytest.fixture(scope="module")
def planned_patient(shared_data, shared_tools, tmp_path_factory):
    """One OpenKBP patient, exported."""
    from defacedask import defacers

    source = openkbp_dicom(shared_tools / "openkbp_to_dicom.py", shared_data / "openkbp", "pt_24")
    folder = tmp_path_factory.mktemp("planned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(defacers.BUILT_IN, "half_space", "support.export_kit:HalfSpaceDefacer")
        _, out = run_export(source, folder, HalfSpace(-40.0))
    # plastimatch and SimpleITK read folders
    for side, root in (("before", source), ("after", out)):
        (folder / side).mkdir()
        for path in root.rglob("CT*.dcm"):
            shutil.copy(path, folder / side)
    return {"source": source, "out": out, "before": folder / "before", "after": folder / "after"}


@pytest.mark.data
@pytest.mark.slow
def test_planned_patient(planned_patient, tmp_path):
    need("dciodvfy")
    source, out = planned_patient["source"], planned_patient["out"]
    for name in ("RS.dcm", "RD.dcm", "CT.000.dcm", "CT.090.dcm"):
        assert named_errors(next(out.rglob(name))) <= named_errors(source / name), name
    itk = simple_itk(list(one_case(out).primary.files))
    import SimpleITK as sitk

    assert np.array_equal(sitk.GetArrayFromImage(itk), read_image(one_case(out).primary).values)
    assert np.array_equal(
        plastimatch(planned_patient["after"], tmp_path), read_image(one_case(out).primary).values
    )


@pytest.mark.data
@pytest.mark.slow
def test_plastimatch_makes_our_masks_of_the_written_structures(planned_patient, tmp_path):
    need("plastimatch")
    case = one_case(planned_patient["out"])
    grid = geometry_of(read_image(case.primary))
    theirs = plastimatch_masks(
        next(planned_patient["out"].rglob("RS.dcm")), planned_patient["after"], tmp_path
    )
    region = HalfSpace(-40.0).region(grid)
    ours = {s.original_name: s.full(grid.shape) for s in read_structures(case.structures[0], grid)}
    assert len(ours) > 5
    for name, mask in ours.items():
        assert np.array_equal(theirs[name], mask), name
        if name != "BODY":
            assert not (mask & region).any()


@pytest.mark.data
@pytest.mark.slow
def test_the_command_on_a_real_patient(planned_patient, tmp_path):
    """Head, plan and export together, as a user calls them."""
    from click.testing import CliRunner

    from defacedask.cli.deface import command
    from defacedask.verify import verify

    source = planned_patient["source"]
    arguments = [str(source), "--defacer", "quickshear", "--out", str(tmp_path / "out"), "--cluster", "here"]
    result = CliRunner().invoke(command, [*arguments, "--protect", "Brainstem"])
    assert result.exit_code == 0, (result.output, result.exception)
    found = verify(tmp_path / "out", source=[source])
    assert found.problems == []
    assert found.counts == {"CT": 128, "RTDOSE": 1, "RTSTRUCT": 1}
    grid = geometry_of(read_image(one_case(source).primary))
    stem = next(
        s for s in read_structures(one_case(source).structures[0], grid) if s.original_name == "Brainstem"
    ).full(grid.shape)
    before, after = (read_image(one_case(f).primary).values for f in (source, tmp_path / "out"))
    assert (before != after).any()
    assert (before[stem] == after[stem]).all()


# --- an archive


@pytest.fixture
def orthanc(tmp_path):
    """A fresh Orthanc on loopback, stopped at the end."""
    import socket

    program = shutil.which("Orthanc") or need("orthanc")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "StorageDirectory": str(tmp_path / "orthanc"),
        "IndexDirectory": str(tmp_path / "orthanc"),
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "DicomServerEnabled": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    log = (tmp_path / "orthanc.log").open("wb")
    process = subprocess.Popen([program, str(tmp_path / "orthanc.json")], stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(150):
            try:
                urllib.request.urlopen(f"{address}/system", timeout=1).read()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "orthanc.log").read_text()
                time.sleep(0.2)
        else:
            pytest.fail("Orthanc did not answer within 30 s")
        yield address
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def ask(address: str, data: bytes | None = None) -> bytes:
    request = urllib.request.Request(address, data=data)
    if data is not None:
        request.add_header("Content-Type", "application/dicom")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def test_an_archive_takes_the_study_and_gives_it_back(tmp_path, orthanc):
    write_patient(tmp_path / "in")
    _, out = run_export(tmp_path / "in", tmp_path)
    sent = {}
    for path in sorted(out.rglob("*.dcm")):
        reply = json.loads(ask(f"{orthanc}/instances", path.read_bytes()))
        assert reply["Status"] == "Success", path.name
        sent[reply["ID"]] = path
    assert len(sent) == 16
    back = tmp_path / "back"
    back.mkdir()
    for name, path in sent.items():
        data = ask(f"{orthanc}/instances/{name}/file")
        assert data == path.read_bytes()
        (back / path.name).write_bytes(data)
    (study,) = json.loads(ask(f"{orthanc}/studies"))
    facts = json.loads(ask(f"{orthanc}/studies/{study}"))
    assert len(facts["Series"]) == 5
    case, again = one_case(out), one_case(back)
    assert [s.uid for s in case.series] == [s.uid for s in again.series]
    assert np.array_equal(read_image(case.primary).values, read_image(again.primary).values)
    one = json.loads(ask(f"{orthanc}/instances/{next(iter(sent))}/simplified-tags"))
    assert one["RecognizableVisualFeatures"] == "NO"
    assert pydicom.dcmread(back / "RS.dcm").SOPInstanceUID == again.structures[0].instances[0]
