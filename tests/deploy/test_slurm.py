"""`--cluster slurm` against an sbatch that starts what it is given, here: everything but SLURM is real."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster
from support.deploy_kit import DEPLOY, load

from defacedask.cluster import connect
from defacedask.cluster.last_task import LastTask
from defacedask.cluster.specs import WORKER_ENVIRONMENT, slurm_ending, slurm_options
from defacedask.config import option
from defacedask.errors import ConfigError, MissingExtraError

SBATCH = """#!{python}
import os, subprocess, sys
home = {home!r}
number = len([name for name in os.listdir(home) if name.endswith(".sh")]) + 1
script = open(sys.argv[1]).read()
open(f"{{home}}/{{number}}.sh", "w").write(script)
log = open(f"{{home}}/{{number}}.log", "w")
job = subprocess.Popen(["bash", f"{{home}}/{{number}}.sh"], stdout=log, stderr=log, start_new_session=True)
open(f"{{home}}/{{number}}.pid", "w").write(str(job.pid))
print("Submitted batch job", number)
"""
SCANCEL = """#!{python}
import os, signal, sys
try:
    os.killpg(int(open(f"{home}/{{sys.argv[1]}}.pid").read()), signal.SIGKILL)
except ProcessLookupError:
    sys.exit("no such job")
"""


class Jobs:
    """Jobs that the stub has started; a job is a process group, as SLURM ends all of it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def count(self) -> int:
        return len(list(self.home.glob("*.sh")))

    def script(self, number: int) -> str:
        return (self.home / f"{number}.sh").read_text()

    def end(self, number: int) -> None:
        os.killpg(int((self.home / f"{number}.pid").read_text()), signal.SIGKILL)

    def alive(self) -> list[int]:
        found = []
        for path in self.home.glob("*.pid"):
            try:
                os.killpg(int(path.read_text()), 0)
            except ProcessLookupError:
                continue
            found.append(int(path.stem))
        return found


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    home, tools = tmp_path / "jobs", tmp_path / "tools"
    home.mkdir()
    tools.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        tool = tools / name
        tool.write_text(text.format(python=sys.executable, home=str(home)))
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    # the tasks below must be found by the workers
    here = [*map(str, Path(__file__).parents[:2]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, here)))
    found = Jobs(home)
    yield found
    for number in found.alive():
        found.end(number)


def settings(**changed):
    return {**option("slurm"), **{key.replace("_", "-"): value for key, value in changed.items()}}


def who():
    return os.getpid(), os.environ["OMP_NUM_THREADS"]


def nap(seconds):
    time.sleep(seconds)
    return os.getpid()


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.1)


@pytest.mark.slow
def test_workers_that_end_with_their_job_are_renewed(jobs, tmp_path):
    changed = {
        "defacedask.slurm.minimum": 1,
        "defacedask.slurm.interval": "500ms",
        "defacedask.slurm.renew-after": "1s",
        "defacedask.slurm.shared-temp-directory": str(tmp_path),
        "defacedask.slurm.queue": "night",
        "defacedask.slurm.interface": "lo",
    }
    with dask.config.set(changed), connect("slurm", 1) as client:
        assert client.scheduler.address.startswith("tls://")
        first, threads = client.submit(who, pure=False).result(60)
        assert threads == "1"
        assert "#SBATCH -p night" in jobs.script(1)
        jobs.end(1)
        # submitted while there is nobody
        second, _ = client.submit(who, pure=False).result(60)
        assert second != first
        assert jobs.alive() == [2]
    wait_for(lambda: not jobs.alive())
    assert not list(tmp_path.glob(".dask-jobqueue*")), "keys are left behind"


def test_the_example_hands_everything_on(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "activate").write_text(f"PATH={tools}:$PATH\n")
    program = tools / "defacedask"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "DEFACEDASK_VENV": str(tmp_path)}
    script = DEPLOY / "slurm" / "study.sbatch"
    call = ["bash", str(script), "/data/a cohort", "/data/out", "--protect", "PTV*"]
    said = subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout
    expected = ["study", "/data/a cohort", "--out", "/data/out", "--cluster", "slurm", "--protect", "PTV*"]
    assert said.splitlines() == expected
    # without arguments it says so, and starts nothing
    assert subprocess.run(call[:2], env=environment, capture_output=True).returncode


def test_the_example_of_options_names_options_that_are_there():
    [example] = load(DEPLOY / "slurm" / "defacedask.yaml")
    assert set(example["defacedask"]["slurm"]) <= set(option("slurm"))
    slurm_options({**option("slurm"), **example["defacedask"]["slurm"]})


def test_what_a_job_is_told(jobs, tmp_path):
    from dask_jobqueue.slurm import SLURMJob

    asked = slurm_options(
        settings(
            queue="gpu",
            account="trial",
            job_extra_directives=["--gres=gpu:1"],
            job_script_prologue=["module load python"],
            worker_resources="GPU=1",
            interface="lo",
        )
    )
    for name in ("security", "shared_temp_directory", "scheduler_options"):
        del asked[name]
    script = SLURMJob("tls://10.0.0.1:8786", name="one", **asked).job_script()
    head = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    assert {
        "#SBATCH -p gpu",
        "#SBATCH -A trial",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --mem=4G",
        "#SBATCH -t 12:00:00",
        "#SBATCH --gres=gpu:1",
    } <= set(head)
    for name, value in WORKER_ENVIRONMENT.items():
        assert f"export {name}={value}" in script.splitlines()
    assert script.index("module load python") < script.index("distributed.cli.dask_worker")
    [command] = [line for line in script.splitlines() if "distributed.cli.dask_worker" in line]
    for part in (
        "--nthreads 1",
        "--nanny",
        "--lifetime 42600s",
        "--lifetime-stagger 300s",
        "--resources GPU=1",
    ):
        assert part in command


def test_what_is_null_is_left_to_the_site(jobs):
    from dask_jobqueue.slurm import SLURMJob

    asked = slurm_options(settings())
    assert not {"queue", "account", "interface", "job_extra_directives", "log_directory"} & set(asked)
    for name in ("security", "shared_temp_directory", "scheduler_options"):
        del asked[name]
    with dask.config.set({"jobqueue.slurm.queue": "sites-own"}):
        assert "#SBATCH -p sites-own" in SLURMJob("tcp://10.0.0.1:8786", name="one", **asked).job_script()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12:00:00", 43200),
        ("1-0", 86400),
        ("1-12:30", 131400),
        ("2-00:00:01", 172801),
        ("90", 5400),
        ("30:30", 1830),
    ],
)
def test_time_limits_as_slurm_writes_them(text, seconds):
    ending = slurm_ending(text)
    assert ending.walltime == seconds
    # the last one ends before the job, and a task that may take long is not begun at the end
    assert 0 < ending.last_task < ending.lifetime
    assert ending.lifetime + ending.stagger < seconds
    assert ending.lifetime - ending.last_task == min(7200, ending.lifetime // 2)


@pytest.mark.parametrize("text", ["soon", "", "1:2:3:4", "01:00", 28800, None, "-5", "1-"])
def test_what_is_no_time_limit(text):
    with pytest.raises(ConfigError, match=r"no time limit|too short"):
        slurm_ending(text)


def test_without_sbatch_or_dask_jobqueue_it_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(MissingExtraError, match="SLURM part is not installed"), connect("slurm"):
        pass
    monkeypatch.undo()
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="no sbatch here"), connect("slurm"):
        pass


@pytest.fixture
def one_worker():
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.slow
def test_the_last_task_ends_and_none_is_begun_after_it(one_worker):
    first, second = (one_worker.submit(nap, 3, pure=False, key=name) for name in ("first", "second"))
    one_worker.register_plugin(LastTask(after=1, walltime=60))
    worker_pid = first.result(30)
    # it ended only then, did not begin the other one, and gave the result away or took it along
    wait_for(lambda: not one_worker.scheduler_info()["workers"], 20)
    assert second.status == "pending"
    wait_for(lambda: not Path(f"/proc/{worker_pid}").exists(), 20)


def test_a_process_that_was_started_again_asks_slurm_when_its_job_ends(monkeypatch):
    class Loop:
        def call_later(self, wait, *rest):
            self.wait = wait

    class Worker:
        loop = Loop()

    plugin = LastTask(after=600, walltime=1000)
    plugin.setup(Worker)
    assert Worker.loop.wait == pytest.approx(600, abs=1)
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 700))
    plugin.setup(Worker)
    assert Worker.loop.wait == pytest.approx(300, abs=2)
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 100))
    plugin.setup(Worker)
    assert Worker.loop.wait == 0
