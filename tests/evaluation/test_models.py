"""What can be scored: each kind of name, what pins it, and what is said where it cannot be opened."""

from __future__ import annotations

import json
from importlib import metadata

import mteb
import numpy as np
import pytest
from helpers import MINILM
from helpers.evaluation_folders import search_folder, sts_folder
from helpers.server import Server, embeddings

from gisttools.common.errors import EndpointError, MissingError, ModelError
from gisttools.data.folder_tasks import local_tasks
from gisttools.evaluation.evaluating import evaluate
from gisttools.evaluation.models import open_scored, training_sets
from gisttools.evaluation.scores import ScoreCache
from gisttools.evaluation.tasks import task_sources


def test_an_endpoint_scores_as_its_model_and_is_asked_for_a_text_once(wordllama, tmp_path):
    sources, cache = task_sources(files=[sts_folder(tmp_path / "alike"), search_folder(tmp_path / "find")]), tmp_path
    with Server(lambda _, body: embeddings(wordllama.encode(body["input"]))) as server:
        models = {"base": wordllama, "tuned": open_scored("endpoint:m", base_url=server.url)}
        result = evaluate(models, sources, tmp_path / "out", cache=ScoreCache(cache / "cache"))
        assert result.comparison["tuned"].tolist() == pytest.approx(result.comparison["base"].tolist(), abs=1e-6)
        asked = [text for body in server.bodies for text in body["input"]]
        assert len(asked) == len(set(asked)) == result.encoded["tuned"]


def test_an_endpoint_that_is_gone_fails_the_tasks(wordllama, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    models = {"base": wordllama, "tuned": open_scored("endpoint:m")}
    with pytest.raises(Exception, match="needs a key: the environment variable OPENAI_API_KEY is empty") as caught:
        evaluate(models, task_sources(files=[sts_folder(tmp_path / "alike")]), tmp_path / "out")
    assert not isinstance(caught.value, EndpointError)


def test_a_registered_model_is_mtebs_own(wordllama, tmp_path):
    folder = sts_folder(tmp_path / "alike")
    model = open_scored("mteb:mteb/baseline-random-encoder")
    by_hand = mteb.evaluate(
        mteb.get_model("mteb/baseline-random-encoder"), local_tasks(folder), cache=None, co2_tracker=False
    ).task_results[0]
    result = evaluate({"base": wordllama, "tuned": model}, task_sources(files=[folder]), tmp_path / "out")
    assert result.comparison["tuned"].tolist() == [pytest.approx(by_hand.get_score(), abs=1e-6)]
    assert (model.kind, model.revision) == ("registry", "2")


def test_an_unknown_registered_model_has_a_suggestion():
    with pytest.raises(MissingError, match=r"no model 'intfloat/e5-smal'\. Did you mean 'intfloat/e5-small'"):
        open_scored("mteb:intfloat/e5-smal")


def test_without_its_package_bm25_says_how_to_install_it(monkeypatch):
    def missing(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(MissingError, match=r"'bm25' needs the package bm25s\. Install it: pip install bm25s PyStemmer"):
        open_scored("bm25")


def test_random_vectors_hang_on_text_and_seed():
    one, same, other = (open_scored("random", seed=s).encoder for s in (0, 0, 1))
    texts = [{"text": ["a", "b", "a"]}]
    told = {"task_metadata": None, "hf_split": "test", "hf_subset": "default"}
    first = one.encode(texts, **told)
    assert np.array_equal(first, same.encode(texts, **told))
    assert not np.array_equal(first, other.encode(texts, **told))
    assert np.array_equal(first[0], first[2])
    assert abs(np.corrcoef(first[0], first[1])[0, 1]) < 0.3


def test_what_mteb_knows_of_training_sets_is_known():
    assert "MSMARCO" in training_sets(MINILM)
    assert training_sets(MINILM) == training_sets("sentence-transformers/all-MiniLM-L6-v2")
    assert training_sets("results/finetune-1") is None


def test_a_registered_model_that_brings_code_is_not_run_unless_told():
    with pytest.raises(ModelError, match=r"brings code of its own, which mteb would run.*trust_remote_code = true"):
        open_scored("mteb:nomic-ai/nomic-embed-text-v1.5")


def test_mteb_runs_no_code_of_another_repository(monkeypatch):
    told = {"trust_remote_code": True, "model_kwargs": {"code_revision": "a" * 40}}
    monkeypatch.setattr("gisttools.evaluation.models.trusted", lambda *_: told)
    with pytest.raises(ModelError, match=r"nomic-embed-text-v1\.5@\w{40}, without 'mteb:'"):
        open_scored("mteb:nomic-ai/nomic-embed-text-v1.5", trust_remote_code=["nomic-ai/code@" + "a" * 40])


def test_a_folder_with_code_is_scored_by_mteb_once_that_is_allowed(minilm, tmp_path):
    folder, own = sts_folder(tmp_path / "alike"), tmp_path / "own"
    minilm.save(str(own))
    modules = json.loads((own / "modules.json").read_text())
    modules[-1]["type"] = "own_code.OwnNormalize"
    (own / "modules.json").write_text(json.dumps(modules))
    code = "from sentence_transformers.models import Normalize\nclass OwnNormalize(Normalize):\n    pass\n"
    (own / "own_code.py").write_text(code)
    with pytest.raises(ModelError, match="set trust_remote_code = true"):
        open_scored(str(own))
    model = open_scored(str(own), trust_remote_code=True)
    result = evaluate({"base": minilm, "tuned": model}, task_sources(files=[folder]), tmp_path / "out")
    assert result.comparison["difference"].tolist() == [pytest.approx(0.0, abs=1e-9)]


def test_a_folder_without_its_tokenizer_is_not_scored(minilm, tmp_path):
    minilm.save(str(tmp_path / "lost"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "lost" / name).unlink()
    with pytest.raises(ModelError, match="does not know 100 % of the tokens"):
        open_scored(str(tmp_path / "lost"))
