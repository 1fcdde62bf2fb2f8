from __future__ import annotations

import pytest

from defacedask.errors import ConfigError
from defacedask.runs.preparing import prepare
from defacedask.runs.run_key import key_of_seed, read_key


def test_a_new_key_is_kept_for_its_owner_alone_and_read_again(tmp_path):
    path = tmp_path / "store" / "run.key"
    key = read_key(path)
    assert len(key) == 32
    assert read_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(tmp_path / "other.key") != key


@pytest.mark.parametrize("text", ["", "short", "zz" * 32, "ab" * 15, "\x00\xff"])
def test_a_damaged_key_is_one_sentence(tmp_path, text):
    path = tmp_path / "run.key"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match="holds no key"):
        read_key(path)


def test_a_study_says_so_too(tmp_path):
    from support.export_kit import write_patient

    write_patient(tmp_path / "in")
    (tmp_path / "out" / "store").mkdir(parents=True)
    (tmp_path / "out" / "store" / "run.key").write_text("no key")
    with pytest.raises(ConfigError, match="holds no key"):
        prepare(tmp_path / "in", tmp_path / "out")


def test_a_seed_gives_one_key():
    assert key_of_seed(1) == key_of_seed(1) != key_of_seed(2)
