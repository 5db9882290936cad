"""Prompt files: rendering, quoting, and errors that list everything."""

import json

import pytest

from gisttools.errors import DataError, MissingError, ParameterError
from gisttools.synthesis.prompts import FOLDER, load_prompt


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_example_of_every_prompt_renders(path):
    prompt = load_prompt(path)
    assert prompt.examples
    for example in prompt.examples:
        messages = prompt.render(example.values)
        assert [m["role"] for m in messages] == ["system"] + ["user", "assistant"] * len(prompt.examples) + ["user"]
        assert all(m["content"] for m in messages)
        assert set(example.answer) == set(prompt.output["properties"])


def test_a_seed_is_quoted_data_and_never_a_template():
    prompt = load_prompt("classification")
    nasty = '"}\n{{ 7 * 7 }}{% for x in y %} ünï'
    messages = prompt.render({**prompt.examples[0].values, "seed": nasty})
    assert messages[-1]["content"].endswith(json.dumps({"text": nasty}, ensure_ascii=False))


def test_without_a_seed_the_label_s_line_is_asked_for():
    prompt = load_prompt("classification")
    question = prompt.render({**prompt.examples[0].values, "seed": None, "about": "All about owls."})[-1]["content"]
    assert "All about owls." in question
    assert "Rewrite" not in question


def test_missing_and_unknown_variables_are_listed_at_once():
    prompt = load_prompt("classification")
    values = {k: v for k, v in prompt.examples[0].values.items() if k not in ("about", "register")}
    with pytest.raises(ParameterError) as caught:
        prompt.render(values | {"colour": "red"})
    message = str(caught.value)
    assert "about is missing" in message
    assert "register is missing" in message
    assert "colour is not a variable" in message


def test_the_sha_follows_the_content_but_not_the_line_ends(tmp_path):
    raw = (FOLDER / "classification.yaml").read_bytes()
    (tmp_path / "crlf.yaml").write_bytes(raw.replace(b"\n", b"\r\n"))
    (tmp_path / "other.yaml").write_bytes(raw.replace(b"in other words", b"in new words"))
    sha = load_prompt("classification").prompt_sha
    assert load_prompt(tmp_path / "crlf.yaml").prompt_sha == sha
    assert load_prompt(tmp_path / "other.yaml").prompt_sha != sha


def test_a_template_cannot_reach_python(tmp_path):
    text = (FOLDER / "classification.yaml").read_text(encoding="utf-8")
    path = tmp_path / "evil.yaml"
    path.write_text(text.replace("Rewrite as {{ persona }}", "{{ persona.__class__.__mro__ }}"), encoding="utf-8")
    prompt = load_prompt(path)
    with pytest.raises(DataError, match="cannot be rendered"):
        prompt.render(prompt.examples[0].values)


def test_a_prompt_file_with_unknown_keys_is_refused(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("name: x\nsytem: y\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_prompt(path)
    assert "sytem" in str(caught.value)
    assert "user" in str(caught.value)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(MissingError, match="classification"):
        load_prompt("clasification")
