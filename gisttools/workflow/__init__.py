"""Runs the notebooks: parameters, folders, manifests, recipes, execution here and on clusters.

Begin with `start`, which gives a notebook its run, `new_run`, which makes one in Python, and `run_recipe`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
