"""A face that is only covered is written if somebody asks for it, and then no file says that it is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from pydicom.sequence import Sequence
from support import export_kit, make
from support.export_kit import KEY, HalfSpace, half_space, one_case, run_export, tree, write_patient  # noqa: F401
from support.heads import posed
from support.judges import named_errors
from support.nifti_kit import write

from defacedask.cli import program
from defacedask.defacers import get_defacer, is_reversible
from defacedask.errors import ConfigError, DefacedaskError, RefusedError
from defacedask.flow.stages import residual
from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.export.audit import AUDIT, collect, read_lines
from defacedask.io.nifti.write import exact_path, mask_path, sidecar_path
from defacedask.runs.deface import deface
from defacedask.verify import verify
from defacedask.volume import geometry_of, real_values
from defacedask.whole_files import file_hash

MEASURED = residual.residual_face
NAMES = {"CT", "MR", "PT", "RTDOSE"}


@pytest.fixture
def reversible(monkeypatch):
    """The kit's plug-in says of itself that it is reversible."""
    monkeypatch.setattr(export_kit.HalfSpaceDefacer, "reversible", True, raising=False)


@pytest.fixture
def patient(tmp_path):
    write_patient(tmp_path / "in")
    return tmp_path / "in"


def says_so(dataset) -> bool:
    """By the letter: nothing that the program itself uses to say it."""
    codes = [(i.CodeValue, i.CodingSchemeDesignator) for i in dataset.DeidentificationMethodCodeSequence]
    meanings = [i.CodeMeaning for i in dataset.DeidentificationMethodCodeSequence]
    image = dataset.Modality in NAMES
    return (
        ("REVERSIBLE", "99DEFACEDASK") in codes
        and ("113102", "DCM") not in codes
        and "Face covered, not removed: it can be recovered" in meanings
        and "face covered, not removed: it can be recovered" in list(dataset.DeidentificationMethod)
        and dataset.get("RecognizableVisualFeatures", "") == ("YES" if image else "")
        and ("Face covered, not removed" in dataset.get("DerivationDescription", "")) == image
        and "removed by" not in dataset.to_json()
    )


def test_a_defacer_says_it_of_itself():
    assert is_reversible("carina")
    assert not any(map(is_reversible, ("quickshear", "biometric_mask_strict", "mri_reface", "half_space")))
    assert get_defacer("carina").reversible
    with pytest.raises(ConfigError, match="no defacer"):
        is_reversible("nothing")


def test_refused_with_the_reason(reversible, patient, tmp_path):
    with pytest.raises(RefusedError, match=r"original stays inside .* un-masked.*--allow-reversible"):
        run_export(patient, tmp_path)
    assert tree(tmp_path / "out") == {}
    lines = read_lines(tmp_path / "record" / one_case(patient).id / "half_space.jsonl")
    assert {line["status"] for line in lines} == {"refused"}
    assert all("un-masked" in line["reason"] for line in lines)


@pytest.mark.parametrize("identity_key", [b"", bytes(32)], ids=["headers kept", "headers de-identified"])
def test_every_object_says_so(reversible, patient, tmp_path, identity_key):
    outcome, out = run_export(patient, tmp_path, allow_reversible=True, identity_key=identity_key)
    assert outcome.facts["reversible"]
    assert not outcome.facts["visible"]
    datasets = [pydicom.dcmread(path) for path in out.rglob("*.dcm")]
    assert {d.Modality for d in datasets} == {"CT", "RTSTRUCT", "RTDOSE", "RTPLAN", "SEG"}
    assert all(says_so(d) for d in datasets)
    headers = {"113100" in [i.CodeValue for i in d.DeidentificationMethodCodeSequence] for d in datasets}
    assert headers == {bool(identity_key)}
    collect(out, [tmp_path / "record" / one_case(patient).id / "half_space.jsonl"], (), KEY)
    assert all(line["reversible"] for line in read_lines(out / AUDIT))
    assert verify(out, key=KEY).problems == []


def test_what_is_gone_is_stamped_as_before(patient, tmp_path):
    _, out = run_export(patient, tmp_path, allow_reversible=True)
    dataset = pydicom.dcmread(next(out.rglob("CT/*.dcm")))
    assert [i.CodeValue for i in dataset.DeidentificationMethodCodeSequence] == ["113102", "half_space"]
    assert dataset.RecognizableVisualFeatures == "NO"
    assert not says_so(dataset)


def test_an_earlier_claim_does_not_stay(reversible, patient, tmp_path):
    for path in (patient / "CT").glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.RecognizableVisualFeatures = "NO"
        cleaned = make.item(CodeValue="113102", CodingSchemeDesignator="DCM", CodeMeaning="Clean")
        profile = make.item(CodeValue="113100", CodingSchemeDesignator="DCM", CodeMeaning="Basic")
        dataset.DeidentificationMethodCodeSequence = Sequence([cleaned, profile])
        dataset.save_as(path)
    _, out = run_export(patient, tmp_path, allow_reversible=True)
    for path in out.rglob("CT/*.dcm"):
        dataset = pydicom.dcmread(path)
        assert says_so(dataset)
        codes = [i.CodeValue for i in dataset.DeidentificationMethodCodeSequence]
        assert codes == ["113100", "half_space", "REVERSIBLE"]


# --- carina itself, from the command line


def run(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(residual, "residual_face", MEASURED)
        return CliRunner().invoke(program, [str(a) for a in arguments])


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_nothing_is_done_without_the_flag(virtual_patients, tmp_path, more):
    done = run("deface", virtual_patients, "--defacer", "carina", "--out", tmp_path / "out", *more)
    assert isinstance(done.exception, ConfigError)
    assert "un-masked" in str(done.exception)
    assert "--allow-reversible" in str(done.exception)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="allow_reversible=True"):
        deface(scan(virtual_patients / "VP-0001"), tmp_path / "out", "carina")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def covered(virtual_patients, tmp_path_factory):
    """A virtual patient whose face carina covered."""
    folder = tmp_path_factory.mktemp("covered")
    arguments = ("--defacer", "carina", "--out", folder / "out", "--cluster", "here", "--allow-reversible")
    done = run("deface", virtual_patients / "VP-0001", *arguments)
    assert done.exit_code == 0, done.output
    return folder / "out", " ".join(done.output.split())


@pytest.mark.slow
def test_carina_writes_with_the_flag_and_says_so(covered, virtual_patients):
    out, said = covered
    assert "carina covered the faces of 1 cases and did not remove them" in said
    datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in out.rglob("*.dcm")]
    assert {"CT", "RTSTRUCT"} <= {d.Modality for d in datasets}
    assert all(says_so(d) for d in datasets)
    assert verify(out, source=[virtual_patients / "VP-0001"]).problems == []


@pytest.mark.slow
def test_judged_by_dciodvfy(covered, virtual_patients):
    out, _ = covered
    source = virtual_patients / "VP-0001"
    seen = {}
    for path in sorted(out.rglob("*.dcm")):
        seen.setdefault(pydicom.dcmread(path, stop_before_pixels=True).Modality, path)
    for path in seen.values():
        assert named_errors(path) <= named_errors(source / path.relative_to(out)), path.name


def edited(folder: Path, out: Path, changes, change_line=lambda line: None) -> list[tuple[str, str, str]]:
    """What `verify` says after somebody changed a file for each change, or the record, and made the hashes right."""
    copy = Path(shutil.copytree(out, folder / "copy"))
    lines = read_lines(copy / AUDIT)
    images = [line for line in lines if line["status"] == "written" and line["modality"] == "CT"]
    for line, (name, value) in zip(images, changes, strict=False):
        dataset = pydicom.dcmread(copy / line["file"])
        setattr(dataset, name, value(dataset))
        dataset.save_as(copy / line["file"])
        line["output_sha256"] = file_hash(copy / line["file"])
    for line in lines:
        change_line(line)
    (folder / "part.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    collect(copy, [folder / "part.jsonl"])
    return [(p.file, p.check, p.what) for p in verify(copy).problems]


def _with_cleaned(dataset):
    cleaned = make.item(CodeValue="113102", CodingSchemeDesignator="DCM", CodeMeaning="Clean")
    return Sequence([*dataset.DeidentificationMethodCodeSequence, cleaned])


def _without_own(dataset):
    return Sequence([i for i in dataset.DeidentificationMethodCodeSequence if i.CodeValue != "REVERSIBLE"])


#: Element, what is written into it, and what is then said.
PLANTED = [
    ("RecognizableVisualFeatures", lambda d: "NO", "but (0028,0302) is not YES"),
    ("RecognizableVisualFeatures", lambda d: "", "but (0028,0302) is not YES"),
    ("DeidentificationMethodCodeSequence", _with_cleaned, "it carries code 113102"),
    ("DeidentificationMethodCodeSequence", _without_own, "does not carry code REVERSIBLE"),
    ("DeidentificationMethod", lambda d: "defacedask carina", "(0012,0063) does not say that"),
    ("DerivationDescription", lambda d: "Face removed by defacedask", "(0008,2111) does not say that"),
]


@pytest.mark.slow
def test_verify_finds_every_false_stamp(covered, tmp_path):
    found = edited(tmp_path, covered[0], [(name, value) for name, value, _ in PLANTED])
    assert len({file for file, _, _ in found}) == len(found) == len(PLANTED), found
    for _, _, sentence in PLANTED:
        assert any(check == "tags" and sentence in said for _, check, said in found), (sentence, found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "lie", [{"reversible": False}, {"reversible": False, "defacer": "quickshear"}], ids=["flag", "name"]
)
def test_verify_finds_a_false_record(covered, tmp_path, lie):
    found = edited(tmp_path, covered[0], [], lambda line: line.update(lie))
    assert {(check, said) for _, check, said in found} == {
        ("record", "the record does not say that the face is covered, not removed")
    }


def test_verify_knows_the_output_of_earlier_versions(reversible, patient, tmp_path, monkeypatch):
    """Stamped NO by a version that did not know better."""
    monkeypatch.setattr(export_kit.HalfSpaceDefacer, "reversible", False)
    _, out = run_export(patient, tmp_path)
    collect(out, [tmp_path / "record" / one_case(patient).id / "half_space.jsonl"], (), KEY)
    assert verify(out, key=KEY).problems == []
    monkeypatch.setattr(export_kit.HalfSpaceDefacer, "reversible", True)
    said = {p.what for p in verify(out, key=KEY).problems}
    assert "the record does not say that the face is covered, not removed" in said
    assert any("113102" in what for what in said)
    assert any("(0028,0302) is not YES" in what for what in said)


# --- NIfTI


@pytest.fixture(scope="module")
def head_file(tmp_path_factory):
    """The average head as somebody's T1."""
    volume, _ = posed("MR", spacing=(3.0, 2.5, 2.5))
    # array axes (z, y, x) of LPS to (x, y, z) of RAS
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ geometry_of(volume).affine[:, [2, 1, 0, 3]]
    path = tmp_path_factory.mktemp("nifti") / "in" / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    path.parent.mkdir(parents=True)
    image = nibabel.Nifti1Image(real_values(volume).values.T.astype(np.int16), affine)
    image.set_qform(affine, 1)
    nibabel.save(image, path)
    codes = [{"CodeValue": "113102", "CodingSchemeDesignator": "DCM"}]
    sidecar_path(path).write_text(json.dumps({"DeidentificationMethodCodeSequence": codes}))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("defacer", ["carina", "quickshear"])
def test_nifti(head_file, tmp_path, defacer):
    out = tmp_path / "out"
    arguments = ["deface", head_file.parents[2], "--defacer", defacer, "--out", out, "--cluster", "here"]
    arguments += ["--already-defaced", "again"]  # its sidecar says that somebody defaced it
    if defacer == "carina":
        done = run(*arguments)
        assert isinstance(done.exception, DefacedaskError)
        assert not out.exists()
        arguments.append("--allow-reversible")
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    path = out / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    facts = json.loads(sidecar_path(path).read_text())
    codes = [item["CodeValue"] for item in facts["DeidentificationMethodCodeSequence"]]
    methods = " ".join(facts["DeidentificationMethod"])
    if defacer == "carina":
        assert codes == ["carina", "REVERSIBLE"]
        assert facts["RecognizableVisualFeatures"] == "YES"
        assert "face covered, not removed" in methods
    else:
        assert codes == ["113102", "113102", "quickshear"]
        assert facts["RecognizableVisualFeatures"] == "NO"
        assert "covered" not in methods
    assert verify(out).problems == []
    assert {p.name for p in out.rglob("*.nii.gz")} == {path.name, mask_path(path).name}

    # the published mask holds all that changed, says that it is a hull, and is not what changed
    before, after = (np.asanyarray(nibabel.load(p).dataobj) for p in (head_file, path))
    mask_image = nibabel.load(mask_path(path))
    mask = np.asanyarray(mask_image.dataobj)
    changed = before != after
    assert set(np.unique(mask)) == {0, 1}
    assert not (changed & (mask == 0)).any()
    assert (mask == 1).sum() > 1.5 * changed.sum()
    assert "coarse" in str(mask_image.header["descrip"])
    assert facts["DefacedaskMask"]["File"] == mask_path(path).name
    assert "coarse" in facts["DefacedaskMask"]["Description"]

    # the exact one lies with the key, for its owner alone
    (exact,) = (tmp_path / "out.work").rglob("*_exactmask.nii.gz")
    assert exact.name == exact_path(path).name
    assert np.array_equal(np.asanyarray(nibabel.load(exact).dataobj) == 2, changed)
    while exact != tmp_path / "out.work":
        assert exact.stat().st_mode & 0o077 == 0, exact
        exact = exact.parent

    # verify's positive control on the sidecar
    if defacer == "carina":
        part = tmp_path / "part.jsonl"
        sidecar_path(path).write_text(json.dumps({**facts, "RecognizableVisualFeatures": "NO"}))
        lines = read_lines(out / AUDIT)
        for line in lines:
            line["output_sha256"] = file_hash(out / line["file"])
        part.write_text("".join(json.dumps(line) + "\n" for line in lines))
        collect(out, [part])
        assert [p.what for p in verify(out).problems] == [
            "the face can be recovered, but the sidecar's RecognizableVisualFeatures is not YES"
        ]


def test_a_case_that_is_refused_leaves_no_exact_mask(tmp_path):
    write(tmp_path / "in" / "sub-01_T1w.nii.gz", "int16")
    run_export(tmp_path / "in", tmp_path, HalfSpace(1.0))
    assert len(list((tmp_path / "masks").rglob("*.nii.gz"))) == 1
    with pytest.raises(RefusedError):
        run_export(tmp_path / "in", tmp_path, HalfSpace(1.0), moved=0.2)
    assert not list((tmp_path / "masks").rglob("*.nii.gz"))
