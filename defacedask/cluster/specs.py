"""What is asked of Kubernetes and of SLURM, as plain data: made here, and started in `defacedask.cluster`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from defacedask.errors import ConfigError

__all__ = [
    "ONE_THREAD",
    "SLOW_TICKS",
    "WORKER_ENVIRONMENT",
    "Ending",
    "kubernetes_spec",
    "slurm_ending",
    "slurm_options",
]

#: One thread a worker process: dlib and the renderer hold a lock or a GL context, and the libraries below would
#: otherwise start one thread a core in each of the processes. Memory that malloc gives back at once has to be cleared
#: when it is asked for again: with lower thresholds a third of the time of a case is the system's.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    "VTK_SMP_MAX_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "134217728",
}
#: What a worker asks for without a claim: the case at hand, its layers, and up to three other cases.
DISK = "6Gi"
#: How often Dask's processes look at themselves. With its own values a worker and its nanny that do nothing take 5 %
#: of a core, a scheduler 2 % (measured, `benchmarks/RESULTS.md`), which are missing where all cores work.
SLOW_TICKS = {
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.tick.cycle": "5s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.profile.interval": "200ms",
    "distributed.worker.memory.monitor-interval": "250ms",
}
_SLOW_TICKS = {
    f"DASK_{name.upper().replace('.', '__').replace('-', '_')}": value for name, value in SLOW_TICKS.items()
}
#: Environment of every worker.
WORKER_ENVIRONMENT = {**ONE_THREAD, **_SLOW_TICKS}
#: Only /tmp can be written in a container.
_SCRATCH = {"HOME": "/tmp", "MPLCONFIGDIR": "/tmp/matplotlib"}
#: What `defacedask.cluster.connect` sets for a scheduler of its own; the last one lets the operator ask which workers
#: are idle before it ends some.
_SCHEDULER = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1.0",
    "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": "['distributed.http.scheduler.api', 'distributed.http.health', "
    "'distributed.http.scheduler.info', 'distributed.http.scheduler.json', 'distributed.http.statics']",
}
_TERM = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
#: Seconds before the end of its job in which a worker ends, at most; and in which it begins no new task, at most: a
#: stage may take as long (`Stage.seconds`).
_GOODBYE, _LONGEST = 300, 7200


def kubernetes_spec(
    settings: Mapping[str, Any], *, workers: int | None = None, allowed_failures: int = 3
) -> dict[str, Any]:
    """``DaskCluster`` resource of the Dask operator; its pods pass the restricted pod security standard.

    Parameters
    ----------
    settings : mapping
        The options ``defacedask.kubernetes``.
    workers : int, optional
        In place of the number in the settings.
    allowed_failures : int
        How often a task may be found on a worker that died.

    Returns
    -------
    dict
    """
    name, image = settings["name"], settings["image"]
    command = ["dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--nthreads", "1", "--no-dashboard"]
    command += ["--memory-limit", settings["memory-limit"]]
    if settings["worker-resources"]:
        command += ["--resources", settings["worker-resources"]]
    worker = {
        **_container("worker", image, command, {**WORKER_ENVIRONMENT, **_SCRATCH}, settings["resources"]),
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }
    volumes: list[dict[str, Any]] = [{"name": "scratch", "emptyDir": {}}]
    if settings["claim"] is not None:
        worker["volumeMounts"].append({"name": "cohort", "mountPath": settings["mount"]})
        volumes.append({"name": "cohort", "persistentVolumeClaim": {"claimName": settings["claim"]}})
    else:
        # its cases lie in /tmp
        worker["resources"].setdefault("requests", {}).setdefault("ephemeral-storage", DISK)
    if settings["secret"]:
        worker["envFrom"] = [{"secretRef": {"name": settings["secret"], "optional": True}}]
    limit = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures)}
    scheduler = {
        **_container(
            "scheduler",
            image,
            ["dask", "scheduler"],
            {**limit, **_SCHEDULER, **_SLOW_TICKS, **_SCRATCH},
            settings["scheduler-resources"],
        ),
        "ports": [
            {"name": "tcp-comm", "containerPort": 8786, "protocol": "TCP"},
            {"name": "http-dashboard", "containerPort": 8787, "protocol": "TCP"},
        ],
        "readinessProbe": {
            "httpGet": {"port": "http-dashboard", "path": "/health"},
            "initialDelaySeconds": 2,
            "periodSeconds": 5,
        },
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }
    labels = {"app.kubernetes.io/part-of": "defacedask"}
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {
            "worker": {
                "replicas": workers or settings["workers"],
                "metadata": {"labels": dict(labels)},
                "spec": _pod(worker, volumes, settings),
            },
            "scheduler": {
                "metadata": {"labels": dict(labels)},
                "spec": _pod(scheduler, [{"name": "scratch", "emptyDir": {}}], settings),
                "service": {
                    "type": "ClusterIP",
                    "selector": {"dask.org/cluster-name": name, "dask.org/component": "scheduler"},
                    "ports": [
                        {"name": "tcp-comm", "protocol": "TCP", "port": 8786, "targetPort": "tcp-comm"},
                        {
                            "name": "http-dashboard",
                            "protocol": "TCP",
                            "port": 8787,
                            "targetPort": "http-dashboard",
                        },
                    ],
                },
            },
        },
    }


def _container(
    name: str, image: str, args: list[str], env: Mapping[str, str], resources: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": args,
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "resources": {kind: {key: str(n) for key, n in of.items()} for kind, of in resources.items()},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _pod(
    container: dict[str, Any], volumes: list[dict[str, Any]], settings: Mapping[str, Any]
) -> dict[str, Any]:
    account = {"serviceAccountName": settings["service-account"]} if settings["service-account"] else {}
    return {
        **account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }


@dataclasses.dataclass(frozen=True)
class Ending:
    """When a worker ends, so that its job does not end under it. Seconds.

    Attributes
    ----------
    walltime : int
        What the job has.
    lifetime : int
        After these the worker ends, whatever it does.
    stagger : int
        Either is that much earlier or later, by chance: so not all workers come anew at once.
    last_task : int
        After these it begins no task, and ends as soon as it does none.
    """

    walltime: int
    lifetime: int
    stagger: int
    last_task: int


def slurm_ending(walltime: object) -> Ending:
    """When a worker ends whose job has a time limit: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S, as SLURM writes it.

    Raises
    ------
    ConfigError
        If it is no such text, or shorter than two minutes.
    """
    found = _TERM.fullmatch(walltime.strip()) if isinstance(walltime, str) else None
    if not found:
        # 8:00:00 without quotes is a number in YAML, and not one of minutes
        raise ConfigError(
            f"{walltime!r} is no time limit of SLURM.", "Write it in quotes: '08:00:00' or '1-12:00:00'."
        )
    days, *rest = found.groups()
    first, second, third = (int(n) if n else 0 for n in rest)
    if days is not None:
        seconds = ((int(days) * 24 + first) * 60 + second) * 60 + third
    elif rest[2] is not None:
        seconds = (first * 60 + second) * 60 + third
    else:
        seconds = first * 60 + second
    if seconds < 120:
        raise ConfigError(f"jobs of {seconds} seconds are too short for a worker.", "Raise slurm.walltime.")
    goodbye = min(_GOODBYE, seconds // 10)
    lifetime = seconds - 2 * goodbye
    return Ending(seconds, lifetime, goodbye, lifetime - min(_LONGEST, lifetime // 2))


def slurm_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``dask_jobqueue.SLURMCluster``: a job is one worker process with one thread.

    What is null is left to the site's own ``jobqueue.slurm``.

    Parameters
    ----------
    settings : mapping
        The options ``defacedask.slurm``.

    Raises
    ------
    ConfigError
        As `slurm_ending`.
    """
    ending = slurm_ending(settings["walltime"])
    arguments = [
        "--lifetime",
        f"{ending.lifetime}s",
        "--lifetime-stagger",
        f"{ending.stagger}s",
        "--no-dashboard",
    ]
    if settings["worker-resources"]:
        arguments += ["--resources", settings["worker-resources"]]
    chosen = {
        "queue": settings["queue"],
        "account": settings["account"],
        "interface": settings["interface"],
        "local_directory": settings["local-directory"],
        "log_directory": settings["log-directory"],
        "job_extra_directives": list(settings["job-extra-directives"]) or None,
    }
    return {
        "cores": 1,
        "processes": 1,
        "memory": settings["memory"],
        "walltime": settings["walltime"],
        "worker_extra_args": arguments,
        "job_script_prologue": [
            *(f"export {name}={value}" for name, value in WORKER_ENVIRONMENT.items()),
            *settings["job-script-prologue"],
        ],
        # whoever reaches an open scheduler runs code as its user, and all users of the cluster do
        "security": True if settings["tls"] else None,
        "shared_temp_directory": settings["shared-temp-directory"] or str(Path.cwd()),
        "scheduler_options": {"dashboard_address": "127.0.0.1:0"},
        **{name: value for name, value in chosen.items() if value is not None},
    }
