"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# times vary widely on shared machines; and a failure must be the same tomorrow
settings.register_profile("defacedask", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("defacedask")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real heads that may lie beside the repository."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(
            f"the real heads are not there (no folder {folder.relative_to(REPOSITORY.parent)} beside the repository)"
        )
    return folder


@pytest.fixture(scope="session")
def shared_tools() -> Path:
    """Folder of the tools that write real patients as DICOM."""
    folder = REPOSITORY.parent / "shared" / "tools"
    if not folder.is_dir():
        pytest.skip(
            "the tools that write real patients as DICOM are not there (shared/tools beside the repository)"
        )
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20260101)
