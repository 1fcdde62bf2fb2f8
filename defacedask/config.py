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

__all__ = ["check", "option", "snapshot"]

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


#: Sections whose entries are handed on as they are.
_FREE = frozenset({"kubernetes.resources", "kubernetes.scheduler-resources", "kubernetes.options"})
#: What a value may be, by what its default is. A text may also be a number (a size, a time) or null.
_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int, float), "a number"),
    float: ((int, float, str, dict), "a number, or names with their numbers"),
    list: ((list, tuple), "a list"),
    str: ((str, int, float, type(None)), "a text"),
}


def check() -> None:
    """See that everything below ``defacedask`` in the configuration is an option, and of the kind of its default.

    Raises
    ------
    ConfigError
        For the first that is not, whether a file or a variable of the environment says it.
    """
    _check(dask.config.get("defacedask", {}), _DEFAULTS["defacedask"], "")


def _check(given: Any, defaults: dict[str, Any], section: str) -> None:
    at = f"defacedask.{section}".rstrip(".")
    if not isinstance(given, dict):
        raise ConfigError(f"{at} is {given!r} and not a section of options.", f"See {_FILE.name} for them.")
    for written, value in given.items():
        name = str(written).replace("_", "-")  # as a variable of the environment spells it
        if name not in defaults:
            raise ConfigError(f"there is no option {at}.{written}.", f"Options there: {', '.join(defaults)}.")
        default, path = defaults[name], f"{section}{name}"
        if isinstance(default, dict):
            if path not in _FREE:
                _check(value, default, f"{path}.")
            continue
        kinds, words = _KINDS.get(type(default), ((object,), ""))
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds and words):
            raise ConfigError(f"{at}.{name} is {value!r}. It must be {words}, such as {default!r}.")
