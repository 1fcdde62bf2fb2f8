"""The stages for airspeed velocity (``asv``): one ``time_`` and one ``peakmem_`` method a stage.

They also run as ordinary tests on the tiny size (``tests/benchmarks/test_benchmarks.py``), so that they cannot rot.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

from benchmarks.chain import Chain, available_defacers


@functools.lru_cache(maxsize=1)
def _chain(size: str) -> Chain:
    return Chain(size)


class Stages:
    """Stages that do not depend on the defacer."""

    params: ClassVar[list[str]] = ["coarse", "clinical"]
    param_names: ClassVar[list[str]] = ["size"]
    timeout = 600
    before = ("scan", "read", "store_write", "store_read", "head", "render")

    def setup(self, size: str) -> None:
        self.chain = _chain(size)
        done = self.chain.made.setdefault("done", set())
        for name in self.before:
            if name not in done:
                getattr(self.chain, name)()
                done.add(name)

    def time_copy(self, size: str) -> None:
        self.chain.copy()

    def time_scan(self, size: str) -> None:
        self.chain.scan()

    def time_read(self, size: str) -> None:
        self.chain.read()

    def time_store_write(self, size: str) -> None:
        self.chain.store_write()

    def time_store_read(self, size: str) -> None:
        self.chain.store_read()

    def time_head(self, size: str) -> None:
        self.chain.head()

    def time_render(self, size: str) -> None:
        self.chain.render()

    def time_recognise(self, size: str) -> None:
        self.chain.recognise()

    def time_radiomics(self, size: str) -> None:
        self.chain.radiomics()

    def peakmem_read(self, size: str) -> None:
        self.chain.read()

    def peakmem_head(self, size: str) -> None:
        self.chain.head()

    def peakmem_render(self, size: str) -> None:
        self.chain.render()


class Defacers:
    """Plan and apply of each defacer."""

    params: ClassVar[Any] = (["coarse", "clinical"], available_defacers())
    param_names: ClassVar[list[str]] = ["size", "defacer"]
    timeout = 600

    def setup(self, size: str, defacer: str) -> None:
        Stages.setup(self, size)  # type: ignore[arg-type]
        if defacer not in self.chain.plans:
            self.chain.plan(defacer)

    before = ("scan", "read", "store_write", "store_read", "head")

    def time_plan(self, size: str, defacer: str) -> None:
        self.chain.plan(defacer)

    def time_apply(self, size: str, defacer: str) -> None:
        self.chain.apply(defacer)

    def peakmem_apply(self, size: str, defacer: str) -> None:
        self.chain.apply(defacer)
