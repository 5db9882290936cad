"""What an evaluation's parameters name: seeds and variants distinguished, references opened, the guard found."""

from __future__ import annotations

import pytest
from helpers import MINILM, WORDLLAMA

from gisttools.common.errors import ModelError, ParameterError
from gisttools.data.triplets import write_triplets
from gisttools.workflow.inputs import open_entries, tasks_of
from gisttools.workflow.params import check_params


@pytest.fixture(scope="module")
def model_files(wordllama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    wordllama.save(str(folder))
    return {f"model/{p.name}": p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def trained(make_run, model_files, tmp_path):
    table = write_triplets([{"anchor": "an a", "positive": "a p"}], tmp_path / "t.parquet")

    def train(**given):
        return make_run("finetune", triplets=[str(table)], files=model_files, **{"student": WORDLLAMA, **given}).name

    return train


def entries(models, **given):
    return open_entries(check_params("evaluate", {"model": models, "baseline": None, **given}))


@pytest.mark.slow
def test_runs_that_differ_in_the_seed_alone_are_seeds_of_one_recipe(trained):
    runs = [trained(seed=s) for s in (1, 2, 3)]
    found = entries(runs)
    (variant,) = found.variants
    assert (variant.name, variant.roles) == ("tuned", ("tuned", "tuned_2", "tuned_3"))
    assert found.names == {"base": WORDLLAMA, "tuned": runs[0], "tuned_2": runs[1], "tuned_3": runs[2]}
    assert variant.training_texts == ("an a", "a p")


@pytest.mark.slow
def test_other_recipes_are_variants_named_by_what_differs(trained):
    runs = [trained(seed=s, margin=m, guide=g) for m, g in ((0.0, MINILM), (0.1, MINILM), (0.0, None)) for s in (1, 2)]
    found = entries(runs)
    assert [v.name for v in found.variants] == [
        f"guide={MINILM}, margin=0.0",
        f"guide={MINILM}, margin=0.1",
        "guide=null, margin=0.0",
    ]
    assert [v.roles for v in found.variants] == [("tuned", "tuned_2"), ("tuned_3", "tuned_4"), ("tuned_5", "tuned_6")]


@pytest.mark.slow
def test_other_models_are_variants_named_as_they_are(trained):
    run = trained()
    found = entries([run, MINILM], baseline=WORDLLAMA)
    assert [v.name for v in found.variants] == [run, MINILM]
    assert found.variants[1].trained_on is None


def test_a_seed_that_was_trained_twice_is_refused(trained, monkeypatch):
    from gisttools.workflow import inputs as module

    runs = [trained(seed=1), trained(seed=2)]
    origin_of = module.origin_of

    def same(name):
        origin = origin_of(name)
        return origin if origin.parameters is None else type(origin)(**{**vars(origin), "parameters": {"seed": 1}})

    monkeypatch.setattr(module, "origin_of", same)
    with pytest.raises(ParameterError, match=f"{runs[0]} and {runs[1]} are one training, of one seed"):
        entries(runs)


def test_students_that_differ_need_a_baseline(trained):
    with pytest.raises(ParameterError, match=r"(?s)the students differ:.*all-MiniLM-L6-v2.*Set baseline"):
        entries([trained(), trained(student=MINILM)])


def test_a_revision_is_for_a_single_model(trained):
    with pytest.raises(ParameterError, match="model_revision is for a single model"):
        entries([trained(seed=1), trained(seed=2)], model_revision="abc")


def test_the_guide_is_that_of_the_training(trained):
    found = entries(trained(guide=MINILM), references=["guide", "random", "guide"])
    assert list(found.references) == ["guide", "random"]
    assert found.references["guide"].name == MINILM
    assert found.references["random"].kind == "random"


@pytest.mark.slow
def test_a_guide_reads_its_prompt_as_it_did_while_it_guided(trained):
    plain, prompted = (
        entries(trained(guide=WORDLLAMA, guide_prompt=prompt), references=["guide"]).references["guide"]
        for prompt in (None, "query: ")
    )
    assert plain.key != prompted.key
    assert (prompted.encoder.encode(["a"]) == plain.encoder.encode(["query: a"])).all()


def test_without_a_guide_there_is_none_to_show(trained):
    with pytest.raises(ParameterError, match="'guide' is that of a finetune run, and none of the models has one"):
        entries(trained(guide=None), references=["guide"])


def test_a_guide_made_of_given_vectors_cannot_be_scored(trained, tmp_path):
    with pytest.raises(ParameterError, match="is a file of vectors, which knows no other texts"):
        entries(trained(guide=str(tmp_path / "v.parquet")), references=["guide"])


def test_an_unknown_reference_is_named(trained):
    with pytest.raises(ModelError, match=r"No embedded model is called 'embedded:mini'"):
        entries(trained(), references=["embedded:mini"])


def test_a_list_of_no_models_is_refused():
    with pytest.raises(ParameterError, match="model"):
        check_params("evaluate", {"model": []})


def test_named_guards_are_taken_and_none_leaves_a_note(caretaker):
    files = {"files": [str(caretaker)]}
    sources, notes = tasks_of(check_params("evaluate", {**files, "guards": ["STSBenchmark"]}))
    assert [s.name for s in sources if not s.is_target] == ["STSBenchmark", "caretaker_clustering"]
    assert notes == []
    sources, notes = tasks_of(check_params("evaluate", files))
    assert [s.name for s in sources] == ["caretaker", "caretaker_clustering"]
    assert "out of reach" in notes[0]
