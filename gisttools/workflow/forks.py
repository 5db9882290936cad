"""What a process does that loads the libraries and then only forks, and what its forks become: kernels.

See `gisttools.workflow.warm`, which starts it.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_PARENT = "JPY_PARENT_PID"  # a kernel ends when this is no longer its parent
_LOADED = (
    "ipykernel.kernelapp",
    "matplotlib.figure",  # not pyplot, which has the kernel show its figures when it is loaded
    "torch",
    "sentence_transformers",
    "datasets",
    "mteb",
)
_ROOMS = ("data", "models", "mining", "training", "synthesis", "evaluation", "report", "workflow")
# jemalloc's, of pyarrow and polars, which sees to forks itself; and one of polars that waits for files to remove
_HARMLESS = {"jemalloc_bg_thd", "polars-ooc-clea"}

CONTROL: list[socket.socket] = []  # to the process that asks; in a server and its forks alone


def parent_gone() -> bool:
    """Whether the process that started this run has ended. False of a kernel that nobody of ours started."""
    parent = os.environ.get(_PARENT)
    if not parent or os.name == "nt":
        return False
    return os.getppid() != int(parent) or any(map(_closed, CONTROL))


def _closed(control: socket.socket) -> bool:
    try:
        return control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False


def serve(control: int) -> None:
    """Load the libraries, fork for each line that comes, and end with the process at the other end.

    In a fork, becomes the kernel that was asked for.

    Args:
        control: descriptor of a socket. Says `ready` or why not, then reads requests and answers with process ids.
    """
    atexit.register(_leave)  # the first is called last: after all that the libraries want to do at the end
    CONTROL.append(socket.socket(fileno=control))
    lines = CONTROL[0].makefile("rw", encoding="utf-8")
    problem = _load()
    lines.write(f"{problem or 'ready'}\n")
    lines.flush()
    child = 0
    for line in () if problem else lines:
        _put_down(child)  # one at a time
        child = os.fork()
        if not child:
            return _become(json.loads(line))
        lines.write(f"{child}\n")
        lines.flush()
    _put_down(child)
    os._exit(0)


def _leave() -> None:
    """A fork ends here: to take apart what it shares with the server would copy it first."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


def _put_down(child: int) -> None:
    """A fork that has not ended yet, with all that it started; and what is left of it."""
    if not child or os.waitpid(child, os.WNOHANG) != (0, 0):
        return
    with contextlib.suppress(ProcessLookupError):  # it has no group of its own yet
        os.killpg(child, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _load() -> str:
    """Load the libraries; returns what is wrong with forks of this process, empty if nothing is."""
    os.environ[_PARENT] = str(os.getpid())  # read when ipykernel is loaded
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # as kernels do
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # or to ask for a GPU is to use it, and forks could not
    with _unheard(), _as_in_a_kernel():
        try:
            for name in _LOADED:
                importlib.import_module(name)
            for room in map(importlib.import_module, (f"gisttools.{name}" for name in _ROOMS)):
                for name in room.__all__:
                    getattr(room, name)  # it is loaded when it is first asked for
        except Exception as error:  # noqa: BLE001  # whatever it is: each run then loads it itself and says so
            return f"{type(error).__name__}: {error}".replace("\n", " ")
    gc.collect()
    gc.freeze()  # forks share it as long as nobody writes to it
    return _unfit()


def _unfit() -> str:
    from torch.cuda import _is_in_bad_fork

    pid = os.fork()
    if not pid:
        os._exit(_is_in_bad_fork())
    if os.waitpid(pid, 0)[1]:
        return "CUDA is in use"
    # threads of linear algebra have ended before the fork, and come again when they are needed
    threads = [path for path in Path("/proc/self/task").iterdir() if path.name != str(os.getpid())]
    others = {(path / "comm").read_text(encoding="utf-8").strip() for path in threads} - _HARMLESS
    return f"there are threads: {', '.join(sorted(others))}" if others else ""


@contextlib.contextmanager
def _as_in_a_kernel() -> Iterator[None]:
    """Inside, libraries that look whether they are loaded in a notebook find that they are: pandas lays out tables and
    tqdm draws bars by that."""
    import IPython

    told, before = SimpleNamespace(kernel=None, config={"IPKernelApp": {}}), IPython.get_ipython
    places: tuple[Any, ...] = (builtins, IPython)
    for place in places:
        place.get_ipython = lambda: told
    try:
        yield
    finally:
        IPython.get_ipython = before
        del places[0].get_ipython


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Inside, nothing that is written reaches the terminal."""
    streams, nowhere = (sys.stdout, sys.stderr), os.open(os.devnull, os.O_WRONLY)
    before = [os.dup(stream.fileno()) for stream in streams]
    for stream in streams:
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    try:
        yield
    finally:
        for stream, descriptor in zip(streams, before, strict=True):
            stream.flush()
            os.dup2(descriptor, stream.fileno())
            os.close(descriptor)


def _become(asked: Mapping[str, Any]) -> None:
    """Be the kernel: with a session, a folder, an environment and random numbers of its own."""
    import ipykernel_launcher  # type: ignore[import-untyped]  # a script
    import numpy as np
    from ipykernel import kernelapp

    server = os.getppid()
    os.setsid()
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"], **{_PARENT: str(server)})
    sys.argv[:] = [ipykernel_launcher.__file__, *asked["arguments"]]
    np.random.seed()  # all forks would have the same
    kernelapp.launch_new_instance()
