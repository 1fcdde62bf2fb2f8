from __future__ import annotations

import pytest
from support.export_kit import write_patient

from defacedask import patience


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Nobody waits before the next try, and no token of the machine is there."""
    monkeypatch.setattr(patience, "WAITS", (0.0, 0.0))
    for name in ("USER", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"DEFACEDASK_REMOTE_{name}", raising=False)


@pytest.fixture(scope="session")
def one_patient(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one-patient")
    write_patient(folder)
    return folder
