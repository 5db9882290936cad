"""Runs of the notebooks: parameters, folders, manifests, execution.

Names are imported on first use: the command asks for parameters and runs, and need not wait for more.
"""

from importlib import import_module

__all__ = ["Run", "start"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module 'gisttools.workflow' has no attribute {name!r}")
    return getattr(import_module("gisttools.workflow.session"), name)
