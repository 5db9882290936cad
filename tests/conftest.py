"""What all tests share: no network, caches and results in temporary folders, the embedded models opened once."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_SCRATCH = tempfile.mkdtemp(prefix="gisttools-tests-")
os.environ.update(  # before any library reads them
    HF_HUB_OFFLINE="1",
    HF_HOME=f"{_SCRATCH}/hub",
    GISTTOOLS_CACHE=f"{_SCRATCH}/cache",
    GISTTOOLS_RESULTS=f"{_SCRATCH}/results",
    TOKENIZERS_PARALLELISM="false",
    OMP_WAIT_POLICY="passive",
    NO_PROXY="127.0.0.1",
)
os.environ.setdefault("OMP_NUM_THREADS", str(min(4, os.cpu_count() or 1)))

import pytest  # noqa: E402
from helpers import MINILM, ROOT, WORDLLAMA  # noqa: E402
from hypothesis import settings  # noqa: E402

# the same examples on every machine and no deadline: a busy machine must not fail a property
settings.register_profile("tests", deadline=None, derandomize=True, database=None)
settings.load_profile("tests")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_SCRATCH, ignore_errors=True)


@pytest.fixture(autouse=True)
def results(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty results folder for each test."""
    folder = tmp_path_factory.mktemp("results")
    monkeypatch.setenv("GISTTOOLS_RESULTS", str(folder))
    return folder


@pytest.fixture(scope="session")
def caretaker() -> Path:
    """A folder of labelled texts: four classes, 12 train and 6 test texts each."""
    return Path(__file__).parent / "assets" / "caretaker"


@pytest.fixture(scope="session")
def wordllama():
    """The embedded static model."""
    from gisttools.models.loading import open_model

    return open_model(WORDLLAMA)


@pytest.fixture(scope="session")
def minilm():
    """The embedded transformer."""
    from gisttools.models.loading import open_model

    return open_model(MINILM)


@pytest.fixture(scope="session")
def guide():
    """A vector cache of the embedded static model, shared: do not change it."""
    from gisttools.models.vectors import VectorCache

    return VectorCache(WORDLLAMA)


@pytest.fixture
def make_run():
    """A function that leaves a finished run behind, as a notebook would."""
    from gisttools.workflow.manifest import write_manifest
    from gisttools.workflow.params import check_params
    from gisttools.workflow.session import new_folder
    from gisttools.workflow.spec import spec_hash

    def make(verb: str, *, status: str = "ok", started: str = "2026-01-01T00:00:00+00:00", parents=(), files=(),
             message: str = "it broke", **given) -> Path:  # fmt: skip
        params = check_params(verb, given)
        spec = spec_hash(verb, params)
        folder = new_folder(verb, spec)
        for name, content in dict(files).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        failed = {"type": "ValueError", "message": message, "cell": "start"} if status == "failed" else None
        write_manifest(
            folder,
            {
                "verb": verb, "status": status, "headline": f"{verb} is {status}", "started": started, "seconds": 1.0,
                "parameters": params.model_dump(), "spec_hash": spec, "seeds": {}, "parents": list(parents),
                "error": failed,
            },
        )  # fmt: skip
        return folder

    return make


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A function that makes a small project and goes there."""
    from helpers.small_project import make_project

    def make(work: str) -> Path:
        monkeypatch.chdir(make_project(tmp_path, work))
        return tmp_path

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return make


@pytest.fixture
def calls():
    """A function that gives a project its switchboard."""
    from helpers.small_project import Switchboard

    made = []

    def make(folder: Path) -> Switchboard:
        made.append(Switchboard(folder))
        return made[-1]

    yield make
    for board in made:
        board.close()
