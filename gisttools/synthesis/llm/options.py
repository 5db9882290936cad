"""Says which LLM is asked, and how: `LLMOptions`."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from gisttools.common import Options, safe_url
from gisttools.synthesis.llm.budget import Price, known_price

Optional = Literal["seed", "temperature", "max_tokens", "response_format"]
EMBEDDED = "embedded"  # in place of an address: the server that `open_llm` starts


class LLMOptions(Options):
    """Which model, behind which OpenAI-compatible endpoint, and how it is asked.

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
    """

    about = "LLM"

    base_url: str = Field(EMBEDDED, description='OpenAI-compatible endpoint, or "embedded"')
    model: str = Field(
        "embedded:SmolLM2-135M-Instruct", min_length=1, description="model name at the endpoint, or a GGUF file"
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
        """Half a price, a budget in dollars without one, batches of the embedded server."""
        found = super().conflicts()
        if (self.price_in is None) != (self.price_out is None):
            found.append(f"price_in and price_out are {self.price_in} and {self.price_out}; give both, or neither")
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

    @property
    def url(self) -> str:
        """The address without user name and password."""
        return safe_url(self.base_url)

    @cached_property
    def price(self) -> Price | None:
        """What a million tokens cost; None where it is not known."""
        if self.base_url == EMBEDDED:
            return Price(per_million_in=0.0, per_million_out=0.0)
        if self.price_in is not None and self.price_out is not None:
            return Price(per_million_in=self.price_in, per_million_out=self.price_out)
        return known_price(self.url, self.model)


def _is_address(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.hostname)
