"""Secrets in text: found by name and by shape, redacted in every spelling; harmless values are left alone."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import shlex
import textwrap
from urllib.parse import quote, quote_plus, urlencode

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from helpers import files_under
from hypothesis import Phase, given, settings, strategies as st
from markupsafe import escape as markup

from gisttools.common.errors import ParameterError
from gisttools.common.secrets import REDACTED, known_secrets, named_like_a_secret, redact, secret_in, without_secrets
from gisttools.report.page import as_json, as_markdown
from gisttools.report.render import escape as as_tex
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
    "http://0123456789abcdef@example.org/v1",
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
    "https://example.org/v1?mail=someone@example.org",
    "Basic understanding and Basic-block sections",
]


def _csv(text: str) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(["a", text])
    return out.getvalue()


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


WRITERS = {
    "plain": str,
    "json": json.dumps,
    "json as it is": lambda t: json.dumps(t, ensure_ascii=False),
    "notebook": lambda t: json.dumps({"source": [json.dumps(t), repr(t)]}, indent=1),
    "json in json in json": lambda t: json.dumps(json.dumps(json.dumps([t]))),
    "page": lambda t: as_json({"a": t}),
    "json in a page": lambda t: as_json({"a": json.dumps(t)}),
    "html": html.escape,
    "html text": lambda t: html.escape(t, quote=False),
    "template": markup,
    "json in html": lambda t: html.escape(json.dumps(t)),
    "html in json": lambda t: json.dumps(html.escape(t)),
    "html twice": lambda t: html.escape(html.escape(t)),
    "slashes": lambda t: json.dumps(t).replace("/", r"\/"),
    "address": lambda t: quote(t, safe=""),
    "path": quote,
    "form": lambda t: urlencode({"k": t}),
    "plus": quote_plus,
    "address twice": lambda t: quote(quote(t, safe=""), safe=""),
    "repr": repr,
    "repr twice": lambda t: repr(repr(t)),
    "bytes": lambda t: repr(t.encode()),
    "shell": shlex.quote,
    "csv": _csv,
    "json in csv": lambda t: _csv(json.dumps([t])),
    "csv in csv": lambda t: _csv(_csv(t)),
    "csv in json": lambda t: json.dumps(_csv(t)),
    "repr of json in csv": lambda t: _csv(repr(json.dumps(t))),
    "page in csv": lambda t: _csv(html.escape(json.dumps(t))),
    "yaml": lambda t: yaml.safe_dump({"k": [t]}),
    "yaml as it is": lambda t: yaml.safe_dump({"k": t}, allow_unicode=True, width=10**6),
    "markdown": as_markdown,
    "latex": as_tex,
    "lines": lambda t: "\n   ".join(textwrap.wrap(t, 20, drop_whitespace=False)),
    "lines in json": lambda t: json.dumps("\n".join(textwrap.wrap(t, 20))),
    "base64": _coded,
    "base64, a byte later": lambda t: _coded(f"u{t}"),
    "base64, two bytes later": lambda t: _coded(f"uu{t}:"),
    "base64 for addresses": lambda t: base64.urlsafe_b64encode(f":{t}".encode()).decode().rstrip("="),
    "base64 in lines": lambda t: base64.encodebytes(b"x" * 70 + t.encode()).decode(),
    "base64 in an address": lambda t: quote(_coded(f"u:{t}"), safe=""),
    "base64 in a page": lambda t: as_json([_coded(f"us:{t}")]),
    "hexadecimal": lambda t: t.encode().hex(),
}
_ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=50)
_AWKWARD = st.text(st.sampled_from("ab1&<>\"'\\/+=%$#{}_~^`|é中😀-"), min_size=8, max_size=40)


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


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])  # to make one smaller takes minutes
@given(key=(_ASCII | _AWKWARD).filter(lambda key: len(set(key)) > 4))
def test_no_writer_spells_a_key_so_that_it_stays(key):
    left = [name for name, write in WRITERS.items() if REDACTED not in redact(str(write(f"a {key} b")), [key])]
    assert left == []


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(key=_ASCII | _AWKWARD, before=st.sampled_from(["", "\n", "\\", '"', "n"]))
def test_json_stays_json(key, before):
    for write in (json.dumps, lambda t: json.dumps(json.dumps([t]))):
        told = json.loads(redact(write({"a": f"{before}{key}{before}", "b": 1}), [key]))
        assert isinstance(told, str) or told["b"] == 1


@pytest.mark.parametrize("cut", ["{}...", "'{}'", '"{}"', "{}…", "answered {}"])
def test_a_key_that_is_cut_off_goes_too(cut):
    key = "abcdefgh-0123456789-ijklmnop"
    assert key[:14] not in redact(cut.format(key[:20]), [key])
    assert redact(f"{key[:14]}rdinary words", [key]) == f"{key[:14]}rdinary words"


def test_what_a_variable_holds_besides_the_key_does_not_hide_it(monkeypatch):
    monkeypatch.setenv("A_KEY", "Bearer 0123-first-key\n")
    monkeypatch.setenv("B_CREDENTIALS", json.dumps({"private_key": "second-key-0123", "type": "service_account"}))
    monkeypatch.setenv("C_URL", "http://third-key-0123@example.org/v1")
    monkeypatch.setenv("D_KEY", "-----BEGIN KEY-----\nfourth-key-01234567\n-----END KEY-----")
    for key in ("0123-first-key", "second-key-0123", "third-key-0123", "fourth-key-01234567"):
        assert redact(f"a {key} b", known_secrets()) == "a *** b"


@pytest.mark.parametrize(
    "text",
    [
        "http://TOKEN-OF-MINE@host:8000/v1",
        "https:\\/\\/TOKEN-OF-MINE@host",
        "https%3A%2F%2FTOKEN-OF-MINE%40host",
        "s3://TOKEN-OF-MINE@bucket/x",
        "http://h/v1?a=b\\u0026api_key=TOKEN-OF-MINE",
        "http://h/v1?a=b&amp;token=TOKEN-OF-MINE&amp;c=d",
        f"Authorization: Basic {_coded('someone:TOKEN-OF-MINE')}",
    ],
)
def test_keys_in_addresses_and_headers_go_wherever_they_come_from(text):
    clean = without_secrets(text)
    assert REDACTED in clean
    assert "TOKEN-OF-MINE" not in clean
    assert _coded("someone:TOKEN-OF-MINE") not in clean


def test_tables_hold_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "canary-0123456789")
    path = tmp_path / "rejected.parquet"
    told = {"a": ["x", "key canary-0123456789."], "b": [["canary-0123456789"], []], "n": [1, 2]}
    told["c"] = [{"d": None}, {"d": "see canary-0123456789"}]
    pq.write_table(pa.table(told).replace_schema_metadata({"about": "kept"}), path)
    scrub_files(artefact_texts(tmp_path))
    table = pq.read_table(path)
    assert table.to_pydict() == json.loads(json.dumps(told).replace("canary-0123456789", REDACTED))
    assert table.schema.metadata == {b"about": b"kept"}
    before = path.stat().st_mtime_ns
    scrub_files(artefact_texts(tmp_path))
    assert path.stat().st_mtime_ns == before


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
