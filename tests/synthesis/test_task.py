"""Task descriptions: what is accepted, and that everything wrong is said at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from helpers import PROMPTS_FOLDER

from gisttools.common.errors import DataError, MissingError
from gisttools.synthesis.prompts import load_prompt
from gisttools.synthesis.task import KINDS, STARTS, Task, read_task

GOOD = """
name: pets
kind: classification
description: "What people say about pets."
domain: "a pet forum"
language: eng-Latn
labels:
  dog: {about: "About dogs.", confusable: [cat], seeds: ["My dog barks."]}
  cat: {about: "About cats.", seeds: ["My cat sleeps."]}
"""
GIVEN = {
    "labels": {"dog": {"about": "About dogs."}, "cat": {"about": "About cats."}},
    "topics": {"food": "What pets eat.", "sleep": "How pets sleep."},
    "passages": ["A dog eats twice a day.", "A cat sleeps all day."],
    "search_terms": ["dog food", "cat basket"],
    "texts": ["The dog ate at noon.", "The cat slept till four."],
}
STARTING = [(kind, start) for kind, spec in KINDS.items() for start in spec.prompts]


def _write(folder: Path, text: str) -> Path:
    path = folder / "task.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _content(kind: str, start: str, **more) -> dict:
    content = {"name": "pets", "kind": kind, "description": "Pets.", "domain": "a pet forum", "language": "eng-Latn"}
    return content | ({"target_language": "deu-Latn"} if kind == "bitext" else {}) | {start: GIVEN[start]} | more


def _read(folder: Path, content: dict) -> Task:
    return read_task(_write(folder, yaml.safe_dump(content)))


def _refusal(folder: Path, content: dict) -> str:
    with pytest.raises(DataError) as caught:
        _read(folder, content)
    return str(caught.value)


def test_a_good_task_is_read_with_defaults(tmp_path):
    task = read_task(_write(tmp_path, GOOD))
    assert list(task.labels) == ["dog", "cat"]
    assert task.labels["dog"].confusable == ("cat",)
    assert task.registers
    assert task.seeds == ["My dog barks.", "My cat sleeps."]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"nowhere\.yaml"):
        read_task(tmp_path / "nowhere.yaml")


def test_all_contradictions_are_listed_at_once(tmp_path):
    text = GOOD.replace("confusable: [cat]", "confusable: [cta, dog]").replace('"My cat sleeps."', '" "')
    text += 'forbidden: ["("]\n'
    with pytest.raises(DataError) as caught:
        read_task(_write(tmp_path, text))
    message = str(caught.value)
    assert "4 problem(s)" in message
    for part in ("no label 'cta'", "'cat'", "names itself", "labels.cat.seeds[0]: is empty", "no regular expression"):
        assert part in message


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (GOOD.replace("domain:", "domian:"), "Did you mean 'domain'?"),
        (GOOD.replace("{about: ", "{abuot: "), "Did you mean 'about'?"),
        (GOOD.replace("eng-Latn", "english"), "eng-Latn"),
        (GOOD.replace("kind: classification", "kind: poetry"), "classification"),
    ],
)
def test_unknown_keys_and_values_come_with_a_hint(tmp_path, wrong, hint):
    with pytest.raises(DataError) as caught:
        read_task(_write(tmp_path, wrong))
    assert hint in str(caught.value)


@pytest.mark.parametrize("word", ["no", "yes", "on", "2024-01-01", "012"])
def test_a_bare_word_is_a_text(tmp_path, word):
    text = GOOD.replace("  dog:", f"  {word}:").replace("confusable: [cat], ", "")
    assert word in read_task(_write(tmp_path, text)).labels


def test_a_label_that_stands_twice_is_named(tmp_path):
    with pytest.raises(DataError, match=r"the key 'dog' stands in line \d+ already"):
        read_task(_write(tmp_path, GOOD.replace("  cat:", "  dog:")))


@pytest.mark.parametrize("word", ["true", "12", "1e5", "null"])
def test_a_bare_word_that_yaml_reads_as_something_else_is_explained(tmp_path, word):
    text = GOOD.replace("  dog:", f"  {word}:").replace("confusable: [cat], ", "")
    with pytest.raises(DataError, match="Put it in quotes"):
        read_task(_write(tmp_path, text))


def test_one_label_is_too_few(tmp_path):
    text = GOOD.split("  cat:")[0].replace("confusable: [cat], ", "")
    with pytest.raises(DataError, match="at least 2"):
        read_task(_write(tmp_path, text))


def test_one_text_is_a_seed_of_one_label_alone(tmp_path):
    text = GOOD.replace("My cat sleeps.", "My dog barks.")
    with pytest.raises(DataError, match=r"'My dog barks\.' is also a seed of dog"):
        read_task(_write(tmp_path, text))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("dog ", "'dog ' has white space at its ends"),
        ("cafe\u0301", r"stands twice, as 'cafe\u0301' and as 'caf\xe9': write it alike"),
    ],
)
def test_labels_that_nobody_can_tell_apart_are_refused(tmp_path, other, said):
    names = ("dog", "caf\u00e9", other)
    message = _refusal(
        tmp_path, _content("classification", "labels") | {"labels": {n: {"about": "It."} for n in names}}
    )
    assert said in message


def test_labels_that_differ_by_case_are_two(tmp_path):
    content = _content("classification", "labels") | {"labels": {n: {"about": "It."} for n in ("US", "us")}}
    assert list(_read(tmp_path, content).labels) == ["US", "us"]


def test_a_seed_of_two_labels_is_found_whatever_its_case(tmp_path):
    text = GOOD.replace("My cat sleeps.", "my  dog BARKS.")
    with pytest.raises(DataError, match=r"'my  dog BARKS\.' is also a seed of dog"):
        read_task(_write(tmp_path, text))


def test_half_a_character_is_refused_wherever_it_stands(tmp_path):
    (tmp_path / "passages.jsonl").write_text(json.dumps({"text": "A dog sleeps \ud83d all day."}))
    told = _content("retrieval", "passages") | {"passages": "passages.jsonl"}
    said = "holds half a surrogate pair, which is no character"
    assert f"passages[0]: 'A dog sleeps \\ud83d all day.' {said}" in _refusal(tmp_path, told)
    labels = {"dog\ud83d": {"about": "It.", "seeds": ["a\ud83d"]}, "cat": {"about": "It."}}
    message = _refusal(tmp_path, _content("classification", "labels") | {"labels": labels, "domain": "\ud83d"})
    assert message.count(said) == 3


@pytest.mark.parametrize("pattern", ["", "x*", "a|"])
def test_a_forbidden_pattern_that_matches_every_text_is_refused(tmp_path, pattern):
    message = _refusal(tmp_path, _content("sts", "texts", forbidden=[pattern]))
    assert "forbidden[0]" in message
    assert "matches every text" in message


def test_the_example_task_takes_its_seeds_from_the_train_split():
    data = PROMPTS_FOLDER.parent / "data" / "support_intents"
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    labels_of = {row["text"]: row["label"] for row in rows}
    task = read_task(PROMPTS_FOLDER / "tasks" / "support_intents.yaml")
    assert set(task.labels) == set(labels_of.values())
    for name, label in task.labels.items():
        assert len(label.seeds) == 4
        assert {labels_of.get(text) for text in label.seeds} == {name}


# --- kinds and what they start from --------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "start"), STARTING)
def test_every_kind_is_read_from_every_start_that_it_knows(tmp_path, kind, start):
    task = _read(tmp_path, _content(kind, start))
    assert task.start == start
    assert task.spec.task_type
    assert load_prompt(task.prompt_for(small=False)).row is not None


@pytest.mark.parametrize(
    ("kind", "start"), [(k, s) for k, spec in KINDS.items() for s in STARTS if s not in spec.prompts]
)
def test_a_start_that_the_kind_does_not_know_is_refused_with_those_it_knows(tmp_path, kind, start):
    message = _refusal(tmp_path, _content(kind, start))
    assert f"{start}: a task of kind {kind} starts from one of: {', '.join(KINDS[kind].prompts)}" in message


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_without_a_start_is_refused(tmp_path, kind):
    content = _content(kind, "texts")
    del content["texts"]
    assert "given: none" in _refusal(tmp_path, content)


def test_a_task_with_two_starts_is_refused(tmp_path):
    content = _content("retrieval", "passages", topics=GIVEN["topics"])
    assert "given: topics, passages" in _refusal(tmp_path, content)


def test_bitext_needs_a_target_language(tmp_path):
    content = _content("bitext", "texts")
    del content["target_language"]
    assert "bitext needs it" in _refusal(tmp_path, content)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bitext"])
def test_no_other_kind_has_a_target_language(tmp_path, kind):
    start = next(iter(KINDS[kind].prompts))
    assert "no other kind has it" in _refusal(tmp_path, _content(kind, start, target_language="deu-Latn"))


def test_a_translation_into_the_same_language_is_none(tmp_path):
    assert "is eng-Latn as well" in _refusal(tmp_path, _content("bitext", "texts", target_language="eng-Latn"))


def test_written_negatives_of_passages_have_a_prompt_of_their_own(tmp_path):
    prompts = {
        n: _read(tmp_path, _content("retrieval", "passages", negatives=n)).prompt_for(small=False)
        for n in ("written", "mined")
    }
    assert not load_prompt(prompts["mined"]).row.negatives
    assert load_prompt(prompts["written"]).row.negatives
    assert _read(tmp_path, _content("retrieval", "passages")).prompt_for(small=False) == prompts["mined"]


@pytest.mark.parametrize(("kind", "start"), [pair for pair in STARTING if pair != ("retrieval", "passages")])
def test_negatives_are_chosen_only_where_there_is_a_choice(tmp_path, kind, start):
    message = _refusal(tmp_path, _content(kind, start, negatives="mined"))
    assert "negatives: only retrieval from passages has the choice" in message


# --- groups, seeds, table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "start", "groups"),
    [
        ("clustering", "labels", {"dog": "About dogs.", "cat": "About cats."}),
        ("sts", "topics", {"food": "What pets eat.", "sleep": "How pets sleep."}),
        ("reranking", "search_terms", {"dog food": "dog food", "cat basket": "cat basket"}),
        ("retrieval", "passages", {"all": "Pets."}),
        ("bitext", "texts", {"all": "Pets."}),
    ],
)
def test_rows_are_shared_between_labels_topics_or_terms_and_else_one_group(tmp_path, kind, start, groups):
    assert _read(tmp_path, _content(kind, start)).groups == groups


@pytest.mark.parametrize(("kind", "start"), [("retrieval", "passages"), ("sts", "texts")])
def test_seeds_are_the_texts_that_the_user_gave(tmp_path, kind, start):
    assert _read(tmp_path, _content(kind, start)).seeds == GIVEN[start]


def test_a_list_of_topics_is_a_mapping_of_each_to_itself(tmp_path):
    one = _read(tmp_path, _content("sts", "topics", topics=["food", "sleep"]))
    assert one == _read(tmp_path, _content("sts", "topics", topics={"food": "food", "sleep": "sleep"}))


@pytest.mark.parametrize("topics", [[{"food": "What pets eat."}, "sleep"], [["food"]], "food", {"food": ["a", "b"]}])
def test_topics_that_are_no_texts_are_refused_by_name(tmp_path, topics):
    assert "topics" in _refusal(tmp_path, _content("sts", "topics", topics=topics))


def test_an_empty_topic_is_refused(tmp_path):
    assert "topics.food: is empty" in _refusal(tmp_path, _content("sts", "topics", topics={"food": " "}))


def test_the_table_has_a_row_for_each_label_with_its_seeds_counted(tmp_path):
    table = read_task(_write(tmp_path, GOOD)).table()
    assert table.to_dict("records") == [
        {"label": "dog", "about": "About dogs.", "confusable": "cat", "seeds": 1},
        {"label": "cat", "about": "About cats.", "confusable": "", "seeds": 1},
    ]


def test_the_table_has_a_row_for_each_topic(tmp_path):
    table = _read(tmp_path, _content("sts", "topics")).table()
    assert dict(table.itertuples(index=False)) == GIVEN["topics"]


def test_the_table_of_many_passages_shows_the_first(tmp_path):
    texts = [f"Passage number {i}." for i in range(50)]
    table = _read(tmp_path, _content("retrieval", "passages", passages=texts)).table()
    assert table["passages"].tolist() == texts[:20]


# --- texts from files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("texts.txt", "one text\n\n two texts \none text\n"),
        ("texts.TXT", "\ufeffone text\r\ntwo texts\r\n"),
        ("texts.jsonl", '{"text": "one text", "id": 1}\n{"text": "two texts"}\n{"text": null}\n{"text": " "}\n'),
        ("texts.jsonl", '{"passage": "one text"}\n{"passage": "two texts"}\n'),
        ("texts.csv", "id,document\n1,one text\n2,two texts\n"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "start"), [("retrieval", "passages"), ("reranking", "search_terms"), ("sts", "texts")]
)
def test_texts_may_stand_in_a_file_beside_the_task_each_once(tmp_path, kind, start, name, content):
    (tmp_path / name).write_bytes(content.encode())
    assert getattr(_read(tmp_path, _content(kind, start, **{start: name})), start) == ("one text", "two texts")


@pytest.mark.parametrize("named", ["gone.txt", "A whole passage where a list should stand. " * 20, ""])
def test_a_file_of_texts_that_is_not_there_is_named(tmp_path, named):
    with pytest.raises(MissingError, match="There is no file"):
        _read(tmp_path, _content("retrieval", "passages", passages=named))


def test_a_file_without_a_column_of_texts_is_refused_with_the_columns_it_has(tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"body": "one text", "number": "1"}\n')
    message = _refusal(tmp_path, _content("sts", "texts", texts="texts.jsonl"))
    assert "no column text, passage or document, but body, number" in message


@pytest.mark.parametrize(("name", "content"), [("texts.pdf", b"%PDF"), ("texts.txt", b"caf\xe9")])
def test_a_file_that_cannot_be_read_as_texts_is_refused_by_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert name in _refusal(tmp_path, _content("sts", "texts", texts=name))


def test_a_file_of_no_texts_is_an_empty_list(tmp_path):
    (tmp_path / "texts.txt").write_text("\n \n")
    assert "texts: is an empty list" in _refusal(tmp_path, _content("sts", "texts", texts="texts.txt"))
