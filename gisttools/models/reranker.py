"""Opens cross-encoders, which read query and passage together, and keeps what they said of a pair."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gisttools.common import GistError, MissingError, ModelError, cache_folder, digest, first_line
from gisttools.models.custom_code import trusted
from gisttools.models.loading import EMBEDDED, is_static, open_model, reading_sha, weights_sha

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

log = logging.getLogger(__name__)
_AT_ONCE = 32  # pairs read at a time


def open_cross_encoder(
    name: str,
    revision: str | None = None,
    *,
    fresh: bool = False,
    seed: int = 42,
    device: str | None = None,
    trust_remote_code: bool | Sequence[str] = False,
) -> CrossEncoder:
    """Open a cross-encoder that gives a pair one score.

    Args:
        name: a model folder, a name on the hub, or with `fresh` `embedded:all-MiniLM-L6-v2`.
        revision: commit, tag or branch of a hub model.
        fresh: an encoder may be opened that gives no scores yet; it is to be trained.
        seed: of what it is given then, drawn at random.
        device: as in torch; the best one present if None.
        trust_remote_code: let code run that comes with the model, as in `gisttools.models.trusted`.

    Raises:
        MissingError: a folder does not exist.
        ModelError: it cannot be loaded, gives a pair several scores, or is an encoder that was not trained for it.
    """
    from sentence_transformers import CrossEncoder
    from transformers import set_seed

    if name.startswith(EMBEDDED):
        encoder = open_model(name, device="cpu")
        if not fresh or is_static(encoder):
            raise ModelError(f"{name} reads no pairs. Name a cross-encoder, or a transformer to make one of.")
        name = str(encoder[0].auto_model.config._name_or_path)
    folder = Path(name).expanduser()
    if not folder.is_dir() and (name.count("/") != 1 or name.startswith((".", "/", "~"))):
        raise MissingError(f"No cross-encoder at {name}. Name a folder, or a hub model (org/name).")
    try:
        code = trusted(name, revision, trust_remote_code)
        if fresh:
            set_seed(seed)
        model = CrossEncoder(name, revision=revision, device=device, num_labels=1 if fresh else None, **code)
        bare = all(kind.endswith("Model") for kind in _architectures(name, revision))
    except GistError:
        raise
    except Exception as error:  # torch, tokenizers, safetensors and the hub each have kinds of their own
        why = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelError(
            f"Cross-encoder {name} cannot be loaded: {why}. Check the spelling and the network."
        ) from error
    if bare and not fresh:
        raise ModelError(
            f"{name} is an encoder and scores no pairs: what it said would be random. Name a cross-encoder, or train "
            "one (finetune.reranker)."
        )
    if model.num_labels != 1:
        raise ModelError(f"Cross-encoder {name} gives a pair {model.num_labels} scores. Name one that gives one.")
    return model


def _architectures(name: str, revision: str | None) -> list[str]:
    """The classes that were saved."""
    from transformers import PretrainedConfig

    told, _ = PretrainedConfig.get_config_dict(name, revision=revision)
    return list(told.get("architectures") or ["Unknown"])


class Reranker:
    """Puts passages in order by reading each with the query. What it said is kept, a line a query, and never asked for
    again.

    Args:
        model: from `open_cross_encoder`.
        folder: where scores are kept; `cache_folder()/rerankers` if None.
    """

    def __init__(self, model: CrossEncoder, folder: Path | None = None) -> None:
        self.model = model
        self.identity = f"reranker|{weights_sha(model)}|{reading_sha(model)}"
        self._file = (folder or cache_folder() / "rerankers") / f"{digest(self.identity)}.jsonl"
        self._kept: dict[str, list[float]] = dict(_lines(self._file))

    @property
    def megabytes(self) -> float:
        """Of its weights, in millions of bytes."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters()) / 1e6

    def scores(self, query: str, passages: Sequence[str], *, fresh: bool = False) -> NDArray[np.float64]:
        """The higher, the better a passage answers, (n,). `fresh`: not from what is kept, and not kept."""
        key = digest(json.dumps([query, *passages], ensure_ascii=False), 16)
        found = None if fresh else self._kept.get(key)
        if found is None or len(found) != len(passages):
            pairs = [(query, passage) for passage in passages]
            told = self.model.predict(pairs, batch_size=_AT_ONCE, show_progress_bar=False)
            found = np.asarray(told, dtype=np.float64).tolist()
            if not fresh:
                self._keep(key, found)
        return np.asarray(found, dtype=np.float64)

    def reorder(
        self, query: str, ranked: Mapping[str, float], passages: Mapping[str, str], depth: int
    ) -> dict[str, float]:
        """The first `depth` documents of a ranking (id to score) in the order of their scores here, the others behind
        as they were; scores fall by one a place."""
        order = sorted(ranked, key=lambda name: (-ranked[name], name))
        first = order[:depth]
        scores = self.scores(query, [passages[name] for name in first])
        first = [first[place] for place in np.argsort(-scores, kind="stable")]
        return {name: float(len(order) - place) for place, name in enumerate([*first, *order[depth:]])}

    def _keep(self, key: str, scores: list[float]) -> None:
        self._kept[key] = scores
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "scores": scores}) + "\n")


def _lines(file: Path) -> list[tuple[str, list[float]]]:
    """What was kept; a line that was cut short is left out."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        log.warning("%s cannot be read (%s); pairs are scored again", file, first_line(error))
        return []
    found = []
    for line in lines:
        try:
            told = json.loads(line)
            found.append((str(told["key"]), [float(score) for score in told["scores"]]))
        except (ValueError, TypeError, LookupError):
            continue
    return found
