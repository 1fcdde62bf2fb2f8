"""What of ``cupy.cuda`` a program asks besides arrays: devices, streams, events, pools. There is one device."""

from __future__ import annotations

import time
import types
from typing import Any

__all__ = ["cuda", "pool"]


class _Held:
    """Stands for a device or a stream: it can be entered and waited for."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.id = 0

    def __enter__(self) -> _Held:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    def use(self) -> None:
        """Nothing changes."""

    def synchronize(self) -> None:
        """Everything is done already."""


class _Event:
    def __init__(self, *_: Any, **__: Any) -> None:
        self.at = 0.0

    def record(self, *_: Any) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        return None


class _Pool:
    def free_all_blocks(self) -> None:
        return None

    def used_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return 0


cuda: Any = types.ModuleType("cupy.cuda")
cuda.is_available = lambda: True
cuda.Device = cuda.Stream = _Held
cuda.Event = _Event
cuda.get_elapsed_time = lambda first, last: 1e3 * (last.at - first.at)
cuda.runtime = types.SimpleNamespace(
    getDevice=lambda: 0,
    getDeviceCount=lambda: 1,
    getDeviceProperties=lambda _: {"name": b"no card: the stand-in", "totalGlobalMem": 0},
    driverGetVersion=lambda: 0,
    runtimeGetVersion=lambda: 0,
)
pool = _Pool()
