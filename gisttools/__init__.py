"""Synthetic data, GIST fine-tuning and honest evaluation for text embeddings.

    from gisttools import gist_loss, GISTLoss, GuideStore, VectorCache, read_triplets, read_labelled

Names are imported on first use: `import gisttools` loads no torch.
"""

from importlib import import_module

_WHERE = {
    "GISTLoss": "loss",
    "GistError": "errors",
    "GuideStore": "guide",
    "VectorCache": "vectors",
    "evaluate": "evaluation",
    "finetune": "training",
    "gist_loss": "loss",
    "open_model": "models",
    "read_labelled": "labelled",
    "read_triplets": "triplets",
    "triplets_from_labelled": "mining",
    "write_triplets": "triplets",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"module 'gisttools' has no attribute {name!r}")
    return getattr(import_module(f"gisttools.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
