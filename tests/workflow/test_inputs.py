"""What the notebook of synthesis hands on: checks, known texts, the prompt and the folder of prompts that are meant."""

from __future__ import annotations

import json
import re

import pytest

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.common.project import prompts_folder
from gisttools.common.runs import read_run
from gisttools.data.triplets import COLUMNS, write_triplets
from gisttools.synthesis.options import Checks
from gisttools.synthesis.prompts import load_prompt
from gisttools.workflow.execute import check_before
from gisttools.workflow.folders import told_parameters
from gisttools.workflow.inputs import known_of, prompt_of, prompts_of, soup_of
from gisttools.workflow.params import check_params
from gisttools.workflow.session import new_run
from gisttools.workflow.spec import parents_of


def _params(**given):
    return check_params("synthesize", {"eval_files": [], "labelled_files": []} | given)


def _table(folder, *texts: tuple[str, str, str]):
    """A triplet table of (anchor, positive, negative)."""
    import pyarrow as pa
    from datasets import Dataset

    rows = [{"id": a, "anchor": a, "positive": p, "negatives": [n]} for a, p, n in texts]
    folder.mkdir()
    return write_triplets(Dataset(pa.Table.from_pylist(rows, schema=COLUMNS)), folder)


def test_the_defaults_of_the_parameters_are_those_of_the_checks():
    assert _params().part(Checks) == Checks()


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"label_by": "nearest"}, "label_by", "nearest"),
        ({"blind": True}, "blind", True),
        ({"guide_order": False}, "guide_order", False),
        ({"top_k": 3}, "top_k", 3),
        ({"top_k": None}, "top_k", None),
        ({"skip_nearest": 0}, "skip_nearest", 0),
        ({"near": 0.5}, "near", 0.5),
    ],
)
def test_each_parameter_changes_its_own_check_and_no_other(given, field, value):
    assert field in Checks.model_fields
    assert _params(**given).part(Checks).changed() == {field: value}


def test_test_texts_are_kept_away_and_train_texts_are_known_with_their_labels(caretaker):
    known = known_of(_params(eval_files=[str(caretaker)], labelled_files=[str(caretaker)]))
    test, train = (
        [json.loads(line) for line in (caretaker / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
        for split in ("test", "train")
    )
    assert sorted(known.eval_texts) == sorted({row["text"] for row in test})
    assert sorted(known.labelled) == sorted((row["text"], str(row["label"])) for row in train)
    assert known.written == []


def test_texts_of_tables_to_avoid_are_known_each_once(tmp_path):
    one, two = (_table(tmp_path / name, (name, "both say it", f"not {name}")) for name in ("one", "two"))
    known = known_of(_params(avoid=[str(one), str(two)]))
    assert sorted(known.written) == ["both say it", "not one", "not two", "one", "two"]


def test_texts_of_a_run_to_avoid_are_known(make_run, tmp_path):
    raw = _table(tmp_path / "t", ("anchor text", "positive text", "negative text")).read_bytes()
    run = make_run("synthesize", files={"triplets.parquet": raw})
    assert sorted(known_of(_params(avoid=[run.name])).written) == ["anchor text", "negative text", "positive text"]


def test_where_nothing_is_named_nothing_is_known():
    known = known_of(_params())
    assert (list(known.eval_texts), list(known.written), list(known.labelled)) == ([], [], [])


@pytest.mark.parametrize("name", ["eval_files", "labelled_files", "avoid"])
def test_what_is_named_but_missing_is_told(name):
    with pytest.raises(MissingError, match="nowhere"):
        known_of(_params(**{name: ["nowhere"]}))


def test_a_prompt_is_a_name_as_it_is_or_a_path_from_the_projects_root():
    assert prompt_of(_params()) is None
    assert prompt_of(_params(prompt="classification_from_ideas")) == "classification_from_ideas"
    assert prompt_of(_params(prompt="prompts/sts.yaml")).resolve() == prompts_folder() / "sts.yaml"


def test_a_prompt_is_found_by_its_path_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_prompt(prompt_of(_params(prompt="prompts/sts.yaml"))).name == "sts"


def test_the_prompts_of_prompts_is_the_users_own_or_none(tmp_path):
    assert prompts_of(_params()) is None
    assert prompts_of(_params(prompts=str(tmp_path))) == tmp_path
    assert prompts_of(_params(prompts="prompts")).resolve() == prompts_folder()


LLM = {"llm_base_url": "http://127.0.0.1:9/v1", "llm_model": "x"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"llm_base_url": "nonsense"}, "base_url is 'nonsense'"),
        ({"documents": "$read", "llm_base_url": "nonsense"}, "base_url is 'nonsense'"),
        ({"documents": "$read", "budget_usd": 1.0, **LLM}, "price"),
        ({"documents": "$read", "blind": True}, "blind"),
        ({"documents": "$read", "decisions": "{file}"}, "has no column keep and no column question"),
        ({"texts": ["{written}"], "blind": True, "llm_base_url": "nonsense"}, "base_url is 'nonsense'"),
        ({"also_answers": 2}, "also_answers is for questions on documents"),
        ({"correct_labels": True, "label_by": "nearest"}, "correct_labels is the classifier's"),
    ],
)
def test_llm_checks_and_decisions_are_looked_at_before_anything_starts(tmp_path, given, said):
    files = {"file": tmp_path / "edited.csv", "written": tmp_path / "written.jsonl"}
    files["file"].write_text("foo,bar\n1,2\n")
    files["written"].write_text('{"text": "my dog barks", "label": "a"}\n{"text": "my cat sleeps", "label": "b"}\n')
    filled = {
        name: [one.format(**files) for one in value] if isinstance(value, list) else
        value.format(**files) if isinstance(value, str) else value
        for name, value in given.items()
    }  # fmt: skip
    if "texts" in filled:
        filled["rows"] = None
    with pytest.raises((DataError, ParameterError), match=re.escape(said)):
        check_before("synthesize", _params(**filled))


@pytest.mark.parametrize(("groups", "said"), [([{"sourc": "llm"}], "Did you mean 'source'"), ([{}], "says nothing")])
def test_groups_that_no_table_could_have_are_refused_with_the_parameters(groups, said):
    with pytest.raises(ParameterError, match=said):
        check_params("finetune", {"leave_out": groups})


def _training(model, **given) -> str:
    """A finished finetune run."""
    run = new_run("finetune", given)
    model.save(str(run.path("model")))
    run.finish({"steps": 3}, headline="trained")
    return run.folder.name


def test_the_runs_of_a_soup_are_opened(results, wordllama):
    names = [_training(wordllama, seed=seed) for seed in (1, 2)]
    opened = soup_of(check_params("finetune", {"seed": 3, "soup": names}))
    assert [m.get_embedding_dimension() for m in opened] == [256, 256]
    assert soup_of(check_params("finetune", {})) == []


def test_all_that_cannot_be_averaged_is_named_at_once(results, wordllama):
    other = _training(wordllama, student="embedded:all-MiniLM-L6-v2")
    prompted, fine = _training(wordllama, query_prompt="query: ", seed=2), _training(wordllama, seed=3)
    given = {"soup": [other, prompted, "embedded:wordllama-256", fine, fine]}
    with pytest.raises(ParameterError) as caught:
        soup_of(check_params("finetune", given))
    said = str(caught.value)
    assert f"{other} has student 'embedded:all-MiniLM-L6-v2', this training 'embedded:wordllama-256'" in said
    assert f"{prompted} has query_prompt 'query: ', this training None" in said
    assert "embedded:wordllama-256 is no finetune run" in said
    assert f"named more than once: {fine}" in said


def test_a_run_of_a_soup_is_a_parent(results, wordllama):
    name = _training(wordllama, seed=1)
    assert parents_of(check_params("finetune", {"soup": [name]})) == [name]


def test_what_a_training_measured_is_told_but_does_not_set_seeds_apart(results, wordllama):
    run = new_run("finetune", {"keep_start": "auto", "dev": ["data/support_intents"], "max_minutes": 1.0})
    run.finish({"settings": {"keep_start": 0.15, "max_steps": 70, "learning_rate": 0.01}}, headline="trained")
    found = read_run(run.folder)
    assert found.manifest["resolved"] == {"keep_start": 0.15, "max_steps": 70, "learning_rate": 0.01}
    told = told_parameters(found)
    assert (told["keep_start"], told["max_steps"], told["learning_rate"]) == ("auto", None, 0.01)
