"""Where kernels run: on the processor with NumPy, or on a card of NVIDIA's with CuPy. Both give the same values.

``auto`` takes the card where a worker has one. ``cuda`` asks for it: a run that finds none says so and does not
begin, and on a cluster its stages go to workers that offer the resource ``GPU`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from defacedask.config import option
from defacedask.errors import ConfigError, MissingExtraError

__all__ = [
    "AUTO",
    "CPU",
    "CUDA",
    "DEVICES",
    "GPU",
    "card",
    "cards",
    "chosen_device",
    "offers_gpu",
    "require_card",
    "resources_of",
    "space_of",
]

DEVICES = AUTO, CPU, CUDA = "auto", "cpu", "cuda"
#: What a worker with a card offers, and a stage that runs on one asks for.
GPU = {"GPU": 1.0}


def chosen_device(given: str | None = None) -> str:
    """As given, else as configured (``device``).

    Raises
    ------
    ConfigError
        If it is none of `DEVICES`.
    """
    device = option("device") if given is None else given
    if device not in DEVICES:
        raise ConfigError(f"the device is {device!r}.", f"Choose from: {', '.join(DEVICES)}.")
    return str(device)


def card() -> ModuleType | None:
    """CuPy, if it is installed and this process sees a card; None otherwise."""
    try:
        import cupy

        return cupy if cupy.cuda.is_available() else None
    except Exception:  # a broken driver raises whatever it likes; then there is no card to use
        return None


def cards() -> int:
    """How many this process sees."""
    found = card()
    return 0 if found is None else int(found.cuda.runtime.getDeviceCount())


def require_card() -> ModuleType:
    """CuPy, for a device that can be used here.

    Raises
    ------
    MissingExtraError
        If CuPy is not installed.
    ConfigError
        If there is no card, or its driver does not work.
    """
    try:
        import cupy  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "the device cuda needs CuPy, which is not installed here.",
            "Install it with: pip install 'defacedask[gpu]' (or cupy-cuda12x, cupy-cuda13x), or use --device cpu.",
        ) from error
    found = card()
    if found is None:
        raise ConfigError(
            "the device cuda needs a card of NVIDIA's, and CuPy sees none here.",
            "Look at nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu.",
        )
    return found


def space_of(device: str | None) -> ModuleType | None:
    """Namespace that blocks are sent to on this worker; None: they stay where they are.

    Raises
    ------
    ConfigError, MissingExtraError
        For ``cuda`` without a card.
    """
    if device is None:
        return None
    if device == CPU:
        return np
    return require_card() if device == CUDA else (card() or np)


def resources_of(device: str) -> Mapping[str, float]:
    """What a stage on this device asks a cluster's worker for."""
    return dict(GPU) if device == CUDA else {}


def offers_gpu(kind: str, settings: Mapping[str, Any]) -> None:
    """Before a cluster is started: its workers will offer what ``--device cuda`` asks for.

    Parameters
    ----------
    kind : str
        ``kubernetes`` or ``slurm``.
    settings : mapping
        Its options.

    Raises
    ------
    ConfigError
        If ``worker-resources`` names no GPU.
    """
    offered = str(settings.get("worker-resources") or "")
    if not any(part.partition("=")[0].strip() == "GPU" for part in offered.replace(",", " ").split()):
        raise ConfigError(
            f"the device cuda needs workers that offer a GPU, and {kind}.worker-resources is {offered or 'null'}.",
            f"Set it to GPU=1 and ask {kind} for a card (deploy/README.md), or use --device cpu or auto.",
        )
