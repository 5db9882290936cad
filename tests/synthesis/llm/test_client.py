"""The LLM client against a server that misbehaves on purpose."""

import asyncio
import dataclasses
import json
import threading
import time

import pytest
from helpers.server import Server, completion, refusal

from gisttools.common.errors import DataError, EndpointError, MissingError, ParameterError
from gisttools.synthesis import open_llm
from gisttools.synthesis.llm.answers import extract_json
from gisttools.synthesis.llm.asking import Request
from gisttools.synthesis.llm.cache import CallCache
from gisttools.synthesis.llm.client import LLM
from gisttools.synthesis.llm.options import LLMOptions
from gisttools.workflow.params import SynthesizeParams

SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 50}}, "required": ["text"]}


def good(content='{"text": "hello"}', **more):
    return completion(content, **more)


def _ask(text="hi", **more):
    return Request(messages=[{"role": "user", "content": text}], schema=SCHEMA, **more)


def test_a_repeated_request_is_answered_from_the_cache(tmp_path):
    with Server(lambda *_: good()) as server:
        for run in range(2):
            replies = server.llm(cache=tmp_path / "c.sqlite").ask([_ask("a"), _ask("b")])
            assert [r.content for r in replies] == ['{"text": "hello"}'] * 2
            assert [r.cached for r in replies] == [run == 1] * 2
            assert [r.tokens_out for r in replies] == [3, 3]
            assert len(server.bodies) == 2


def test_two_servers_of_this_machine_share_no_answers_under_one_model_name(tmp_path):
    for name in ("one", "other"):
        with Server(lambda *_, name=name: completion(json.dumps({"text": name}))) as server:
            (reply,) = server.llm(cache=tmp_path / "c.sqlite").ask([_ask("a")])
        assert (reply.answer, reply.cached) == ({"text": name}, False)


def test_spellings_of_one_address_share_their_answers(tmp_path):
    with Server(lambda *_: good()) as server:
        port = server.url.split(":")[2].split("/")[0]
        for host in (f"localhost:{port}/v1", f"LOCALHOST:{port}/v1/", f"me:pw@127.0.0.1:{port}/v1"):
            LLM(server.llm(base_url=f"http://{host}").options, cache=tmp_path / "c.sqlite").ask([_ask("a")])
        assert len(server.bodies) == 1


def test_the_embedded_server_has_its_answers_at_any_port(tmp_path):
    for run in range(2):
        with Server(lambda *_: good()) as server:
            llm = LLM(server.llm().options, cache=tmp_path / "c.sqlite", endpoint="local")
            assert llm.ask([_ask("a")])[0].cached == (run == 1)


def test_replicates_differ_in_seed_and_key():
    with Server(lambda *_: good()) as server:
        first, second = server.llm(seed=5, concurrency=1).ask([_ask(), _ask(replicate=1)])
    assert [b["seed"] for b in server.bodies] == [5, 6]
    assert first.key != second.key


@pytest.mark.parametrize("change", [{"temperature": 0.1}, {"max_tokens": 99}, {"seed": 1}, {"model": "other"}])
def test_a_changed_setting_is_another_request(tmp_path, change):
    with Server(lambda *_: good()) as server:
        settings = {"cache": tmp_path / "c.sqlite"}
        server.llm(**settings).ask([_ask()])
        server.llm(**(settings | change)).ask([_ask()])
    assert len(server.bodies) == 2


def test_an_endpoint_without_schemas_is_asked_for_json_then_for_text_and_remembered():
    def answer(_, body):
        return refusal(400) if "response_format" in body else good('Sure:\n```json\n{"text": "x"}\n```')

    with Server(answer) as server:
        llm = server.llm(concurrency=1)
        replies = llm.ask([_ask("a"), _ask("b")])
    kinds = [b.get("response_format", {}).get("type", "text") for b in server.bodies]
    assert kinds == ["json_schema", "json_schema", "json_object", "text", "text"]
    assert "maxLength" not in json.dumps(server.bodies[1]["response_format"])
    assert "JSON schema" in server.bodies[3]["messages"][-1]["content"]
    assert [extract_json(r.content) for r in replies] == [{"text": "x"}] * 2


def test_a_refused_parameter_is_left_out_or_renamed():
    def answer(_, body):
        if "max_tokens" in body:
            return refusal(400, param="max_tokens")
        return refusal(400, param="temperature") if "temperature" in body else good()

    with Server(answer) as server:
        server.llm().ask([_ask()])
    assert server.bodies[-1]["max_completion_tokens"] == 300
    assert server.bodies[-1]["response_format"]["type"] == "json_schema"


def test_a_refusal_in_every_form_shows_the_server_s_words():
    with Server(lambda *_: refusal(400, "prompt too long")) as server:
        (reply,) = server.llm().ask([_ask()])  # it may be this request alone
        with pytest.raises(EndpointError, match="prompt too long"):
            server.llm().ask([_ask("a"), _ask("b"), _ask("c")])
    assert reply.finish_reason == "error"
    assert "prompt too long" in reply.content


def test_retry_after_is_honoured():
    times = []

    def answer(number, _):
        times.append(time.monotonic())
        return refusal(429, headers={"retry-after": "1"}) if number == 0 else good()

    with Server(answer) as server:
        (reply,) = server.llm().ask([_ask()])
    assert reply.finish_reason == "stop"
    assert times[1] - times[0] >= 1.0


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (refusal(401), "MY_KEY"),
        (refusal(403), "MY_KEY"),
        (refusal(402), "quota"),
        (refusal(429, code="insufficient_quota"), "quota"),
        (refusal(404), "'m'"),
        (refusal(429, headers={"retry-after": "86400"}), "86400"),
    ],
)
def test_what_no_waiting_helps_ends_the_run_at_once(answer, part):
    with Server(lambda *_: answer) as server, pytest.raises(EndpointError) as caught:
        server.llm(key_variable="MY_KEY", concurrency=1).ask([_ask("a"), _ask("b")])
    assert part in str(caught.value)
    assert server.url in str(caught.value)
    assert len(server.bodies) == 1


@pytest.mark.slow
def test_an_unreachable_endpoint_is_named_within_seconds():
    with Server(lambda *_: good()) as server:
        pass  # the port is free again
    start = time.monotonic()
    with pytest.raises(EndpointError, match=server.url):
        server.llm().ask([_ask()])
    assert time.monotonic() - start < 15


def test_the_key_goes_to_the_server_and_into_no_file_or_message(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "s3cret-value")
    with Server(lambda number, _: good() if number == 0 else refusal(401)) as server:
        llm = server.llm(key_variable="MY_KEY", cache=tmp_path / "c.sqlite")
        llm.ask([_ask("a")])
        with pytest.raises(EndpointError) as caught:
            llm.ask([_ask("b")])
    assert server.calls[0].headers["authorization"] == "Bearer s3cret-value"
    assert "s3cret" not in str(caught.value) + repr(llm)
    assert not any(b"s3cret" in f.read_bytes() for f in tmp_path.glob("c.sqlite*"))


def test_answers_that_arrived_before_a_failure_are_not_paid_twice(tmp_path):
    def answer(number, _):
        return good() if number == 0 else refusal(401)

    with Server(answer) as server:
        llm = server.llm(concurrency=1, cache=tmp_path / "c.sqlite")
        with pytest.raises(EndpointError):
            llm.ask([_ask("a"), _ask("b")])
        (again,) = llm.ask([_ask("a")])
    assert again.cached
    assert len(server.bodies) == 2


def test_it_works_inside_a_running_event_loop():
    async def cell():
        return server.llm().ask([_ask()])

    with Server(lambda *_: good()) as server:
        (reply,) = asyncio.run(cell())
    assert reply.content == '{"text": "hello"}'


def test_leaving_the_stream_early_ends_its_thread():
    with Server(lambda *_: good()) as server:
        stream = server.llm(concurrency=1).stream([_ask(str(i)) for i in range(500)])
        next(stream)
        stream.close()
        assert not [t for t in threading.enumerate() if t.name == "endpoint-calls"]


def test_a_file_that_is_no_cache_is_named(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(DataError, match=r"notes\.txt"):
        LLM(LLMOptions(base_url="http://127.0.0.1:9/v1", model="m"), cache=path).ask([_ask()])


def test_what_the_endpoint_takes_is_found_out_by_one_request_while_the_others_wait():
    def answer(_, body):
        return refusal(400) if "response_format" in body else good()

    with Server(answer) as server:
        server.llm(concurrency=8).ask([_ask(str(i)) for i in range(16)])
    assert sum("response_format" in b for b in server.bodies) == 3


def test_one_refused_request_among_answered_ones_is_an_error_of_its_own():
    def answer(_, body):
        return refusal(400, "too long") if body["messages"][0]["content"] == "1" else good()

    with Server(answer) as server:
        replies = server.llm(concurrency=1).ask([_ask(str(i)) for i in range(3)])
    assert [r.finish_reason for r in replies] == ["stop", "error", "stop"]
    assert "too long" in replies[1].content
    assert len(server.bodies) == 3


def test_a_cut_answer_is_asked_for_once_more_with_more_room():
    with Server(lambda number, _: good(finish="stop" if number else "length")) as server:
        (reply,) = server.llm(max_tokens=40).ask([_ask()])
    assert [b["max_tokens"] for b in server.bodies] == [40, 80]
    assert server.bodies[0]["messages"] == server.bodies[1]["messages"]
    assert (reply.finish_reason, reply.calls, reply.tokens_out) == ("stop", 2, 6)


def test_an_answer_that_is_cut_twice_stays_cut_even_if_it_looks_whole():
    with Server(lambda *_: good(finish="length")) as server:
        (reply,) = server.llm().ask([_ask()])
    assert (reply.finish_reason, len(server.bodies)) == ("length", 2)


def test_an_answer_that_does_not_fit_is_asked_for_once_more_with_the_reason():
    with Server(lambda number, _: good() if number else good('{"txt": 1}')) as server:
        (reply,) = server.llm().ask([_ask()])
    assert [m["role"] for m in server.bodies[1]["messages"]] == ["user", "assistant", "user"]
    assert server.bodies[1]["messages"][1]["content"] == '{"txt": 1}'
    assert "text" in server.bodies[1]["messages"][2]["content"]
    assert (reply.content, reply.problem, reply.calls) == ('{"text": "hello"}', None, 2)
    assert reply.answer == {"text": "hello"}


def test_a_list_of_texts_is_not_paid_for_again_for_one_of_them_that_does_not_fit():
    texts = {"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": "string", "minLength": 2}}
    schema = {"type": "object", "properties": {"texts": texts}, "required": ["texts"]}
    request = Request(messages=[{"role": "user", "content": "three texts"}], schema=schema)
    with Server(lambda *_: good('{"texts": ["one", "", "three"]}')) as server:
        (reply,) = server.llm().ask([request])
    assert len(server.bodies) == 1
    assert (reply.answer, reply.problem) == ({"texts": ["one", "", "three"]}, None)  # filters judge each by itself


def test_an_answer_that_never_fits_is_handed_on_with_its_problem():
    with Server(lambda *_: good("no")) as server:
        (reply,) = server.llm().ask([_ask()])
    assert len(server.bodies) == 2
    assert "JSON" in reply.problem
    assert reply.answer is None


@pytest.mark.parametrize(
    ("answer", "finish"),
    [
        (completion(None, refusal="I will not."), "refusal"),
        (good("", finish="content_filter"), "content_filter"),
        (refusal(400, "filtered", code="content_filter"), "content_filter"),
    ],
)
def test_a_refusal_is_kept_and_never_asked_again(tmp_path, answer, finish):
    with Server(lambda *_: answer) as server:
        llm = server.llm(cache=tmp_path / "c.sqlite")
        replies = llm.ask([_ask()]) + llm.ask([_ask()])
    assert [r.finish_reason for r in replies] == [finish] * 2
    assert len(server.bodies) == 1


@pytest.mark.parametrize("nonsense", [{}, {"choices": []}, ["x"], {"error": {"message": "busy"}}])
def test_an_answer_that_is_no_completion_is_tried_again(nonsense):
    with Server(lambda number, _: good() if number else (200, {}, nonsense)) as server:
        (reply,) = server.llm().ask([_ask()])
    assert (reply.finish_reason, len(server.bodies)) == ("stop", 2)


def test_the_raw_response_is_kept_as_it_came(tmp_path):
    status, headers, body = good()
    body["system_fingerprint"] = {"of": "the server"}
    with Server(lambda *_: (status, headers, body)) as server:
        (reply,) = server.llm(cache=tmp_path / "c.sqlite").ask([_ask()])
    with CallCache(tmp_path / "c.sqlite") as cache:
        stored = cache.get(reply.key)
    assert stored["response"] == body
    assert set(stored) == {"response", "finish_reason", "model", "tokens_in", "tokens_out", "time"}


def test_a_replay_gives_the_recorded_replies_without_network_also_those_of_several_calls(tmp_path):
    answers = [good('{"txt": 1}'), good(finish="length"), good(), good("no"), good("never")]
    with Server(lambda number, _: answers[number]) as server:
        settings = {"concurrency": 1, "cache": tmp_path / "c.sqlite"}
        llm = server.llm(**settings)
        recorded = llm.ask([_ask("a")]) + llm.ask([_ask("b")])  # one after the other, as the answers stand
    replayed = server.llm(**settings, mode="replay").ask([_ask("a"), _ask("b")])
    assert [r.calls for r in recorded] == [3, 2]
    assert replayed == [dataclasses.replace(r, calls=0, cached=True) for r in recorded]


def test_a_replay_names_what_was_not_recorded(tmp_path):
    with Server(lambda *_: good()) as server:
        settings = {"cache": tmp_path / "c.sqlite"}
        server.llm(**settings).ask([_ask("a")])
        with pytest.raises(MissingError) as caught:
            server.llm(**settings, mode="replay").ask([_ask("a"), _ask("how are you", replicate=3), _ask("c")])
    for part in ("2 of 3", "number 1, replicate 3: 'how are you'", "number 2", "c.sqlite"):
        assert part in str(caught.value)
    assert len(server.bodies) == 1


def test_a_recording_asks_anew_and_the_cache_learns_it(tmp_path):
    with Server(lambda number, _: good(f'{{"text": "number {number}"}}')) as server:
        settings = {"cache": tmp_path / "c.sqlite"}
        contents = [server.llm(**settings, mode=mode).ask([_ask()])[0].content for mode in ("auto", "record", "replay")]
    assert contents == ['{"text": "number 0"}', '{"text": "number 1"}', '{"text": "number 1"}']


def test_two_runs_that_share_a_cache_leave_each_answer_once_and_whole(tmp_path):
    requests, replies = [_ask(str(i)) for i in range(60)], {}
    with Server(lambda *_: good()) as server:

        def run(name):
            replies[name] = server.llm(cache=tmp_path / "c.sqlite").ask(requests)

        threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {r.content for name in "ab" for r in replies[name]} == {'{"text": "hello"}'}
    with CallCache(tmp_path / "c.sqlite") as cache:
        assert all(cache.get(r.key) for r in replies["a"])


def test_what_is_under_way_when_the_run_fails_still_arrives_and_is_kept(tmp_path):
    first = threading.Event()

    def answer(_, body):
        if body["messages"][0]["content"] == "slow":
            first.wait(10)
        elif body["messages"][0]["content"] == "bad":
            threading.Timer(0.2, first.set).start()
            return refusal(401)
        return good()

    with Server(answer) as server:
        llm = server.llm(concurrency=2, cache=tmp_path / "c.sqlite")
        with pytest.raises(EndpointError):
            llm.ask([_ask("probe"), _ask("slow"), _ask("bad")])
        (kept,) = server.llm(cache=llm.cache, mode="replay").ask([_ask("slow")])
    assert kept.finish_reason == "stop"


def test_a_request_that_cannot_be_sent_loses_nothing_of_what_is_under_way(tmp_path):
    first = threading.Event()

    def answer(_, body):
        if body["messages"][0]["content"] == "slow":
            threading.Timer(0.2, first.set).start()
            first.wait(10)
        return good()

    with Server(answer) as server:
        llm = server.llm(concurrency=2, cache=tmp_path / "c.sqlite")
        with pytest.raises(UnicodeEncodeError):
            llm.ask([_ask("probe"), _ask("slow"), _ask("half a character \ud83d")])
        (kept,) = server.llm(cache=llm.cache, mode="replay").ask([_ask("slow")])
    assert kept.finish_reason == "stop"


def test_too_many_requests_are_borne_with_longer_than_other_failures(monkeypatch):
    monkeypatch.setattr("gisttools.common.endpoints._ATTEMPTS", 1)
    busy = refusal(429, headers={"retry-after": "0"})
    with Server(lambda number, _: busy if number < 3 else good()) as server:
        (reply,) = server.llm().ask([_ask()])
    assert (reply.finish_reason, len(server.bodies)) == ("stop", 4)


def test_the_parameters_of_the_notebook_reach_the_client(tmp_path):
    given = {"requests_per_minute": 60.0, "tokens_per_minute": 900.0, "budget_usd": 2.5, "budget_tokens": 7, "seed": 3}
    given |= {"price_in": 0.5, "price_out": 1.5, "temperature": 0.25, "max_tokens": 99, "concurrency": 9}
    params = SynthesizeParams(llm_base_url="http://127.0.0.1:9/v1", llm_model="m", llm_mode="replay", llm_timeout=8.0,
                              llm_key_variable="K", **given)  # fmt: skip
    with open_llm(params.llm_options(), cache=tmp_path / "c.sqlite") as llm:
        assert {name: getattr(llm.options, name) for name in given} == given
        assert (llm.options.base_url, llm.options.model, llm.options.mode) == ("http://127.0.0.1:9/v1", "m", "replay")
        assert (llm.options.timeout, llm.options.key_variable) == (8.0, "K")


def test_bad_options_are_listed_at_once():
    with pytest.raises(ParameterError) as caught:
        LLMOptions(base_url="localhost:8080", model="", temperature=3, concurrency=0, budget_tokens=0, poll_seconds=0.0)
    for part in ("LLM: 6 ", "base_url", "model", "temperature", "concurrency", "budget_tokens", "poll_seconds"):
        assert part in str(caught.value)


def test_options_that_do_not_go_together_are_listed_at_once():
    with pytest.raises(ParameterError) as caught:
        LLMOptions(transport="batch", price_in=1.0)
    for part in ("LLM: 2 ", "no Batch API", "price_in and price_out"):
        assert part in str(caught.value)


def test_what_needs_a_cache_or_the_embedded_server_is_told_before_anything_is_asked():
    with pytest.raises(ParameterError) as caught:
        LLM(LLMOptions(mode="replay"))
    for part in ("LLM: 2 ", "no cache", "open_llm starts"):
        assert part in str(caught.value)


def test_each_parameter_of_the_notebook_is_an_option_with_the_same_bounds_and_words():
    own = SynthesizeParams.model_fields
    for name, field in LLMOptions.model_fields.items():
        if name not in ("seed", "poll_seconds"):  # the seed of both is the plan's as well
            shown = own.get(f"llm_{name}") or own[name]
            assert (shown.description, shown.metadata) == (field.description, field.metadata), name


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
