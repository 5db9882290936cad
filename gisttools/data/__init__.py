"""Texts as they come: files of rows, labelled texts, triplet sets, evaluation folders; duplicates and overlap."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
