"""What an endpoint sends is read whatever it is: thoughts are no answers, and nothing that it can send ends a run."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from helpers.server import Server, completion, refusal
from hypothesis import HealthCheck, given, settings, strategies as st

from gisttools.common import EndpointError
from gisttools.synthesis.llm.answers import answer_text, content_of, extract_json, only_thoughts, said, usage_of, whole
from gisttools.synthesis.llm.asking import Reply, Request
from gisttools.synthesis.llm.batch import read_batch_answers
from gisttools.synthesis.llm.cache import CallCache

SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 50}}, "required": ["text"]}
DRAFT, FINAL = '{"text": "draft"}', '{"text": "final"}'
# as servers and models of today mark what they think
MARKED = [
    f"<think>{DRAFT}</think>{FINAL}",
    f"{DRAFT}, or so.\n</think>\n\n{FINAL}",  # the opening tag stands in the prompt's template
    f"<think>first <think>{DRAFT}</think> then</think>{FINAL}",
    f"<thinking>{DRAFT}</thinking>{FINAL}",
    f"<thought>{DRAFT}</thought>\n```json\n{FINAL}\n```",
    f"<THINK>{DRAFT}</THINK>{FINAL}",
    f"<reasoning>{DRAFT}</reasoning>{FINAL}",
    f"<seed:think>{DRAFT}</seed:think>{FINAL}",
    f"[THINK]{DRAFT}[/THINK]{FINAL}",
    f"◁think▷{DRAFT}◁/think▷{FINAL}",
    f"<|begin_of_thought|>{DRAFT}<|end_of_thought|>\n<|begin_of_solution|>{FINAL}<|end_of_solution|>",
    f"<|START_THINKING|>{DRAFT}<|END_THINKING|><|START_RESPONSE|>{FINAL}<|END_RESPONSE|>",
    f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{FINAL}<|return|>",
    f"<|channel>thought\n{DRAFT}<channel|>{FINAL}",
    f"<unused94>thought\n{DRAFT}<unused95>{FINAL}",
    f"Here is my thought process:\n{DRAFT}\nHere is my response:\n{FINAL}",
    f'<details type="reasoning" done="true"><summary>x</summary>{DRAFT}</details>{FINAL}',
]
THOUGHT = [
    f"<think>{DRAFT}",
    f"<think>{DRAFT} and",
    f"{DRAFT}</think>",
    f"<think>{DRAFT}</think>\n",
    "<think>hm</think>",
]
THOUGHT += [f"[THINK]{DRAFT}", f"<|channel|>analysis<|message|>{DRAFT}<|end|>", f"Here is my thought process:\n{DRAFT}"]


@pytest.mark.parametrize("content", MARKED)
def test_the_answer_is_what_follows_the_thoughts(content) -> None:
    assert extract_json(content) == {"text": "final"}


@pytest.mark.parametrize("content", THOUGHT)
def test_a_draft_in_thoughts_is_no_answer(content) -> None:
    assert extract_json(content) is None
    assert only_thoughts({"response": completion(content)[2]})


@pytest.mark.parametrize("before", ["", "<think>well</think>", "well</think>", "Sure:\n```json\n"])
def test_tags_in_the_text_of_an_answer_belong_to_it(before) -> None:
    answer = {"text": "close it by </think>, open it by <think> or [THINK]"}
    assert extract_json(before + json.dumps(answer)) == answer


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_in_a_field_of_their_own_are_told_apart(field) -> None:
    assert only_thoughts({"response": completion(None, **{field: DRAFT})[2]})
    assert only_thoughts({"response": completion("", **{field: [{"text": DRAFT}]})[2]})
    assert not only_thoughts({"response": completion(FINAL, **{field: DRAFT})[2]})
    assert not only_thoughts({"response": completion("")[2]})


@pytest.mark.parametrize(
    ("told", "finish"),
    [("MAX_TOKENS", "length"), ("end_turn", "stop"), ("SAFETY", "content_filter"), ("budget", "stop"), (None, None),
     ("tool_calls", "tool_calls"), (7, None)],
)  # fmt: skip
def test_why_an_answer_ended_is_told_in_one_language(told, finish) -> None:
    assert said(completion(FINAL, finish=told)[2]).finish == finish


def test_an_answer_that_ended_in_an_error_is_none(at_once) -> None:
    answers = [completion(FINAL[:9], finish="error"), completion(FINAL)]
    with Server(lambda number, _: answers[min(number, 1)]) as server:
        assert _ask(server, None).answer == {"text": "final"}
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    "text", ['{"a": "' * 60_000, "{" * 200_000, '{"a":' * 60_000, "<think>" * 60_000, '{"a": "x"} <think>' * 9000]
)
def test_no_text_keeps_the_reader_long(text) -> None:
    began = time.process_time()
    extract_json(text)
    assert time.process_time() - began < 2


def test_the_parts_of_a_content_are_its_text_without_the_thoughts() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": DRAFT}]}, {"type": "text", "text": FINAL[:9]}]
    parts += [{"type": "output_text", "text": FINAL[9:]}, {"type": "image_url", "image_url": {"url": "x"}}, None, 7]
    assert content_of({"response": completion(parts)[2]}) == FINAL


@given(st.text(st.characters(codec=None), max_size=30))
def test_any_text_can_be_written_after_reading(text) -> None:
    assert whole(text).encode("utf-8").decode("utf-8") == whole(text)
    if text.isascii():
        assert whole(text) == text


def test_two_halves_of_one_character_become_it() -> None:
    assert whole("\ud83d\ude00") == "😀"
    assert whole("Grey \ud800looks") == "Grey \ufffdlooks"


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ({"prompt_tokens": 70, "completion_tokens": 30}, (70, 30)),
        ({"prompt_tokens": -70, "completion_tokens": -30}, (0, 0)),
        ({"prompt_tokens": 10**12, "completion_tokens": 30}, (0, 0)),
        ({"prompt_tokens": 70, "completion_tokens": 10**12}, (0, 0)),
        ({"prompt_tokens": "70", "completion_tokens": [30]}, (0, 0)),
        ({"prompt_tokens": True, "completion_tokens": float("nan")}, (0, 0)),
        ({"prompt_tokens": 70, "completion_tokens": 500}, (70, 500)),  # beyond max_tokens, but it can be
        (None, (0, 0)),
        ([1], (0, 0)),
    ],
)
def test_a_count_of_tokens_that_cannot_be_says_nothing(usage, told) -> None:
    assert usage_of({"usage": usage}, (1000, 100)) == told


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=12)
    | st.sampled_from([10**400, "<think>", FINAL, "\ud800", "stop", "length", "content_filter"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_BODY = completion(FINAL)[2]
_FIELDS = [
    (), ("choices",), ("choices", 0), ("choices", 0, "message"), ("choices", 0, "message", "content"),
    ("choices", 0, "message", "refusal"), ("choices", 0, "message", "reasoning_content"),
    ("choices", 0, "finish_reason"), ("choices", 0, "index"), ("model",), ("usage",), ("usage", "prompt_tokens"),
    ("usage", "completion_tokens"), ("id",), ("error",), ("created",),
]  # fmt: skip


def _with(body, path, value):
    """The body with a value in place of what stands at the path."""
    if not path:
        return value
    copy = list(body) if isinstance(body, list) else dict(body)
    old = copy[path[0]] if isinstance(copy, list) else copy.get(path[0], {})
    copy[path[0]] = _with(old, path[1:], value)
    return copy


def _ask(server, cache, text="a", **options) -> Reply:
    request = Request(messages=[{"role": "user", "content": text}], schema=SCHEMA)
    (reply,) = server.llm(cache=cache, timeout=5, **options).ask([request])
    return reply


@pytest.fixture
def at_once(monkeypatch):
    """No waiting between attempts."""
    import tenacity

    monkeypatch.setattr("gisttools.common.endpoints._wait", tenacity.wait_none())


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(_FIELDS), value=JSON)
def test_any_json_in_any_field_of_an_answer_gives_a_reply_that_can_be_kept(at_once, tmp_path, path, value) -> None:
    cache = tmp_path / f"{hash((path, repr(value)))}.sqlite"
    sent = json.dumps(_with(_BODY, path, value)).encode()
    with Server(lambda *_: (200, {"Content-Type": "application/json"}, sent)) as server:
        first = _ask(server, cache)
        calls = len(server.calls)
        again = _ask(server, cache)
    json.dumps([first.content, first.answer, first.finish_reason, first.model], ensure_ascii=False).encode("utf-8")
    assert first.tokens_in >= 0 <= first.tokens_out
    if first.finish_reason != "error":
        assert len(server.calls) == calls  # what was paid for once is not asked for again
        assert (again.content, again.answer) == (first.content, first.answer)


_RAW = [
    b"", b"null", b"[]", b"{}", b"\xff\xfe\x00", b"<html><body>Bad gateway</body></html>", b'{"choices": [', b'"text"',
    b"[" * 100_000, b'{"a":' * 100_000, b'{"choices": NaN}', b"1" * 5000, b'{"choices": [{"message": {}}]}',
    json.dumps(_with(_BODY, ("choices", 0, "message", "content"), '{"text": "\\ud800 half"}')).encode(),
]  # fmt: skip


@pytest.mark.parametrize("raw", _RAW, ids=range(len(_RAW)))
@pytest.mark.parametrize("status", [200, 201, 400, 404, 422, 500])
def test_any_bytes_with_any_status_end_in_a_reply_or_in_our_own_error(at_once, tmp_path, raw, status) -> None:
    headers = {"Content-Type": "text/plain; charset=nonsense"}
    with Server(lambda *_: (status, headers, raw)) as server, contextlib.suppress(EndpointError):
        reply = _ask(server, tmp_path / "c.sqlite")
        json.dumps([reply.content, reply.answer], ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize("header", ["nan", "inf", "-5", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "1e999", ""])
def test_any_wish_to_wait_is_understood_or_passed_over(at_once, header) -> None:
    answers = [(429, {"Retry-After": header}, {}), completion(FINAL)]
    # it may ask for longer than is worth waiting for
    with Server(lambda number, _: answers[min(number, 1)]) as server, contextlib.suppress(EndpointError):
        assert _ask(server, None).answer == {"text": "final"}


@settings(max_examples=150, deadline=None)
@given(JSON, st.sampled_from(["response", "error", "custom_id", None]))
def test_any_line_of_a_batch_s_result_is_read_or_passed_over(value, name) -> None:
    line = {"custom_id": "k", "response": {"status_code": 200, "body": _BODY}, "error": None}
    line = value if name is None else line | {name: value}
    for _, answer in read_batch_answers(json.dumps(line).encode()):
        answer.words.encode("utf-8")
        json.dumps(answer.response, ensure_ascii=False).encode("utf-8")


def test_answers_that_an_earlier_version_kept_are_read_or_asked_for_again(tmp_path) -> None:
    """A half of a character, a content that is a list, and no answer at all were kept as they came."""
    cache = tmp_path / "c.sqlite"
    with Server(lambda *_: completion(FINAL)) as server:
        keys = [_ask(server, cache, text).key for text in "abcd"]
        asked = len(server.calls)
        kept = [
            {"response": completion('{"text": "Grey \ud800looks"}')[2], "finish_reason": "stop", "model": "m"},
            {"response": completion([{"type": "text", "text": FINAL}])[2], "finish_reason": "stop", "model": "m"},
            {"response": {"choices": []}, "finish_reason": "stop", "model": "m"},
            [1],
        ]
        with CallCache(cache) as opened:
            for key, value in zip(keys, kept, strict=True):
                opened.connection.execute("UPDATE responses SET value = ? WHERE key = ?", (json.dumps(value), key))
        replies = [_ask(server, cache, text) for text in "abcd"]
        assert [r.answer for r in replies] == [{"text": "Grey \ufffdlooks"}] + 3 * [{"text": "final"}]
        assert len(server.calls) == asked + 2


@pytest.mark.parametrize("content", ["<think>and on and on", None])
def test_a_model_that_only_thinks_is_told_after_a_few_calls(tmp_path, content) -> None:
    extra = {} if content else {"reasoning_content": "and on and on"}
    requests = [Request(messages=[{"role": "user", "content": str(i)}], schema=SCHEMA) for i in range(100)]
    with Server(lambda *_: completion(content, finish="length", **extra)) as server:
        for _ in range(2):
            with pytest.raises(EndpointError, match=r"only thinks.*max_tokens"):
                server.llm(cache=tmp_path / "c.sqlite").ask(requests)
            assert len(server.calls) <= 16  # two each of those that were under way


def test_thoughts_now_and_then_end_nothing(tmp_path) -> None:
    requests = [Request(messages=[{"role": "user", "content": str(i)}], schema=SCHEMA) for i in range(20)]

    def answer(_, body):
        return completion(FINAL if int(body["messages"][0]["content"]) % 5 == 0 else "<think>hm")

    with Server(answer) as server:
        replies = server.llm(concurrency=1).ask(requests)
    assert [r.answer is not None for r in replies] == [i % 5 == 0 for i in range(20)]
    assert replies[1].problem == "it holds thoughts and no answer"


def _strict(refused, say):
    """A server that takes no body with one of the fields `refused`, and says so by `say(field)`."""

    def answer(_, body):
        found = [name for name in refused if name in body]
        return say(found[0]) if found else completion(FINAL)

    return Server(answer)


DIALECTS = {
    "OpenAI": lambda f: refusal(400, f"Unsupported parameter: '{f}'", param=f, code="unsupported_parameter"),
    "Gemini's list": lambda f: (400, {}, [{"error": {"code": 400, "message": f'Unknown name "{f}"', "status": "X"}}]),
    "LiteLLM": lambda f: refusal(
        400, f"litellm.UnsupportedParamsError: m does not support {f}", param=None, code="400"
    ),
    "pydantic's": lambda f: (422, {}, {"detail": [{"type": "extra_forbidden", "loc": ["body", f], "msg": "Extra"}]}),
    "plain text": lambda f: (400, {}, f"{f} is not allowed".encode()),
    "no word": lambda f: refusal(400, "Bad request"),
    "nothing": lambda f: (400, {}, b""),
}


@pytest.mark.parametrize("say", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize(
    "refused", [["seed"], ["temperature"], ["response_format"], ["max_tokens"], ["seed", "temperature"]]
)
def test_what_an_endpoint_refuses_is_found_out_and_remembered(tmp_path, caplog, say, refused) -> None:
    cache = tmp_path / "c.sqlite"
    with _strict(refused, say) as server:
        first = _ask(server, cache, "a")
        before = len(server.calls)
        _ask(server, cache, "b")  # by another client, as a later run is
        assert len(server.calls) == before + 1
    assert first.answer == {"text": "final"}
    sent = server.bodies[-1]
    assert not any(name in sent for name in refused)
    if len(refused) == 1 and refused != ["response_format"] and say not in (DIALECTS["no word"], DIALECTS["nothing"]):
        kept = {"seed", "temperature", "response_format"} - set(refused)
        assert kept <= set(sent)  # only what is refused is left out


def test_what_is_to_be_left_out_is_never_sent() -> None:
    with Server(lambda *_: completion(FINAL)) as server:
        for name in ("seed", "temperature", "max_tokens", "response_format"):
            _ask(server, None, leave_out=[name])
            assert name not in server.bodies[-1]
    assert "max_completion_tokens" not in server.bodies[2]


def test_a_refusal_of_everything_keeps_the_reason(tmp_path) -> None:
    with Server(lambda *_: (400, {}, [{"error": {"message": "Billing is off for project 7"}}])) as server:
        assert "Billing is off for project 7" in _ask(server, tmp_path / "c.sqlite").content


def test_one_request_that_always_fails_ends_no_run(at_once, tmp_path) -> None:
    """Neither as the first, nor alone in a later start, nor with others that fail."""

    def answer(_, body):
        return refusal(500, "poison") if "bad" in body["messages"][0]["content"] else completion(FINAL)

    texts = ["bad", "one", "bad two", *map(str, range(10)), *(f"bad {i}" for i in range(9))]
    requests = [Request(messages=[{"role": "user", "content": text}], schema=SCHEMA) for text in texts]
    with Server(answer) as server:
        for _ in range(3):
            replies = server.llm(cache=tmp_path / "c.sqlite").ask(requests)
            assert [r.finish_reason == "error" for r in replies] == ["bad" in text for text in texts]
            assert all("poison" in r.content for r in replies if r.finish_reason == "error")


def test_an_endpoint_that_never_answers_ends_the_run_with_its_words(at_once, tmp_path) -> None:
    requests = [Request(messages=[{"role": "user", "content": str(i)}], schema=SCHEMA) for i in range(50)]
    with Server(lambda *_: refusal(500, "out of order")) as server, pytest.raises(EndpointError, match="out of order"):
        server.llm(cache=tmp_path / "c.sqlite").ask(requests)
    assert len(server.calls) < 100


def test_an_answer_that_breaks_off_is_not_called_silence(at_once) -> None:
    with Server(lambda *_: (200, {"Content-Length": "5000"}, b"{")) as server:
        reply = _ask(server, None)
    assert "broke off" in reply.content
    assert "()" not in reply.content


def test_an_answer_that_drips_for_ever_is_given_up(at_once) -> None:
    import socket
    import threading
    import time

    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=slowly, args=(connection,), daemon=True).start()

    def slowly(connection) -> None:
        with connection:
            connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            try:
                while True:
                    connection.sendall(b"1\r\n \r\n")
                    time.sleep(0.05)
            except OSError:
                return

    threading.Thread(target=drip, daemon=True).start()
    from gisttools.synthesis import LLM, LLMOptions

    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    began = time.monotonic()
    llm = LLM(LLMOptions(base_url=url, model="m", timeout=0.3))
    (reply,) = llm.ask([Request(messages=[{"role": "user", "content": "a"}], schema=SCHEMA)])
    listener.close()
    assert "no whole answer within 0.3 s" in reply.content
    assert time.monotonic() - began < 20


def test_thoughts_that_are_no_json_do_not_hide_the_text() -> None:
    assert answer_text("plain words") == "plain words"
