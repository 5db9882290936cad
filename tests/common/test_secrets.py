"""Secrets in text: found by name and by shape, redacted in every spelling; harmless values are left alone."""

from __future__ import annotations

import json

import pytest
from helpers import files_under

from gisttools.common.errors import ParameterError
from gisttools.common.secrets import REDACTED, named_like_a_secret, secret_in, without_secrets
from gisttools.synthesis.llm.cache import CallCache
from gisttools.workflow.execute import run_notebook
from gisttools.workflow.manifest import artefact_texts, scrub_files
from gisttools.workflow.params import check_params

SECRETS = [
    "sk-" + "proj-abcdef0123456789abcd",
    "hf_" + "abcdefghijABCDEFGHIJ1234",
    "AKIA" + "ABCDEFGHIJ234567",
    "Bearer " + "abc.def-0123456789.ghi",
    "aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW",
    "https://someone:pass-word@example.org/v1",
    "https://example.org/v1?api_key=0123456789",
    "https://example.org/v1?model=a&access_token=0123456789",
]
HARMLESS = [
    "sentence-transformers/all-MiniLM-L6-v2",
    "BAAI/bge-large-en-v1.5@d4aa6901d3a41ba39fb536a557fa166f842b0e09",
    "finetune-20260101T000000Z-0123abcd",
    "embedded:SmolLM2-135M-Instruct",
    "a" * 64,
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "prompts/tasks/support_intents.yaml",
    "C:\\Users\\someone\\Documents\\texts.csv",
    "http://127.0.0.1:8080/v1",
    "s3://bucket/folder/convert-20260101T000000Z-0123abcd",
    "AmazonCounterfactualClassification",
    "mteb:MTOPDomainClassification#en",
    "sk-learn-based-long-model-name",
    "OPENAI_API_KEY",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_value_that_looks_like_a_secret_is_refused_and_not_repeated(text, results):
    for name in ("llm_model", "llm_base_url", "llm_key_variable", "nonsense"):
        with pytest.raises(ParameterError, match="environment variable") as caught:
            run_notebook("synthesize", {name: text})
        assert text not in str(caught.value)
    assert files_under(results) == []


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_values_are_no_secrets(text):
    assert secret_in(text) is None
    assert without_secrets(text) == text


def test_a_name_like_a_secrets_is_refused_together_with_other_problems():
    with pytest.raises(ParameterError, match=r"(?s)api_key looks like a secret, by its name.*rows = 0") as caught:
        check_params("synthesize", {"api_key": "plain-looking", "rows": 0})
    assert "plain-looking" not in str(caught.value)
    assert not any(named_like_a_secret(n) for n in ("max_tokens", "llm_key_variable", "keyword", "monkey"))


def test_a_secret_of_the_environment_is_blotted_out_in_every_spelling(monkeypatch):
    key = 'quote"s & <marks> é/+'
    monkeypatch.setenv("SOME_TOKEN", key)
    monkeypatch.setenv("SOME_URL", "https://me:pass%2Bword-1@example.org/?sig=abcdef012345")
    for text in (key, json.dumps(key), repr(key), "pass+word-1", "pass%2Bword-1", "abcdef012345"):
        assert REDACTED in without_secrets(f"before {text} after"), text
    assert without_secrets("quote&quot;s &amp; &lt;marks&gt; é/+") == REDACTED


def test_a_variable_that_a_parameter_names_counts_whatever_it_is_called(monkeypatch):
    monkeypatch.setenv("MY_LLM", "an-unusual-value")
    assert without_secrets("an-unusual-value") == "an-unusual-value"
    assert without_secrets("an-unusual-value", ["MY_LLM"]) == REDACTED


def test_what_is_blotted_out_of_json_leaves_json(tmp_path):
    told = {"a": "x -----BEGIN RSA PRIVATE KEY-----\nabcd\n", "b": [SECRETS[0], SECRETS[-2]], "c": "left"}
    (tmp_path / "summary.json").write_text(json.dumps(told), encoding="utf-8")
    scrub_files(artefact_texts(tmp_path))
    clean = (tmp_path / "summary.json").read_text(encoding="utf-8")
    assert json.loads(clean)["c"] == "left"
    assert not any(s in clean for s in ("abcd", SECRETS[0], "0123456789"))


def test_the_cache_of_llm_calls_keeps_no_key_that_an_endpoint_repeats(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", "canary-0123456789")
    with CallCache(tmp_path / "llm.sqlite") as cache:
        cache.put("k", {"response": "your key is canary-0123456789"})
        assert cache.get("k")["response"] == f"your key is {REDACTED}"
    assert not any(b"canary" in p.read_bytes() for p in tmp_path.iterdir())
