from __future__ import annotations

import json
import os
import time

import pytest
from click.testing import CliRunner

from defacedask.cli.status import command
from defacedask.errors import InputError, RefusedError
from defacedask.flow.lock import only_run
from defacedask.flow.result import Outcome
from defacedask.flow.status import status_of
from defacedask.flow.worker import run_task


def result(folder, case, stage, function=lambda: Outcome(facts={"status": "failed", "long": "x" * 5000})):
    return run_task(function, {}, folder=str(folder / "results"), stage=stage, case=case, token="run")


def refuse():
    raise RefusedError("no head.")


def test_a_run_tells_how_far_it_is_and_what_it_is_at(tmp_path):
    folder = tmp_path / "out" / "store"
    folder.mkdir(parents=True)
    with only_run(folder, command="study", cases=5):
        result(folder, "a", "ingest")
        result(folder, "a", "plan", refuse)
        result(folder, "b", "ingest")
        begun = folder / "results" / "b" / "plan.begun"
        begun.write_text("{}")
        os.utime(begun, (time.time() - 300, time.time() - 300))
        before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
        found = status_of(tmp_path / "out")
        assert before == sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
        assert (found.state, found.cases, found.begun) == ("running", 5, 2)
        assert found.results == {"ingest": {"done": 2}, "plan": {"refused": 1}}
        assert found.running[0][:2] == ("plan", "b")
        assert 299 < found.running[0][2] < 360
        said = CliRunner().invoke(command, [str(tmp_path / "out")]).output
        assert "study: running; results of 2 of 5 cases" in said
        assert "at work: plan of b for 5 min" in said
        # 3 results of 2 cases: 5 cases have 7.5, of which 4.5 are missing, at 3 in ten minutes
        assert found.left == pytest.approx(900)
        assert "about 15 min left" in said
        assert set(found.seconds) == {"ingest", "plan"}
        assert found.hours_a_thousand == pytest.approx(sum(found.seconds.values()) / 2 / 3.6, abs=1e-3)
        priced = CliRunner().invoke(command, [str(tmp_path / "out"), "--price", "2"]).output
        assert "hours of one worker, " in priced
        assert "at 2 an hour" in priced
        assert (
            json.loads(CliRunner().invoke(command, [str(tmp_path / "out"), "--json"]).output)["lately"] == 3
        )
    found = status_of(tmp_path / "out")
    assert found.state == "finished"
    assert found.running == []


def test_what_a_run_before_this_one_died_at_is_not_at_work(tmp_path):
    folder = tmp_path / "out" / "store"
    folder.mkdir(parents=True)
    with only_run(folder, command="study", cases=1, token="this"):
        result(folder, "a", "ingest")
        for stage, token in (("plan", "before-0"), ("apply", "this-0")):
            sign = folder / "results" / "a" / f"{stage}.begun"
            sign.write_text(json.dumps({"token": token}))
        found = status_of(tmp_path / "out")
        assert [stage for stage, _, _ in found.running] == ["apply"]
        # the only case has a result already: no rate tells what is still to come
        assert found.left is None
        sign.unlink()
        assert status_of(tmp_path / "out").left == 0


def test_a_run_that_was_stopped_or_killed_says_so(tmp_path):
    folder = tmp_path / "out.work"
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt), only_run(folder, command="deface", cases=1):
        raise KeyboardInterrupt
    assert status_of(tmp_path / "out").state == "stopped"
    (folder / "run.json").write_text(json.dumps({"command": "deface", "cases": 1}))
    (folder / "run.lock").write_text("process 4194999 on " + os.uname().nodename)
    assert status_of(tmp_path / "out").state == "dead"
    (folder / "run.lock").write_text("process 1 on another-machine")
    assert status_of(folder).state == "unknown"


@pytest.mark.parametrize("inside", ["", "out/store"])
def test_a_run_whose_output_is_an_address_is_found_where_it_works(tmp_path, inside):
    folder = tmp_path / "run.local" / inside
    folder.mkdir(parents=True)
    with only_run(folder, command="study", cases=5):
        result(folder, "a", "ingest")
    assert status_of(tmp_path / "run.local").begun == 1


def test_a_folder_without_a_run_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="no run of study"):
        status_of(tmp_path)
