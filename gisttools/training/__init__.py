"""Fine-tunes a student: the GIST loss, the guide store, batches, the trainer and what it leaves.

Begin with `GISTLoss` on a `GuideStore`, and `finetune`; `gist_loss` is the loss as a pure function.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
