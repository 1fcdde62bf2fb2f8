"""Other people's defacers as arms of a study: made-up commands and folders, judged like our own."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path

import dask
import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml
from support import small_run
from support.planted import FEW_VIEWS

import defacedask as dd
from defacedask.errors import ConfigError, DefacedaskError, InputError
from defacedask.flow.result import TaskResult
from defacedask.flow.stages.arm_commands import run_command
from defacedask.flow.stages.arms import _onto, _write_nifti
from defacedask.geometry import Geometry
from defacedask.runs.arms import partners, read_arms
from defacedask.runs.sample import candidates
from defacedask.volume import geometry_of

#: The made-up defacer that takes the face.
CUT = """
import sys, nibabel, numpy as np
image = nibabel.load(sys.argv[1])
values = np.asarray(image.dataobj).copy()
body = np.flatnonzero((values > -300).any(axis=(0, 2)))
values[:, : body[0] + 4 * len(body) // 10] = -1000  # the file's second axis runs to the back
nibabel.save(nibabel.Nifti1Image(values, image.affine), sys.argv[2])
"""
PYTHON = sys.executable


@pytest.fixture(scope="module")
def arms(virtual_patients, tmp_path_factory):
    """Commands, and a folder with the first patient as it is."""
    folder = tmp_path_factory.mktemp("tools")
    (folder / "cut.py").write_text(CUT)
    mine, other = sorted(dd.scan(virtual_patients).cases, key=lambda c: c.patient_id)
    one, two = (case.image("CT", lazy=False).defacedask.real() for case in (mine, other))
    strange = np.full(one.shape, -1000, np.float32)
    box = tuple(slice(0, min(a, b)) for a, b in zip(one.shape, two.shape, strict=True))
    strange[box] = two.values[box]
    grid = geometry_of(one)
    coarse = grid.block((0, 0, 0), grid.shape, (2, 1, 1))
    made = {
        "coarse": (one.values[::2], coarse),
        "scaled": (one.values * 2 + 10, grid),
        "stranger": (strange, grid),
    }
    for name, (values, where) in made.items():
        _write_nifti(folder / f"{name}.nii.gz", values, where)
    whole = "import shutil, sys; shutil.copytree(*sys.argv[1:], dirs_exist_ok=True)"
    fails = "import sys; print(1, file=sys.stderr); sys.exit(sys.argv[3])"
    for part in (p for p in virtual_patients.iterdir() if p.is_dir() and mine.patient_id in p.name):
        shutil.copytree(part, folder / "theirs" / part.name)
    return {
        "cut": f"{PYTHON} {folder}/cut.py {{input}} {{output}}",
        "copy": "cp {input} {output}",
        "whole": f"{PYTHON} -c '{whole}' {{input_dir}} {{output_dir}}",
        **{
            name: f"cp {folder}/{name}.nii.gz {{output}} --no-target-directory --suffix={{input}}"
            for name in made
        },
        "broken": f"{PYTHON} -c '{fails}' {{input}} {{output}} 'no licence was found'",
        "silent": "true {input} {output}",
        "folder": folder / "theirs",
    }


@pytest.fixture(scope="module")
def run(virtual_patients, arms, tmp_path_factory):
    out = tmp_path_factory.mktemp("arms") / "out"
    case = min(dd.scan(virtual_patients).cases, key=lambda c: c.patient_id)
    attacks = "plain,forced_crop,body_contour,dose_grid"
    with dask.config.set(FEW_VIEWS):
        return dd.study(case, out, defacers="none", arms=arms, attacks=attacks, seed=2, pictures=False)


def rows(run, table, who, **only):
    found = run.tables[table]
    for name, value in {"defacer": who, **only}.items():
        found = found.loc[found[name] == value]
    return found.drop(columns="defacer").reset_index(drop=True)


@pytest.mark.slow
def test_an_image_that_is_as_it_was_has_the_figures_of_none(run):
    who = "copy"
    for table, only in (("recognition", {"modality": "CT"}), ("radiomics", {}), ("utility", {})):
        own = rows(run, table, who, **only)
        assert len(own)
        pd.testing.assert_frame_equal(own, rows(run, table, "none", **only))
    assert (rows(run, "geometry", who)["region_ml"] == 0).all()
    # nothing else was given back, and nothing of it is judged
    assert set(rows(run, "recognition", who)["modality"]) == {"CT"}
    assert not len(rows(run, "dose", who))


@pytest.mark.slow
@pytest.mark.parametrize("who", ["whole", "folder"])
def test_a_case_that_is_as_it_was_has_the_figures_of_none_in_everything(run, who):
    for table in ("recognition", "radiomics", "dose"):
        own = rows(run, table, who)
        assert len(own), table
        pd.testing.assert_frame_equal(own, rows(run, table, "none"))
    assert set(rows(run, "recognition", who)["modality"]) == {"CT", "RTSTRUCT", "RTDOSE"}


@pytest.mark.slow
def test_a_face_that_is_cut_is_seen_to_be(run):
    plain = rows(run, "recognition", "cut", attack="plain")
    assert len(plain)
    assert not plain["detected"].any()
    assert rows(run, "recognition", "none", attack="plain", modality="CT")["detected"].any()
    touched = rows(run, "geometry", "cut").set_index("structure")["region_percent"]
    assert touched["Eye_L"] > 90
    assert touched["Brainstem"] == 0
    masks = rows(run, "utility", "cut", measure="dice").set_index("structure")["defaced"]
    assert masks["body"] < 0.9
    assert masks["airway"] < 0.5
    assert 0.5 < masks["brain"] < 1.0  # the cut reaches into its front, and what lies behind is found
    none = rows(run, "utility", "none").set_index(["structure", "measure"])
    assert set(none.index.get_level_values(0)) == {"body", "brain", "bone", "airway"}
    assert (none["original"] == none["defaced"]).all()
    assert (none.xs("volume_ml", level=1)["original"] > 1).all()
    features = rows(run, "radiomics", "cut").query("feature == 'Median'").set_index("structure")
    assert features.loc["Eye_L", "voxels_changed"] > 0.9 * features.loc["Eye_L", "voxels"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "status", "says"),
    [
        ("broken", "failed", "ended with code 1 (no licence was found)"),
        ("silent", "failed", "left no output"),
        ("coarse", "refused", "lies on another grid"),
        ("stranger", "refused", "does not show the scan that it was given"),
        ("scaled", "refused", "are 2 times the input's plus 10"),
    ],
)
def test_what_goes_wrong_with_an_arm_is_a_row_and_no_figure(run, who, status, says):
    told = rows(run, "timing", who, stage="apply")
    assert told["status"].tolist() == [status]
    reason = run.tables["cases"]["reason"].iloc[0]
    assert f"{who}: " in reason
    assert says in reason
    assert not any(len(rows(run, table, who)) for table in ("recognition", "radiomics", "dose", "geometry"))


@pytest.mark.slow
def test_an_arm_is_in_the_report_and_never_written(run, arms):
    text = run.report.read_text(encoding="utf-8")
    assert all(name in text for name in arms)
    assert not list((run.out / "defaced").rglob("*.dcm"))
    assert not set(run.tables["exports"]["defacer"]) & set(arms)


def test_no_sample_is_written_of_an_arm(tmp_path):
    out = small_run.write(tmp_path, small_run.tables())
    assert candidates(out) == ["tidy"]
    config = yaml.safe_load((out / "config.yaml").read_text())
    config["settings"] |= {"defacers": {"none": {}}, "arms": {"tidy": {"command": "x {input} {output}"}}}
    (out / "config.yaml").write_text(yaml.safe_dump(config))
    assert candidates(out) == []


# --- commands


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path):
    child = tmp_path / "child"
    code = (
        "import subprocess, sys, time; print('at work', file=sys.stderr, flush=True); "
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3); open(\\'{child}\\', \\'w\\')']); "
        "time.sleep(60)"
    )
    begun = time.monotonic()
    with pytest.raises(DefacedaskError, match=r"was ended after 1 seconds \(at work\)"):
        run_command(
            f'{sys.executable} -c "{code}" {{input}} {{output}}',
            tmp_path / "a",
            tmp_path / "b",
            folder=tmp_path,
            seconds=1.0,
        )
    assert time.monotonic() - begun < 20
    time.sleep(3.0)
    assert not child.exists()


def test_a_command_is_read_without_a_shell(tmp_path):
    wanted = tmp_path / "out put"
    code = "import sys; open(sys.argv[2], 'w').write('|'.join(sys.argv[3:]))"
    run_command(
        f'{sys.executable} -c "{code}" {{input}} {{output}} $HOME ; "*"',
        tmp_path / "in put",
        wanted,
        folder=tmp_path,
        seconds=20.0,
    )
    assert wanted.read_text() == "$HOME|;|*"


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "folder with a pipe"])
def test_an_output_that_would_be_waited_for_without_end(tmp_path, kind):
    wanted = tmp_path / "output"
    place = {"pipe": wanted, "link to a pipe": tmp_path / "p", "folder with a pipe": wanted / "p"}[kind]
    code = f"import os; os.makedirs(os.path.dirname('{place}'), exist_ok=True); os.mkfifo('{place}')"
    if kind == "link to a pipe":
        code += f"; os.symlink('{place}', '{wanted}')"
    with pytest.raises(DefacedaskError, match="left no output"):
        run_command(
            f'{sys.executable} -c "{code}" {{input}} {{output}}',
            tmp_path,
            wanted,
            folder=tmp_path,
            seconds=20.0,
        )


def test_a_log_without_end_is_not_read_whole_and_temporary_files_go_with_the_folder(tmp_path, monkeypatch):
    folder, wanted = tmp_path / "own", tmp_path / "output"
    folder.mkdir()
    monkeypatch.setattr(Path, "read_text", None)
    code = (
        "import sys, tempfile; tempfile.NamedTemporaryFile(delete=False).write(b'voxels'); "
        "[print('x' * 999, file=sys.stderr) for _ in range(3000)]; print('last', file=sys.stderr); sys.exit(3)"
    )
    with pytest.raises(DefacedaskError, match=r"ended with code 3 \(last\)"):
        run_command(
            f'{sys.executable} -c "{code}" {{input}} {{output}}',
            tmp_path,
            wanted,
            folder=folder,
            seconds=20.0,
        )
    assert [file.read_bytes() for file in (folder / "tmp").iterdir()] == [b"voxels"]


def test_a_command_works_in_the_runs_own_folder(tmp_path, monkeypatch):
    """A killed worker leaves its files: they hold the original, and lay in the temporary folder of all users."""
    from defacedask.flow.stages import arms
    from defacedask.io.dicom.model import Case

    class Killed:
        def __init__(self, *about):
            pass

        def run(self, command, folder, seconds):
            raise DefacedaskError(
                f"{folder} {folder.stat().st_mode & 0o777:o} {folder.parent.stat().st_mode & 0o777:o}"
            )

    monkeypatch.setattr(arms, "_Arm", Killed)
    monkeypatch.setattr(arms, "CaseStore", lambda url: url)
    monkeypatch.setattr(Case, "from_dict", lambda case: case)
    planned = TaskResult("plan", "a", "", "")
    planned.facts = {"store": "here", "image": "images/CT"}
    with pytest.raises(DefacedaskError) as found:
        arms.take_arm(
            planned, planned, case={}, arm="theirs", plans=str(tmp_path / "store" / "plans"), command="x"
        )
    folder, *modes = str(found.value).removesuffix(".").split()
    assert Path(folder).parent == tmp_path / "store" / "arms"
    assert modes == ["700", "700"]
    assert not Path(folder).exists()


def test_a_program_that_is_not_there(tmp_path):
    with pytest.raises(DefacedaskError, match="no_such_defacer cannot be started"):
        run_command("no_such_defacer {input} {output}", tmp_path, tmp_path, folder=tmp_path, seconds=1.0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("theirs", "has no name"),
        ("quickshear=run {input} {output}", "cannot be called 'quickshear'"),
        ("a/b=run {input} {output}", "cannot be called 'a/b'"),
        ("theirs=no/such/folder", "neither a folder that is there nor a command"),
        ("theirs=run {input}", "must name its output in one way"),
        ("theirs=run {input} {input_dir} {output}", "must name its input in one way"),
        ("theirs=run '{input} {output}", "cannot be read"),
    ],
)
def test_arms_that_are_none(given, says):
    with pytest.raises(ConfigError, match=says):
        read_arms([given])


def test_files_of_a_command_are_found_from_where_it_was_written(tmp_path, monkeypatch):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "mine.py").write_text("")
    (tmp_path / "python").write_text("no program")
    monkeypatch.chdir(tmp_path)
    arms = read_arms(
        ["a=python tools/mine.py --x 'b c' {input} {output}", "b=tools/mine.py {input} {output}"]
    )
    assert shlex.split(arms["a"]["command"]) == [
        "python",
        f"{tmp_path}/tools/mine.py",
        "--x",
        "b c",
        "{input}",
        "{output}",
    ]
    assert shlex.split(arms["b"]["command"])[0] == f"{tmp_path}/tools/mine.py"


# --- grids and folders


def test_voxels_in_another_order_are_the_same_and_on_another_grid_are_not(tmp_path, rng):
    grid = Geometry.from_spacing((5, 6, 7), (2.5, 1.0, 1.5), (-10.0, 4.0, 30.0))
    values = rng.normal(size=grid.shape).astype(np.float32)
    turned = grid.block((4, 0, 6), (-1, 6, -1), (-1, 1, -1))
    swapped = Geometry((7, 6, 5), turned.affine[:, [2, 1, 0, 3]])
    np.testing.assert_array_equal(_onto(values[::-1, :, ::-1].transpose(2, 1, 0), swapped, grid), values)
    moved = grid.affine.copy()
    moved[0, 3] += 0.1
    assert _onto(values, Geometry(grid.shape, moved), grid) is None
    assert _onto(values[1:], grid.block((1, 0, 0), grid.shape), grid) is None
    # what commands are given, read by others
    for given in (values, np.rint(values * 100)):
        _write_nifti(tmp_path / "x.nii.gz", given, grid)
        image = nibabel.load(tmp_path / "x.nii.gz")
        np.testing.assert_array_equal(np.asarray(image.dataobj).T, given)
        corner = nibabel.affines.apply_affine(image.affine, (6, 5, 4))
        np.testing.assert_allclose(corner * (-1, -1, 1), grid.to_world((4, 5, 6)), atol=1e-4)


def test_a_folder_is_paired_and_what_it_lacks_is_said(virtual_patients, arms, tmp_path):
    cases = dd.scan(virtual_patients).cases
    found = partners(read_arms({"theirs": arms["folder"]}), cases)["theirs"]
    first, second = sorted(cases, key=lambda c: c.patient_id)
    assert found[first.id].defaced.patient_id == first.patient_id
    assert found[second.id].defaced is None
    assert "no defaced case belongs to it" in found[second.id].why
    with pytest.raises(InputError, match="belongs to any of the 0 originals"):
        partners(read_arms({"theirs": arms["folder"]}), [])
