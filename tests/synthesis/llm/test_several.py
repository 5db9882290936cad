"""Several endpoints at once: parts by weight, fail-over, one budget and one cache."""

import json
import time
from collections import Counter
from dataclasses import replace

import pytest
from helpers.server import HANG, Server, completion, refusal

from gisttools.common.errors import EndpointError, ParameterError
from gisttools.synthesis.llm.asking import Request
from gisttools.synthesis.llm.client import LLM
from gisttools.synthesis.llm.options import Endpoint, LLMOptions
from gisttools.synthesis.llm.several import order_of

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
MANY = [Request(messages=[{"role": "user", "content": f"text {i}"}], schema=SCHEMA) for i in range(60)]


def saying(word):
    return lambda *_: completion(json.dumps({"text": word}))


def llm_of(*servers, cache=None, **more):
    """A client of these servers, or of endpoints that are told as a mapping."""
    endpoints = [Endpoint(**({"base_url": s.url, "model": "m"} if isinstance(s, Server) else s)) for s in servers]
    return LLM(LLMOptions(endpoints=endpoints, **more), cache=cache)


def words(replies):
    return Counter(reply.answer["text"] for reply in replies)


def test_each_gets_its_part_by_weight_and_asked_again_nobody_is_asked(tmp_path):
    with Server(saying("one")) as one, Server(saying("other")) as other:
        told = ({"base_url": one.url, "model": "m", "weight": 3.0}, {"base_url": other.url, "model": "m"})
        first = llm_of(*told, cache=tmp_path / "c.sqlite").ask(MANY)
        assert 30 <= words(first)["one"] <= 55
        assert (len(one.bodies), len(other.bodies)) == (words(first)["one"], words(first)["other"])
        again = llm_of(*told[::-1], cache=tmp_path / "c.sqlite").ask(MANY)
        assert all(reply.cached for reply in again)
        assert [r.answer for r in again] == [r.answer for r in first]


def test_a_request_that_cannot_be_sent_loses_nothing_of_what_is_under_way(tmp_path):
    def slowly(*_):
        time.sleep(0.2)
        return completion(json.dumps({"text": "slow"}))

    broken = replace(MANY[0], messages=[{"role": "user", "content": "half a character \ud83d"}])
    with Server(slowly) as one, Server(slowly) as other:
        llm = llm_of(one, other, cache=tmp_path / "c.sqlite", concurrency=4)
        with pytest.raises(UnicodeEncodeError):
            llm.ask([*MANY[:6], broken, *MANY[6:]])
        answered = len(one.bodies) + len(other.bodies)
        llm_of(one, other, cache=tmp_path / "c.sqlite").ask(MANY)
        assert (answered > 0, len(one.bodies) + len(other.bodies)) == (True, len(MANY))


def test_a_request_goes_where_it_went_when_another_endpoint_is_added():
    two, three = ([LLMOptions(base_url=f"http://{name}/v1", model="m") for name in names] for names in ("ab", "abc"))
    orders = [(order_of(r, two, [1.0, 1.0]), order_of(r, three, [1.0, 1.0, 1.0])) for r in MANY]
    assert all([place for place in after if place != 2] == before for before, after in orders)
    assert {after[0] for _, after in orders} == {0, 1, 2}


@pytest.mark.parametrize("how", ["nobody there", "key refused", "errors"])
def test_where_one_fails_the_other_takes_all_and_what_it_answered_is_kept(tmp_path, caplog, how):
    with Server(saying("other")) as other, Server(lambda *_: refusal(401)) as refusing:
        url = refusing.url if how == "key refused" else "http://127.0.0.1:9/v1"
        if how == "errors":
            with Server(lambda *_: refusal(404, "no such model")) as gone:
                replies = llm_of(gone, other, cache=tmp_path / "c.sqlite").ask(MANY)
                url = gone.url
        else:
            replies = llm_of({"base_url": url, "model": "m"}, other, cache=tmp_path / "c.sqlite").ask(MANY)
        assert words(replies) == {"other": 60}
        asked = len(other.bodies)
        llm_of({"base_url": url, "model": "m"}, other, cache=tmp_path / "c.sqlite").ask(MANY)
        assert len(other.bodies) == asked
    assert [r.message for r in caplog.records if "The other endpoints take its requests" in r.message]


def test_one_request_that_one_endpoint_refuses_is_asked_of_the_other():
    def picky(_, body):
        bad = body["messages"][0]["content"].startswith("text 1")
        return refusal(400, "I do not like it") if bad else saying("one")()

    with Server(picky) as one, Server(saying("other")) as other:
        replies = llm_of(one, {"base_url": other.url, "model": "m", "weight": 1e-9}).ask(MANY)
    assert words(replies) == {"one": 49, "other": 11}


def test_an_endpoint_that_hangs_takes_its_time_and_no_other_work():
    with Server(lambda *_: HANG) as one, Server(saying("other")) as other:
        replies = llm_of(one, other, timeout=0.2, concurrency=2).ask(MANY[:8])
    assert words(replies) == {"other": 8}


def test_one_that_only_thinks_is_left_alone_in_later_rounds_and_runs(tmp_path):
    def thinks(*_):
        return completion("", reasoning_content="I wonder what they want of me, and go on wondering.")

    with Server(thinks) as one, Server(saying("other")) as other:
        llm = llm_of(one, other, cache=tmp_path / "c.sqlite", concurrency=1)
        first = llm.ask(MANY[:20])
        assert sum(reply.answer is None for reply in first) <= 2  # the third tells
        asked = len(one.bodies)
        assert words(llm.ask(MANY[20:40])) == {"other": 20}
        assert len(one.bodies) == asked
        again = llm_of(one, other, cache=tmp_path / "c.sqlite").ask(MANY[:20])
        assert sum(reply.answer is not None for reply in again) >= 18


def test_one_that_asks_to_wait_for_long_is_not_waited_for():
    busy = refusal(429, headers={"retry-after": "200"})
    with Server(lambda *_: busy) as one, Server(saying("other")) as other:
        started = time.monotonic()
        assert words(llm_of(one, other).ask(MANY[:8])) == {"other": 8}
        assert time.monotonic() - started < 30


def test_a_budget_counts_what_another_endpoint_spent_for_an_earlier_job(tmp_path):
    with Server(saying("one")) as one, Server(saying("other")) as other:
        llm = llm_of(one, other, cache=tmp_path / "c.sqlite", budget_tokens=1000, max_tokens=16)
        with llm.for_job(["first"]):
            llm.ask(MANY[:40])
        with llm.for_job(["second"]):
            llm.ask([replace(r, replicate=1) for r in MANY * 3])
        assert llm.spent.tokens <= 1000


def test_all_that_fail_are_an_error():
    with Server(lambda *_: refusal(401)) as one, Server(lambda *_: refusal(401)) as other:
        with pytest.raises(EndpointError, match="401"):
            llm_of(one, other).ask(MANY[:4])
        assert one.bodies
        assert other.bodies


def test_one_budget_holds_for_all_and_is_spent_to_its_end(tmp_path):
    with Server(saying("one"), latency=0.01) as one, Server(saying("other"), latency=0.01) as other:
        llm = llm_of(one, other, cache=tmp_path / "c.sqlite", budget_tokens=1500, max_tokens=16)
        replies = llm.ask([replace(r, replicate=i) for i in range(4) for r in MANY])
        assert {r.finish_reason for r in replies} == {"stop", "budget"}
        assert llm.spent.tokens == 10 * (len(one.bodies) + len(other.bodies))
        assert 1200 < llm.spent.tokens <= 1500


def test_what_an_endpoint_costs_is_its_own_price():
    with Server(saying("one")) as one, Server(saying("other")) as other:
        told = ({"base_url": s.url, "model": "m", "price_in": p, "price_out": p} for s, p in ((one, 1.0), (other, 9.0)))
        llm = llm_of(*told)
        replies = llm.ask(MANY)
    costs = Counter(round(1e6 * reply.cost_usd) for reply in replies)
    assert costs == {10: len(one.bodies), 90: len(other.bodies)}
    assert llm.spent.usd == pytest.approx(sum(r.cost_usd for r in replies))
    assert llm.options.price.of(10, 0) == pytest.approx(50e-6)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"endpoints": [{"base_url": "there", "model": "m"}]}, r"endpoints\.0\.base_url is no address"),
        ({"endpoints": [{"base_url": "embedded", "model": "m"}]}, r"endpoints\.0\.base_url is no address"),
        ({"endpoints": [{"model": "m"}]}, "base_url is not given"),
        ({"endpoints": [{"base_url": "http://a/v1", "model": "m"}] * 2}, "once more"),
        ({"endpoints": [{"base_url": "http://a/v1", "model": "m", "price_in": 1.0}]}, "give both"),
        ({"endpoints": [{"base_url": "http://a/v1", "model": "m"}], "budget_usd": 1.0}, "price of 'm' is not known"),
        ({"endpoints": [{"base_url": "http://a/v1", "model": "m"}], "base_url": "http://b/v1"}, "both given"),
        ({"endpoints": [{"base_url": "http://a/v1", "model": "m"}], "transport": "batch"}, "batches go to one"),
        ({"endpoints": [{"base_url": "http://a/v1", "model": "m"}], "price_in": 1.0, "price_out": 1.0}, "its own"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_of_several_is_said(told, said):
    with pytest.raises(ParameterError, match=said):
        LLMOptions(**told)


def test_one_budget_wants_a_cache():
    with pytest.raises(ParameterError, match="share one budget"):
        llm_of({"base_url": "http://a/v1", "model": "m"}, budget_tokens=100)
