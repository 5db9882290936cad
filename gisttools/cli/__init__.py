"""Offers the command `gisttools`, a thin layer over `gisttools.workflow`.

Begin with `gisttools.cli.main`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
