"""Turns the trainer's token batches into vectors: all columns of a step in length-sorted micro-batches.

A step's texts differ widely in length and the collator pads every column to its longest text. Sorted by length, cut
into micro-batches of equal token budget and trimmed, the same texts cost a fraction of the tokens; the vectors are put
back in order, so the mathematics is the same. Texts that occur several times in a step can be embedded once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from sentence_transformers.sentence_transformer.losses.matryoshka import ForwardDecorator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gisttools.common import DataError
from gisttools.training.computing import has_dropout

_CPU_TOKENS, _GPU_TOKENS = 1024, 65536  # one micro-batch: fits the caches of a core, or fills a GPU


def embed_columns(
    model: nn.Module,
    features: list[dict],
    tokens_per_forward: int | None = None,
    mini_batch_size: int | None = None,
    equal_texts_once: bool | None = None,
) -> list[Tensor]:
    """One tensor of sentence embeddings, shape (B, D), for each column of token features.

    With `mini_batch_size` a micro-batch holds at most so many texts, and only its vectors are kept: its activations are
    computed again in the backward pass, under the same random state.

    With `equal_texts_once` texts of equal tokens are embedded once: the same vectors, and gradients that add up. By
    default (None) so where `model` has no active dropout; with dropout, copies of a text would share its random draw.

    Where the pooling leaves prompts out, `prompt_length` of a column (the same for all its texts, or one a text) says
    how many tokens they are; a micro-batch then holds texts of one such length.

    Columns that are not plain padded token batches (static embeddings, flattened or multi-modal input) are embedded
    one by one.

    Raises:
        DataError: such a column holds prompts of several lengths, and the pooling leaves them out.
    """
    features, prompts = _take_prompts(model, features)
    if not _plain_text(features):
        features = [_with_length(f, lengths) for f, lengths in zip(features, prompts, strict=True)]
        return [model(f)["sentence_embedding"] for f in features]
    mask, tensors, rest, left = _stacked(features)
    skipped = _skipped(prompts, mask)
    number = None
    if not has_dropout(model) if equal_texts_once is None else equal_texts_once:
        number, first = _equal_rows(torch.cat([*tensors.values(), skipped[:, None]], dim=1))
        if number is not None:
            mask, skipped = mask[first], skipped[first]
            tensors = {key: value[first] for key, value in tensors.items()}
    lengths = mask.sum(1)
    order = torch.argsort(lengths, stable=True)
    order = order[torch.argsort(skipped[order], stable=True)]
    budget = tokens_per_forward or _budget(mask.device)
    outputs = []
    for rows, width, skip in _parts(order, lengths, skipped, budget, mini_batch_size or len(order)):
        columns = slice(-width, None) if left else slice(width)
        part = {key: value[rows][:, columns] for key, value in tensors.items()}
        told = {"prompt_length": skip} if skip else {}
        outputs.append(_embed(model, {**rest, **told, **part}, forget=mini_batch_size is not None))
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    vectors = torch.cat(outputs)[back if number is None else back[number]]
    return list(vectors.view(len(features), -1, vectors.shape[-1]).unbind(0))


def _stacked(features: list[dict]) -> tuple[Tensor, dict[str, Tensor], dict, bool]:
    """Of all columns below each other: the attention mask, all tensors of tokens (it too), what else a model gets, and
    whether they are padded on the left."""
    # asked of all columns at once, for each answer waits for the device
    left = bool((torch.cat([f["attention_mask"][:, 0] for f in features]) == 0).any())
    mask = _stack([f["attention_mask"] for f in features], left)
    tensors = {key: _stack([f[key] for f in features], left) for key in _token_keys(features[0])}
    return mask, tensors, {key: value for key, value in features[0].items() if key not in tensors}, left


def _parts(
    order: Tensor, lengths: Tensor, skipped: Tensor, budget: int, most: int
) -> Iterator[tuple[Tensor, int, int]]:
    """The rows of each micro-batch, its width, and how many tokens of its texts the pooling leaves out: the same."""
    values, counts = torch.unique_consecutive(skipped[order], return_counts=True)
    for skip, rows in zip(values.tolist(), order.split(counts.tolist()), strict=True):
        for begin, end, width in _micro_batches(lengths[rows].tolist(), budget, most):
            yield rows[begin:end], width, skip


Lengths: TypeAlias = int | Tensor | None  # of prompts in tokens: of all texts of a column, or (B,) of each


def _take_prompts(model: nn.Module, features: list[dict]) -> tuple[list[dict], list[Lengths]]:
    """The columns without the lengths of their prompts, and these where the pooling leaves prompts out."""
    leaves_out = any(getattr(module, "include_prompt", True) is False for module in model.modules())
    lengths = [f.get("prompt_length") if leaves_out else None for f in features]
    return [{key: value for key, value in f.items() if key != "prompt_length"} for f in features], lengths


def _with_length(features: dict, lengths: Lengths) -> dict:
    if lengths is None:
        return features
    different = torch.as_tensor(lengths).unique()
    if len(different) > 1:
        raise DataError(
            f"A column of a batch has prompts of {different.tolist()} tokens, which the pooling is to leave out, and "
            "is embedded as it is. Put rows of one kind into a batch (batches: one_set)."
        )
    return {**features, "prompt_length": int(different[0])}


def _skipped(lengths: list[Lengths], mask: Tensor) -> Tensor:
    """How many tokens of each text the pooling leaves out, (texts,)."""
    each = len(mask) // len(lengths)
    parts = [torch.as_tensor(0 if n is None else n, device=mask.device).reshape(-1) for n in lengths]
    return torch.cat([part.expand(each) if len(part) == 1 else part for part in parts])


def _plain_text(features: list[dict]) -> bool:
    """Are all columns padded token batches of one kind?"""
    return all(_is_padded_text(f) and f.keys() == features[0].keys() for f in features)


@dataclass(frozen=True)
class BatchRows:
    """Guide vectors, text ids and label ids of one batch; shapes as in `gisttools.training.gist_loss`."""

    anchor: Tensor | None
    positive: Tensor | None
    negatives: Tensor | None
    text_ids: Tensor
    label_ids: Tensor


def rows_from_tokens(
    student: nn.Module, guide: nn.Module | None, features: list[dict], labels: Tensor | None
) -> BatchRows:
    """What a guide store would answer, made from the batch's own tokens: a guide model embeds the decoded texts.

    Decoded tokens are not quite the raw texts (an uncased tokenizer loses the case): good enough to teach and compare,
    not to train at scale, where a store is also many times faster.
    """
    tokens = [_token_rows(f) for f in features]
    text_ids = torch.tensor([[_text_id(row) for row in column] for column in tokens]).T
    label_ids = torch.full_like(text_ids, -1)
    if labels is not None:
        label_ids[:, :2] = labels.view(-1, 1).cpu()
    if guide is None:
        return BatchRows(None, None, None, text_ids, label_ids)
    unique = {row: i for i, row in enumerate(dict.fromkeys(row for column in tokens for row in column))}
    texts = [student.tokenizer.decode(list(row), skip_special_tokens=True) for row in unique]
    with torch.no_grad():
        vectors = guide.encode(texts, convert_to_tensor=True, show_progress_bar=False)
    columns = [vectors[[unique[row] for row in column]] for column in tokens]
    if len(columns) == 1:  # labelled texts
        return BatchRows(columns[0], None, None, text_ids, label_ids)
    return BatchRows(columns[0], columns[1], torch.stack(columns[2:], 1) if columns[2:] else None, text_ids, label_ids)


def _is_padded_text(features: dict) -> bool:
    mask = features.get("attention_mask")
    if not isinstance(mask, Tensor) or mask.ndim != 2 or "cu_seq_lens_q" in features:
        return False
    tensors = [v for v in features.values() if isinstance(v, Tensor)]
    return all(v.shape[:2] == mask.shape and v.ndim == 2 and not v.is_floating_point() for v in tensors)


def _equal_rows(rows: Tensor) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """For each row the number of its content, and for each number one row of that content; None if all rows differ.

    Rows differ by a random sum of their entries, which sorts faster than the rows would, and compared in full.
    """
    generator = torch.Generator().manual_seed(rows.shape[1])
    weights = torch.randint(-(2**62), 2**62, (rows.shape[1],), generator=generator).to(rows.device)
    found, number = torch.unique((rows * weights).sum(1), return_inverse=True)
    places = torch.arange(len(rows), device=rows.device)
    first = torch.empty_like(found)
    first[number] = places  # any row of that content will do
    if len(first) == len(rows) or not torch.equal(rows, rows[first[number]]):
        return None, None
    return number, first


def _token_keys(features: dict) -> list[str]:
    return [key for key, value in features.items() if isinstance(value, Tensor)]


def _stack(columns: list[Tensor], left: bool) -> Tensor:
    width = max(c.shape[1] for c in columns)
    missing = [width - c.shape[1] for c in columns]
    return torch.cat([F.pad(c, (m, 0) if left else (0, m)) for c, m in zip(columns, missing, strict=True)])


class _Forgetful:
    """A forward pass that keeps the vectors alone; activations are computed again in the backward pass."""

    def __init__(self, forward: Callable[[dict], dict]) -> None:
        self.forward = forward

    def __call__(self, features: dict) -> dict[str, Tensor]:
        def vectors() -> Tensor:
            return self.forward(dict(features))["sentence_embedding"]

        return {"sentence_embedding": checkpoint(vectors, use_reentrant=False)}


def _embed(model: nn.Module, features: dict, forget: bool) -> Tensor:
    call: Callable[[dict], dict] = model
    if forget and torch.is_grad_enabled():
        if not isinstance(model.forward, ForwardDecorator):
            call = _Forgetful(model)
        elif not isinstance(model.forward.fn, _Forgetful):
            # MatryoshkaLoss cuts the vectors in a forward of its own, which is gone by the backward pass
            model.forward.fn = _Forgetful(model.forward.fn)
    return call(dict(features))["sentence_embedding"]


def _micro_batches(lengths: list[int], budget: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Ranges (begin, end, width) over ascending lengths, of at most `most` rows and `budget` tokens, or one row."""
    begin = 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or end - begin == most or (end + 1 - begin) * lengths[end] > budget:
            yield begin, end, max(lengths[end - 1], 1)
            begin = end


def _budget(device: torch.device) -> int:
    return _CPU_TOKENS if device.type == "cpu" else _GPU_TOKENS


def _text_id(tokens: tuple[int, ...]) -> int:
    """The same on every device: a hash, not a running number."""
    return int.from_bytes(hashlib.blake2b(repr(tokens).encode(), digest_size=8).digest()) >> 1


def _token_rows(features: dict) -> list[tuple[int, ...]]:
    ids = features["input_ids"]
    if "offsets" in features:  # static embeddings: one flat stream
        ends = [*features["offsets"][1:].tolist(), len(ids)]
        flat = ids.tolist()
        return [tuple(flat[begin:end]) for begin, end in zip(features["offsets"].tolist(), ends, strict=True)]
    mask = features["attention_mask"].bool()
    return [tuple(row[keep].tolist()) for row, keep in zip(ids, mask, strict=True)]
