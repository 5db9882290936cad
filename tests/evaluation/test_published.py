"""Published scores: those of the same data are shown, others are left out and told."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from gisttools.common.errors import MissingError
from gisttools.evaluation.published import published_scores

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def scores():
    row = {"is_main": True, "subset": "default", "split": "test", "metric": "accuracy"}
    return pd.DataFrame([{**row, "task": t, "revision": "r1"} for t in ("A", "B", "C") for _ in ("base", "tuned")])


def published(revision: str, **score) -> str:
    return json.dumps({"dataset_revision": revision, "scores": {"test": [{"hf_subset": "default", **score}]}})


def test_only_scores_of_the_same_data_are_shown(scores):
    files = {"A": published("r1", main_score=0.8), "B": published("r0", main_score=0.9)}
    asked = []

    def read(path):
        asked.append(path)
        return files.get(path.rpartition("/")[2].removesuffix(".json"))

    table, notes = published_scores([f"published:{MODEL}"], scores, read=read)
    assert table.to_dict("records") == [
        {"name": f"published:{MODEL}", "kind": "published", "task": "A", "subset": "default", "metric": "accuracy",
         "score": 0.8}
    ]  # fmt: skip
    assert notes == [
        f"{MODEL} has no published scores of C.",
        f"Published scores of {MODEL} are of other data, so they are left out: B.",
    ]
    assert len(asked) == 3
    assert asked[0].startswith("results/sentence-transformers__all-MiniLM-L6-v2/")


def test_out_of_reach_there_is_a_note(scores, tmp_path, monkeypatch):
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path))
    table, notes = published_scores([MODEL], scores)
    assert table.empty
    assert notes[0].startswith(f"Published scores of {MODEL} are out of reach: this is offline")


def test_a_damaged_file_is_a_note(scores):
    table, notes = published_scores([MODEL], scores, read=lambda _: "{")
    assert table.empty
    assert "out of reach" in notes[0]


def test_a_model_that_is_not_registered_is_refused(scores):
    with pytest.raises(MissingError, match=r"mteb's registry has no such model\. Did you mean"):
        published_scores(["sentence-transformers/all-MiniLM-L6-v3"], scores)
