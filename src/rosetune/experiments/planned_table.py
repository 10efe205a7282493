"""Whether a plan's table can be made of its runs, found out before they are trained."""

from collections.abc import Sequence

from rosetune.experiments.plan import Plan
from rosetune.experiments.planned import PlannedRun
from rosetune.robustness.sets import curve_sets
from rosetune.runs.groups import told_options
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError, names

__all__ = ["check_table"]


def check_table(plan: Plan, runs: Sequence[PlannedRun]) -> None:
    """Check what the table names against the runs.

    Args:
        runs: all of the plan.

    Raises:
        RunError: no row is the baseline, no run is given the option of table3, or none is evaluated on a noise that is
            a column; with the line.
    """
    if not plan.table:
        return
    layout = plan.table.get("layout")
    baseline = plan.table.get("baseline") or ("r-drop" if layout == "table2" else None)
    rows = _rows(runs)
    if baseline not in (None, "none") and baseline.partition(" (")[0] not in rows:
        raise plan.marked.unknown("row of the table", baseline, rows, "table", "baseline")
    cells = [cell for run in runs if "noise_curve" in run.config.sets for cell in curve_sets(run.config.noises)]
    for name in names("sets", plan.table.get("sets")) or ():
        if SetName.parse(name).on_curve and name not in cells:
            raise plan.marked.unknown("noise that a run is evaluated on", name, cells or ["clean"], "table", "sets")
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
