"""Makes triplets of labelled texts: which positive, which negatives, what was left out and why.

Begin with `triplets_from_labelled` for one source, or `convert` for several, under `MiningOptions`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
