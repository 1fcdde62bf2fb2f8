"""What libraries make of a full disk ends in the same sentence as the disk's own error, and ends the run."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from support import make

from defacedask.errors import InputError, OutputError, disk_is_full, os_error_in, writing
from defacedask.flow.result import TaskResult
from defacedask.flow.worker import _fill

FULL = Path("/dev/full")


def wrapped(kind, number=errno.ENOSPC, times=1):
    """An error as a library raises it: with the text of the system's own, and not its number."""
    try:
        raise OSError(number, os.strerror(number))
    except OSError as error:
        found = error
    for _ in range(times):
        try:
            raise kind(f"got exception: {found}\nTraceback (most recent call last):\n  File ...") from found
        except kind as error:
            found = error
    return found


@pytest.mark.skipif(not FULL.exists(), reason="this system has no disk that is always full")
def test_pydicom_on_a_full_disk(tmp_path):
    import pydicom

    grid = make.grid((2, 64, 64))
    (one, _) = make.write_series(tmp_path, np.zeros(grid.shape, np.int16), grid)
    dataset = pydicom.dcmread(one)
    dataset.PixelData = bytes(2**20)
    with pytest.raises(OutputError) as caught, writing("the slice"):
        dataset.save_as(FULL)
    assert str(caught.value) == (
        "cannot write the slice: No space left on device. Free space or choose another output or work folder."
    )
    assert caught.value.fatal


@pytest.mark.parametrize("kind", [OSError, RuntimeError, ValueError])
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_behind_any_error_ends_the_run(kind, times, number):
    error = wrapped(kind, number, times)
    with pytest.raises(OutputError) as caught, writing("it"):
        raise error
    assert caught.value.fatal
    assert str(caught.value).startswith(f"cannot write it: {os.strerror(number)}. ")
    assert ("Free space" in str(caught.value)) == (number != errno.EROFS)
    result = TaskResult("apply", "a", "", "")

    def work():
        raise error

    _fill(result, work)
    assert result.fatal
    assert result.status == "failed"


def test_other_errors_stay_what_they_are():
    with pytest.raises(ZeroDivisionError), writing("it"):
        raise ZeroDivisionError
    with pytest.raises(InputError), writing("it"):
        raise InputError("no.")
    with (
        pytest.raises(OutputError, match=r"^cannot write it: File exists \(a\)\. Look at what") as caught,
        writing("it"),
    ):
        raise OSError(errno.EEXIST, "File exists", "a")
    assert not caught.value.fatal
    with pytest.raises(OutputError, match=r"^cannot write it: got exception: odd\. Choose"), writing("it"):
        raise OSError("got exception: odd\nTraceback")
    assert os_error_in(ValueError()) is None
    assert not disk_is_full(wrapped(OSError, errno.EACCES))
