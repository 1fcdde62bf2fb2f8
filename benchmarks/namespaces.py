"""A study on a cluster whose parts have network addresses of their own, while its network and processes fail.

    sudo uv run python -m benchmarks.namespaces PATIENTS --out FOLDER [--runs undisturbed,worker,cut,scheduler]

A bridge joins three network namespaces of this machine, one for the scheduler and one for each of two workers; the
program stays outside. Needs root and `ip` (iproute2). Whoever ends is started again in its namespace after 2 seconds,
as Kubernetes does.

- ``undisturbed``: nothing happens.
- ``worker``: a worker and its nanny are killed (SIGKILL).
- ``cut``: the network of a worker is down for 60 s.
- ``scheduler``: the scheduler is killed; the program goes on with the next, or ends and is started again.

Each happens when a third of the undisturbed run's results are there. ``FOLDER/namespaces.md`` says what each took and
whether its tables are those of the undisturbed run, byte by byte once their lines are sorted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.faults import compare_tables, results

__all__ = ["main", "network"]

BRIDGE, OUTSIDE = "dd-bridge", "10.77.0.1"
#: Namespace -> address.
PLACES = {"dd-scheduler": "10.77.0.2", "dd-worker-1": "10.77.0.3", "dd-worker-2": "10.77.0.4"}
SCHEDULER = f"tcp://{PLACES['dd-scheduler']}:8786"
#: Seconds for which a worker is cut off.
CUT = 60.0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("patients", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", default="undisturbed,worker,cut,scheduler")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    lines = [
        "| run | wall s | program started | its exits | scheduler, workers started | tables equal |",
        "|" + " --- |" * 6,
    ]
    for name in options.runs.split(","):
        wall, exits, starts = run(name, options.patients, options.out)
        equal, different = compare_tables(options.out / "undisturbed", options.out / name)
        for other in different:
            print(f"{name}: {other} differs")
        lines.append(
            f"| {name} | {wall:.0f} | {len(exits)} times | {', '.join(map(str, exits))} | "
            f"{', '.join(map(str, starts))} times | {equal} of {equal + len(different)} |"
        )
    (options.out / "namespaces.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def run(name: str, patients: Path, out: Path) -> tuple[float, list[int], list[int]]:
    """One study; its wall seconds, the exit status of each start of the program, and how often the others started."""
    third = results(out / "undisturbed") / 3
    study = [sys.executable, "-m", "defacedask", "study", str(patients), "--out", str(out / name)]
    study += ["--cluster", SCHEDULER, "--seed", "1", "--attacks", "basic", "--no-pictures"]
    begun, exits = time.monotonic(), []
    with (out / f"{name}.log").open("w") as log, network(), Cluster() as cluster:
        waiting = name != "undisturbed"
        while not exits or exits[-1] != 0:
            program = subprocess.Popen(study, stdout=log, stderr=log)
            while program.poll() is None:
                if waiting and results(out / name) >= third:
                    waiting = False
                    HAPPENS[name](cluster)
                time.sleep(0.2)
            exits.append(program.returncode)
            if len(exits) == 5:
                break
    return time.monotonic() - begun, exits, [cluster.starts[place] for place in PLACES]


@contextlib.contextmanager
def network() -> Iterator[None]:
    """The bridge and the namespaces."""
    with contextlib.ExitStack() as stack:
        _ip("link", "add", BRIDGE, "type", "bridge")
        stack.callback(_ip, "link", "del", BRIDGE)
        _ip("addr", "add", f"{OUTSIDE}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for place, address in PLACES.items():
            _ip("netns", "add", place)
            stack.callback(_ip, "netns", "del", place)
            outer = _link(place)
            _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", place)
            _ip("link", "set", outer, "master", BRIDGE, "up")
            _ip("-n", place, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", place, "link", "set", "eth0", "up")
            _ip("-n", place, "link", "set", "lo", "up")
        yield


def _link(place: str) -> str:
    return f"v-{place}"[:15]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Cluster:
    """Scheduler and workers, each in its namespace, started again when they end."""

    def __init__(self) -> None:
        self.starts = dict.fromkeys(PLACES, 0)
        self._over = threading.Event()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self._folder = tempfile.TemporaryDirectory()

    def __enter__(self) -> Cluster:
        self._keep("dd-scheduler", ["scheduler", "--host", PLACES["dd-scheduler"], "--port", "8786"])
        for place in list(PLACES)[1:]:
            folder = Path(self._folder.name, place)
            folder.mkdir()
            self._keep(place, ["worker", SCHEDULER, "--nthreads", "1", "--local-directory", str(folder)])
        time.sleep(8.0)
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for process in self._processes.values():
            process.terminate()
        for thread in self._threads:
            thread.join()
        self._folder.cleanup()

    def _keep(self, place: str, command: list[str]) -> None:
        thread = threading.Thread(target=self._again_and_again, args=(place, command))
        thread.start()
        self._threads.append(thread)

    def _again_and_again(self, place: str, command: list[str]) -> None:
        from defacedask.cluster.specs import WORKER_ENVIRONMENT

        path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, **WORKER_ENVIRONMENT, "PYTHONPATH": path}
        inside = ["ip", "netns", "exec", place, sys.executable, "-m", "dask"]
        while not self._over.is_set():
            process = subprocess.Popen(
                [*inside, *command, "--no-dashboard"], env=env, stderr=subprocess.DEVNULL
            )
            self._processes[place] = process
            self.starts[place] += 1
            process.wait()
            self._over.wait(2.0)

    def kill(self, place: str) -> None:
        """End what runs in a namespace, and its children, at once."""
        import psutil

        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._processes[place].pid)
            for one in [process, *process.children(recursive=True)]:
                one.kill()


def _cut(cluster: Cluster) -> None:
    link = _link("dd-worker-1")
    _ip("link", "set", link, "down")
    threading.Timer(CUT, lambda: _ip("link", "set", link, "up")).start()


#: Run -> what happens in it.
HAPPENS: dict[str, Callable[[Cluster], None]] = {
    "worker": lambda cluster: cluster.kill("dd-worker-1"),
    "cut": _cut,
    "scheduler": lambda cluster: cluster.kill("dd-scheduler"),
}

if __name__ == "__main__":
    main()
