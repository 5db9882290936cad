"""What this machine can do at once: cores, memory and GPUs that this process may use, and the share of each run."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from pathlib import Path

import psutil
from joblib import cpu_count

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
