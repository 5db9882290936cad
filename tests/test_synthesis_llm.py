"""The LLM client against a server that misbehaves on purpose."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gisttools.errors import DataError, EndpointError, ParameterError
from gisttools.synthesis.forms import extract_json
from gisttools.synthesis.llm import LLM, Request

SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 50}}, "required": ["text"]}


def _good(content='{"text": "hello"}', finish="stop"):
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content}}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return (
        200,
        {},
        {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]} | {"usage": usage},
    )


def _refusal(status, message="no", headers=None, **error):
    return status, headers or {}, {"error": {"message": message, **error}}


@contextmanager
def misbehaving(answer):
    """A server that gives `answer(number of the call, body)` = (status, headers, JSON); yields (url, bodies)."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            bodies.append({"authorization": self.headers["authorization"], **body})
            status, headers, content = answer(len(bodies) - 1, body)
            raw = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"content-type": "application/json", "content-length": len(raw), **headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _ask(text="hi", **more):
    return Request(messages=[{"role": "user", "content": text}], schema=SCHEMA, **more)


def test_a_repeated_request_is_answered_from_the_cache_even_at_another_local_port(tmp_path):
    for run in range(2):
        with misbehaving(lambda *_: _good()) as (url, bodies):
            llm = LLM(base_url=url, model="m", cache=tmp_path / "c.sqlite")
            replies = llm.ask([_ask("a"), _ask("b")])
        assert [r.content for r in replies] == ['{"text": "hello"}'] * 2
        assert [r.cached for r in replies] == [run == 1] * 2
        assert [r.tokens_out for r in replies] == [3, 3]
        assert len(bodies) == (0 if run else 2)


def test_replicates_differ_in_seed_and_key():
    with misbehaving(lambda *_: _good()) as (url, bodies):
        first, second = LLM(base_url=url, model="m", seed=5, concurrency=1).ask([_ask(), _ask(replicate=1)])
    assert [b["seed"] for b in bodies] == [5, 6]
    assert first.key != second.key


@pytest.mark.parametrize("change", [{"temperature": 0.1}, {"max_tokens": 9}, {"seed": 1}, {"model": "other"}])
def test_a_changed_setting_is_another_request(tmp_path, change):
    with misbehaving(lambda *_: _good()) as (url, bodies):
        settings = {"base_url": url, "model": "m", "cache": tmp_path / "c.sqlite"}
        LLM(**settings).ask([_ask()])
        LLM(**(settings | change)).ask([_ask()])
    assert len(bodies) == 2


def test_an_endpoint_without_schemas_is_asked_for_json_then_for_text_and_remembered():
    def answer(_, body):
        return _refusal(400) if "response_format" in body else _good('Sure:\n```json\n{"text": "x"}\n```')

    with misbehaving(answer) as (url, bodies):
        llm = LLM(base_url=url, model="m", concurrency=1)
        replies = llm.ask([_ask("a"), _ask("b")])
    kinds = [b.get("response_format", {}).get("type", "text") for b in bodies]
    assert kinds == ["json_schema", "json_schema", "json_object", "text", "text"]
    assert "maxLength" not in json.dumps(bodies[1]["response_format"])
    assert "JSON schema" in bodies[3]["messages"][-1]["content"]
    assert [extract_json(r.content) for r in replies] == [{"text": "x"}] * 2


def test_a_refused_parameter_is_left_out_or_renamed():
    def answer(_, body):
        if "max_tokens" in body:
            return _refusal(400, param="max_tokens")
        return _refusal(400, param="temperature") if "temperature" in body else _good()

    with misbehaving(answer) as (url, bodies):
        LLM(base_url=url, model="m").ask([_ask()])
    assert bodies[-1]["max_completion_tokens"] == 300
    assert bodies[-1]["response_format"]["type"] == "json_schema"


def test_a_refusal_in_every_form_shows_the_server_s_words():
    with misbehaving(lambda *_: _refusal(400, "prompt too long")) as (url, _), pytest.raises(EndpointError) as caught:
        LLM(base_url=url, model="m").ask([_ask()])
    assert "prompt too long" in str(caught.value)


def test_retry_after_is_honoured():
    times = []

    def answer(number, _):
        times.append(time.monotonic())
        return _refusal(429, headers={"retry-after": "1"}) if number == 0 else _good()

    with misbehaving(answer) as (url, _):
        (reply,) = LLM(base_url=url, model="m").ask([_ask()])
    assert reply.finish_reason == "stop"
    assert times[1] - times[0] >= 1.0


@pytest.mark.parametrize(
    ("refusal", "part"),
    [
        (_refusal(401), "MY_KEY"),
        (_refusal(403), "MY_KEY"),
        (_refusal(402), "quota"),
        (_refusal(429, code="insufficient_quota"), "quota"),
        (_refusal(404), "'m'"),
        (_refusal(429, headers={"retry-after": "86400"}), "86400"),
    ],
)
def test_what_no_waiting_mends_ends_the_run_at_once(refusal, part):
    with misbehaving(lambda *_: refusal) as (url, bodies), pytest.raises(EndpointError) as caught:
        LLM(base_url=url, model="m", api_key_env="MY_KEY", concurrency=1).ask([_ask("a"), _ask("b")])
    assert part in str(caught.value)
    assert url in str(caught.value)
    assert len(bodies) == 1


def test_an_unreachable_endpoint_is_named_within_seconds():
    with misbehaving(lambda *_: _good()) as (url, _):
        pass  # the port is free again
    start = time.monotonic()
    with pytest.raises(EndpointError, match=url):
        LLM(base_url=url, model="m").ask([_ask()])
    assert time.monotonic() - start < 15


def test_the_key_goes_to_the_server_and_into_no_file_or_message(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "s3cret-value")
    with misbehaving(lambda number, _: _good() if number == 0 else _refusal(401)) as (url, bodies):
        llm = LLM(base_url=url, model="m", api_key_env="MY_KEY", cache=tmp_path / "c.sqlite")
        llm.ask([_ask("a")])
        with pytest.raises(EndpointError) as caught:
            llm.ask([_ask("b")])
    assert bodies[0]["authorization"] == "Bearer s3cret-value"
    assert "s3cret" not in str(caught.value) + repr(llm)
    assert not any(b"s3cret" in f.read_bytes() for f in tmp_path.glob("c.sqlite*"))


def test_answers_that_arrived_before_a_failure_are_not_paid_twice(tmp_path):
    def answer(number, _):
        return _good() if number == 0 else _refusal(401)

    with misbehaving(answer) as (url, bodies):
        llm = LLM(base_url=url, model="m", concurrency=1, cache=tmp_path / "c.sqlite")
        with pytest.raises(EndpointError):
            llm.ask([_ask("a"), _ask("b")])
        (again,) = llm.ask([_ask("a")])
    assert again.cached
    assert len(bodies) == 2


def test_it_works_inside_a_running_event_loop():
    async def cell(url):
        return LLM(base_url=url, model="m").ask([_ask()])

    with misbehaving(lambda *_: _good()) as (url, _):
        (reply,) = asyncio.run(cell(url))
    assert reply.content == '{"text": "hello"}'


def test_leaving_the_stream_early_ends_its_thread():
    with misbehaving(lambda *_: _good()) as (url, _):
        stream = LLM(base_url=url, model="m", concurrency=1).stream([_ask(str(i)) for i in range(500)])
        next(stream)
        stream.close()
        assert not [t for t in threading.enumerate() if t.name == "llm-client"]


def test_a_file_that_is_no_cache_is_named(tmp_path):
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(DataError, match=r"c\.sqlite"):
        LLM(base_url="http://127.0.0.1:9/v1", model="m", cache=path).ask([_ask()])


def test_bad_settings_are_listed_at_once():
    with pytest.raises(ParameterError) as caught:
        LLM(base_url="localhost:8080", model="", temperature=3, concurrency=0)
    for part in ("base_url", "model", "temperature", "concurrency"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('<think>{"a": 0}</think> {"a": 1}', {"a": 1}),
        ('```json\n{"a": "}"}\n```', {"a": "}"}),
        ('set {x} is {"a": 1}', {"a": 1}),
        ("[1]", None),
        ('{"a": ', None),
        ("", None),
    ],
)
def test_json_is_found_in_what_models_write_around_it(content, value):
    assert extract_json(content) == value
