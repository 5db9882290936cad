"""Says what a guide is and how it is asked: `GuideOptions`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gisttools.common import Options

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
    prompt: str | None = Field(None, description="text put before every text")
    base_url: str | None = Field(None, description="of an endpoint; null for OpenAI's")
    key_variable: str = Field("OPENAI_API_KEY", description="environment variable that holds its key")
    precision: Precision = Field("auto", description="of a model; auto: bfloat16 where the hardware multiplies it")
    dtype: Literal["float32", "float16"] = Field("float32", description="of its vectors on disk")
