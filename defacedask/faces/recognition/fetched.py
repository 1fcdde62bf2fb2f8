"""Networks that were fetched to this machine, as recognisers by their names; see `nets` and `fetching`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from defacedask.errors import ConfigError
from defacedask.faces.recognition.centerface import CenterFace
from defacedask.faces.recognition.nets import net_of
from defacedask.faces.recognition.on_disk import file_of
from defacedask.faces.recognition.onnx import OnnxEmbedding

__all__ = ["fetched", "open_fetched"]

#: Options that may stand behind a name, and how their text is read.
_OPTIONS: dict[str, Callable[[str], Any]] = {"crop": float, "detector": str, "metric": str}
#: Those of a detector.
_DETECTOR_OPTIONS: dict[str, Callable[[str], Any]] = {"threshold": float}


def open_fetched(name: str, options: str) -> OnnxEmbedding | CenterFace:
    """Open a network with options as a user writes them: ``faceres:crop=0.75:detector=cnn``.

    In the tables such a recogniser has its options in its name, so that it may stand beside the one without.

    Raises
    ------
    ConfigError
        For an option that is not known or has no such value; and as `fetched`.
    """
    known = _DETECTOR_OPTIONS if net_of(name).detects else _OPTIONS
    chosen: dict[str, Any] = {}
    for part in filter(None, options.split(":")):
        key, _, value = part.partition("=")
        try:
            chosen[key] = known[key](value)
        except (KeyError, ValueError):
            raise ConfigError(
                f"{part!r} is no option of {name}.", f"It takes {', '.join(f'{k}=VALUE' for k in known)}."
            ) from None
    label = "_".join([name, *(f"{key}_{value}" for key, value in chosen.items())])
    return fetched(name, **chosen, label=label)


def fetched(net: str, **options: Any) -> OnnxEmbedding | CenterFace:
    """Open a network by its name.

    Parameters
    ----------
    net : str
        One of `NETS`.
    **options
        Instead of its own; see `OnnxEmbedding` and `CenterFace`.

    Raises
    ------
    ConfigError
        If it was not fetched yet. That its file is the one that was fetched is checked when it is first asked.
    """
    about = net_of(net)
    known = {**file_of(about), **options}
    return CenterFace(**known) if about.detects else OnnxEmbedding(**{**about.options, **known})
