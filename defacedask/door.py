"""Modules that can be called: ``dd.verify(...)`` works although ``defacedask.verify`` also is a module.

Python puts a submodule into its package as soon as anybody imports it, in place of a function of the same name.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["callable_module"]


def callable_module(name: str, function: Callable[..., Any]) -> None:
    """Let a module be called as one of its functions.

    Parameters
    ----------
    name : str
        ``__name__`` of the module, which is being imported.
    function : callable
    """
    kind = type(
        "CallableModule", (ModuleType,), {"__call__": staticmethod(function), "__doc__": function.__doc__}
    )
    module: Any = sys.modules[name]
    module.__class__ = kind
    module.__signature__ = inspect.signature(function)
