"""How a student computes while it is trained: with or without its dropout, and by which attention."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

_SHORT = 128  # tokens: in bfloat16 on CPUs, backward passes of the fused attention are slower up to here


def has_dropout(model: nn.Module) -> bool:
    """Whether the model draws at random in its present mode: a dropout module, or a rate that an attention applies
    itself, be it kept on the module or in its configuration. Rather once too often than once too few."""
    return any(rate > 0 for module in model.modules() if module.training for _, _, rate in _rates(module))


@contextlib.contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Inside, the model drops nothing; its rates, also those of its configuration, are then as before."""
    before = {(id(holder), name): (holder, name, rate) for m in model.modules() for holder, name, rate in _rates(m)}
    try:
        for holder, name, _ in before.values():
            holder[name] = 0.0
        yield
    finally:
        for holder, name, rate in before.values():
            holder[name] = rate


@contextlib.contextmanager
def quick_attention(student: SentenceTransformer, precision: str) -> Iterator[None]:
    """Inside, short texts are attended to by the plain attention, where that is quicker: in bfloat16 on a CPU.

    The same mathematics in another order of additions.

    Args:
        precision: of the training, such as "bfloat16".
    """
    model = student.transformers_model
    kind = getattr(getattr(model, "config", None), "_attn_implementation", None)
    able = kind == "sdpa" and precision == "bfloat16" and student.device.type == "cpu"
    if model is None or not able or not model._can_set_attn_implementation():
        yield
        return

    def choose(_: nn.Module, inputs: tuple[dict[str, torch.Tensor], ...]) -> None:
        ids = inputs[0].get("input_ids")
        wanted = "eager" if ids is not None and ids.ndim == 2 and ids.shape[1] <= _SHORT else kind
        if model.config._attn_implementation != wanted:
            model.set_attn_implementation(wanted)

    hook = student.register_forward_pre_hook(choose)
    try:
        yield
    finally:
        hook.remove()
        model.set_attn_implementation(kind)


def _rates(module: nn.Module) -> Iterator[tuple[dict[str, object], str, float]]:
    """Where a module keeps rates of dropout: the dictionary, the name in it, and the rate."""
    if isinstance(module, _DropoutNd):
        yield vars(module), "p", module.p
    for holder in (vars(module), getattr(vars(module).get("config"), "__dict__", {})):
        for name, rate in holder.items():
            if "drop" in name and "classifier" not in name and isinstance(rate, int | float):
                yield holder, name, rate
