"""Stopping and going on: what a training leaves on disk while it runs, and how it is found again.

A checkpoint counts only with its note (`note.json`), which is written last: a process killed while it writes leaves
the one before.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch.distributed as dist
from filelock import FileLock, Timeout
from transformers import TrainerCallback

from gisttools.callbacks import Recorder
from gisttools.common import DataError
from gisttools.development import KeepBest

log = logging.getLogger(__name__)
NOTE = "note.json"
_WAIT = 30  # seconds


class Checkpoints(TrainerCallback):
    """Saves every so many minutes, always right after a logged step, so that the loss curve has no seam.

    Args:
        folder: where checkpoints go; the same folder again means the same training again.
        identity: what the training is, in words; a folder of another training is refused.
        minutes: time between two checkpoints; 0 saves at every logged step.
        recorder, best: whose rows are kept in the note.

    Raises:
        DataError: the folder holds checkpoints of another training, or another process is at it.
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], minutes: float, recorder: Recorder, best: KeepBest | None
    ) -> None:
        self.folder, self.minutes, self.recorder, self.best = folder, minutes, recorder, best
        self.saved = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder.with_suffix(".lock"))
        if os.environ.get("RANK", "0") == "0":
            try:
                self._lock.acquire(timeout=_WAIT)  # what is left of a killed run needs a moment to end
            except Timeout:
                raise DataError(f"Another process is training with the checkpoints in {folder}. Wait for it.") from None
        known, given = folder / "training.json", json.loads(json.dumps(identity, default=str))
        if known.exists():
            before = json.loads(known.read_text(encoding="utf-8"))
            changed = [k for k in given if before.get(k) != given[k]]
            if changed:
                self.release()
                seen = "; ".join(f"{k}: {before.get(k)} there, {given[k]} now" for k in changed)
                raise DataError(f"{folder} holds checkpoints of another training ({seen}). Name another, or delete it.")
        else:
            partial = known.with_suffix(".partial")
            partial.write_text(json.dumps(given), encoding="utf-8")
            partial.replace(known)

    def resume(self) -> str | None:
        """The newest whole checkpoint, with its rows given back to the recorder; None to begin at the beginning."""
        whole = [p.parent for p in self.folder.glob(f"checkpoint-*/{NOTE}")]
        if not whole:
            return None
        newest = max(whole, key=lambda p: int(p.name.rpartition("-")[2]))
        note = json.loads((newest / NOTE).read_text(encoding="utf-8"))
        self.recorder.rows, self.recorder.seconds_before = note["rows"], note["seconds"]
        if self.best is not None:
            self.best.rows = note["development"]
        log.info("going on from %s", newest.name)
        return str(newest)

    def release(self) -> None:
        """Let another training have the folder: in a notebook the next try comes from the same process."""
        self._lock.release()

    def remove(self) -> None:
        """Delete all checkpoints: the training has ended and its model is saved."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def on_step_end(self, args, state, control, **_):
        if control.should_log and state.global_step < state.max_steps:
            control.should_save = _agreed(time.monotonic() - self.saved >= 60 * self.minutes)

    def on_save(self, args, state, control, **_):
        self.saved = time.monotonic()
        if dist.is_initialized():
            dist.barrier()  # every process has written its part
        if not state.is_world_process_zero:
            return
        folder = self.folder / f"checkpoint-{state.global_step}"
        note = {
            "rows": self.recorder.rows,
            "development": self.best.rows if self.best else [],
            "seconds": self.recorder.seconds(),
        }
        partial = folder / f"{NOTE}.partial"
        partial.write_text(json.dumps(note), encoding="utf-8")
        partial.replace(folder / NOTE)


def _agreed(due: bool) -> bool:
    """Clocks differ between processes; the first one's counts."""
    if not dist.is_initialized():
        return due
    answer = [due]
    dist.broadcast_object_list(answer, src=0)
    return answer[0]
