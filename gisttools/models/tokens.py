"""Counts the tokens of texts as a model does, so that documents are cut to what it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_ENDLESS = 1_000_000  # a tokenizer that knows no limit says more


class TokenCounter:
    """The tokens of each text, without the marks that a model puts around it; long texts are counted whole.

    Args:
        model: a `SentenceTransformer`, or a guide.

    Attributes:
        most: tokens that the model reads of a text, marks and its prompt for documents taken off; None where it reads
            all, as static models do, or does not say.
    """

    def __init__(self, model: Any) -> None:
        tokenizer = model.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        self._backend: Any = None
        self._python: Any = tokenizer
        marks = 2
        if hasattr(backend, "encode_batch"):
            from tokenizers import Tokenizer

            self._backend = Tokenizer.from_str(backend.to_str())  # a copy: the model's own may cut and pad
            self._backend.no_truncation()
            self._backend.no_padding()
            marks = self._backend.num_special_tokens_to_add(False)
        longest = getattr(model, "max_seq_length", None)
        prompts = getattr(model, "prompts", None) or {}
        prompt = (prompts.get("document") if isinstance(prompts, Mapping) else prompts.document) or ""
        self.most: int | None = None
        if isinstance(longest, int | float) and longest < _ENDLESS:
            self.most = max(1, int(longest) - marks - self([prompt])[0])

    def __call__(self, texts: Sequence[str]) -> list[int]:
        if self._backend is None:
            return [len(self._python.tokenize(text)) for text in texts]
        return [len(found.ids) for found in self._backend.encode_batch(list(texts), add_special_tokens=False)]


def token_counter(model: Any) -> TokenCounter | None:
    """How a model counts tokens, to be given to `gisttools.data.make_chunks`; None where it has no tokenizer here, as
    endpoints have none.

    Args:
        model: a `SentenceTransformer`, a guide, or whatever has a `tokenizer`.
    """
    return TokenCounter(model) if getattr(model, "tokenizer", None) is not None else None
