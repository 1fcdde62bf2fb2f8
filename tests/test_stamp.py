from __future__ import annotations

import os

import pytest

from defacedask.stamp import package_state, stamp, stamped


@pytest.fixture
def files(tmp_path):
    found = [tmp_path / name for name in ("a", "b")]
    for file in found:
        file.write_text("x")
    stamp(tmp_path / "note", "made", found)
    return found


def test_what_is_as_it_was_is_known(tmp_path, files):
    assert stamped(tmp_path / "note", "made")
    assert not stamped(tmp_path / "note", "otherwise")
    assert not stamped(tmp_path / "no note", "made")


@pytest.mark.parametrize("change", ["gone", "longer", "later", "damaged"])
def test_what_has_changed_is_made_again(tmp_path, files, change):
    if change == "gone":
        files[1].unlink()
    if change == "longer":
        state = files[1].stat()
        files[1].write_text("xx")
        os.utime(files[1], ns=(state.st_atime_ns, state.st_mtime_ns))
    if change == "later":
        os.utime(files[1], (1, 1))
    if change == "damaged":
        (tmp_path / "note").write_text("[]")
    assert not stamped(tmp_path / "note", "made")


def test_the_package_has_a_state():
    count, last = package_state()
    assert count > 200
    assert last > 0
