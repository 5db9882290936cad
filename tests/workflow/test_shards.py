"""The long parts of a notebook done side by side: results are those of one process, whatever the number of workers."""

from __future__ import annotations

import json
from concurrent.futures import Future

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from helpers import MINILM, WORDLLAMA
from helpers.scripted_author import author, labelled_task
from helpers.server import Server

from gisttools.cli.main import main
from gisttools.common.errors import ModelError
from gisttools.evaluation.evaluating import evaluate
from gisttools.evaluation.options import EvaluateOptions
from gisttools.evaluation.scores import ScoreCache
from gisttools.models import guides
from gisttools.models.guides import ShardedGuide, embed_shard
from gisttools.models.options import GuideOptions
from gisttools.models.vectors import VectorCache, text_keys
from gisttools.synthesis import Checks, generate, open_llm, read_task
from gisttools.synthesis.options import SynthesisOptions
from gisttools.workflow import machine, shards
from gisttools.workflow.execute import run_notebook
from gisttools.workflow.inputs import guide_of, known_of, open_entries, tasks_of
from gisttools.workflow.machine import surroundings
from gisttools.workflow.params import check_params
from gisttools.workflow.recipes import Step
from gisttools.workflow.schedule import run_steps
from gisttools.workflow.shards import share_guide_vectors, share_out, share_scores
from gisttools.workflow.spec import settled
from gisttools.workflow.workers import LocalWorkers


@pytest.fixture
def pool(workers, monkeypatch):
    """Two processes with one thread each, as this one."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield workers
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def workers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "cores", lambda: 2)
        patch.setattr(machine, "memory_gb", lambda: 100.0)
        workers = LocalWorkers(2)
    with workers:
        yield workers


@pytest.mark.slow
def test_guide_vectors_of_two_processes_are_those_of_one_to_the_last_bit(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(guides, "SHARD", 64)  # two batches
    texts = [f"text {i} " + "of several words " * (i % 7) for i in range(100)]
    alone = VectorCache(MINILM, folder=tmp_path / "alone")
    shared = VectorCache(MINILM, folder=tmp_path / "shared")
    used = set()

    def submit(part, prompt):
        future = pool.submit(embed_shard, GuideOptions(name=MINILM), part, prompt)
        used.add(future)
        return future

    shared.guide = ShardedGuide(shared.guide, submit)
    expected, found = alone.embed(texts), shared.embed(texts)
    assert len(used) == 2
    assert np.array_equal(found, expected)
    again = VectorCache(MINILM, folder=tmp_path / "shared")
    assert (again.find(text_keys(texts)) >= 0).all()


def test_a_worker_with_another_guide_is_refused_and_nothing_is_kept(tmp_path):
    cache = VectorCache(WORDLLAMA, folder=tmp_path)

    def other(texts, prompt):
        future = Future()
        future.set_result(("another one", np.ones((len(texts), cache.dimension), dtype=np.float32)))
        return future

    cache.guide = ShardedGuide(cache.guide, other)
    with pytest.raises(ModelError, match="is not the same here and on a worker"):
        cache.embed(["a", "b"])
    assert (cache.find(text_keys(["a", "b"])) < 0).all()


@pytest.mark.slow
def test_a_finetune_and_a_convert_find_their_guide_vectors(pool, tmp_path, monkeypatch):
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path))
    for verb, texts in (("finetune", 476), ("convert", 476)):
        told = {"guide": WORDLLAMA, **({"guide_prompt": "so: "} if verb == "convert" else {})}
        params = settled(check_params(verb, told))
        with surroundings() as place:
            share_guide_vectors(params, pool, place)
        assert guide_of(params)._files.alive >= texts


@pytest.mark.slow
def test_scores_of_two_workers_are_those_of_one_process(pool, tmp_path, monkeypatch, caretaker):
    params = settled(check_params("evaluate", {"references": ["random"], "guards": [], "files": [str(caretaker)]}))
    given = params.changed()
    sources, _ = tasks_of(params)
    entries = open_entries(params)
    told = {"variants": entries.variants, "references": entries.references, "options": params.part(EvaluateOptions)}
    alone = evaluate(entries.models, sources, tmp_path / "a", cache=ScoreCache(tmp_path / "alone"), **told)

    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path / "shared"))
    with surroundings() as place:
        share_scores(given, pool, place)
    shared = evaluate(entries.models, sources, tmp_path / "b", **told)
    assert set(shared.encoded.values()) == {0}  # all was there
    assert shared.scores.equals(alone.scores)
    assert shared.comparison.drop(columns=_times(shared.comparison)).equals(
        alone.comparison.drop(columns=_times(alone.comparison))
    )
    assert shared.references.equals(alone.references)


def _times(table):
    return [c for c in table.columns if "second" in c or "speed" in c]


@pytest.mark.slow
def test_a_synthesis_cut_into_runs_by_seed_is_that_of_one_process(workers, tmp_path, monkeypatch, results):
    task = tmp_path / "pets.yaml"
    task.write_text(json.dumps(labelled_task()))
    with Server(author) as server:
        llm_there = {"task": str(task), "llm_base_url": server.url, "llm_model": "scripted", "guide": WORDLLAMA}
        given = [{**llm_there, "rows": 6, "eval_files": [], "labelled_files": [], "seed": seed} for seed in (0, 1)]
        monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path / "workers"))
        steps = [Step(name=f"seed{g['seed']}", verb="synthesize", parameters=g) for g in given]
        done = run_steps(steps, workers, rerun="only-missing")
        monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path / "here"))
        texts = []
        for params, run in zip([check_params("synthesize", g) for g in given], done, strict=True):
            checker = guide_of(params)
            with open_llm(params.llm_options()) as llm:
                outcome = generate(
                    read_task(task), llm, checker, params.part(SynthesisOptions), checks=params.part(Checks),
                    known=known_of(params),
                )  # fmt: skip
            written = pq.read_table(results / run.id / "triplets.parquet")
            assert len(written) == 6
            assert written.to_pylist() == list(outcome.accepted)
            texts.append(set(written["anchor"].to_pylist()))
    assert texts[0] & texts[1] == set()


@pytest.mark.slow
def test_the_chunks_of_documents_are_embedded_side_by_side(pool, tmp_path, monkeypatch, results):
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path))
    read = run_notebook("read", {})
    params = settled(check_params("synthesize", {"documents": read.id, "guide": WORDLLAMA}))
    with surroundings() as place:
        share_out(params, pool, place)
    chunks = len(pq.read_table(results / read.id / "chunks.parquet"))
    assert guide_of(params)._files.alive == chunks
    without = settled(check_params("synthesize", {"guide": WORDLLAMA, "guide_prompt": "so: "}))
    with surroundings() as place:
        share_out(without, pool, place)  # no text is written yet
    assert guide_of(without)._files.alive == 0


@pytest.mark.slow
@pytest.mark.parametrize("broken", [False, True])
def test_a_step_that_has_the_workers_to_itself_is_shared_out(broken, pool, tmp_path, monkeypatch, results, caplog):
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path))
    shared, real = [], shards.share_out

    def share(params, executor, place):
        shared.append(params.sources)
        if broken:
            raise RuntimeError("a worker died")
        real(params, executor, place)

    monkeypatch.setattr(shards, "share_out", share)
    told = {"sources": ["data/support_intents"], "eval_files": [], "guide": WORDLLAMA}
    steps = [Step(name=f"seed{seed}", verb="convert", parameters={**told, "seed": seed}) for seed in (0, 1)]
    last = Step(name="both", verb="convert", parameters={**told, "sources": ["$seed0", "$seed1"]})
    done = run_steps([*steps, last], pool, rerun="only-missing")
    assert shared == [[done[0].id, done[1].id]]  # the first two had no worker to spare
    assert done[2].status == "ok"
    assert ("not shared out" in caplog.text) == broken


@pytest.mark.slow
def test_only_some_notebooks_have_something_to_share_out(results):
    done = CliRunner().invoke(main, ["run", "report", "--workers", "2"])
    assert done.exit_code == 1
    assert "report has nothing to share out" in done.output
