"""Servers that answer as OpenAI, Anthropic, Gemini and vLLM do behind OpenAI's interface, written down from what their
documentation and users' reports show; none of it was recorded at the services themselves.

They differ in what they refuse and what they pass over, in how errors look and when to come back, in what they count,
and in how an answer ends. `Busy` is such a server with limits and faults, for many calls; it counts what was paid.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable

from helpers.server import RESET, Answer, Call, Server

GOOD = '{"text": "hello, this is a text of some length"}'
LIMITED = {"requests": "x-ratelimit-remaining-requests", "tokens": "x-ratelimit-remaining-tokens"}


def _tokens(text: str) -> int:
    return max(1, len(text.encode()) // 4)


class Dialect:
    """OpenAI, with a chat model that knows no lengths in a schema.

    Attributes:
        name: of the dialect.
        prices: US dollars for a million tokens in, out, and in from the cache.
    """

    name = "openai"
    prices = (0.25, 2.0, 0.025)

    def refused(self, body: dict) -> Answer | None:
        """The answer to what it does not take; None where it takes the body."""
        if "minLength" in json.dumps(body.get("response_format", {})):
            words = "Invalid schema for response_format 'answer': In context=(), 'minLength' is not permitted."
            return self.error(400, words, "invalid_request_error", param="response_format")
        return None

    def completion(self, body: dict, content: str | None, number: int = 0, finish: str = "stop") -> Answer:
        """An answer that says so."""
        message = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        told = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": body["model"]}
        return 200, self.limits(), told | {"choices": [choice], "usage": self.usage(body, content or "", number)}

    def usage(self, body: dict, content: str, number: int) -> dict:
        """Tokens; from the second call on, all but the last message come from the cache of prompts."""
        before = sum(_tokens(m["content"]) for m in body["messages"][:-1])
        told, answer = before + _tokens(body["messages"][-1]["content"]), _tokens(content)
        details = {"cached_tokens": before // 128 * 128 if number else 0, "audio_tokens": 0}
        thoughts = {"reasoning_tokens": 0, "audio_tokens": 0}
        return {
            "prompt_tokens": told, "completion_tokens": answer, "total_tokens": told + answer,
            "prompt_tokens_details": details, "completion_tokens_details": thoughts,
        }  # fmt: skip

    def cost(self, usage: dict) -> float:
        """US dollars; what only the total counts is paid for too."""
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        dear, out, cheap = self.prices
        told_out = usage["total_tokens"] - usage["prompt_tokens"]
        return ((usage["prompt_tokens"] - cached) * dear + cached * cheap + told_out * out) / 1e6

    def limits(self) -> dict[str, str]:
        """Headers on what is left of the account's limits."""
        return dict.fromkeys(LIMITED.values(), "100")

    def error(self, status: int, words: str, kind: str, code: str | None = None, param: str | None = None) -> Answer:
        return status, {}, {"error": {"message": words, "type": kind, "param": param, "code": code}}

    def busy(self) -> Answer:
        """Too many requests."""
        words = "Rate limit reached for m in organization org-x on requests per min (RPM): Limit 500, Used 500."
        status, _, body = self.error(429, words, "requests", "rate_limit_exceeded")
        return status, {"retry-after": "0.05"}, body

    def overloaded(self) -> Answer:
        """Too much to do, whoever asks."""
        return self.error(503, "The engine is currently overloaded, please try again later", "server_error")

    def wrong_key(self) -> Answer:
        return self.error(401, "Incorrect API key provided: none.", "invalid_request_error", "invalid_api_key")

    def no_money(self) -> Answer:
        return self.error(429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota")

    def filtered(self, body: dict) -> Answer:
        """No answer, for what it would say."""
        return self.completion(body, "", finish="content_filter")


class Thinker(Dialect):
    """OpenAI, with a model that thinks: neither temperatures nor `max_tokens` under that name; efforts as listed."""

    def __init__(self, *efforts: str) -> None:
        self._efforts = efforts

    def refused(self, body: dict) -> Answer | None:
        kind = "invalid_request_error"
        if "max_tokens" in body:
            words = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
            return self.error(400, words, kind, "unsupported_parameter", "max_tokens")
        if body.get("temperature", 1) != 1:
            words = "Unsupported value: 'temperature' does not support 0.8 with this model. Only the default (1) is."
            return self.error(400, words, kind, "unsupported_value", "temperature")
        if "reasoning_effort" in body and not self._efforts:
            return self.error(400, "Unrecognized request argument supplied: reasoning_effort", kind)
        if body.get("reasoning_effort", "low") not in (*self._efforts, "low"):
            words = (
                f"Unsupported value: 'reasoning_effort' does not support {body['reasoning_effort']!r} with this model."
            )
            return self.error(400, words, kind, "unsupported_value", "reasoning_effort")
        return super().refused(body)

    def only_thought(self, body: dict) -> Answer:
        """All room was thought away."""
        status, headers, told = self.completion(body, "", finish="length")
        room = body["max_completion_tokens"]
        details = {"completion_tokens": room, "completion_tokens_details": {"reasoning_tokens": room}}
        told["usage"] |= details | {"total_tokens": told["usage"]["prompt_tokens"] + room}
        return status, headers, told


class Anthropic(Dialect):
    """Anthropic's compatibility layer: it passes over response_format, seed and reasoning_effort; its newest models
    take no temperature; overloaded is a status of its own, and an account without money a 400."""

    name = "anthropic"
    prices = (1.0, 5.0, 1.0)

    def refused(self, body: dict) -> Answer | None:
        if "temperature" in body:
            return self.error(400, "`temperature` is deprecated for this model.", "invalid_request_error")
        return None

    def completion(self, body: dict, content: str | None, number: int = 0, finish: str = "stop") -> Answer:
        asked = any("JSON schema" in m["content"] for m in body["messages"])
        if content:  # nobody holds it to JSON
            content = f"```json\n{content}\n```" if asked else f"Here you are: {json.loads(content)['text']}"
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
        told = {"id": f"msg_{number}", "object": "chat.completion", "created": 1, "model": body["model"]}
        usage = {k: v for k, v in self.usage(body, content or "", number).items() if "details" not in k}
        return 200, self.limits(), told | {"choices": [choice], "usage": usage}

    def limits(self) -> dict[str, str]:
        return {"anthropic-ratelimit-requests-remaining": "40", "anthropic-ratelimit-tokens-remaining": "40000"}

    def error(self, status: int, words: str, kind: str, code: str | None = None, param: str | None = None) -> Answer:
        return status, {}, {"error": {"code": kind, "message": words, "type": kind, "param": None}}

    def busy(self) -> Answer:
        words = "This request would exceed the rate limit for your organization of 50 requests per minute."
        status, _, body = self.error(429, words, "rate_limit_error")
        return status, {"retry-after": "0.05"}, body

    def overloaded(self) -> Answer:
        error = {"type": "overloaded_error", "message": "Overloaded"}
        return 529, {"retry-after": "0.05"}, {"type": "error", "error": error, "request_id": "req_1"}

    def wrong_key(self) -> Answer:
        return self.error(401, "invalid x-api-key", "authentication_error")

    def no_money(self) -> Answer:
        words = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
        return self.error(400, words, "invalid_request_error")

    def filtered(self, body: dict) -> Answer:
        return self.completion(body, "", finish="refusal")


class Gemini(Dialect):
    """Gemini's OpenAI compatibility: errors stand in a list, with a status in words and the time to wait among their
    details; a wrong key is a 400; thoughts are counted in the total alone."""

    name = "gemini"
    prices = (0.3, 2.5, 0.03)

    def refused(self, body: dict) -> Answer | None:
        if "seed" in body:
            return self.error(
                400, 'Invalid JSON payload received. Unknown name "seed": Cannot find field.', "INVALID_ARGUMENT"
            )
        return None

    def completion(self, body: dict, content: str | None, number: int = 0, finish: str = "stop") -> Answer:
        message = {"role": "assistant"} | ({"content": content} if content else {})
        choice = {"finish_reason": finish, "index": 0, "message": message}
        told = {"id": f"g{number}", "object": "chat.completion", "created": 1, "model": body["model"]}
        return 200, {}, told | {"choices": [choice], "usage": self.usage(body, content or "", number)}

    def usage(self, body: dict, content: str, number: int) -> dict:
        told = {k: v for k, v in super().usage(body, content, number).items() if "details" not in k}
        thoughts = 0 if body.get("reasoning_effort") == "none" else 20
        return told | {"total_tokens": told["total_tokens"] + thoughts}

    def error(self, status: int, words: str, kind: str, code: str | None = None, param: str | None = None) -> Answer:
        return status, {}, [{"error": {"code": status, "message": words, "status": kind}}]

    def busy(self, quota: str = "GenerateRequestsPerMinutePerProjectPerModel", delay: str = "0.05s") -> Answer:
        """`quota`: the one that is used up; `delay`: when to come back."""
        status, _, body = self.error(429, "You exceeded your current quota.", "RESOURCE_EXHAUSTED")
        about = "type.googleapis.com/google.rpc"
        body[0]["error"]["details"] = [
            {"@type": f"{about}.QuotaFailure", "violations": [{"quotaId": quota, "quotaValue": "15"}]},
            {"@type": f"{about}.RetryInfo", "retryDelay": delay},
        ]
        return status, {}, body

    def overloaded(self) -> Answer:
        return self.error(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")

    def wrong_key(self) -> Answer:
        return self.error(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT")

    def no_money(self) -> Answer:
        return self.busy("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "37s")

    def filtered(self, body: dict) -> Answer:
        return self.completion(body, None, finish="content_filter: PROHIBITED_CONTENT")


class VLLM(Dialect):
    """vLLM: guided decoding by response_format, thoughts in a field of their own, errors with the status as code."""

    name = "vllm"
    prices = (0.0, 0.0, 0.0)

    def refused(self, body: dict) -> Answer | None:
        return None

    def completion(self, body: dict, content: str | None, number: int = 0, finish: str = "stop") -> Answer:
        guided = body.get("response_format", {}).get("type") == "json_schema"
        message = {"role": "assistant", "reasoning": "They want a text.", "tool_calls": []}
        message["content"] = content if guided else "Sure, a text!"
        choice = {"index": 0, "message": message, "finish_reason": finish, "stop_reason": None}
        told = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": body["model"]}
        usage = self.usage(body, content or "", number) | {"prompt_tokens_details": None}
        return 200, {}, told | {"choices": [choice], "usage": usage, "prompt_logprobs": None}

    def error(self, status: int, words: str, kind: str, code: str | None = None, param: str | None = None) -> Answer:
        return status, {}, {"error": {"message": words, "type": kind, "param": param, "code": status}}

    def busy(self) -> Answer:
        return self.error(429, "Too many requests", "TooManyRequests")


def _text(body: dict) -> str:
    return next(m["content"] for m in body["messages"] if m["role"] == "user")


DIALECTS: tuple[Callable[[], Dialect], ...] = (Dialect, Anthropic, Gemini)

# what becomes of a text, by its hash: eleven of sixteen are answered at once
_KINDS = ("good",) * 11 + ("overloaded once", "error once", "resets once", "unfit once", "filtered")


class Busy(Server):
    """A server of a dialect with a limit of requests a second, and faults by the text of a request.

    Args:
        dialect: how it speaks.
        rate: requests that it answers in a second; more are told to come back.

    Attributes:
        paid: answers sent whole, by what was asked (text, messages, room).
        usd: what they cost, by the server's own count.
        statuses: how often each was sent.
    """

    def __init__(self, dialect: Dialect, *, rate: float, latency: float = 0.0) -> None:
        super().__init__(latency=latency)
        self.dialect, self._rate = dialect, rate
        self.paid: Counter[tuple] = Counter()
        self.statuses: Counter[int | str] = Counter()
        self.usd = 0.0
        self._seen: Counter[str] = Counter()
        self._left, self._at, self._one = rate, time.monotonic(), threading.Lock()

    def respond(self, call: Call) -> Answer | str:
        body = call.body
        with self._one:
            told = self._told(body, call.number)
            self.statuses[told if isinstance(told, str) else told[0]] += 1
            if not isinstance(told, str) and told[0] == 200:
                room = body.get("max_tokens") or body.get("max_completion_tokens")
                self.paid[_text(body), len(body["messages"]), room] += 1
                self.usd += self.dialect.cost(told[2]["usage"])
        return told

    def _told(self, body: dict, number: int) -> Answer | str:
        now = time.monotonic()
        self._left, self._at = min(self._rate, self._left + self._rate * (now - self._at)), now
        if self._left < 1:
            return self.dialect.busy()
        self._left -= 1
        if (refused := self.dialect.refused(body)) is not None:
            return refused
        text = _text(body)
        kind = _KINDS[int(hashlib.sha256(text.encode()).hexdigest(), 16) % len(_KINDS)]
        self._seen[text] += 1
        match kind if self._seen[text] == 1 or kind == "filtered" else "good":
            case "overloaded once":
                return self.dialect.overloaded()
            case "error once":
                return self.dialect.error(500, "Internal error", "server_error")
            case "resets once":
                return RESET
            case "filtered":
                return self.dialect.filtered(body)
            case "unfit once":
                return self.dialect.completion(body, '{"text": 1}', number)
        return self.dialect.completion(body, GOOD, number)
