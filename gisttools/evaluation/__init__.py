"""Scores models on mteb tasks and on your own files, and compares them with intervals.

Begin with `evaluate` on `task_sources`; then `leaderboard` and `gain_curve`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
