"""Scoring models on mteb tasks and on your own files, and comparing them with intervals."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
