"""The named set of controls, and what those of a claim have come to, as a person reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from rosetune.experiments.controls import CONTROLS, found_controls, left_out
from rosetune.experiments.evaluate import read_metrics
from rosetune.experiments.sets import ORIGINALS
from rosetune.experiments.tables import accuracy_cell, make_table, percent, set_title

__all__ = ["control_states", "left_out_lines", "named_set_table", "results_table"]


def control_states(
    claim_run: str | Path, output_dir: str | Path | None = None, trace_of: str | Path | None = None
) -> dict[str, dict[str, Any]]:
    """Of each control: ``title``, ``rules_out``, ``state`` and where it is left out its ``reason``.

    States: "computed" (by `rosetune compare`, nothing is trained), "finished", "to train", "left out".
    """
    found, reasons = found_controls(claim_run, output_dir), left_out(claim_run, output_dir, trace_of)
    states = {}
    for name, control in CONTROLS.items():
        state = "left out" if name in reasons else "finished" if name in found else "to train"
        states[name] = {
            "title": control.title,
            "rules_out": control.rules_out,
            "state": "computed" if control.training is None else state,
            **({"reason": reasons[name]} if name in reasons else {}),
        }
    return states


def named_set_table(claim_run: str | Path, states: Mapping[str, Mapping[str, Any]]) -> Table:
    """What each is and rules out, from :func:`control_states`."""
    table = make_table(f"Controls of {claim_run}", ("control",), collapse_padding=True)
    table.add_column("what it is", ratio=1)
    table.add_column("a gain it shows too is due to", ratio=1)
    table.add_column("state", no_wrap=True)
    for name, state in states.items():
        table.add_row(name, state["title"], state["rules_out"], state["state"])
    return table


def left_out_lines(states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why which are left out, names that share a reason together."""
    names: dict[str, list[str]] = {}
    for name, state in states.items():
        if "reason" in state:
            names.setdefault(state["reason"], []).append(name)
    return [f"{', '.join(named)} left out: {reason}." for reason, named in names.items()]


def results_table(claim_run: str | Path, runs: Mapping[str, str | Path], width: int) -> Table:
    """A line for the claim and for each of its controls: accuracy on each evaluation set.

    Args:
        runs: folders by the controls' names.
        width: of the terminal; where it is too narrow an interval stands below its number.
    """
    results = {name: read_metrics(path)["sets"] for name, path in {"the claim": claim_run, **runs}.items()}
    sets = [n for n in results["the claim"] if "@" not in n and not n.startswith(ORIGINALS)]
    gap = " " if 16 + 20 * len(sets) <= width else "\n"
    columns = [f"{set_title(name)}\n(n = {results['the claim'][name]['n']})" for name in sets]
    table = make_table(f"Accuracy in % [95%] of {claim_run} and its controls", ("", *columns))
    for name, metrics in results.items():
        cells = (accuracy_cell(metrics[n], gap) if n in metrics else "-" for n in sets)
        table.add_row(name, *cells, end_section=name == "the claim")
    table.add_row("constant", *(percent(results["the claim"][n]["constant"]["accuracy"]) for n in sets))
    return table
