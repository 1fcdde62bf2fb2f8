"""Which Dask cluster: one found, one started here, one at an address, one on Kubernetes, or jobs of SLURM.

Only the program and scripts start clusters; the library itself never does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dask

from defacedask.cluster.specs import ONE_THREAD, SLOW_TICKS, kubernetes_spec, slurm_ending, slurm_options
from defacedask.config import option
from defacedask.devices import CPU, CUDA, GPU, cards, offers_gpu, require_card
from defacedask.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["check_cluster", "connect", "connect_later"]
_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def connect_later(
    spec: str = "local",
    workers: int | None = None,
    device: str = CPU,
    *,
    report: str | os.PathLike[str] | None = None,
    told: Callable[[Client], None] = lambda client: None,
) -> Iterator[Callable[[], Client]]:
    """As `connect`, when it turns out that there is work: a run that finds everything done needs no cluster.

    Parameters
    ----------
    spec, workers, device
        As in `connect`.
    report : path, optional
        File for Dask's performance report of all that ran there.
    told : callable
        Called with the client once it is there.

    Yields
    ------
    callable
        Gives the client.

    Raises
    ------
    ConfigError, MissingExtraError
        For a cluster that is not known, or ``cuda`` on a machine that has no card; all else is raised by what is
        yielded.
    """
    _check(spec, workers)
    if spec == "local" and device == CUDA:
        require_card()
    with contextlib.ExitStack() as stack:

        def opening() -> Client:
            client = stack.enter_context(connect(spec, workers, device))
            if report is not None:
                from distributed import performance_report

                stack.enter_context(performance_report(filename=os.fspath(report)))
            told(client)
            return client

        yield opening


def check_cluster(spec: str) -> None:
    """Refuse a cluster that cannot be had here; nothing is started, and nobody is asked.

    Parameters
    ----------
    spec : str
        As in `connect`.

    Raises
    ------
    ConfigError
        If it is not known, no address of a scheduler, or jobs cannot be submitted here.
    MissingExtraError
        If its part is not installed.
    """
    _check(spec, None)
    if spec == "kubernetes":
        _kube_cluster()
    elif spec == "slurm":
        _slurm_cluster()


def _check(spec: str, workers: int | None) -> None:
    if workers is not None and workers < 1:
        raise ConfigError(f"a cluster needs at least one worker, not {workers}.")
    if spec in ("local", "kubernetes", "slurm"):
        return
    if "://" not in spec:
        raise ConfigError(
            f"unknown cluster {spec!r}.",
            "Use local, an address such as tcp://HOST:8786, kubernetes, or slurm; a command also takes here.",
        )
    scheme, _, place = spec.partition("://")
    if scheme in ("tcp", "tls") and not re.fullmatch(r"(\[[^\]]+\]|[^:/\[\]]+):[0-9]{1,5}/?", place):
        raise ConfigError(
            f"{spec} is no address of a Dask scheduler.", "Write host and port, as in tcp://HOST:8786."
        )
    from distributed.comm.registry import get_backend

    try:
        get_backend(scheme)
    except ValueError:
        raise ConfigError(
            f"Dask knows no addresses of the kind {scheme}://.", "Use tcp://HOST:8786 or tls://HOST:8786."
        ) from None


def _kube_cluster() -> tuple[Any, Any]:
    try:
        from dask_kubernetes.operator.kubecluster.kubecluster import CreateMode, KubeCluster
    except ImportError as error:
        raise MissingExtraError(
            "the Kubernetes part is not installed.", "Install it with: pip install 'defacedask[kubernetes]'."
        ) from error
    return CreateMode, KubeCluster


def _slurm_cluster() -> Any:
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise MissingExtraError(
            "the SLURM part is not installed.", "Install it with: pip install 'defacedask[slurm]'."
        ) from error
    if not shutil.which("sbatch"):
        raise ConfigError("there is no sbatch here.", "Start the run on a node that may submit jobs.")
    return SLURMCluster


@contextlib.contextmanager
def connect(spec: str = "local", workers: int | None = None, device: str = CPU) -> Iterator[Client]:
    """Client of the cluster that ``spec`` names; what was started here is closed at the end.

    Parameters
    ----------
    spec : str
        ``local`` (several processes on this machine), an address such as ``tcp://host:8786``, ``kubernetes`` (through
        the Dask operator), or ``slurm`` (through dask-jobqueue).
    workers : int, optional
        Worker processes to start; by default one a core, or as many as the options say. Of SLURM: at most.
    device : str
        With ``cuda`` some of the workers that are started have a card each, and offer the resource ``GPU``.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ConfigError
        If the cluster is not known, cannot be reached, or does not start; or if ``cuda`` cannot be had there.
    MissingExtraError
        If the part for Kubernetes or SLURM, or CuPy for ``cuda``, is not installed.
    """
    _check(spec, workers)
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
                    **_unless_chosen(SLOW_TICKS),
                }
            )
        )
        if spec == "local":
            client = _local(stack, workers, device)
        elif "://" in spec:
            client = _address(stack, spec)
        elif spec == "kubernetes":
            client = _kubernetes(stack, workers, device)
        else:
            client = _slurm(stack, workers, device)
        yield client


def _unless_chosen(values: Mapping[str, str]) -> dict[str, str]:
    """Those options that still have Dask's own value: what somebody chose stays."""
    own: dict[str, Any] = {}
    for more in dask.config.defaults:
        own = dask.config.merge(own, more)
    return {
        name: value
        for name, value in values.items()
        if dask.config.get(name, None) == dask.config.get(name, None, config=own)
    }


def _local(stack: contextlib.ExitStack, workers: int | None, device: str) -> Client:
    from distributed import Client, LocalCluster

    if device == CUDA:
        require_card()
    count = workers or option("cluster.workers") or len(os.sched_getaffinity(0))
    stack.enter_context(dask.config.set({"distributed.nanny.pre-spawn-environ": ONE_THREAD}))
    options = {
        "threads_per_worker": 1,
        "processes": True,
        "memory_limit": option("cluster.memory-limit"),
        "dashboard_address": "127.0.0.1:0",
        "silence_logs": 40,
    }
    if device == CUDA:
        cluster = _with_cards(stack, count, options)
    else:
        cluster = LocalCluster(n_workers=count, **options)
        stack.callback(_close, cluster)
    return stack.enter_context(Client(cluster))


def _close(cluster: Any) -> None:
    """End a local cluster. Work that is done does not fail because a worker process is hard to say goodbye to.

    Dask's `Nanny` raises an `AssertionError` if it is closed between a worker's death and the start of its successor
    (distributed 2026.8: the dead worker's start then takes the successor for started).
    """
    started = [nanny.process.process for nanny in cluster.workers.values() if nanny.process is not None]
    tornado = logging.getLogger("tornado.application")
    level = tornado.level
    # its account of the same is a traceback after a run that went well
    tornado.setLevel(logging.CRITICAL)
    try:
        cluster.close()
    except Exception as error:
        _LOG.info("A worker process did not end well (%s: %s).", type(error).__name__, error)
        for process in started:
            with contextlib.suppress(ValueError):  # closed: it has ended
                cluster.sync(process.kill)
        # the nannies are closed by now all the same; a second try ends the scheduler
        cluster.status = type(cluster.status).running
        cluster.close()
    finally:
        tornado.setLevel(level)


def _with_cards(stack: contextlib.ExitStack, count: int, options: dict[str, Any]) -> Any:
    """Local cluster in which one worker a card offers it; the others do what needs none.

    With dask-cuda that package starts the workers with a card: it binds them to the cores and memory beside it.
    """
    from distributed import LocalCluster, Nanny

    there = cards()
    plain = {"nthreads": 1, "memory_limit": options["memory_limit"], "dashboard": False, "silence_logs": 40}
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError:
        cluster = LocalCluster(n_workers=0, **options)
        stack.callback(_close, cluster)
        for number in range(there):
            env = {"CUDA_VISIBLE_DEVICES": str(number)} if there > 1 else {}
            more = {**plain, "resources": dict(GPU), "env": env}
            cluster.worker_spec[f"gpu-{number}"] = {"cls": Nanny, "options": more}
    else:
        cluster = LocalCUDACluster(n_workers=there, resources=dict(GPU), **options)
    stack.callback(_close, cluster)
    for number in range(max(count - there, 0)):
        cluster.worker_spec[f"cpu-{number}"] = {"cls": Nanny, "options": dict(plain)}
    cluster.scale(len(cluster.worker_spec))
    cluster.wait_for_workers(max(count, there))
    return cluster


def _address(stack: contextlib.ExitStack, address: str) -> Client:
    from distributed import Client

    try:
        # not as Dask's default at first: one that dies while it starts would stay it, and all that Dask computes
        # afterwards in this process would wait for it
        Client(address, timeout=option("cluster.wait"), set_as_default=False).close()
        return stack.enter_context(Client(address, timeout=option("cluster.wait")))
    except TypeError as error:  # what distributed says of an encrypted address without certificates
        raise ConfigError(
            f"the certificates for {address} are not known ({error}).",
            "Name them in Dask's configuration: distributed.comm.tls.ca-file, .client.cert and .client.key.",
        ) from error
    except (OSError, ValueError, TimeoutError) as error:
        raise ConfigError(
            f"no Dask scheduler answers at {address}.",
            "Start one with `dask scheduler`, or use --cluster local.",
        ) from error


def _kubernetes(stack: contextlib.ExitStack, workers: int | None, device: str) -> Client:
    if device == CUDA:
        offers_gpu("kubernetes", _settings("kubernetes"))
    CreateMode, KubeCluster = _kube_cluster()
    settings = _settings("kubernetes")
    spec = kubernetes_spec(settings, workers=workers, allowed_failures=option("cluster.allowed-failures"))
    try:
        cluster = stack.enter_context(
            # one that is there already is somebody else's: it would be used, and deleted in the end
            KubeCluster(custom_cluster_spec=spec, create_mode=CreateMode.CREATE_ONLY, **settings["options"])
        )
    except ValueError as error:
        # refused before anything was made: dask-kubernetes would delete what has this name when the process ends
        for one in list(KubeCluster._instances):
            if one.name == spec["metadata"]["name"]:
                one.shutdown_on_close = False
        raise _not_up(error) from error
    except Exception as error:
        # whatever kr8s, httpx and dask-kubernetes raise where there is no API, no right, no operator or no image
        raise _not_up(error) from error
    return stack.enter_context(cluster.get_client())


def _not_up(error: Exception) -> ConfigError:
    return ConfigError(
        f"no Dask cluster came up on Kubernetes: {type(error).__name__}: {str(error).rstrip('.')}.",
        "See deploy/README.md; one that runs already is used by --cluster tcp://NAME-scheduler:8786.",
    )


def _slurm(stack: contextlib.ExitStack, workers: int | None, device: str) -> Client:
    if device == CUDA:
        offers_gpu("slurm", _settings("slurm"))
    SLURMCluster = _slurm_cluster()
    from distributed import Client

    from defacedask.cluster.last_task import LastTask

    settings = _settings("slurm")
    options, ending = slurm_options(settings), slurm_ending(settings["walltime"])
    # a worker that went with its job is forgotten after this, and `adapt` submits another job for it
    stack.enter_context(dask.config.set({"distributed.deploy.lost-worker-timeout": settings["renew-after"]}))
    try:
        cluster = SLURMCluster(**options)
    except (ValueError, RuntimeError, OSError) as error:
        raise ConfigError(f"no Dask scheduler could be started for SLURM: {error}") from error
    stack.callback(_remove_keys, cluster)
    stack.enter_context(cluster)
    client = stack.enter_context(Client(cluster))
    client.register_plugin(LastTask(ending.last_task, ending.walltime, ending.stagger))
    most = workers or settings["maximum"]
    cluster.adapt(
        minimum=min(settings["minimum"], most), maximum=most, interval=settings["interval"], wait_count=6
    )
    return client


def _remove_keys(cluster: Any) -> None:
    """Certificates that dask-jobqueue wrote for the workers: else they stay until the process ends."""
    for part in ("ca_file", "cert", "key"):
        if (file := getattr(cluster, f"_job_{part}", None)) is not None:
            file.close()


def _settings(name: str) -> dict[str, Any]:
    """Options of one kind of cluster; a variable such as DASK_DEFACEDASK__SLURM__RENEW_AFTER has underscores."""
    return {key.replace("_", "-"): value for key, value in option(name).items()}
