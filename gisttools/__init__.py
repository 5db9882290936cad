"""Synthetic data, GIST fine-tuning and honest evaluation for text embeddings.

    from gisttools import GISTLoss, GuideStore, LossOptions, VectorCache, finetune, open_model, read_triplets

`docs/python.md` shows each step. More names are in the rooms, such as `gisttools.mining` and `gisttools.evaluation`.
Names are imported on first use: `import gisttools` loads no torch. `__init__.pyi` lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
