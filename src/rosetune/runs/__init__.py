"""What finished runs are: read from their folders, put into tables, compared. Nothing here loads torch."""

from rosetune.runs.run import Run, RunError, find_runs
from rosetune.runs.table import examples, scores

__all__ = ["Run", "RunError", "examples", "find_runs", "scores"]
