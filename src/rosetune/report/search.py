"""What a search has found, as a person reads it."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from rosetune.report.console import Grid, percent

__all__ = ["result_lines", "trials_grid"]


def trials_grid(found: Mapping[str, Any]) -> Grid:
    """A line for each trial, the best first; those that did not come to their end follow in their order.

    Args:
        found: what ``trials.json`` of a search holds.
    """
    done = sorted((t for t in found["trials"] if t["state"] == "complete"), key=lambda t: (-t["value"], t["number"]))
    rest = [trial for trial in found["trials"] if trial["state"] != "complete"]
    options = list(found["trials"][0]["options"])
    sets = list(dict.fromkeys(name for trial in found["trials"] for name in trial["scores"]))
    steps = any(trial["steps"] for trial in found["trials"])
    columns = ("trial", *map(_short, options), *sets, "value", *(("steps",) if steps else ()), "state")
    rows: list[tuple[str, ...] | None] = [_row(trial, options, sets, steps) for trial in done]
    if rest:
        rows += [None, *(_row(trial, options, sets, steps) for trial in rest)]
    return Grid(f"Trials of {found['folder']}, accuracy in % on held-out training rows", columns, rows)


def result_lines(found: Mapping[str, Any]) -> list[str]:
    """The best options, what they may be worth, and how to go on."""
    best, lines = found["best"], []
    chosen = ", ".join(f"{_short(name)} {_value(value)}" for name, value in best["options"].items())
    lines.append(f"Best is trial {best['number']}: {chosen}.")
    if found["importance"]:
        shares = ", ".join(f"{_short(name)} {share:.0%}" for name, share in found["importance"].items())
        lines.append(f"Of the differences between trials: {shares} (fANOVA, rough for few trials).")
    lines += [f"Trial {trial['number']} failed: {trial['error']}" for trial in found["trials"] if trial["error"]]
    lines.append("The best of many trials looks better than it is: its value here is no result.")
    lines.append(f"Train it on all rows: rosetune train --config {found['folder']}/best.yaml")
    return lines


def _row(trial: Mapping[str, Any], options: list[str], sets: list[str], steps: bool) -> tuple[str, ...]:
    state = {"complete": "done", "pruned": "stopped", "fail": "failed"}.get(trial["state"], trial["state"])
    if trial["same_as"] is not None:
        state += f", as {trial['same_as']}"
    scores = [percent(trial["scores"][name]) if name in trial["scores"] else "" for name in sets]
    value = "" if trial["value"] is None else percent(trial["value"])
    return (
        str(trial["number"]),
        *(escape(_value(trial["options"][name])) for name in options),
        *scores,
        value,
        *((str(trial["steps"] or ""),) if steps else ()),
        state,
    )


def _short(name: str) -> str:
    return name.partition("_kwargs.")[2] or name


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
