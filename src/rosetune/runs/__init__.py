"""What finished runs are: read from their folders, put into tables, compared. Nothing here loads torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rosetune.runs.run import Run, RunError, find_runs
    from rosetune.runs.table import examples, scores

__all__ = ["Run", "RunError", "examples", "find_runs", "scores"]

# The command line reads the configuration alone: pandas and scipy are loaded where they are used.
_HOME = {"Run": "run", "RunError": "run", "find_runs": "run", "scores": "table", "examples": "table"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"rosetune.runs.{_HOME[name]}"), name)
    raise AttributeError(f"module 'rosetune.runs' has no attribute {name!r}")
