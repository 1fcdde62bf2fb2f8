"""Configuration by Dask's convention for downstream libraries.

Defaults lie in ``defacedask.yaml`` beside this file; ``~/.config/dask/*.yaml`` and environment variables such as
``DASK_DEFACEDASK__RECOGNITION__TOLERANCE`` override them, and options on the command line override those.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.config
import yaml

from defacedask.errors import ConfigError

__all__ = ["option", "snapshot"]

_FILE = Path(__file__).with_name("defacedask.yaml")

with _FILE.open(encoding="utf-8") as _stream:
    _DEFAULTS = yaml.safe_load(_stream)
dask.config.update_defaults(_DEFAULTS)


def option(name: str) -> Any:
    """Value of one option, such as ``option("recognition.tolerance")``.

    Raises
    ------
    ConfigError
        If there is no such option.
    """
    try:
        return dask.config.get(f"defacedask.{name}")
    except KeyError:
        raise ConfigError(
            f"there is no option defacedask.{name}.", f"See {_FILE.name} for the options."
        ) from None


def snapshot() -> dict[str, Any]:
    """Every option now in force, as plain data."""
    return dask.config.get("defacedask")
