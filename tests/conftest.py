"""What all tests share: no network, caches and results in temporary folders, the embedded models opened once."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections import Counter
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
# as many threads as there are cores, over all workers of pytest-xdist: more wait for each other
_CORES = (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, min(4, _CORES))))

import pytest  # noqa: E402
from helpers import MINILM, ROOT, WORDLLAMA  # noqa: E402
from hypothesis import settings  # noqa: E402

# the same examples on every machine and no deadline: a busy machine must not fail a property
settings.register_profile("tests", max_examples=50, deadline=None, derandomize=True, database=None)
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker of pytest-xdist begins a long one when the other is done."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def pytest_collection_finish() -> None:
    """What the libraries hold stays: every training collects garbage, and to look through it all takes a second."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_SCRATCH, ignore_errors=True)


@pytest.fixture(scope="session")
def results_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each test gets its results folder: `mktemp` looks through all folders made before, thousands of them."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(autouse=True)
def results(results_of_all: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty results folder for each test."""
    folder = Path(tempfile.mkdtemp(dir=results_of_all))
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
def static_guide():
    """The embedded static model as a guide, opened once: what names it by its content takes a third of a second."""
    from gisttools.models.guides import open_guide
    from gisttools.models.options import GuideOptions

    return open_guide(GuideOptions(name=WORDLLAMA))


@pytest.fixture
def cache(tmp_path, static_guide, monkeypatch):
    """An empty vector cache of the embedded static model in the test's folder; others opened there share its guide."""
    from gisttools.models import vectors

    open_guide = vectors.open_guide

    def opened(options):
        usual = options.name == WORDLLAMA and not options.prompt
        return static_guide if usual else open_guide(options)

    monkeypatch.setattr(vectors, "open_guide", opened)
    return vectors.VectorCache(WORDLLAMA, folder=tmp_path)


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
             message: str = "it broke", missing: str = "", headline: str = "", **given) -> Path:  # fmt: skip
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
                "verb": verb, "status": status, "headline": headline or f"{verb} is {status}", "started": started,
                "seconds": 1.0,
                "parameters": params.model_dump(), "spec_hash": spec, "seeds": {}, "parents": list(parents),
                "error": failed, "missing": missing,
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
