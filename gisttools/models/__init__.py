"""Opens embedding models, and keeps the vectors that a guide gives on disk.

Begin with `open_model`, and with `VectorCache`, which keeps the vectors of the guide that `GuideOptions` name.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
