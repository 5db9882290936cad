"""Writes pages, figures and tables of what was measured.

Begin with `write_report`; the pictures are in `figures`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
