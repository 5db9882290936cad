"""Progress that can be believed: how far, how long yet, and never a line that stands still."""

from __future__ import annotations

import time

import pytest

from gisttools.common import STATUS_FILE, tqdm


@pytest.fixture
def status(tmp_path, monkeypatch):
    path = tmp_path / "status.txt"
    monkeypatch.setenv(STATUS_FILE, str(path))
    return path


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only pass when a test says so."""
    now = [1000.0]
    monkeypatch.setattr("gisttools.common.progress.time.monotonic", lambda: now[0])
    return now


def test_it_says_what_how_far_and_what_of(status) -> None:
    with tqdm(total=26_000, desc="evaluating", unit="text") as bar:
        bar.set_postfix_str("STSBenchmark (base)")
        bar.update(3200)
        bar.refresh()
        assert status.read_text() == "evaluating: 3,200 of 26,000 texts (STSBenchmark (base)), time left not known yet"


def test_the_time_left_follows_the_speed_of_the_last_minute(clock) -> None:
    with tqdm(total=1000, desc="x", unit="call") as bar:
        assert bar.seconds_left() is None
        for second in range(300):  # slow at first: a call in ten seconds
            clock[0] += 1
            bar.n = second // 10
            bar.seconds_left()
        assert bar.seconds_left() == pytest.approx(9710, rel=0.2)
        for _ in range(80):  # then ten a second
            clock[0] += 1
            bar.n += 10
            bar.seconds_left()
        assert bar.seconds_left() == pytest.approx((1000 - bar.n) / 10, rel=0.1)


def test_where_nothing_moves_the_time_left_grows(clock) -> None:
    with tqdm(total=100, desc="x") as bar:
        bar.seconds_left()
        clock[0] += 10
        bar.n = 50
        first = bar.seconds_left()
        clock[0] += 100
        assert bar.seconds_left() > 2 * first


def test_the_status_is_written_though_nothing_moves(status, monkeypatch) -> None:
    monkeypatch.setattr("gisttools.common.progress._BEAT", 0.02)
    with tqdm(total=10, desc="x"):
        time.sleep(0.1)
        status.unlink()
        time.sleep(0.2)
        assert status.exists()


def test_the_innermost_is_shown(status) -> None:
    with tqdm(total=2, desc="outer") as outer:
        with tqdm(total=5, desc="inner"):
            outer.refresh()
            assert status.read_text().startswith("inner")
        outer.refresh()
        assert status.read_text().startswith("outer")


def test_a_status_that_cannot_be_written_ends_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(STATUS_FILE, str(tmp_path / "gone" / "status.txt"))
    with tqdm(total=2, desc="x") as bar:
        bar.update(2)
