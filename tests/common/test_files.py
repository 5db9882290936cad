"""Files that are there whole or not at all."""

import hashlib

import pytest

from gisttools.common.files import digest, sha256, whole_file, write_whole


def test_a_file_is_there_only_once_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with whole_file(path) as partial:
        partial.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_of_a_write_that_fails_the_old_file_stays_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def disk_full() -> None:
        with whole_file(path) as partial:
            partial.write_text("new")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        disk_full()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_half_a_surrogate_pair_is_a_question_mark(tmp_path):
    write_whole(tmp_path / "a.txt", "x\ud800y")
    assert (tmp_path / "a.txt").read_bytes() == b"x?y"


def test_checksums_are_those_of_hashlib(tmp_path):
    write_whole(tmp_path / "a.txt", b"abc")
    assert sha256(tmp_path / "a.txt") == hashlib.sha256(b"abc").hexdigest()
    assert digest("abc", 16) == hashlib.blake2b(b"abc", digest_size=16).hexdigest()
