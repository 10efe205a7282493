"""Whether a plan's table can be made of its runs, found out before they are trained."""

from collections.abc import Sequence

from rosetune.experiments.plan import Plan
from rosetune.experiments.planned import PlannedRun
from rosetune.runs.groups import told_options
from rosetune.runs.values import RunError

__all__ = ["check_table"]


def check_table(plan: Plan, runs: Sequence[PlannedRun]) -> None:
    """Check what the table names against the runs.

    Args:
        runs: all of the plan.

    Raises:
        RunError: no row is the baseline, or no run is given the option of table3; with the line.
    """
    if not plan.table:
        return
    layout = plan.table.get("layout")
    baseline = plan.table.get("baseline") or ("r-drop" if layout == "table2" else None)
    rows = _rows(runs)
    if baseline not in (None, "none") and baseline.partition(" (")[0] not in rows:
        raise plan.marked.unknown("row of the table", baseline, rows, "table", "baseline")
    if layout == "table3":
        try:
            told_options((plan.table.get("option", "gamma"),), [run.identity for run in runs])
        except RunError as error:
            raise plan.marked.error(error, "table", "option") from error


def _rows(runs: Sequence[PlannedRun]) -> list[str]:
    """What rows will be called, without their options: as the plan calls a method where that tells two apart."""
    called: dict[tuple[str, str], dict[str, None]] = {}
    for run in runs:
        called.setdefault((run.model, run.label), {})[run.method] = None
    return [name for (_, label), names in called.items() for name in (names if len(names) > 1 else (label,))]
