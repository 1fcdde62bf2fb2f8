"""The public door: every function takes paths, a Scan or a Case, and an active client is used."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import defacedask as dd
from defacedask.errors import ConfigError, InputError, RefusedError
from defacedask.inputs import folder_of, one_case, paths_of, scan_of
from defacedask.io.dicom.structures import read_structures
from defacedask.volume import geometry_of


@pytest.fixture(scope="module")
def scan(virtual_patients):
    return dd.scan(virtual_patients)


def ids(found):
    return [case.id for case in found.cases]


def test_whatever_names_the_cases_gives_the_same_cases(virtual_patients, scan):
    one, two = (str(virtual_patients / name) for name in ("VP-0001", "VP-0002"))
    for given in (
        virtual_patients,
        str(virtual_patients),
        [one, Path(two)],
        (path for path in (one, two)),
        scan,
        scan.cases,
        list(scan),
        [scan],
        [scan, scan.cases[0]],
        [one, scan.cases[1]],
    ):
        assert ids(scan_of(given)) == ids(scan)
    assert scan_of(scan) is scan
    assert ids(scan_of(scan.cases[1])) == [scan.cases[1].id]
    assert ids(dd.scan(one, scan.cases[1])) == ids(scan)
    # the people of some would be taken for those of all
    assert scan_of(virtual_patients).people
    assert not scan_of([one, scan.cases[1]]).people


@pytest.mark.parametrize("given", [3, None, b"folder", {"a": 1}, [3], ["no/such/folder"], [None]])
def test_anything_else_is_one_sentence(given, tmp_path):
    for call in (
        lambda: dd.study(given, tmp_path / "out"),
        lambda: dd.deface(given, tmp_path / "out", "quickshear"),
        lambda: dd.attack(given, given, tmp_path / "out"),
        lambda: dd.plan(given, "quickshear"),
    ):
        with pytest.raises(InputError):
            call()


def test_two_cases_of_one_id_that_differ_are_not_mixed(scan):
    import dataclasses

    other = dataclasses.replace(scan.cases[0], patient_id="somebody else")
    with pytest.raises(InputError, match="together"):
        scan_of([scan, other])


def test_a_plan_is_of_one_case(virtual_patients, scan, tmp_path):
    for given in (virtual_patients / "VP-0001", scan.cases[0], [scan.cases[0]], [scan.cases[0]] * 2):
        assert one_case(given) == scan.cases[0]
    assert dd.plan(virtual_patients / "VP-0001", "none").defacer == "none"
    with pytest.raises(InputError, match="one case"):
        dd.plan(scan, "quickshear")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError):
        one_case(empty)


def test_paths_and_results_are_told_apart(scan, tmp_path):
    assert paths_of("a") == ("a",)
    assert paths_of(["a", scan]) == ("a",)
    assert paths_of(scan) == ()
    assert folder_of(tmp_path) == tmp_path

    class Result:
        out = tmp_path

    assert folder_of(Result()) == tmp_path
    for wrong in (scan, scan.cases[0], 3):
        with pytest.raises(InputError, match="output folder"):
            dd.verify(wrong)
        with pytest.raises(InputError, match="output folder"):
            dd.report(wrong)


@pytest.mark.parametrize("name", ["verify", "report"])
def test_a_module_of_the_same_name_does_not_get_in_the_way(name):
    code = (
        f"import defacedask as dd; first = dd.{name}; import defacedask.{name}; assert dd.{name} is first;"
        f"assert callable(dd.{name}); from defacedask.{name} import *"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
    module = importlib.import_module(f"defacedask.{name}")
    function = module.verify if name == "verify" else module.write_report
    assert inspect.signature(getattr(dd, name)) == inspect.signature(function)
    assert next(iter(inspect.signature(module).parameters)) == "out"


def test_the_door_opens_everything_it_names_and_imports_nothing_before():
    assert {"scan", "plan", "deface", "study", "attack", "verify", "report"} <= set(dd.__all__)
    for name in dd.__all__:
        assert getattr(dd, name) is not None
    heavy = ("numpy", "xarray", "pandas", "vtk", "dlib")
    code = f"import sys, defacedask; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_an_active_client_is_used_and_paths_keep_their_shape(virtual_patients, scan, tmp_path):
    from distributed import Client

    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        client.get_task_stream()  # what ran is noted from here on
        done = dd.deface(virtual_patients / "VP-0001", tmp_path / "a", "quickshear")
        stages = {str(task["key"]).strip("('").split("-")[0] for task in client.get_task_stream()}
    assert {"ingest", "plan", "apply", "export"} <= stages
    assert done.ok
    again = dd.deface([scan.cases[0]], tmp_path / "b", "quickshear", inputs=[virtual_patients / "VP-0001"])
    names = [
        sorted(p.relative_to(d.out).parent.as_posix() for p in d.out.rglob("*.dcm")) for d in (done, again)
    ]
    assert names[0] == names[1]
    for source in (virtual_patients / "VP-0001", scan, scan.cases[0], [scan.cases[0]]):
        assert dd.verify(done, source=source).ok


def test_verify_looks_for_the_same_words_and_uids_whatever_names_the_originals(virtual_patients, scan):
    from defacedask.verify.record import source_facts

    uids, words, files = source_facts([virtual_patients])
    assert {s.uid for case in scan for s in case.series} < uids
    for source in (virtual_patients, scan, list(scan), [virtual_patients / "VP-0001", scan.cases[1]]):
        again, found, images = source_facts(source)
        assert again == uids
        assert sorted(images) == sorted(files)
        for text in ("VP-0001", "VP-0002", "a head of nobody in particular"):
            assert found(text) == words(text) == text.startswith("VP")
    assert source_facts(()) == (set(), None, [])


def test_a_plan_keeps_what_it_is_told_to(virtual_patients):
    case = dd.scan(virtual_patients / "VP-0001")[0]
    names = {one.name for one in dd.plan(case, "quickshear").protected}
    # as a study does: the brain as it is found and as it is drawn
    assert names == {"Brain", "Brain (as drawn)"}
    plan = dd.plan(case, "quickshear", protect="Target, Bone_*", margin_mm=5)
    assert {one.name for one in plan.protected} - names == {"Target", "Bone_Mandible"}
    grid = geometry_of(case.image("CT"))
    free = dd.plan(case, "quickshear").region(grid)
    (mandible,) = [s for s in read_structures(case.structures[0], grid) if s.name == "Bone_Mandible"]
    assert free[mandible.box][mandible.mask].any()
    assert not plan.region(grid)[mandible.box][mandible.mask].any()
    with pytest.raises(RefusedError, match="no structure of the case is called Nobody"):
        dd.plan(case, "quickshear", protect=["Nobody*"])
    with pytest.raises(ConfigError, match="margin"):
        dd.plan(case, "quickshear", margin_mm=-1)
