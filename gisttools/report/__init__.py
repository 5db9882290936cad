"""The report: what is read (`data`), what is said (`words`, `facts`, `tables`, `figures`), its files (`render`).

Beside it `browse`, a page to look through the triplets of a run.
"""

from importlib import import_module

_WHERE = {"ReportData": "data", "collect": "data", "write_browser": "browse", "write_report": "render"}
__all__ = sorted(_WHERE)


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"module 'gisttools.report' has no attribute {name!r}")
    return getattr(import_module(f"gisttools.report.{_WHERE[name]}"), name)
