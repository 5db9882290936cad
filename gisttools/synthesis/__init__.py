"""Has texts written by an LLM: the task, prompts, the plan of calls, filters, and triplets of what is left.

Begin with `read_task`, `open_llm` and `generate`; of texts written elsewhere with `read_written` and `sift`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
