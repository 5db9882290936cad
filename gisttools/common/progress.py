"""Shows progress: what is done, how far it is, and how long yet, in a terminal, in lines, or in a run's `status.txt`.

A bar inside another, such as texts embedded for one of several tasks, is told along with it. The time left is taken of
work done lately; before enough is known it is "not known yet".
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm as _tqdm

from gisttools.common.wording import duration, folded

log = logging.getLogger(__name__)
STATUS_FILE = "GISTTOOLS_STATUS_FILE"  # environment variable set by the runner
NEW_STATUS = ".status.new"  # the status while it is written
NOTICES = "notices.txt"  # next to the status file: what is said once, a line each
_EVERY = 2.0  # seconds between two writes of the status file, also where nothing comes forward
_SPARSE = 30.0  # seconds between two lines where there is no terminal
_TENTH = 0.1  # of the work, after which there is a line in any case
_WINDOW = 30.0  # seconds of work that say how fast it goes; a third of all where that is longer
_SURE = 5.0  # seconds before which nothing is said of the time left
_LEAST = 3  # steps forward, likewise


class Pace:
    """How fast work goes, by what was done lately.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self.started = clock, clock()
        self._seen: deque[tuple[float, float]] = deque([(self.started, 0.0)], maxlen=4096)

    def note(self, done: float) -> None:
        """So much is done by now, counted from when it began."""
        if done != self._seen[-1][1]:
            self._seen.append((self._clock(), done))

    def left(self, rest: float) -> float | None:
        """Seconds for what is left; None where that is not known yet, or no longer, since nothing comes forward."""
        now = self._clock()
        if rest <= 0:
            return 0.0
        if now - self.started < _SURE or len(self._seen) <= _LEAST:
            return None
        since = now - max(_WINDOW, (now - self.started) / 3)
        first = next((i for i, (at, _) in enumerate(self._seen) if at >= since), None)
        if first is None or len(self._seen) - first < 2:  # so slow that no two of them lie in the window
            first = len(self._seen) - 2
        at, before = self._seen[first]
        last, done = self._seen[-1]
        step = (last - at) / max(len(self._seen) - 1 - first, 1)
        if done <= before or now - last > max(10 * step, _WINDOW):
            return None  # it stands still: what was done before says nothing of when it goes on
        end = now if now - last > step else last  # waiting longer than usual counts
        return rest * (end - at) / (done - before)


def time_left(seconds: float | None) -> str:
    """`about 2 min left`, or that it is not known yet."""
    return "time left not known yet" if seconds is None else f"about {duration(seconds)} left"


class tqdm(_tqdm):
    """`tqdm`'s interface with words of our own: `embedding: 3,200 of 26,000 texts of Banking77, about 2 min left`.

    Under `gisttools run` they go to a status file in place of the notebook, where thousands of redrawn bars would only
    make noise. Where the output is no terminal and no notebook, there is a line each half minute or each tenth.
    Never a widget: widgets die in executed notebooks.

    Args:
        of: what the work is done on, such as a task.
        args, kwargs: as tqdm's own.
    """

    def __init__(self, *args: Any, of: str = "", **kwargs: Any) -> None:
        self.of, self._pace = of, Pace()
        self._first: float | None = None
        self._last_said: tuple[float, int] | None = None
        kwargs.setdefault("mininterval", 0.5)
        self._sparse = False
        if os.environ.get(STATUS_FILE):
            kwargs["file"] = io.StringIO()  # tqdm ends a bar with a line break of its own
        else:
            if in_notebook():
                kwargs.setdefault("file", sys.stdout)  # what comes from stderr has a red background
            out = kwargs.get("file") or sys.stderr
            self._sparse = not (hasattr(out, "isatty") and out.isatty()) and not in_notebook()
        super().__init__(*args, **kwargs)
        self._first = self.n
        if not self.disable and os.environ.get(STATUS_FILE):
            _STATUS.enter(self)

    def update(self, n: float | None = 1) -> bool | None:
        """As tqdm's; also notes how fast it goes."""
        answer = super().update(n)
        if not self.disable:
            self._pace.note(self.n - (self._first or 0))
        return answer

    def left(self) -> float | None:
        """Seconds left, as far as is known."""
        return None if self.total is None else self._pace.left(self.total - self.n)

    def words(self) -> str:
        """What is done, how far, how long yet."""
        self._pace.note(self.n - (self._first or 0))  # some set n
        unit = f" {self.unit}{'' if self.unit.endswith('s') else 's'}" if self.unit not in ("", "it") else ""
        n = f"{self.n:,.0f}" + (f" of {self.total:,.0f}" if self.total is not None else "")
        about = f" of {self.of}" if self.of else ""
        more = f" ({self.postfix})" if self.postfix else ""
        desc = (self.desc or "").rstrip(": ")
        text = f"{desc + ': ' if desc else ''}{n}{unit}{about}{more}"
        return text if self.total is None or self.n >= self.total else f"{text}, {time_left(self.left())}"

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if os.environ.get(STATUS_FILE):
            if msg is None:
                _STATUS.write()
            return True
        if not self._sparse:
            return super().display(msg, pos)
        if msg is None:
            self._line()
        return True

    def _line(self) -> None:
        """A line, where half a minute or a tenth of the work has passed since the last one."""
        now, tenth = time.monotonic(), int(self.n / self.total / _TENTH) if self.total else 0
        if self._last_said is None:
            self._last_said = (self._pace.started, 0)
        at, before = self._last_said
        long = now - self._pace.started > _SURE  # short work is no news
        if now - at >= _SPARSE or (tenth > before and long):
            self._last_said = (now, tenth)
            self.fp.write(self.words() + "\n")
            self.fp.flush()

    def close(self) -> None:
        """As tqdm's; what it was part of is shown again."""
        _STATUS.leave(self)
        if self._sparse and not self.disable:
            self._line()
            self.leave, self.fp = False, io.StringIO()  # a line break of its own
        super().close()


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    return "ipykernel" in sys.modules and ipython is not None and ipython.get_ipython() is not None


class _Doing:
    """Something that takes time and cannot be counted."""

    def __init__(self, text: str) -> None:
        self.text, self.started = text, time.monotonic()

    def words(self) -> str:
        seconds = time.monotonic() - self.started
        return self.text if seconds < _SURE else f"{self.text}, for {duration(seconds)}"


class _Status:
    """What is under way in this process, the outermost first, kept in the status file as long as there is any.

    A thread writes it anew every few seconds, so that the file never tells an old estimate.
    """

    def __init__(self) -> None:
        self._stack: list[tqdm | _Doing] = []
        self._lock = threading.RLock()
        self._awake: threading.Event | None = None

    def enter(self, one: tqdm | _Doing) -> None:
        with self._lock:
            self._stack.append(one)
            if self._awake is None:
                self._awake = threading.Event()
                threading.Thread(target=self._keep, args=(self._awake,), daemon=True).start()
        self.write()

    def leave(self, one: tqdm | _Doing) -> None:
        with self._lock:
            rest = [other for other in self._stack if other is not one]  # tqdm's own == compares places
            if len(rest) == len(self._stack):
                return
            self._stack = rest
            if not self._stack and self._awake is not None:
                self._awake.set()
                self._awake = None
        self.write()

    def write(self) -> None:
        """Write what is under way, if a runner asked for it."""
        status = os.environ.get(STATUS_FILE)
        with self._lock:
            text = "; ".join(one.words() for one in self._stack if not getattr(one, "disable", False))
            if status and text:
                new = Path(status).with_name(NEW_STATUS)  # put in place whole: who reads meanwhile sees no empty file
                with contextlib.suppress(OSError):  # a full disk must not end the work
                    new.write_text(text, encoding="utf-8")
                    new.replace(status)

    def _keep(self, ended: threading.Event) -> None:
        while not ended.wait(_EVERY):
            self.write()


_STATUS = _Status()  # of a process, as its standard output is


@contextlib.contextmanager
def doing(text: str) -> Iterator[None]:
    """Inside, the status says that this is under way, and for how long; for what cannot be counted."""
    one = _Doing(text)
    if os.environ.get(STATUS_FILE):
        _STATUS.enter(one)
    try:
        yield
    finally:
        _STATUS.leave(one)


def notice(text: str, *, level: int = logging.INFO) -> None:
    """Say something once: a line in the terminal, whatever runs there, or below the cell; and in the log."""
    log.log(level, text)
    status = os.environ.get(STATUS_FILE)
    if not status:
        if level >= logging.WARNING:  # warnings are seen as they are
            return
        if in_notebook():
            _tqdm.write(folded(text), file=sys.stdout)
        else:
            _tqdm.write(text, file=sys.stderr)
        return
    with contextlib.suppress(OSError), Path(status).with_name(NOTICES).open("a", encoding="utf-8") as file:
        file.write(" ".join(text.split()) + "\n")


def quiet_libraries() -> None:
    """Switch off other libraries' loading bars and hub chatter: noise in an executed notebook and in the terminal."""
    from datasets.utils.logging import disable_progress_bar
    from transformers.utils import logging as transformers_logging

    disable_progress_bar()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    for name in ("mteb", "sentence_transformers", "httpx", "huggingface_hub", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*superseded.*")
    # mteb, of prompts under names of their own, such as `passage`: it takes them by the names of `models.prompts`
    warnings.filterwarnings("ignore", message=r"(Task name|Some prompts) .* not (valid|in the expected format)")
    warnings.filterwarnings("ignore", message=".*is ill-defined.*")  # scikit-learn, of labels that nothing was given
