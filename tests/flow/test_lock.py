from __future__ import annotations

import subprocess
import sys

import pytest

from defacedask.errors import ConfigError, OutputError
from defacedask.flow.lock import only_run

HOLD = """
import sys, time
from pathlib import Path
from defacedask.flow.lock import only_run
with only_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_and_a_dead_one_is_no_obstacle(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    try:
        with (
            pytest.raises(ConfigError, match=f"another run is at work in .*process {other.pid}"),
            only_run(tmp_path),
        ):
            pass
    finally:
        other.kill()
        other.wait()
    with only_run(tmp_path):
        pass
    with only_run(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError), only_run(tmp_path / "file"):
        pass


def test_workers_that_do_not_see_the_folder_are_named(tmp_path):
    class Elsewhere:
        def blind(self, path):
            assert path.exists()
            return ["tcp://10.0.0.7:4711"]

    with (
        pytest.raises(ConfigError, match=r"1 workers do not see the folder .*4711"),
        only_run(tmp_path, Elsewhere()),
    ):
        pass
