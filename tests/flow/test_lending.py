"""Input that workers do not see comes to them, and is what it was to whoever started the run."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import pytest
from support.faulty_store import ADDRESS, memory  # noqa: F401

from defacedask.errors import ConfigError, StoreError
from defacedask.flow import away as aways
from defacedask.flow.away import Away
from defacedask.flow.lending import Lender
from defacedask.flow.lent import LIST, borrow
from defacedask.flow.result import Outcome
from defacedask.flow.steps import Step
from defacedask.flow.worker import run_task
from defacedask.io.remote.objects import Objects
from defacedask.io.store import input_key

pytestmark = pytest.mark.usefixtures("memory")


class Cluster:
    """An executor of which the lender asks one thing."""

    def __init__(self, blind: bool) -> None:
        self.others, self.asked = blind, 0

    def blind(self, path: Path) -> list[str]:
        assert path.is_file()
        self.asked += 1
        return ["a worker"] if self.others else []


class Later(Cluster):
    checks = ()


@pytest.fixture
def away(tmp_path):
    yield Away(ADDRESS, 1, "results", ((str(tmp_path / "here"), ADDRESS),), str(tmp_path / "scratch"))
    aways._FREE.clear()
    aways._objects.cache_clear()


@pytest.fixture
def source(tmp_path):
    paths = [tmp_path / "in" / "A" / "1.dcm", tmp_path / "in" / "B" / "1.dcm"]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        path.write_text(f"image {number}")
    return paths


def read(*, case: dict) -> Outcome:
    texts = [Path(name).read_text() for name in case["files"]]
    return Outcome(facts={"texts": texts, "key": input_key(case["files"]), "first": case["files"][0]})


def steps_of(away, paths, **options) -> list[Step]:
    arguments = away.outward({"case": {"files": [str(path) for path in paths]}})
    name = {"stage": "ingest", "case": "one", "defacer": "", "depends": None}
    return [Step(("ingest", "one", ""), (), (read, arguments), {"folder": "none", **name, **options}, {})]


def test_it_goes_with_its_case_and_is_the_same_input(away, source, tmp_path):
    key = input_key(list(map(str, source)))
    lender = Lender(Objects(ADDRESS), Cluster(blind=True))
    (step,) = steps_of(away, source)
    own = lender.see("one", [step], away)
    assert own.lent
    (tmp_path / "in").rename(tmp_path / "moved")  # on another machine
    result = run_task(*step.work, **step.options, away=own)
    assert result.facts == {"texts": ["image 0", "image 1"], "key": key, "first": str(source[0])}, (
        result.reason
    )


def test_what_all_see_or_is_done_is_not_lent(away, source):
    lender = Lender(Objects(ADDRESS), Cluster(blind=False))
    assert lender.see("one", steps_of(away, source), away) is away
    blind = Lender(Objects(ADDRESS), Cluster(blind=True))
    (step,) = steps_of(away, source, folder=f"{away.scratch}/client")
    run_task(*step.work, **step.options)
    blind.see("one", [step], away)
    assert Objects(ADDRESS).names("inputs") == {}
    assert (lender.executor.asked, blind.executor.asked) == (1, 1)


def test_before_there_is_a_cluster_nothing_is_known(away, source):
    lender = Lender(Objects(ADDRESS), Later(blind=True))
    own = lender.see("one", steps_of(away, source), away)
    assert own.lent
    assert Objects(ADDRESS).names("inputs") == {}
    lender.opened(Cluster(blind=True))
    assert list(Objects(ADDRESS).names("inputs")) == [own.lent[0]]
    # put once
    again = lender.see("one", steps_of(away, source), away)
    assert again.lent == own.lent
    source[0].write_text("another image")
    assert lender.see("one", steps_of(away, source), away).lent != own.lent


def test_what_the_run_itself_fetched_is_always_lent(away, tmp_path):
    fetched = tmp_path / "here" / "fetched" / "1.dcm"
    fetched.parent.mkdir(parents=True)
    fetched.write_text("fetched")
    lender = Lender(Objects(ADDRESS), Cluster(blind=False))
    (step,) = steps_of(away, [fetched])
    own = lender.see("one", [step], away)
    result = run_task(*step.work, **step.options, away=own)
    assert result.facts["texts"] == ["fetched"], result.reason
    assert result.facts["first"] == f"{ADDRESS}/fetched/1.dcm"


def test_nifti_has_neighbours_that_nobody_names(away, tmp_path):
    path = tmp_path / "in.nii.gz"
    path.write_text("")
    with pytest.raises(ConfigError, match="do not see the NIfTI input") as caught:
        Lender(Objects(ADDRESS), Cluster(blind=True)).see("one", steps_of(away, [path]), away)
    assert caught.value.fatal


def test_input_that_is_not_there_is_said(away, source, tmp_path):
    with pytest.raises(StoreError, match="is not there, and this worker does not see it"):
        borrow(Objects(ADDRESS), "inputs/one/none.tar", tmp_path / "x")
    lost = dataclasses.replace(away, lent=("inputs/one/none.tar", str(tmp_path / "gone")))
    (step,) = steps_of(away, source)
    result = run_task(*step.work, **step.options, away=lost)
    assert (result.status, result.fatal) == ("failed", False)


@pytest.mark.parametrize("whole", [True, False])
def test_of_what_was_lent_the_listed_files_alone_are_written(tmp_path, monkeypatch, whole):
    """On any Python: the first ones of 3.11 have no `filter` that keeps the names of an archive in their folder."""
    monkeypatch.delattr(tarfile.TarFile, "extractall")
    held = {LIST: json.dumps([["/in/1.dcm", 5, 0]]).encode(), "../escaped": b"more"}
    held |= {"000000/1.dcm": b"image"} if whole else {}
    with tarfile.open(tmp_path / "input.tar", "w") as tar:
        for name, data in held.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    objects = Objects(ADDRESS)
    objects.send(tmp_path / "input.tar", "inputs/one/x.tar")
    there = tmp_path / "worker" / "case"
    if whole:
        found = borrow(objects, "inputs/one/x.tar", there)
        assert {name: Path(path).read_bytes() for name, path in found.items()} == {"/in/1.dcm": b"image"}
        assert [path.name for path in (tmp_path / "worker").rglob("*") if path.is_file()] == ["1.dcm"]
    else:
        with pytest.raises(StoreError, match="not whole"):
            borrow(objects, "inputs/one/x.tar", there)
