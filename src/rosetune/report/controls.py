"""The named set of controls, and what those of a claim have come to, as a person reads it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from rosetune.report.console import Grid, accuracy_grid
from rosetune.robustness.attacks.summary import summary
from rosetune.runs.attacked import usual_label
from rosetune.runs.claimed_run import ClaimedRun
from rosetune.runs.compare import not_compared
from rosetune.runs.controls import CONTROLS, found_controls, left_out
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.titles import titles_of

__all__ = ["control_states", "left_out_lines", "named_set_table", "not_attacked", "results_grid"]


def control_states(claim: ClaimedRun) -> dict[str, dict[str, Any]]:
    """Of each control: ``title``, ``rules_out``, ``state`` and where it is left out its ``reason``.

    States: "computed" (by `rosetune compare`, nothing is trained), "finished", "to train", "left out".
    """
    found, reasons = found_controls(claim.run, claim.folder), left_out(claim)
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


def named_set_table(claim: Run, states: Mapping[str, Mapping[str, Any]]) -> Table:
    """What each is and rules out, from :func:`control_states`."""
    table = Table(title=Text(f"Controls of {claim}"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("control", no_wrap=True)
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


def results_grid(claim: Run, controls: Mapping[str, Run]) -> Grid:
    """A line for the claim and for each of its controls: accuracy on each evaluation set, and under each attack."""
    names = [n for n in claim.metrics["sets"] if not (SetName.parse(n).on_curve or SetName.parse(n).is_original)]
    attacks = _attacks(claim)
    lines: Sequence[tuple[str, Any] | None] = [
        ("the claim", _results(claim, claim, attacks)),
        None,
        *((name, _results(run, claim, attacks)) for name, run in controls.items()),
    ]
    what = "Accuracy in %" if claim.labels else "Mean squared error"
    titles = titles_of([claim], [*names, *attacks])
    return accuracy_grid(f"{what} [95%] of {claim} and its controls", lines, [*titles], titles=titles)


def not_attacked(claim: Run, controls: Mapping[str, Run]) -> list[str]:
    """For each attack on a claim the command that attacks those controls alike that were not, in a sentence."""
    said = []
    for name in _attacks(claim):
        lacking = [str(run) for run in controls.values() if name in not_compared([claim], [run])]
        if lacking:
            header = claim.attacks[SetName.parse(name).attack or ""][0]
            aim = (
                f" --{option} {header[option]}" for option in ("attack_class", "target_class") if header.get(option)
            )
            recipe = header.get("recipe", "NAME")
            command = f"rosetune attack {' '.join(lacking)} --attack {recipe}{''.join(aim)}"
            said.append(f"Not attacked as the claim was: `{command}`, with its other options, does that.")
    return said


def _attacks(run: Run) -> list[str]:
    return [name for name in run.sets() if SetName.parse(name).attack is not None]


def _results(run: Run, claim: Run, attacks: Sequence[str]) -> dict[str, Any]:
    """The metrics of each set, and what came of those attacks that the claim has suffered too."""
    found = dict(run.metrics["sets"])
    apart = {} if run is claim else not_compared([claim], [run])
    for name in attacks:
        if name not in apart:
            header, results = run.attacks[SetName.parse(name).attack or ""]
            figures = summary(results, header.get("budget"))
            kept = {"n": "n", "accuracy": "accuracy_under_attack", "low": "accuracy_under_attack_low"}
            found[name] = {key: figures[figure] for key, figure in kept.items()}
            usual = usual_label(run, name)
            found[name] |= {
                "high": figures["accuracy_under_attack_high"],
                "constant": {"accuracy": sum(result["gold"] == usual for result in results) / len(results)},
            }
    return found
