"""Which Dask cluster: one found, one started here, one at an address, or one on Kubernetes.

Only the program and scripts start clusters; the library itself never does.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dask

from defacedask.config import option
from defacedask.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["connect"]

#: One thread a worker process: dlib and the renderer hold a lock or a GL context, and the libraries below would
#: otherwise start one thread a core in each of the processes.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    "VTK_SMP_MAX_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}


@contextlib.contextmanager
def connect(spec: str = "local", workers: int | None = None) -> Iterator[Client]:
    """Client of the cluster that ``spec`` names; what was started here is closed at the end.

    Parameters
    ----------
    spec : str
        ``local`` (several processes on this machine), an address such as ``tcp://host:8786``, or
        ``kubernetes`` (through the Dask operator).
    workers : int, optional
        Worker processes to start; by default one a core, and the deployment's own number on Kubernetes.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ConfigError
        If the cluster is not known or cannot be reached.
    MissingExtraError
        If the Kubernetes part is not installed.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"a cluster needs at least one worker, not {workers}.")
    # its defaults must be in place before the block below sets some of them, or leaving it would take them away
    import distributed  # noqa: F401

    with contextlib.ExitStack() as stack:
        # a task that kills its process takes finished neighbours along, so it is given up early
        stack.enter_context(
            dask.config.set(
                {
                    "distributed.scheduler.allowed-failures": option("cluster.allowed-failures"),
                    # no task waits on a worker that another one may take down
                    "distributed.scheduler.worker-saturation": 1.0,
                    # a worker that crashed is waited for: one that needs longer to start again than this is never
                    # replaced, and a run without workers would wait for ever
                    "distributed.deploy.lost-worker-timeout": "1 hour",
                }
            )
        )
        if spec == "local":
            client = _local(stack, workers)
        elif "://" in spec:
            client = _address(stack, spec)
        elif spec == "kubernetes":
            client = _kubernetes(stack, workers)
        else:
            raise ConfigError(
                f"unknown cluster {spec!r}.", "Use local, an address such as tcp://host:8786, or kubernetes."
            )
        yield client


def _local(stack: contextlib.ExitStack, workers: int | None) -> Client:
    from distributed import Client, LocalCluster

    count = workers or option("cluster.workers") or len(os.sched_getaffinity(0))
    stack.enter_context(dask.config.set({"distributed.nanny.pre-spawn-environ": ONE_THREAD}))
    cluster = stack.enter_context(
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            memory_limit=option("cluster.memory-limit"),
            dashboard_address="127.0.0.1:0",
            silence_logs=40,
        )
    )
    return stack.enter_context(Client(cluster))


def _address(stack: contextlib.ExitStack, address: str) -> Client:
    from distributed import Client

    try:
        return stack.enter_context(Client(address, timeout="10s"))
    except (OSError, ValueError, TimeoutError) as error:
        raise ConfigError(
            f"no Dask scheduler answers at {address}.",
            "Start one with `dask scheduler`, or use --cluster local.",
        ) from error


def _kubernetes(stack: contextlib.ExitStack, workers: int | None) -> Client:
    try:
        from dask_kubernetes.operator import KubeCluster
    except ImportError as error:
        raise MissingExtraError(
            "the Kubernetes part is not installed.", "Install it with: pip install 'defacedask[kubernetes]'."
        ) from error
    settings: dict[str, Any] = dict(option("kubernetes"))
    if workers:
        settings["n_workers"] = workers
    cluster = stack.enter_context(KubeCluster(**settings))
    return stack.enter_context(cluster.get_client())
