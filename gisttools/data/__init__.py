"""Reads texts as they come: files of rows, labelled texts, triplet sets, evaluation folders; finds overlap.

Begin with `read_labelled` and `read_triplets`; `find_overlap` finds texts that two sets share.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
