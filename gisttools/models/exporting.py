"""Writes models for use elsewhere: as ONNX, in float32 or int8, and of fewer dimensions.

torch's own exporter writes the graph: optimum's does not know transformers 5 yet. The folder is laid out as theirs.
"""

from __future__ import annotations

import copy
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from torch import nn

from gisttools.common import ModelError, ParameterError
from gisttools.models.loading import is_static
from gisttools.models.onnx_encoder import GRAPH, TOKENS, VECTOR, OnnxEncoder, need_onnx, open_onnx
from gisttools.models.reading import PROBES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WEIGHTS = ("*.safetensors", "*.bin", "*.index.json", "*.onnx", "*.onnx.data")  # files that hold them
_MOST_BYTES = 1_800_000_000  # of a graph in one file: protobuf ends at two gigabytes
_ALIKE = 0.999  # least cosine of a text's vectors by the graph and by torch
_EXAMPLE = ["A text.", "Another text, of more words than the first one has."]


def shortened(model: SentenceTransformer, dimensions: int) -> SentenceTransformer:
    """The model with the first `dimensions` numbers of its vectors, which have length one again.

    sentence-transformers' own `truncate_dim` cuts after all modules, so that what it gives has no length of one, and
    servers other than it do not read it. Here it is a module of the model; a static model has a smaller table.

    Raises:
        ParameterError: it has no more dimensions than that.
        ModelError: it is an ONNX graph already.
    """
    _refuse_onnx(model)
    with model.truncate_embeddings(None):
        wide = int(model.get_embedding_dimension())
    if not 1 <= dimensions < wide:
        raise ParameterError(f"dimensions are {dimensions}; the model has {wide}. Name fewer, at least 1.")
    first, *others = model
    if isinstance(first, StaticEmbedding) and all(isinstance(module, Normalize) for module in others):
        table = first.embedding.weight[:, :dimensions].detach().clone()
        modules = [StaticEmbedding(copy.deepcopy(first.tokenizer), embedding_weights=table)]
    else:
        cut = Dense(wide, dimensions, bias=False, activation_function=None, init_weight=torch.eye(dimensions, wide))
        modules = [first, *others, cut]
    return SentenceTransformer(
        modules=[*modules, Normalize()],
        device=model.device,
        prompts=model.prompts,
        default_prompt_name=model.default_prompt_name,
        similarity_fn_name=model.similarity_fn_name,
    )


def check_onnx(model: SentenceTransformer) -> None:
    """Refuse what cannot be written as ONNX, before anything is.

    Raises:
        ModelError: a static model, one that is ONNX already, or one whose pooling leaves out its prompt.
        MissingError: a package is not installed.
    """
    _refuse_onnx(model)
    if is_static(model):
        raise ModelError(
            "A static model has no ONNX form: it looks vectors up in a table, without a network to run. "
            "Fewer dimensions make it smaller: --dimensions 128"
        )
    if any(isinstance(module, Pooling) and not module.include_prompt for module in model):
        raise ModelError("The model leaves its prompt out of the mean over its tokens, which an ONNX graph cannot.")
    need_onnx("onnx", "onnxscript", "onnxruntime")


def _refuse_onnx(model: SentenceTransformer) -> None:
    if isinstance(model[0], OnnxEncoder):
        raise ModelError(f"{model[0].folder} holds ONNX already. Export the model that it was made of.")


def write_onnx(model: SentenceTransformer, folder: Path, *, int8: bool = False) -> None:
    """Write a model folder with a graph in place of weights for torch, and see that it gives the same vectors.

    The graph reads what the tokenizer gives and answers `sentence_embedding`, (texts, dimensions), pooled and
    normalised as the model does, and `last_hidden_state`, (texts, tokens, width), for whoever pools by himself.

    Args:
        model: a transformer.
        folder: new.
        int8: weights as whole numbers of 8 bits, a scale for each channel; what runs between them is quantised text by
            text (dynamic quantisation). A quarter of the size.

    Raises:
        ModelError, MissingError: as `check_onnx`; the graph does not compute what the model does.
    """
    check_onnx(model)
    model.save(str(folder), create_model_card=False)
    for file in [file for pattern in WEIGHTS for file in folder.glob(pattern)]:
        file.unlink()
    _write_tokenizer(model, folder)
    (folder / GRAPH.parent).mkdir()
    large = sum(p.numel() * 4 for p in model.parameters()) > _MOST_BYTES
    _write_graph(model, folder / GRAPH, large)
    _check_same(model, open_onnx(folder))
    if int8:
        _quantise(folder / GRAPH, large)


def weights_of(folder: Path) -> int:
    """Bytes of the weights in a model folder, on disk."""
    files = {file for pattern in WEIGHTS for file in folder.rglob(pattern) if file.stem != "classifier"}
    return sum(file.stat().st_size for file in files)


class _Whole(nn.Module):
    """All modules of a model as one function of tensors."""

    def __init__(self, model: SentenceTransformer, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.model(dict(zip(self.names, inputs, strict=True)))
        return features["token_embeddings"], features["sentence_embedding"]


def _write_graph(model: SentenceTransformer, path: Path, large: bool) -> None:
    own = copy.deepcopy(model).to("cpu").float().eval()
    given = {k: v for k, v in own.preprocess(_EXAMPLE).items() if isinstance(v, torch.Tensor)}
    whole = _Whole(own, list(given)).eval()
    longest = model.max_seq_length  # positions end soon after, and the exporter wants to know that they will do
    tokens = torch.export.Dim("tokens", max=longest) if longest else torch.export.Dim.DYNAMIC
    axes = {0: torch.export.Dim("texts"), 1: tokens}
    with _quietly(), torch.no_grad():
        torch.onnx.export(
            whole,
            tuple(given.values()),
            path,
            input_names=list(given),
            output_names=[TOKENS, VECTOR],
            dynamic_shapes={"inputs": tuple(axes for _ in given)},
            dynamo=True,
            external_data=large,
            verbose=False,
        )


def _quantise(path: Path, large: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=path.parent.parent) as scratch, _quietly():
        made = Path(scratch) / path.name
        # seven bits of a weight: eight overflow on processors without VNNI, which a graph may be taken to
        quantize_dynamic(
            path, made, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8,
            use_external_data_format=large,
        )  # fmt: skip
        shutil.rmtree(path.parent)
        shutil.copytree(scratch, path.parent)


def _write_tokenizer(model: SentenceTransformer, folder: Path) -> None:
    """`tokenizer.json` that cuts and pads by itself, for programs that read nothing else."""
    backend: Tokenizer | None = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None or not (folder / "tokenizer.json").is_file():
        return
    from tokenizers import Tokenizer

    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if model.max_seq_length:
        own.enable_truncation(model.max_seq_length)
    if model.tokenizer.pad_token is not None:
        side, token = model.tokenizer.padding_side, model.tokenizer.pad_token
        own.enable_padding(direction=side, pad_id=model.tokenizer.pad_token_id, pad_token=token)
    own.save(str(folder / "tokenizer.json"))


def _check_same(model: SentenceTransformer, written: SentenceTransformer) -> None:
    texts = [text for script in ("Latin", "Cyrillic", "Chinese") for text in PROBES[script]]
    texts += [" ".join(texts) * 20, *model.prompts.values()]
    before, after = (np.asarray(m.encode(texts, show_progress_bar=False, normalize_embeddings=True))
                     for m in (model, written))  # fmt: skip
    least = float(np.sum(before[:, : after.shape[1]] * after, axis=1).min())
    if not least >= _ALIKE:
        raise ModelError(
            f"The ONNX graph does not give the vectors that the model gives: their cosine falls to {least:.4f}. "
            "torch's exporter does not know how this kind of model computes; use the model without ONNX."
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter says of itself, step by step."""
    levels: dict[str, Any] = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript", "root")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for name in levels:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
