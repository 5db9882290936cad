"""The kinds of cluster that `--cluster` starts: processes here, hosts reached by SSH, jobs of Slurm."""

from __future__ import annotations

import importlib
import logging
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from gisttools.common import MissingError, ParameterError, problems
from gisttools.workflow.capacity import at_once, gpus, share_of_cores

INSTALL = 'pip install "gisttools[cluster]"'
_WORKER = {"nthreads": 1, "memory_limit": 0}  # one run at a time; Dask would not see the memory of its kernel
_SCHEDULER = {"port": 0, "dashboard": False, "dashboard_address": ":0"}


def needed(module: str) -> ModuleType:
    """An optional module. Raises MissingError, with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingError(f"--cluster needs {error.name or module}, which is not installed here: {INSTALL}") from error


def local_cluster(workers: int | None) -> Any:
    """Processes on this machine, each with its share of the cores; the first ones have a GPU each, where there are."""
    distributed, count, devices = needed("distributed"), at_once(workers), gpus()
    share = share_of_cores(count)
    specs = {}
    for i in range(count):
        seen = {"CUDA_VISIBLE_DEVICES": devices[i % len(devices)]} if devices else {}
        own = {"GPU": 1} if i < len(devices) else None
        options = {**_WORKER, "host": "127.0.0.1", "env": share | seen, "resources": own, "silence_logs": logging.ERROR}
        specs[i] = {"cls": distributed.Nanny, "options": options}
    scheduler = {"cls": distributed.Scheduler, "options": {**_SCHEDULER, "host": "127.0.0.1"}}
    return distributed.SpecCluster(workers=specs, scheduler=scheduler, name="gisttools", silence_logs=logging.ERROR)


def ssh_cluster(told: str, workers: int | None) -> Any:
    """Workers on hosts reached by SSH; the scheduler runs on the first.

    Args:
        told: a file with a host a line, or hosts with commas between them: `[user@]host[:port] [GPU=1]`. A host that
            stands there k times does k runs at once; of its GPUs each takes the next ones.
        workers: how many; hosts are gone through again where they are fewer. None for one each.

    Raises:
        ParameterError: no hosts, or lines that are none; all at once.
        MissingError: asyncssh is not installed.
    """
    needed("asyncssh")
    ssh, distributed = needed("distributed.deploy.ssh"), needed("distributed")
    hosts = hosts_of(told)
    hosts = [hosts[i % len(hosts)] for i in range(workers or len(hosts))]
    taken, same_python = Counter(), {"remote_python": sys.executable}
    specs = {}
    for i, (host, connect, resources) in enumerate(hosts):
        wanted, variables = round(resources.get("GPU", 0)), {}
        if wanted:
            variables = {"CUDA_VISIBLE_DEVICES": ",".join(str(taken[host] + n) for n in range(wanted))}
            taken[host] += wanted
        options = {**_WORKER, "env": variables, "resources": resources or None}
        specs[i] = {
            "cls": ssh.Worker,
            "options": {
                "address": host,
                "connect_options": connect,
                "kwargs": options,
                "remote_python": sys.executable,
            },
        }
    first, connect, _ = hosts[0]
    scheduler = {
        "cls": ssh.Scheduler,
        "options": {
            "address": first,
            "connect_options": connect,
            "kwargs": {"port": 0, "dashboard": False},
            **same_python,
        },
    }
    return distributed.SpecCluster(workers=specs, scheduler=scheduler, name="gisttools", silence_logs=logging.ERROR)


def slurm_cluster(file: str, workers: int | None) -> Any:
    """One Slurm job for each worker, through `dask_jobqueue.SLURMCluster`.

    Args:
        file: YAML with its arguments (`queue`, `account`, `cores`, `memory`, `walltime`, `job_extra_directives`, ...)
            and `resources` of each job, such as {GPU: 1}; "" takes all from Dask's own configuration.
        workers: jobs.

    Raises:
        ParameterError: the number of jobs is not told, or the arguments are wrong.
        MissingError: no such file, or dask-jobqueue is not installed.
    """
    jobqueue = needed("dask_jobqueue")
    if workers is None:
        raise ParameterError("--cluster slurm needs to know how many jobs to ask for: add --workers N.")
    path = Path(file)
    if file and not path.is_file():
        raise MissingError(f"There is no file {file} with the arguments of the Slurm jobs.")
    told = (yaml.safe_load(path.read_text(encoding="utf-8")) if file else None) or {}
    if not isinstance(told, dict):
        raise ParameterError(f"{file} must hold lines such as `queue: gpu`, `cores: 8`, `memory: 32GB`.")
    options = dict(told)
    resources, extra = options.pop("resources", None) or {}, list(options.pop("worker_extra_args", []))
    if resources:
        extra += ["--resources", '"' + " ".join(f"{k}={v}" for k, v in resources.items()) + '"']
    if "cores" in options:  # one run at a time has them all
        options.setdefault("job_cpu", options["cores"])
    options["scheduler_options"] = {"dashboard_address": ":0"} | options.get("scheduler_options", {})
    options |= {"cores": 1, "processes": 1, "worker_extra_args": extra}
    try:
        cluster = jobqueue.SLURMCluster(**options)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{file or 'jobqueue.slurm in the configuration of Dask'}: {error}") from error
    cluster.scale(jobs=workers)
    return cluster


def hosts_of(told: str) -> list[tuple[str, dict[str, Any], dict[str, float]]]:
    """Host, how to connect, and resources, of a file or a list; see `ssh_cluster`."""
    path = Path(told)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else told.split(",")
    found, bad = [], []
    for line in (line.partition("#")[0].split() for line in lines):
        if not line:
            continue
        user, _, rest = line[0].rpartition("@")
        host, _, port = rest.partition(":")
        pairs = [word.partition("=") for word in line[1:]]
        if not host or (port and not port.isdigit()) or not all(n and v.isdigit() for n, _, v in pairs):
            bad.append(f"{' '.join(line)!r} is not `[user@]host[:port] [GPU=1]`")
            continue
        connect = ({"username": user} if user else {}) | ({"port": int(port)} if port else {})
        found.append((host, connect, {n: float(v) for n, _, v in pairs}))
    if bad or not found:
        raise ParameterError(problems(f"--cluster ssh:{told}:", bad or ["there are no hosts"]))
    return found
