"""Says which LLM is asked, and how: `LLMOptions`."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from gisttools.common import Options, ParameterError, hosts_elsewhere, safe_url
from gisttools.synthesis.llm.budget import Price, known_price
from gisttools.synthesis.llm.server import is_shipped

Optional = Literal["seed", "temperature", "max_tokens", "response_format"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
EMBEDDED = "embedded"  # in place of an address: the server that `open_llm` starts


class Endpoint(Options):
    """One of several endpoints: what is not said here is as in the `LLMOptions` that it is one of.

    weight: of the requests each endpoint gets its part of all weights.
    """

    about = "endpoint"

    base_url: str = Field(description="address of an OpenAI-compatible endpoint")
    model: str = Field(min_length=1, description="model name at the endpoint")
    weight: float = Field(1.0, gt=0, description="its share of the requests, beside the others' weights")
    key_variable: str | None = Field(None, description="environment variable that holds the key")
    concurrency: int | None = Field(None, ge=1, description="calls in flight")
    price_in: float | None = Field(None, ge=0, description="US dollars for a million tokens in; null: the list price")
    price_out: float | None = Field(None, ge=0, description="US dollars for a million tokens out")
    price_cached: float | None = Field(None, ge=0, description="of those in that the endpoint had in its cache")
    reasoning_effort: Effort | None = Field(None, description="how much the model thinks first")
    requests_per_minute: float | None = Field(None, gt=0, description="the account's limit")
    tokens_per_minute: float | None = Field(None, gt=0, description="the account's limit")


class LLMOptions(Options):
    """Which model, behind which OpenAI-compatible endpoint, and how it is asked.

    endpoints: each request goes to one of them, by its content and their weights, so that a run asked again asks the
        same; to another where that one fails. One budget and one cache hold for all. Live calls only.

    base_url: address with its version part, as `http://127.0.0.1:8080/v1`; or `embedded`, the server that `open_llm`
        starts, which is free, and knows no batches.
    key_variable: a local endpoint needs no key.
    max_tokens: an answer that is cut there is asked for once more with twice as much.
    seed: the replicate number of a request is added.
    concurrency: at most; fewer while the endpoint says 429.
    mode: auto: the cache, else the endpoint; record: always the endpoint, and the cache learns; replay: the cache.
    transport: live: a call for each answer. batch: the endpoint's Batch API, within a day; it needs a cache, in which
        batches under way are found again after a restart.
    leave_out: what an endpoint refuses is found out and left out by itself, and remembered; this is for one that takes
        something amiss without saying so. Without max_tokens no budget can be kept.
    budget_usd, budget_tokens: never exceeded by the calls of one `LLM`, nor by all starts of one job together, for the
        most that a call can cost is reserved before it is sent; what is not asked for that reason says so. A call
        without an answer counts as paid in full. Cached answers cost nothing; answers of a batch that an earlier run
        left under way count.
    price_in, price_out: both or none; None: the list price by the package genai-prices where it is installed and knows
        the model, else not known. Batches count at the same price, an upper bound where they are billed at a discount;
        give the prices as billed.
    price_cached: of tokens in that the endpoint says it had in its cache of prompts; None: as the others, or the list
        price. Batches count them as the others.
    reasoning_effort: sent as it is, where told; a model that does not take it ends the run. None: not sent.
    """

    about = "LLM"

    base_url: str = Field(EMBEDDED, description='OpenAI-compatible endpoint, or "embedded"')
    model: str = Field(
        "embedded:SmolLM2-135M-Instruct", min_length=1, description="model name at the endpoint, or a GGUF file"
    )
    endpoints: list[Endpoint] = Field(
        [],
        description="several in place of one: each with base_url, model and, where it "
        "differs, weight, key_variable, concurrency, price_in, price_out, price_cached, reasoning_effort; where one "
        "fails the others take over",
    )
    key_variable: str = Field("OPENAI_API_KEY", description="environment variable that holds the key")
    temperature: float = Field(0.8, ge=0, le=2, description="sampling temperature of the LLM")
    max_tokens: int = Field(300, ge=16, description="longest answer; one that is cut is asked for once more")
    seed: int = Field(0, description="seed of the LLM's sampling")
    concurrency: int = Field(4, ge=1, description="calls in flight")
    budget_usd: float | None = Field(None, gt=0, description="never overstepped by the calls of this run")
    budget_tokens: int | None = Field(None, gt=0, description="in and out together; never overstepped either")
    price_in: float | None = Field(None, ge=0, description="US dollars for a million tokens in; null: the list price")
    price_out: float | None = Field(None, ge=0, description="US dollars for a million tokens out")
    price_cached: float | None = Field(
        None, ge=0, description="US dollars for a million tokens in that the endpoint had in its cache of prompts"
    )
    reasoning_effort: Effort | None = Field(
        None, description="how much a model thinks before it answers, where it lets one say; null: not sent"
    )
    mode: Literal["auto", "record", "replay"] = Field(
        "auto", description="record: ask for everything anew; replay: from the cache alone, without network"
    )
    transport: Literal["live", "batch"] = Field(
        "live", description="batch: the endpoint's Batch API, cheaper and within a day"
    )
    leave_out: list[Optional] = Field([], description="parameters that the endpoint is never sent")
    poll_seconds: float = Field(30.0, gt=0, description="time between two looks at a batch")
    context: int = Field(2048, ge=512, description="of the embedded server: tokens of a prompt and its answer")
    timeout: float = Field(120.0, gt=0, description="seconds until one attempt is given up")
    requests_per_minute: float | None = Field(None, gt=0, description="the account's limit; null: what 429 teaches")
    tokens_per_minute: float | None = Field(None, gt=0, description="the account's limit; null: what 429 teaches")

    @classmethod
    def refused(cls, values: dict[str, Any]) -> dict[str, str]:
        """What is no address."""
        found, url = super().refused(values), values.get("base_url", EMBEDDED)
        if isinstance(url, str) and url != EMBEDDED and not _is_address(url):
            found["base_url"] = f"base_url is {url!r}, not an address such as http://127.0.0.1:8080/v1 or {EMBEDDED!r}"
        return found

    def conflicts(self) -> list[str]:
        """Half a price, a budget in dollars without one, batches of the embedded server; what is wrong with one of
        several endpoints."""
        found = super().conflicts()
        if self.endpoints:
            return found + self._endpoint_conflicts()
        if (self.price_in is None) != (self.price_out is None):
            found.append(f"price_in and price_out are {self.price_in} and {self.price_out}; give both, or neither")
        elif self.price_cached is not None and self.price_in is None:
            found.append(
                f"price_cached is {self.price_cached}, but price_in and price_out are not told; give all three"
            )
        elif self.budget_usd is not None and self.price is None:
            found.append(
                f"budget_usd is {self.budget_usd}, but the price of {self.model!r} is not known: "
                "give price_in and price_out, or a budget of tokens"
            )
        if "max_tokens" in self.leave_out and (self.budget_usd is not None or self.budget_tokens is not None):
            found.append("leave_out names max_tokens, but without it no call has a largest cost: leave out the budget")
        if self.base_url == EMBEDDED and self.transport == "batch":
            found.append(
                "transport is 'batch', but the embedded server has no Batch API: set transport to live, or base_url to "
                "an endpoint that has one"
            )
        return found

    def _endpoint_conflicts(self) -> list[str]:
        found = [] if self.base_url == EMBEDDED else ["base_url and endpoints are both given: name it among endpoints"]
        if (self.price_in, self.price_out, self.price_cached) != (None, None, None):
            found.append("price_in, price_out and price_cached are of one endpoint: give each of endpoints its own")
        if self.transport == "batch":
            found.append("transport is 'batch' with several endpoints: batches go to one, so set base_url, or live")
        names = [(e.base_url, e.model) for e in self.endpoints]
        for number, (endpoint, name) in enumerate(zip(self.endpoints, names, strict=True)):
            if endpoint.base_url == EMBEDDED or not _is_address(endpoint.base_url):
                found.append(f"endpoints.{number}.base_url is no address such as http://127.0.0.1:8080/v1")
            elif name in names[:number]:
                found.append(f"endpoints.{number} is {endpoint.model!r} at {safe_url(endpoint.base_url)} once more")
            else:
                try:
                    self._asking(endpoint)
                except ParameterError as error:
                    found += [f"endpoints.{number}: {line.strip(' -')}" for line in str(error).splitlines()[1:]]
        return found

    def _asking(self, endpoint: Endpoint) -> LLMOptions:
        told = {name: value for name, value in endpoint.model_dump(exclude={"weight"}).items() if value is not None}
        return self.part(LLMOptions, **{"endpoints": [], **told})

    @property
    def each(self) -> list[LLMOptions]:
        """How each of several endpoints is asked; these options alone where there is one."""
        return [self._asking(endpoint) for endpoint in self.endpoints] or [self]

    @property
    def weights(self) -> list[float]:
        """Of `each`."""
        return [endpoint.weight for endpoint in self.endpoints] or [1.0]

    @property
    def url(self) -> str:
        """The address without user name and password; of several, all of them."""
        return ", ".join(dict.fromkeys(safe_url(e.base_url) for e in self.endpoints)) or safe_url(self.base_url)

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """The hosts that it sends texts to and that are not this machine; none where answers are replayed."""
        return () if self.mode == "replay" else hosts_elsewhere(options.base_url for options in self.each)

    @property
    def models(self) -> str:
        """The name of the model; of several, all of them."""
        return ", ".join(dict.fromkeys(e.model for e in self.endpoints)) or self.model

    @property
    def small(self) -> bool:
        """Whether a model that comes as a package is asked: of 135 million parameters little can be asked."""
        return any(is_shipped(options.model) for options in self.each)

    @property
    def at_once(self) -> int:
        """Calls in flight, at all endpoints together."""
        return sum(options.concurrency for options in self.each)

    @cached_property
    def price(self) -> Price | None:
        """What a million tokens cost, of several endpoints by their weights; None where it is not known."""
        if self.endpoints:
            prices, total = [options.price for options in self.each], sum(self.weights)
            known = [(p, w / total) for p, w in zip(prices, self.weights, strict=True) if p is not None]
            if len(known) < len(prices):
                return None
            return Price(
                per_million_in=sum(p.per_million_in * share for p, share in known),
                per_million_out=sum(p.per_million_out * share for p, share in known),
                per_million_cached=sum(p.cached * share for p, share in known),
            )
        if self.base_url == EMBEDDED:
            return Price(per_million_in=0.0, per_million_out=0.0)
        if self.price_in is not None and self.price_out is not None:
            told = {"per_million_in": self.price_in, "per_million_out": self.price_out}
            return Price(**told, per_million_cached=self.price_cached)
        return known_price(self.url, self.model)


def _is_address(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.hostname)
