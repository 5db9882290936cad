"""Synthetic data, GIST fine-tuning and honest evaluation for text embeddings.

    from gisttools import gist_loss, GISTLoss, GuideStore, VectorCache, read_triplets, read_labelled

Names are imported on first use: `import gisttools` loads no torch. `__init__.pyi` lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
