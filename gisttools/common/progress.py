"""Shows progress: plain text in a notebook, and a one-line status that `gisttools run` shows in the terminal.

How long it takes yet is told by the speed of the last minute, and not before that is known. The status is written anew
every few seconds, so that it never stands still while work does not.
"""

from __future__ import annotations

import io
import logging
import os
import threading
import time
import warnings
from collections import deque
from pathlib import Path
from typing import Any, ClassVar

from tqdm import tqdm as _tqdm

from gisttools.common.wording import count, duration

STATUS_FILE = "GISTTOOLS_STATUS_FILE"  # environment variable set by the runner
_WINDOW = 60.0  # seconds whose speed tells the time left
_KNOWN_AFTER = 3.0  # seconds of work, before which no time left is told
_writing = threading.RLock()
_BEAT = 5.0  # seconds between two lines of one state


class tqdm(_tqdm):
    """Plain `tqdm` (never a widget: widgets die in executed notebooks). Under `gisttools run` the line goes to a
    status file instead of the notebook, where thousands of redrawn bars would only make noise."""

    _open: ClassVar[list[tqdm]] = []  # the innermost last: it alone is shown

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # as tqdm's own
        kwargs.setdefault("mininterval", 0.5)
        self._seen: deque[tuple[float, float]] = deque()
        if os.environ.get(STATUS_FILE):
            kwargs["file"] = io.StringIO()  # tqdm ends a bar with a line break of its own
        super().__init__(*args, **kwargs)
        if os.environ.get(STATUS_FILE) and not self.disable:
            self._open.append(self)
            threading.Thread(target=self._beat, daemon=True).start()

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        status = os.environ.get(STATUS_FILE)
        if not status:
            return super().display(msg, pos)
        if msg is None:
            with _writing:
                if not self._open or self._open[-1] is self:
                    _write_over(Path(status), self.told().encode("utf-8", "replace").decode())
        return True

    def close(self) -> None:
        if self in self._open:
            self._open.remove(self)
        super().close()

    def told(self) -> str:
        """`evaluating: 3,200 of 26,000 texts (STSBenchmark, base), about 2.0 min left`."""
        unit = f"{self.unit}s"
        done = f"{count(self.n)} of {count(self.total)} {unit}" if self.total else f"{count(self.n)} {unit}"
        text = f"{self.desc.removesuffix(': ')}: {done}" if self.desc else done
        text += f" ({self.postfix})" if self.postfix else ""
        left = self.seconds_left()
        if self.total and self.n < self.total:
            text += ", time left not known yet" if left is None else f", about {duration(left)} left"
        return text

    def seconds_left(self) -> float | None:
        """By the speed of the last minute; None before it is known."""
        now, n = time.monotonic(), float(self.n)
        if not self._seen or self._seen[-1][1] != n:
            self._seen.append((now, n))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()
        began, before = self._seen[0]
        if not self.total or n <= before or now - began < _KNOWN_AFTER:
            return None
        return max(0.0, (self.total - n) * (now - began) / (n - before))

    def _beat(self) -> None:
        while not getattr(self, "disable", True):
            self.display()
            time.sleep(_BEAT)


def _write_over(path: Path, text: str) -> None:
    """Seen by others whole or not at all, and never in the way of the work."""
    try:
        partial = path.with_name(f".{path.name}.{threading.get_ident()}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        logging.getLogger(__name__).debug("the status cannot be written: %s", error)


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
    warnings.filterwarnings("ignore", message=".*is ill-defined.*")  # scikit-learn, of labels that nothing was given
