from __future__ import annotations

import errno
import json
import os

import pytest

from defacedask.errors import InputError, OutputError, RefusedError
from defacedask.flow import result as results
from defacedask.flow.result import Outcome, TaskResult, result_path
from defacedask.flow.worker import run_task, settled_result

calls: list[int] = []


@pytest.fixture(autouse=True)
def no_calls():
    calls.clear()


def good(*before, value=1):
    calls.append(value)
    return Outcome(rows={"cases": [{"a": value}]}, facts={"b": [value]})


def run(function, folder, *before, depends=None, **arguments):
    return run_task(
        function, arguments, *before, folder=str(folder), stage="s", case="c", defacer="d", depends=depends
    )


def test_a_second_run_takes_what_is_there(tmp_path):
    first = run(good, tmp_path, value=3)
    second = run(good, tmp_path, value=3)
    assert calls == [3]
    assert second == first
    assert first.status == "done"
    assert first.seconds > 0
    assert first.peak_rss_mb > 10


def test_new_options_run_again(tmp_path):
    run(good, tmp_path, depends={"x": 1})
    run(good, tmp_path, depends={"x": 2})
    assert len(calls) == 2


def test_a_changed_result_before_it_runs_again(tmp_path):
    run(good, tmp_path, TaskResult("p", "c", "", "key1"))
    run(good, tmp_path, TaskResult("p", "c", "", "key2"))
    assert len(calls) == 2


def test_a_result_may_name_a_key_for_each_defacer(tmp_path):
    run(good, tmp_path, TaskResult("p", "c", "", "key1", facts={"keys": {"d": "same", "e": "one"}}))
    run(good, tmp_path, TaskResult("p", "c", "", "key2", facts={"keys": {"d": "same", "e": "two"}}))
    assert len(calls) == 1
    run(good, tmp_path, TaskResult("p", "c", "", "key2", facts={"keys": {"d": "new"}}))
    assert len(calls) == 2


def test_a_broken_record_runs_again(tmp_path):
    run(good, tmp_path)
    result_path(tmp_path, "c", "s", "d").write_text('{"stage": ')
    assert run(good, tmp_path).ok
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("error", "status", "fatal", "reason"),
    [
        (RefusedError("no head."), "refused", False, "no head."),
        (InputError("bad file.", "Fix it."), "failed", False, "bad file. Fix it."),
        (OutputError("cannot write x.", "", fatal=True), "failed", True, "cannot write x."),
        (OutputError("cannot write x.", ""), "failed", False, "cannot write x."),
        (OSError(errno.ENOSPC, "No space left on device"), "failed", True, "s: No space left on device"),
        (OSError(errno.ENOENT, "No such file"), "failed", False, "s: No such file"),
        (ZeroDivisionError("x"), "failed", False, "s: ZeroDivisionError: x"),
    ],
)
def test_errors_are_results(tmp_path, error, status, fatal, reason):
    def bad(*before):
        raise error

    result = run(bad, tmp_path)
    assert (result.status, result.fatal, result.reason) == (status, fatal, reason)
    after = run(good, tmp_path, result)
    assert calls == []
    assert after.upstream
    assert after.reason == reason


def test_what_failed_is_tried_again_and_what_was_refused_is_not(tmp_path):
    def sometimes(*before):
        calls.append(1)
        raise RuntimeError

    run(sometimes, tmp_path)
    run(sometimes, tmp_path)
    assert len(calls) == 2

    def refuses(*before):
        calls.append(2)
        raise RefusedError("no.")

    run(refuses, tmp_path, depends="r")
    run(refuses, tmp_path, depends="r")
    assert calls == [1, 1, 2]


def test_what_failed_stays_as_it_is_if_so_wanted(tmp_path):
    working = []

    def fails(*before):
        calls.append(1)
        if not working:
            raise RuntimeError("no luck")
        return Outcome()

    first = run(fails, tmp_path)
    options = {"folder": str(tmp_path), "stage": "s", "case": "c", "defacer": "d"}
    working.append(1)
    assert run_task(fails, {}, **options, again=False) == first
    assert settled_result(fails, {}, **options, depends=None, again=False) == first
    assert calls == [1]
    # another input, or another option, is another matter
    assert run_task(fails, {}, **options, depends="x", again=False).ok
    assert settled_result(fails, {}, **options, depends=None) is None


def test_a_full_disk_is_looked_at_again_in_any_case(tmp_path):
    def fails(*before):
        calls.append(1)
        raise OutputError("the disk is full.", fatal=True)

    options = {"folder": str(tmp_path), "stage": "s", "case": "c", "defacer": "d"}
    assert run_task(fails, {}, **options).fatal
    run_task(fails, {}, **options, again=False)
    assert calls == [1, 1]


def test_records_are_whole_json(tmp_path):
    run(good, tmp_path)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert [p.name for p in files] == ["s-d.json"]
    assert json.loads(files[0].read_text())["facts"] == {"b": [1]}


def test_a_record_that_cannot_be_written_concerns_its_case_alone(tmp_path):
    (tmp_path / "c").write_text("in the way")
    result = run(good, tmp_path)
    assert (result.status, result.fatal) == ("failed", False)
    assert "record of s of c" in result.reason


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_record_on_a_full_disk_is_fatal(tmp_path, monkeypatch, code):
    def full(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(results, "write_whole", full)
    assert run(good, tmp_path).fatal


def test_facts_that_cannot_be_kept_are_no_exception(tmp_path):
    result = run(lambda *_: Outcome(facts={"odd": object()}), tmp_path)
    assert (result.status, result.fatal) == ("failed", False)
    assert "cannot be kept" in result.reason


@pytest.mark.parametrize("text", ['{"stage": ', "[]", "[1, 2]", "null", "\0", '{"stage": "s", "facts": 3}'])
def test_whatever_a_damaged_record_holds_it_is_made_again(tmp_path, text):
    run(good, tmp_path)
    path = result_path(tmp_path, "c", "s", "d")
    kept = path.read_text()
    path.write_text(text)
    assert run(good, tmp_path).ok
    damaged = {**json.loads(kept), "facts": None}
    path.write_text(json.dumps(damaged))
    assert run(good, tmp_path).facts == {"b": [1]}
