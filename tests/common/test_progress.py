"""Progress: the time left by work done lately, what is under way in a status file, lines where there is no terminal."""

from __future__ import annotations

import io
import time

import pytest

from gisttools.common.progress import NOTICES, STATUS_FILE, Pace, doing, notice, time_left, tqdm


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def work(pace, clock, steps, seconds, begin=0):
    for i in range(steps):
        clock.now += seconds
        pace.note(begin + i + 1)


def test_nothing_is_said_before_enough_is_known(clock):
    pace = Pace(clock)
    work(pace, clock, 2, 1)
    assert pace.left(98) is None
    assert time_left(None) == "time left not known yet"
    work(pace, clock, 8, 1, begin=2)
    assert pace.left(90) == pytest.approx(90)
    assert time_left(90) == "about 1.5 min left"


def test_what_was_done_lately_counts(clock):
    pace = Pace(clock)
    work(pace, clock, 100, 0.1)  # the beginning is quick
    work(pace, clock, 60, 2, begin=100)
    assert pace.left(100) == pytest.approx(200, rel=0.05)


def test_where_nothing_comes_forward_nothing_is_said(clock):
    pace = Pace(clock)
    work(pace, clock, 20, 1)
    clock.now += 20
    assert pace.left(20) > 20  # later than usual
    clock.now += 100
    assert pace.left(20) is None


def test_steps_that_take_minutes_have_an_estimate_too(clock):
    pace = Pace(clock)
    work(pace, clock, 5, 120)
    assert pace.left(5) == pytest.approx(600)
    clock.now += 60
    assert pace.left(5) is not None


def test_what_is_done_needs_no_time(clock):
    assert Pace(clock).left(0) == 0


def test_the_status_tells_what_is_under_way_and_what_it_is_part_of(tmp_path, monkeypatch):
    status = tmp_path / "status.txt"
    monkeypatch.setenv(STATUS_FILE, str(status))
    with tqdm(total=4, desc="evaluating", unit="score") as outer:
        outer.update(1)
        with tqdm(total=26_000, desc="embedding", unit="text", of="Banking77") as inner:
            inner.update(3_200)
            inner.refresh()
            text = status.read_text()
            assert text.startswith("evaluating: 1 of 4 scores, time left not known yet; ")
            assert text.endswith("embedding: 3,200 of 26,000 texts of Banking77, time left not known yet")
        assert "embedding" not in status.read_text()
        with doing("comparing"):
            assert status.read_text().endswith("; comparing")


def test_the_status_is_written_anew_where_nothing_comes_forward(tmp_path, monkeypatch):
    status = tmp_path / "status.txt"
    monkeypatch.setenv(STATUS_FILE, str(status))
    monkeypatch.setattr("gisttools.common.progress._EVERY", 0.05)
    monkeypatch.setattr("gisttools.common.progress._SURE", 0.1)
    with doing("loading"):
        time.sleep(0.4)
        assert "loading, for 0." in status.read_text()


def test_who_reads_the_status_while_it_is_written_sees_no_empty_file(tmp_path, monkeypatch):
    status = tmp_path / "status.txt"
    monkeypatch.setenv(STATUS_FILE, str(status))
    monkeypatch.setattr("gisttools.common.progress._EVERY", 0.0)  # anew all the time
    with doing("loading"):
        for _ in range(3000):
            assert status.read_text().startswith("loading")


def test_lines_are_sparse_where_there_is_no_terminal(monkeypatch):
    monkeypatch.delenv(STATUS_FILE, raising=False)
    monkeypatch.setattr("gisttools.common.progress._SURE", 0.0)
    out = io.StringIO()
    with tqdm(total=1000, desc="embedding", unit="text", file=out, mininterval=0) as bar:
        for _ in range(1000):
            bar.update(1)
        lines = out.getvalue().splitlines()
    assert 5 <= len(lines) <= 11
    assert all(line.startswith("embedding: ") for line in lines)
    assert "\r" not in out.getvalue()


def test_short_work_says_nothing_where_there_is_no_terminal(monkeypatch):
    monkeypatch.delenv(STATUS_FILE, raising=False)
    out = io.StringIO()
    for _ in tqdm(range(1000), file=out):
        pass
    assert out.getvalue() == ""


def test_a_bar_that_is_switched_off_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv(STATUS_FILE, str(tmp_path / "status.txt"))
    with tqdm(total=3, disable=True) as bar:
        bar.update(1)
    assert not (tmp_path / "status.txt").exists()


def test_a_notice_is_a_line_for_the_runner(tmp_path, monkeypatch):
    monkeypatch.setenv(STATUS_FILE, str(tmp_path / "status.txt"))
    notice("26,000 texts\nof Banking77")
    notice("and more")
    assert (tmp_path / NOTICES).read_text().splitlines() == ["26,000 texts of Banking77", "and more"]


def test_in_a_notebook_a_notice_has_no_red_ground_and_breaks_between_words(monkeypatch, capsys):
    monkeypatch.delenv(STATUS_FILE, raising=False)
    monkeypatch.setattr("gisttools.common.progress.in_notebook", lambda: True)
    notice("words " * 30)
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.split() == ["words"] * 30
    assert max(map(len, said.out.splitlines())) <= 100
