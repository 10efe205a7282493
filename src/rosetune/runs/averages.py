"""Many runs in the mean over their seeds, as a pandas table."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from rosetune.runs.aggregate import Aggregate, aggregate
from rosetune.runs.figures import Column
from rosetune.runs.run import Run
from rosetune.runs.tested import Row

__all__ = ["as_frame", "averages"]


def averages(runs: Iterable[Run], **options: Any) -> pd.DataFrame:
    """A line per method, task and evaluation set: mean, spread and number of seeds, and tests against a baseline.

    Average and drop over the tasks are lines without a task. Shares are not in percent. What had to be left out, or
    differs between the methods in more than the method, is in ``attrs["notes"]``.

    Args:
        runs: from :func:`rosetune.find_runs`.
        options: of :func:`~rosetune.runs.aggregate.aggregate`, such as ``sets``, ``metric``, ``baseline``, ``test``.

    Returns:
        model, method, row, control, task, set, metric, n, mean, sd, seeds, constant, baseline, difference, p, p_holm,
        p_sign_flip, common (the seeds that row and baseline share). What is not there is missing.

    Raises:
        RunError: nothing to show, or a set, metric, option or baseline that is not there.

    Example:
        table = rosetune.averages(rosetune.find_runs("runs/**"), baseline="vanilla")
        table.pivot_table("mean", "row", ["task", "set"])
    """
    found = aggregate(runs, **options)
    table = as_frame(found)
    table.attrs["notes"] = found.notes
    return table


def as_frame(found: Aggregate, *, listed: bool = False) -> pd.DataFrame:
    """The table of :func:`averages`.

    Args:
        listed: whether seeds are lists, and not text such as "1 2 3".
    """
    lines = [_line(found, row, column) for row in found.rows for column in found.columns if column in row.cells]
    if not listed:
        for line in lines:
            line |= {name: " ".join(map(str, line[name])) for name in ("seeds", "common") if line[name] is not None}
    return pd.DataFrame(lines)


def _line(found: Aggregate, row: Row, column: Column) -> dict[str, Any]:
    cell, tested = row.cells[column], row.tests.get(column)
    metrics = {*found.metrics.values()}
    return {
        "model": row.group.model,
        "method": row.group.method,
        "row": row.group.name,
        "control": row.group.control,
        "task": column.task,
        "set": column.set,
        "metric": found.metrics.get(column.task or "", metrics.pop() if len(metrics) == 1 else "mixed"),
        "n": cell.n,
        "mean": cell.mean,
        "sd": cell.sd,
        "seeds": [*cell.seeds],
        "constant": found.constant.get(column),
        "baseline": found.baselines.get(row.group.model),
        "difference": tested and tested.difference,
        "p": tested and tested.p,
        "p_holm": tested and tested.p_holm,
        "p_sign_flip": tested and tested.p_sign_flip,
        "common": None if tested is None else [*tested.common],
    }
