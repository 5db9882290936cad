"""Labelled texts to triplets: which positive, which negatives, what was left out and why."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
