"""Shows progress: plain text in a notebook, and a one-line status that `gisttools run` shows in the terminal."""

from __future__ import annotations

import io
import logging
import os
import warnings
from pathlib import Path
from typing import Any

from tqdm import tqdm as _tqdm

STATUS_FILE = "GISTTOOLS_STATUS_FILE"  # environment variable set by the runner


class tqdm(_tqdm):
    """Plain `tqdm` (never a widget: widgets die in executed notebooks). Under `gisttools run` the line goes to a
    status file instead of the notebook, where thousands of redrawn bars would only make noise."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # as tqdm's own
        kwargs.setdefault("mininterval", 0.5)
        if os.environ.get(STATUS_FILE):
            kwargs["file"] = io.StringIO()  # tqdm ends a bar with a line break of its own
        super().__init__(*args, **kwargs)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        status = os.environ.get(STATUS_FILE)
        if not status:
            return super().display(msg, pos)
        if msg is None:
            Path(status).write_text(str(self).strip(), encoding="utf-8")
        return True


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
