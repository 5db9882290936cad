"""Runs of the notebooks: parameters, folders, manifests, execution."""

from gisttools.workflow.session import Run, start

__all__ = ["Run", "start"]
