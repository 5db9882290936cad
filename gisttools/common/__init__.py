"""Holds what every room stands on: errors, options, files, secrets, endpoint calls, progress, the wording of numbers.

Begin with `GistError`, the base of all errors, and `Options`, the base of all options.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
