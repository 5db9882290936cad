"""What every room stands on: errors, files, secrets, endpoint calls, progress, the wording of numbers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
