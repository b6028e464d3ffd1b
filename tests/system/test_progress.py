import io
import re
import sys

import pytest

from dgam_core.system import progress as module
from dgam_core.system.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that tests let pass."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)
    monkeypatch.setattr(module, "_log", module._Log())
    return now


def stderr(monkeypatch, stream, is_original=True):
    monkeypatch.setattr(sys, "stderr", stream)
    if is_original:
        monkeypatch.setattr(sys, "__stderr__", stream)
    return stream


def work(clock, videos, frames, second):
    for video in range(videos):
        for _ in progress(range(frames), unit="frame", desc=f"video {video}", leave=False):
            clock[0] += second


def test_a_log_file_gets_a_line_per_minute(monkeypatch, clock):
    log = stderr(monkeypatch, io.StringIO())
    work(clock, 1, 500, 1)  # 500 s
    lines = log.getvalue().splitlines()
    assert "\r" not in log.getvalue()
    assert [re.match(r"video 0: (\d+) of 500 \(", line)[1] for line in lines] == [
        str(60 * i) for i in range(1, 9)
    ]
    assert lines[0] == "video 0: 60 of 500 (01:00 so far, 07:20 left,  1.00frame/s)"


def test_the_minutes_count_on_over_many_short_videos(monkeypatch, clock):
    log = stderr(monkeypatch, io.StringIO())
    work(clock, 30, 10, 1)  # 300 s, 10 s each
    assert [line.partition(":")[0] for line in log.getvalue().splitlines()] == [
        f"video {6 * i - 1}" for i in range(1, 6)
    ]


def test_short_work_says_nothing_in_a_log_and_a_notebook_nothing_at_all(monkeypatch, clock):
    log = stderr(monkeypatch, io.StringIO())
    work(clock, 1, 59, 1)
    assert log.getvalue() == ""
    page = stderr(monkeypatch, io.StringIO(), is_original=False)
    work(clock, 1, 500, 1)
    assert page.getvalue() == ""


def test_a_terminal_gets_a_bar(monkeypatch, clock):
    terminal = stderr(monkeypatch, Terminal())
    work(clock, 1, 5, 1)
    assert "\rvideo 0: 100%|" in terminal.getvalue()
