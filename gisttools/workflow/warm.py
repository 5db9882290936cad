"""Starts the processes of runs from one that has loaded the libraries: each is a fork of it.

To load torch, sentence-transformers and mteb takes longer than many a run. Where several runs follow one another, a
process loads them once and then only waits: it has no connection, no thread that holds anything and no CUDA context, so
that a fork of it is as good as a new process. Each run is a fork of its own, with its own environment, folder and
process group: one that crashes or is killed takes no other with it, and all end with the process that asked for them.

Linux alone: system libraries of macOS are not safe to use in a fork, and Windows has none. There, and wherever such a
process cannot be had, each run loads everything itself.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from gisttools.common import PACKAGE, STATUS_FILE
from gisttools.workflow.manifest import PROFILE
from gisttools.workflow.places import STARTED_IN

log = logging.getLogger(__name__)
SWITCH = "GISTTOOLS_WARM"  # "0": every run loads everything itself
# each run has its own; all other variables may be read when a library is loaded
_OWN = {
    "GISTTOOLS_RUN_FOLDER", "GISTTOOLS_SPEC_HASH", "GISTTOOLS_SENT", STATUS_FILE, STARTED_IN, PROFILE,
    "CUDA_VISIBLE_DEVICES",
}  # fmt: skip
_LIGHT = ("report", "cost_to_gain", "compare")  # load less: alone, they are quicker without
_SERVE = """
import sys
sys.path[0] = sys.argv[2]
from gisttools.workflow.forks import serve
del sys.path[0]
serve(int(sys.argv[1]))
"""


class ForkedProcess:
    """What `subprocess.Popen` would be of a process that a server forked. How it ended only the server knows."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._handle = os.pidfd_open(pid)  # the server keeps what is left of it: the number is not given anew

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(None if timeout is None else int(1000 * timeout))
        if code is None:
            raise subprocess.TimeoutExpired("kernel", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _ended(self, milliseconds: int | None) -> int | None:
        if self.returncode is None:
            waits = select.poll()
            waits.register(self._handle, select.POLLIN)
            if waits.poll(milliseconds):
                os.close(self._handle)
                self.returncode = 0
        return self.returncode


class Server:
    """A process that loads the libraries and then forks.

    Args:
        environment: that of the runs. Some variables are read only once, when a library is loaded: runs with other
            values need another server.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = _shared(environment)
        self._fit: bool | None = None
        self.unfit: dict[str, str] | None = None  # the environment in which it found that forks would be no good
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(theirs.fileno()), str(PACKAGE.parent)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the process that asks, which ends what it started
                env=self._environment,
            )
        self._socket, self._lines = ours, ours.makefile("rw", encoding="utf-8")

    def serves(self, environment: Mapping[str, str]) -> bool:
        """Whether it is there, for runs of this environment. Waits until it has loaded everything."""
        if self._fit is None:
            told = self._lines.readline().strip()
            self._fit = told == "ready"
            if not self._fit:
                self.unfit = self._environment if told else None  # one that was ended says nothing
                log.info("Each run loads the libraries itself: %s", told or "the process that would do it has ended")
        return self._fit and self._process.poll() is None and self._environment == _shared(environment)

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> ForkedProcess | None:
        """A process that becomes `python -m ipykernel_launcher ARGUMENTS`; None if the server is gone."""
        asked = {"arguments": list(arguments), "environment": dict(environment), "folder": folder}
        try:
            self._lines.write(json.dumps(asked) + "\n")
            self._lines.flush()
            pid = self._lines.readline()
            return ForkedProcess(int(pid)) if pid else None
        except OSError:  # also where it ended in between
            return None

    def end(self) -> None:
        """End it, and with it what it forked."""
        if self._fit is None:  # it would hear of it only when all is loaded
            self._process.kill()
        with contextlib.suppress(OSError):
            self._lines.close()
        self._socket.close()
        self._process.wait()


def _shared(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in _OWN}


@dataclass
class _State:
    """Of this process, which does one run at a time, so that one server will do."""

    wanted: int = 0  # how many want it
    server: Server | None = None
    unfit: dict[str, str] | None = None  # where the last server was of no use, and another would be of none

    def end(self) -> None:
        if self.server is not None:
            self.unfit = self.server.unfit or self.unfit
            self.server.end()
        self.server = None


_STATE = _State()


def keep() -> None:
    """From here on runs of this process are forks, where that can be; the server ends with the process."""
    _STATE.wanted += 1


@contextlib.contextmanager
def kept(wanted: bool = True) -> Iterator[None]:
    """Inside, runs are forks, where that can be; the server ends afterwards."""
    _STATE.wanted += wanted
    try:
        yield
    finally:
        _STATE.wanted -= wanted
        if not _STATE.wanted:
            _STATE.end()


def begin(verb: str) -> None:
    """See to a server for a run in this process's environment: a new one loads while something else is done."""
    wanted = _STATE.wanted and can_be()
    if _STATE.server is not None and not (wanted and _STATE.server.serves(os.environ)):
        _STATE.end()
    if _STATE.server is None and wanted and verb not in _LIGHT and _STATE.unfit != _shared(os.environ):
        _STATE.server = Server(os.environ)


def server() -> Server | None:
    """The server for a run in this process's environment; waits until it has loaded everything. None where runs are
    not to be forks, or cannot be."""
    found = _STATE.server
    return found if found is not None and found.serves(os.environ) else None


def can_be() -> bool:
    """Whether runs can be forks here, and are not told otherwise."""
    wanted = os.environ.get(SWITCH, "1") != "0" and os.environ.get("WORLD_SIZE", "1") == "1"
    return wanted and sys.platform == "linux" and _has_handles()


@cache
def _has_handles() -> bool:
    """Whether the kernel gives handles of processes: not before 5.3, nor in some sandboxes."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True
