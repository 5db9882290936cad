"""Fine-tuning a student: the GIST loss, the guide store, batches, the trainer and what it leaves."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
