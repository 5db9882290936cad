"""Measures what this machine can do at once (cores, memory, GPUs), and takes surroundings to where a call is done."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import psutil

from gisttools.common import PACKAGE, ParameterError, results_folder

_TOLD = ("HF_HUB_OFFLINE", "GISTTOOLS_PUBLISH_TO")  # settings, never keys: those each machine has in its environment


def stay_interruptible() -> None:
    """Before a wait: some libraries, once loaded, have system calls go on after a signal, so that a thread that waits
    for a lock would not notice Ctrl-C."""
    if hasattr(signal, "siginterrupt"):  # not on Windows
        signal.siginterrupt(signal.SIGINT, True)


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Inside, these variables are set in this process, and in those that it starts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_GRAMMAR = "rfc3987_syntax"


def forbid_grammar() -> None:
    """jsonschema checks international web addresses if it can; no notebook has any, and their grammar takes 2 s."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None: as if it were not installed
    modules.setdefault(_GRAMMAR, None)


@contextlib.contextmanager
def without_grammar() -> Iterator[None]:
    """Inside, as `forbid_grammar`."""
    loaded = _GRAMMAR in sys.modules
    forbid_grammar()
    try:
        yield
    finally:
        if not loaded:
            del sys.modules[_GRAMMAR]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Those of the process that asks: its working directory, environment variables without secrets, its machine and
    a digest of this package's code, and a file in the results folder: whoever sees that sees the same folder."""

    folder: str
    environment: Mapping[str, str]
    machine: str
    code: str
    witness: str  # of these surroundings alone, also where it is not looked for
    shared: bool

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Inside, this process works there. It must do nothing else meanwhile.

        Raises:
            ParameterError: this machine does not see the same files, or has other code.
        """
        seen = [self.folder, *([self.witness] if self.shared else [])]
        missing = [path for path in seen if not Path(path).exists()]
        if missing:
            raise ParameterError(
                f"{platform.node()} does not see {', '.join(missing)}. All machines need the project and the results "
                "under the same paths: use a shared file system."
            )
        if self.machine != platform.node() and self.code != _code():
            raise ParameterError(
                f"{platform.node()} has another gisttools than the machine that asks. Install the same one on both."
            )
        with contextlib.chdir(self.folder), environment(self.environment):
            yield


@contextlib.contextmanager
def surroundings(*, shared: bool = True) -> Iterator[Surroundings]:
    """Those of this process, for calls that are done while this is entered; `shared`: on other machines too.

    Raises:
        ParameterError: the results folder cannot be written to.
    """
    results = results_folder().absolute()
    cache = os.environ.get("GISTTOOLS_CACHE")
    told = {
        "GISTTOOLS_RESULTS": str(results),
        **({"GISTTOOLS_CACHE": os.path.abspath(cache)} if cache else {}),
        **{name: os.environ[name] for name in _TOLD if name in os.environ},
    }
    witness = results / f".shared.{uuid.uuid4().hex}"
    try:
        results.mkdir(parents=True, exist_ok=True)
        if shared:
            witness.touch()
    except OSError as error:
        raise ParameterError(f"Results cannot be written to {results}: {error}. Set GISTTOOLS_RESULTS.") from error
    try:
        yield Surroundings(
            folder=os.getcwd(),
            environment=told,
            machine=platform.node(),
            code=_code(),
            witness=str(witness),
            shared=shared,
        )
    finally:
        witness.unlink(missing_ok=True)


def _code() -> str:
    digest = hashlib.blake2b(digest_size=12)
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


RUN_GB = 2.0  # of memory that a short run takes: its kernel with torch, mteb and a small model, and who starts it
_CGROUPS = (  # limit, what is used
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
_THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)  # fmt: skip


def cores() -> int:
    """Cores that this process may use: affinity and the limits of a container or a batch job count."""
    from joblib import cpu_count  # it loads NumPy, a fifth of a second that a mistake need not wait

    return cpu_count()


def memory_gb() -> float:
    """Free memory in GB (2**30 bytes); the limit of a container or a batch job counts."""
    free = psutil.virtual_memory().available
    for limit, used in _CGROUPS:
        try:
            free = min(free, int(Path(limit).read_text(encoding="utf-8")) - int(Path(used).read_text(encoding="utf-8")))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return max(0, free) / 2**30


def gpus() -> list[str]:
    """Names, as `CUDA_VISIBLE_DEVICES` takes them, of the GPUs that this process may use. Loads no torch."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name for name in told.split(",") if name.strip() not in ("", "-1")]
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        listed = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(i) for i in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]


def at_once(asked: int | None = None, *, gb: float = RUN_GB) -> int:
    """How many runs this machine can do at once, at most those asked for: no core and no memory is given twice."""
    most = max(1, min(cores(), math.floor(memory_gb() / gb)))
    return most if asked is None else min(asked, most)


def share_of_cores(runs: int, *, told: bool = True) -> dict[str, str]:
    """Environment variables that give each of so many runs its share of the cores; where the user told fewer threads
    by such a variable, those. `told`: whether these variables are the user's."""
    share = max(1, cores() // runs)
    now = {name: os.environ.get(name, "") if told else "" for name in _THREADS}
    return {name: str(min(share, int(n)) if n.isdigit() and int(n) else share) for name, n in now.items()}
