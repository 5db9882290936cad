"""Runs calls in processes on this machine, no more at once than it has cores and memory for."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import psutil

from gisttools.common import GistError, ParameterError
from gisttools.workflow import warm
from gisttools.workflow.machine import at_once, environment, forbid_grammar, gpus, share_of_cores

_MOST_DEATHS = 3


@dataclass
class _Slot:
    """A place for one call at a time: a process that is started when it is first needed, and again if it dies."""

    environment: dict[str, str]
    pool: ProcessPoolExecutor | None = None
    busy: bool = False


@dataclass
class _Call:
    future: Future
    call: Callable[[], Any]
    gpus: int  # that it must have for itself
    deaths: int = 0
    held: list[str] = field(default_factory=list)  # GPUs that it has


class LocalWorkers(Executor):
    """Calls in processes of their own, each with its share of the cores.

    A call whose process is killed is done again in another, three times at most. With several GPUs each process sees
    one of them, in turn; a call that asks for `resources={"GPU": n}` waits until n are free and has them alone. Where
    there are fewer GPUs than one call asks for, such calls have all there are, one after another.

    Args:
        workers: at most so many at once; fewer where cores or memory would not do. None for as many as do.

    Attributes:
        workers: how many it came to.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ParameterError(f"workers is {workers}, must be at least 1.")
        self.workers = at_once(workers)
        self._devices = gpus()
        self._free = list(self._devices) or ["none"]  # without a GPU, those that want one go one by one
        share = share_of_cores(self.workers)
        turn = [{"CUDA_VISIBLE_DEVICES": d} for d in self._devices] if len(self._devices) > 1 else [{}]
        self._slots = [_Slot(share | turn[i % len(turn)]) for i in range(self.workers)]
        self._queue: list[_Call] = []
        self._unfinished: set[Future] = set()
        self._lock = threading.RLock()
        self._context = multiprocessing.get_context("spawn")
        self._alive, self._end = self._context.Pipe(duplex=False)  # when this end closes, the processes end
        self._closed = False

    def submit(  # type: ignore[override]  # no keyword arguments for the call: `resources` is ours
        self, fn: Callable, /, *args: Any, resources: Mapping[str, float] | None = None
    ) -> Future:
        """As `Executor.submit`, with the resources that the call must have to itself; only GPU is known here."""
        wanted = min(round((resources or {}).get("GPU", 0)), max(1, len(self._devices)))
        call = _Call(Future(), partial(fn, *args), wanted)
        with self._lock:
            if self._closed:
                raise GistError("These workers have ended. Make new ones.")
            self._queue.append(call)
            self._unfinished.add(call.future)
            call.future.add_done_callback(self._unfinished.discard)
            self._start_what_fits()
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # the names are `Executor`'s
        """End the processes when all calls are done; without `wait` at once, together with what they have started."""
        with self._lock:
            self._closed = True
            dropped = list(self._queue) if cancel_futures or not wait else []
            self._queue = [] if dropped else self._queue
        for call in dropped:
            call.future.cancel()
        if wait:
            futures.wait(list(self._unfinished))
            for slot in self._slots:
                if slot.pool is not None:
                    slot.pool.shutdown()
        self._end.close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.shutdown(wait=kind is None, cancel_futures=kind is not None)

    def _start_what_fits(self) -> None:
        for call in list(self._queue):
            slot = next((s for s in self._slots if not s.busy), None)
            if slot is None:
                return
            if call.gpus > len(self._free):
                continue
            self._queue.remove(call)
            if call.deaths == 0 and not call.future.set_running_or_notify_cancel():
                continue
            call.held, self._free = self._free[: call.gpus], self._free[call.gpus :]
            own = {"CUDA_VISIBLE_DEVICES": ",".join(call.held)} if call.held and self._devices else {}
            slot.busy = True
            done = self._begun(slot, partial(_do, slot.environment | own, call.call))
            done.add_done_callback(partial(self._ended, call, slot))

    def _begun(self, slot: _Slot, call: Callable[[], Any]) -> Future:
        if slot.pool is not None:
            with contextlib.suppress(BrokenProcessPool):  # its process was killed while it had nothing to do
                return slot.pool.submit(call)
        slot.pool = ProcessPoolExecutor(
            1, mp_context=self._context, initializer=_begin, initargs=(self._alive, slot.environment)
        )
        return slot.pool.submit(call)

    def _ended(self, call: _Call, slot: _Slot, done: Future) -> None:
        error = done.exception()
        died = isinstance(error, BrokenProcessPool)
        with self._lock:
            slot.busy = False
            self._free += call.held
            if died:
                slot.pool = None
                call.deaths += 1
                if again := call.deaths < _MOST_DEATHS and not self._end.closed:
                    self._queue.insert(0, call)
            self._start_what_fits()
        if not died and error is None:
            call.future.set_result(done.result())
        elif not died:
            call.future.set_exception(error)
        elif not again:
            call.future.set_exception(
                GistError(f"Its process was killed {call.deaths} times. Is memory short? Use fewer workers at once.")
            )


def _begin(alive: Connection, environment: dict[str, str]) -> None:
    """In a new process, before anything is loaded in it: its threads, and its end with the one that started it."""
    os.environ.update(environment)
    forbid_grammar()
    warm.keep()
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the whole group; who started this one ends it
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()


def _end_with(alive: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        alive.recv_bytes()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    os._exit(1)


def _do(variables: dict[str, str], call: Callable[[], Any]) -> Any:
    with environment(variables):
        return call()
