"""Low-rank adapters (LoRA, arXiv 2106.09685), of peft: trained in place of the weights, merged into them after."""

from __future__ import annotations

import importlib.util

from sentence_transformers import SentenceTransformer

from gisttools.common import MissingError, ModelError

INSTALL = 'pip install "gisttools[lora]"'


def add_lora(student: SentenceTransformer, rank: int) -> None:
    """Freeze the student and put an adapter of this rank next to each of its linear layers.

    Raises:
        MissingError: peft is not installed.
        ModelError: the student has no transformer to adapt.
    """
    if importlib.util.find_spec("peft") is None:
        raise MissingError(f"LoRA needs the package peft. Install it: {INSTALL}")
    if not student.has_peft_compatible_model():
        raise ModelError(f"lora_rank is {rank}, but this student has no transformer layers. Set lora_rank to null.")
    from peft import LoraConfig

    student.add_adapter(LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear"))


def merge_lora(student: SentenceTransformer) -> None:
    """Add the adapters to the weights and take them away: the student is a plain model again, of the same outputs."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    model = student.transformers_model
    for name, layer in list(model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.get_base_layer())
    del model.peft_config
    model._hf_peft_config_loaded = False
    for weight in model.parameters():
        weight.requires_grad_(True)
