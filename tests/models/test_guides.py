"""What makes guide vectors: a model in either precision and on several devices, and an endpoint that may misbehave."""

from __future__ import annotations

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tenacity
from helpers import MINILM, WORDLLAMA
from helpers.server import Server, embeddings, refusal
from hypothesis import HealthCheck, given, settings, strategies as st

from gisttools.common.errors import EndpointError, MissingError, ModelError, ParameterError
from gisttools.models.endpoint import EndpointGuide
from gisttools.models.guides import ModelGuide, open_guide
from gisttools.models.loading import native_bfloat16
from gisttools.models.options import GuideOptions
from gisttools.models.vectors import VectorCache

TEXTS = ["my parcel is late", "the parcel has not come, I have been waiting for two weeks now", "a song", "it drips"]


def collect(guide, texts) -> np.ndarray:
    vectors = np.full((len(texts), guide.dimension), np.nan)
    for numbers, part in guide.stream(texts):
        vectors[numbers] = part
    return vectors


# Models


@pytest.mark.parametrize("devices", [(), ("cpu",), ("cpu", "cpu", "cpu")])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_model_gives_its_own_vectors_on_any_number_of_devices(minilm, devices, count):
    guide = ModelGuide(minilm, MINILM, precision="float32", devices=devices)
    assert collect(guide, TEXTS[:count]) == pytest.approx(minilm.encode(TEXTS[:count]), abs=1e-5)


def test_bfloat16_moves_cosines_by_little_and_is_another_identity(minilm):
    exact, half = (ModelGuide(minilm, MINILM, precision=p) for p in ("float32", "bfloat16"))
    a, b = (collect(g, TEXTS) for g in (exact, half))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    assert 0 < np.abs(a @ a.T - b @ b.T).max() < 0.01
    assert exact.identity != half.identity


def test_auto_precision_is_what_the_hardware_has(minilm):
    wanted = "bfloat16" if native_bfloat16(minilm) else "float32"
    assert ModelGuide(minilm, MINILM).identity == ModelGuide(minilm, MINILM, precision=wanted).identity


def test_a_static_model_always_uses_float32(wordllama):
    assert not native_bfloat16(wordllama)
    identities = {ModelGuide(wordllama, WORDLLAMA, precision=p).identity for p in ("auto", "float32", "bfloat16")}
    assert len(identities) == 1


def test_a_prompt_stands_before_every_text(minilm):
    guide = ModelGuide(minilm, MINILM, prompt="query: ", precision="float32")
    assert collect(guide, TEXTS) == pytest.approx(minilm.encode([f"query: {t}" for t in TEXTS]), abs=1e-5)


def test_a_model_that_fails_is_named_with_the_fix(minilm, monkeypatch):
    guide = ModelGuide(minilm, MINILM, precision="float32")

    def fails(*_, **__):
        raise RuntimeError("out of memory\nmore lines")

    monkeypatch.setattr(guide._models[0], "forward", fails)
    with pytest.raises(ModelError, match=rf"Guide {MINILM} fails in float32 on cpu: out of memory\. Use"):
        collect(guide, TEXTS)


@pytest.mark.parametrize(
    ("name", "options", "error", "wanted"),
    [
        (WORDLLAMA, {"precision": "int8"}, ParameterError, "precision = 'int8': input should be 'auto', 'float32' or"),
        (WORDLLAMA, {"base_url": "http://x/v1"}, ParameterError, r"asked at no base_url .*write endpoint:embedded"),
        ("endpoint:", {}, ParameterError, "No model is named after 'endpoint:'"),
        ("endpoint:m", {"base_url": "localhost:80"}, ParameterError, "base_url is 'localhost:80', not an address"),
        ("no.parquet", {}, MissingError, r"No file of vectors at no\.parquet"),
        ("no.parquet", {"prompt": "q: "}, ParameterError, "the prompt 'q: ' comes too late"),
    ],
)
def test_options_that_do_not_fit_are_refused(name, options, error, wanted):
    with pytest.raises(error, match=wanted):
        open_guide(GuideOptions(name=name, **options))


# Endpoints


def behind(url, folder, **options):
    """The vectors of a model behind an endpoint."""
    return VectorCache(GuideOptions(name="endpoint:m", base_url=url, **options), folder=folder)


def vector(text: str) -> list[float]:
    """A vector that only this text has."""
    return [float(len(text)), float(sum(map(ord, text)) % 101), 1.0]


def serving(answer=None):
    """An embeddings endpoint; `answer(number of the call, texts)` gives an answer, or None for the right one."""
    return Server(lambda number, body: (answer and answer(number, body["input"])) or good(body["input"]))


def good(texts):
    return embeddings([vector(text) for text in texts])


def unit(texts) -> np.ndarray:
    vectors = np.array([vector(t) for t in texts])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def many(count: int) -> list[str]:
    return [f"text number {i} {'x' * (i % 7)}" for i in range(count)]


def batches(calls) -> list[list[str]]:
    return [call.body["input"] for call in calls]


def sent(calls) -> list[str]:
    return [text for batch in batches(calls) for text in batch]


def test_an_endpoint_is_asked_in_batches_once_for_each_text_ever(tmp_path):
    texts = many(700)
    with serving() as server:
        cache = behind(server.url, tmp_path)
        assert cache.dimension is None
        assert cache.embed([*texts, *texts]) == pytest.approx(unit([*texts, *texts]), abs=1e-6)
        assert sorted(len(batch) for batch in batches(server.calls)) == [188, 256, 256]
        again = behind(server.url, tmp_path)
        assert again.dimension == 3
        again.embed([*texts, "new"])
    assert sorted(sent(server.calls)) == sorted([*texts, "new"])


def test_nothing_more_is_asked_once_the_answers_cannot_be_kept(tmp_path, monkeypatch):
    over = threading.Event()

    def first_only(number, _):
        if number:
            over.wait(20)

    def full(*_):
        raise OSError("the disk is full")

    with serving(first_only) as server:
        cache = behind(server.url, tmp_path)
        monkeypatch.setattr(cache._files, "append", full)
        with pytest.raises(OSError, match="the disk is full"):
            cache.embed(many(2000))
        over.set()
    assert len(server.calls) <= 5  # one answered, four under way; there would be eight


def test_long_texts_go_in_smaller_batches(tmp_path):
    with serving() as server:
        cache = behind(server.url, tmp_path)
        cache.embed(["x" * n for n in (150_000, 60_000, 250_000, 5)])
    assert sorted([len(t) for t in batch] for batch in batches(server.calls)) == [[60_000, 5], [150_000], [250_000]]


def test_another_server_model_or_prompt_is_another_guide(tmp_path):
    with serving() as one, serving() as other:
        caches = [
            behind(one.url, tmp_path),
            VectorCache(GuideOptions(name="endpoint:n", base_url=one.url), folder=tmp_path),
            behind(other.url, tmp_path),
            behind(other.url, tmp_path, prompt="q: "),
        ]
        assert len({cache.folder for cache in caches}) == 4
        caches[3].embed(["a"])
    assert sent(other.calls) == ["q: a"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_tried_again_after_the_time_asked_for(tmp_path, status):
    def fails_first(number, _):
        return refusal(status, headers={"retry-after": "0"}) if number == 0 else None

    with serving(fails_first) as server:
        vectors = behind(server.url, tmp_path).embed(TEXTS)
    assert vectors == pytest.approx(unit(TEXTS), abs=1e-6)
    assert len(server.calls) == 2


def test_what_was_answered_before_a_failure_is_kept(tmp_path):
    texts, broken = many(2000), [True]

    def fails_later(number, _):
        return refusal(401, "bad key") if broken and number >= 3 else None

    with serving(fails_later) as server:
        with pytest.raises(EndpointError):
            behind(server.url, tmp_path).embed(texts)
        answered = sent(server.calls[:3])
        broken.clear()
        server.calls.clear()
        cache = behind(server.url, tmp_path)
        assert cache.embed(texts) == pytest.approx(unit(texts), abs=1e-6)
    assert sorted(sent(server.calls)) == sorted(set(texts) - set(answered))


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (lambda *_: refusal(401, "bad key"), r"refuses the key .*environment variable MY_KEY"),
        (lambda *_: refusal(404, "no model m"), r"does not know this address or the model 'm'"),
        (lambda *_: refusal(429, code="insufficient_quota"), "quota is used up"),
        (lambda *_: refusal(400, "too long"), r"refuses 4 texts of 6 to 62 characters .*too long"),
        (lambda _, texts: good(texts[1:]), r"answers no vectors for 4 texts: it holds 3 vectors, numbered \[2, 1, 0\]"),
        (
            lambda _, texts: embeddings([[1.0]] * 3 + [[1.0, 2.0]]),
            r"its vectors have \[1, 2\] numbers",
        ),
        (lambda _, texts: embeddings([[]] * 4), r"an embedding is no list of numbers"),
        (lambda *_: (200, {}, {"object": "list", "data": [], "model": "m"}), r"for 4 texts"),
        (lambda *_: (200, {}, {"hello": "world"}), r"for 4 texts"),
    ],
    ids=["key", "model", "quota", "request", "too few", "lengths", "empty", "no data", "nonsense"],
)
def test_an_endpoint_that_does_not_answer_vectors_is_named_with_what_to_do(tmp_path, answer, wanted):
    with serving(answer) as server:
        cache = behind(server.url, tmp_path, key_variable="MY_KEY")
        with pytest.raises(EndpointError, match=wanted):
            cache.embed(TEXTS)
    assert cache.dimension is None


def test_vectors_of_another_length_than_before_are_refused(tmp_path):
    answers = [None, lambda texts: embeddings([[1.0, 2.0]])]

    with serving(lambda number, texts: answers[number] and answers[number](texts)) as server:
        cache = behind(server.url, tmp_path)
        cache.embed(["a"])
        with pytest.raises(ModelError, match=r"gives vectors of 2 numbers; those kept in .* have 3"):
            cache.embed(["b"])


def test_a_server_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("gisttools.common.endpoints._PATIENCE_AT_START", 0.0)
    with serving() as server:
        pass
    with pytest.raises(EndpointError, match=f"No endpoint answers at {server.url}"):
        behind(server.url, tmp_path).embed(["a"])


def test_the_key_comes_from_the_environment_and_is_nowhere_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret-key")
    with serving() as server:
        with_user = server.url.replace("//", "//user:word@")
        behind(with_user, tmp_path, key_variable="MY_KEY").embed(["a"])
    assert server.calls[0].headers["authorization"] in ("Bearer secret-key", "Basic dXNlcjp3b3Jk")
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"secret" not in written
    assert b"user" not in written


def test_a_missing_key_is_told_before_anything_is_sent_and_only_when_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    cache = VectorCache(
        GuideOptions(name="endpoint:m", base_url="https://example.invalid/v1", key_variable="MY_KEY"), folder=tmp_path
    )
    assert cache.embed([]).shape == (0, 0)
    with pytest.raises(EndpointError, match=r"needs a key: the environment variable MY_KEY is empty"):
        cache.embed(["a"])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
_PLACES = [(), ("data",), ("data", 0), ("data", 0, "index"), ("data", 0, "embedding"), ("data", 0, "embedding", 0)]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(_PLACES), value=_JSON)
def test_any_json_in_any_field_gives_finite_vectors_or_our_own_error(tmp_path, monkeypatch, path, value):
    monkeypatch.setattr("gisttools.common.endpoints._wait", tenacity.wait_none())
    body = {"data": [{"index": i, "embedding": [1.0, 0.5 * i]} for i in range(2)]}
    inner = body
    for step in path[:-1]:
        inner = inner[step]
    if path:
        inner[path[-1]] = value
    sent = json.dumps(body if path else value).encode()
    with Server(lambda *_: (200, {}, sent)) as server:
        guide = EndpointGuide(GuideOptions(name="endpoint:m", base_url=server.url))
        with contextlib.suppress(EndpointError):
            (vectors,) = [vectors for _, vectors in guide.stream(["a", "b"])]
            assert np.isfinite(vectors).all()
            assert vectors.shape[0] == 2


def test_two_that_embed_the_same_at_once_pay_once(tmp_path):
    texts = many(600)
    with Server(lambda _, body: good(body["input"]), latency=0.1) as server:
        options = GuideOptions(name="endpoint:m", base_url=server.url)
        caches = [VectorCache(options, folder=tmp_path) for _ in range(2)]
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda cache: cache.embed(texts), caches))
        assert sorted(sent(server.calls)) == sorted(texts)
    assert np.allclose(found[0], unit(texts))
    assert np.array_equal(*found)
