"""Runs an encoder as an ONNX graph, by onnxruntime: a folder's `onnx/model.onnx`, without weights for torch.

sentence-transformers reads such folders by optimum, whose ONNX part does not know transformers 5 yet. The graph ends
with the finished vector, `sentence_embedding`, so that whoever runs it needs a tokenizer and nothing else.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import InputModule
from transformers import AutoTokenizer

from gisttools.common import MissingError, ModelError, digest, sha256

GRAPH = Path("onnx") / "model.onnx"
VECTOR, TOKENS = "sentence_embedding", "last_hidden_state"  # what the graph gives
INSTALL_ONNX = 'pip install "gisttools[onnx]"'
_ENDLESS = 1_000_000  # tokens; a tokenizer without a limit tells a number beyond it
_NOT_THE_MODEL = ("README.md", "modules.json", "config_sentence_transformers.json")


def need_onnx(*packages: str) -> None:
    """Refuse to go on without these packages.

    Raises:
        MissingError: some are not installed; the message holds the command that does it.
    """
    if missing := [package for package in packages if find_spec(package) is None]:
        raise MissingError(f"ONNX needs {', '.join(missing)}, which is not installed. Install it: {INSTALL_ONNX}")


def open_onnx(folder: Path) -> SentenceTransformer:
    """The graph in a folder as a model whose `encode` gives vectors; it runs on the CPU, on as many threads as torch.

    Raises:
        MissingError: onnxruntime is not installed.
        ModelError: the graph gives no vectors of texts.
    """
    need_onnx("onnxruntime")
    told = folder / "config_sentence_transformers.json"
    config = json.loads(told.read_text(encoding="utf-8")) if told.is_file() else {}
    return SentenceTransformer(
        modules=[OnnxEncoder(folder)],
        device="cpu",
        prompts=config.get("prompts"),
        default_prompt_name=config.get("default_prompt_name"),
        similarity_fn_name=config.get("similarity_fn_name"),
    )


class OnnxEncoder(InputModule):
    """Texts to vectors by the graph of a folder, which holds its tokenizer as well."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        super().__init__()
        self.folder = folder
        self.tokenizer = AutoTokenizer.from_pretrained(str(folder))
        longest = self.tokenizer.model_max_length
        self.max_seq_length = int(longest) if longest < _ENDLESS else None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])
        self.reads = [given.name for given in self.session.get_inputs()]
        shapes = {made.name: made.shape for made in self.session.get_outputs()}
        if VECTOR not in shapes:
            raise ModelError(
                f"{folder / GRAPH} gives {', '.join(shapes)} and no {VECTOR}, the vector of a text. Export the model "
                "that it was made of: gisttools export MODEL --onnx"
            )
        self.dimension = int(shapes[VECTOR][1])
        # a model is named by the content of its weights, wherever vectors or scores of it are kept
        files = sorted(file for file in (folder / GRAPH.parent).iterdir() if file.is_file())
        content = digest("".join(map(sha256, files)), size=32)
        self.register_buffer("content", torch.frombuffer(bytearray.fromhex(content), dtype=torch.uint8))

    def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **_: Any) -> dict[str, Any]:
        """Tokens of texts, int64 (n, tokens) each, cut to what the model reads."""
        cut = {"truncation": True, "max_length": self.max_seq_length} if self.max_seq_length else {}
        texts = [f"{prompt or ''}{text}" for text in inputs]
        return dict(self.tokenizer(texts, padding=True, return_tensors="pt", **cut))

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        given = {name: features[name].numpy() for name in self.reads}
        features[VECTOR] = torch.from_numpy(self.session.run([VECTOR], given)[0])
        return features

    def get_embedding_dimension(self) -> int:
        return self.dimension

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Copy the folder; `open_model` opens the copy as it does the first."""
        shutil.copytree(self.folder, output_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_NOT_THE_MODEL))
