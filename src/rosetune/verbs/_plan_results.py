"""What a plan prints once its runs are done: a table, curves over training, analyses, and what it leaves out."""

from collections.abc import Sequence
from itertools import product
from typing import Any

__all__ = ["print_left_out", "print_result"]


def print_result(plan: Any, runs: Any) -> None:
    """The table or the analyses that a plan asks for, of the runs that are done; and what the plan leaves out."""
    from rosetune.report.console import console
    from rosetune.report.paper import print_table, table
    from rosetune.runs.run import Run

    labels = {Run.open(run.folder()): run.method for run in runs if run.is_done()}
    done = [*labels]
    if len(done) < len(runs):
        print(f"{len(runs) - len(done)} of {len(runs)} runs are not done: they belong to other shards")
    if done and any(asked["what"] == "probe" for asked in plan.analyze):
        _probe(runs)
    elif done and plan.analyze:
        _analyse(plan, done)
    elif done and plan.table:
        options = _table_options(plan, runs)
        print_table(console(), table(done, labels=labels, **options))
        _print_over_training(plan, labels, options.get("sets"))
    print_left_out(plan)


def _print_over_training(plan: Any, labels: Any, sets: Sequence[str] | None) -> None:
    """The other methods beside those that were followed along training, at equal clean accuracy.

    Args:
        labels: what the plan calls the method of each run that is done.
        sets: of the table; None: all.
    """
    from rosetune.report.console import console, print_grid
    from rosetune.report.html.equal import baseline_curves, equal_grid
    from rosetune.report.html.groups import grouped, kept
    from rosetune.runs.sets import SetName
    from rosetune.runs.values import RunError

    followed = {method.name for method in plan.methods.values() if method.along}
    if not followed:
        return
    # What cannot stand in one mean was told below the table.
    for task, groups in grouped(kept(labels, print), lambda line: None, labels).items():
        for base in (group for group in groups if labels[group.runs[0]] in followed):
            parts = [part for part in map(SetName.parse, base.sets) if part.perturbed]
            names = [part.name for part in parts if sets is None or {part.name, part.kind} & {*sets}]
            try:
                curves = baseline_curves(base, base.sets)
            except (RunError, ValueError) as error:
                print(f"the checkpoints of {base.name} on {task} are left out: {error}")
                continue
            grid = equal_grid(task, groups, base, curves, names) if curves else None
            if grid is not None:
                print_grid(console(), grid)
            else:
                lacking = "another method of its model, and a robust set in the table"
                print(f"beside the checkpoints of {base.name} on {task} stands nothing: that takes {lacking}")


def _table_options(plan: Any, runs: Any) -> dict[str, Any]:
    """Those of the plan's table, with its own attacks in the place of the kind: runs may have suffered others too."""
    sets = plan.table.get("sets", ())
    if "attack" not in sets or not any(run.attacks for run in runs):
        return dict(plan.table)
    from rosetune.experiments.attack import attack_names
    from rosetune.runs.sets import SetName

    own = dict.fromkeys(
        SetName.of_attack(name).name
        for run in runs
        for options in run.attacks
        for name in attack_names(run.data.text_columns, options)
    )
    return {**plan.table, "sets": [*(name for name in sets if name != "attack"), *own]}


def _analyse(plan: Any, runs: Any) -> None:
    """Look at the runs of one task, model and seed together, in the order of the plan's methods.

    Its analyses come one after the other, so that one can show what another has left in the runs' folders.
    """
    from rosetune.experiments.along import evaluate_along
    from rosetune.experiments.analysis_options import AnalysisOptions
    from rosetune.experiments.analyze import analyse
    from rosetune.report.analyses import print_analyses
    from rosetune.report.analysis_figures import draw_analyses, picture_of
    from rosetune.report.console import console
    from rosetune.report.mask_pairs import print_pairs

    together: dict[Any, list[str]] = {}
    for run in runs:
        together.setdefault((run.task, run.config.model_name_or_path, run.seed), []).append(str(run))
    for folders, asked in product(together.values(), plan.analyze):
        what, options = asked["what"], {name: value for name, value in asked.items() if name != "what"}
        if options.get("equal_accuracy"):  # the checkpoints of the first method are what the others are set beside
            evaluate_along(folders[0], ("clean",))
        found, level = analyse(what, folders, AnalysisOptions(**options)), options.get("level")
        drawn = draw_analyses(found, picture_of(what, folders[0], None), level)
        print_analyses(console(), found, drawn, level)
        print_pairs(console(), found)


def _probe(runs: Any) -> None:
    """Which feature each method prefers, with data and picture in the folder of all runs."""
    from importlib.util import find_spec
    from pathlib import Path

    from rosetune.experiments.probe import preferences
    from rosetune.report.console import console, print_grid
    from rosetune.report.probe_figure import draw_probes, probe_grid, write_probes

    found, left = preferences(runs)
    for line in left:
        print(line)
    if not found:
        return
    print_grid(console(), probe_grid(found))
    data = Path(runs[0].output_dir, "probe.json")
    write_probes(found, data)
    print(data)
    if find_spec("matplotlib") is not None:
        draw_probes(found, data.with_suffix(".svg"))
        print(data.with_suffix(".svg"))


def print_left_out(plan: Any) -> None:
    """In the plan's own sentences."""
    if plan.left_out:
        print(f"\n{plan.title} leaves out:")
        for entry in plan.left_out:
            print(f"- {entry.sentence}")
