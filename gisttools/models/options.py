"""Says what a guide is and how it is asked: `GuideOptions`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gisttools.common import Options, hosts_elsewhere

OPENAI_URL = "https://api.openai.com/v1"
EMBEDDED, ENDPOINT = "embedded:", "endpoint:"  # what such names begin with
EMBEDDED_MODELS = (f"{EMBEDDED}wordllama-256", f"{EMBEDDED}all-MiniLM-L6-v2")
Precision = Literal["auto", "float32", "bfloat16"]


class GuideOptions(Options):
    """What a guide is, and how it is asked.

    name: a model as in `gisttools.models.open_model`; `endpoint:MODEL`, a model behind an OpenAI-compatible
        `/embeddings` endpoint; or a file of vectors, `x.parquet` or `x.npy`, as in `GivenVectors`.
    base_url, key_variable: of an endpoint, as in `EndpointGuide`.
    precision: of a model, as in `ModelGuide`.
    dtype: float16 halves the space; cosines then move by about 1e-4.
    """

    about = "guide"

    name: str = Field(description="guide model, endpoint:MODEL, or a file of vectors")
    revision: str | None = Field(None, description="commit of a hub guide")
    trust_remote_code: bool | list[str] = Field(
        False,
        description="run code that comes with a model, of a hub model at its pinned commit; "
        "a list of org/name@commit: also code of these repositories",
    )
    prompt: str | None = Field(None, description='text put before every text; "" for none; null: the model\'s prompts')
    query_prompt: str | None = Field(
        None, description='text put before queries, and texts that are alike; "" for none; null: the model\'s'
    )
    document_prompt: str | None = Field(
        None,
        description='text put before documents: positives and negatives of a search; "" for none; null: the model\'s',
    )
    base_url: str | None = Field(None, description="of an endpoint; null for OpenAI's")
    key_variable: str = Field("OPENAI_API_KEY", description="environment variable that holds its key")
    precision: Precision = Field("auto", description="of a model; auto: bfloat16 where the hardware multiplies it")
    dtype: Literal["float32", "float16"] = Field("float32", description="of its vectors on disk")

    def conflicts(self) -> list[str]:
        """A prompt for all texts next to one for some of them."""
        sides = self.query_prompt is not None or self.document_prompt is not None
        both = self.prompt is not None and sides
        return super().conflicts() + (
            ["prompt goes before every text; leave it out, or the prompts by side"] if both else []
        )

    @property
    def query_said(self) -> str | None:
        """What the user says of queries and of texts that are alike."""
        return self.query_prompt if self.prompt is None else self.prompt

    @property
    def document_said(self) -> str | None:
        """What the user says of documents."""
        return self.document_prompt if self.prompt is None else self.prompt


def guide_hosts(name: str | None, base_url: str | None) -> tuple[str, ...]:
    """The host that a guide or model sends texts to, where it is an endpoint that is not on this machine; else none."""
    return hosts_elsewhere([base_url or OPENAI_URL]) if name and name.startswith(ENDPOINT) else ()
