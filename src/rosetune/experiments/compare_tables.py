"""What `rosetune compare` prints."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rosetune.experiments.compare import ATTACK, Comparison, Side, by_attack, common_success, compare_sets
from rosetune.experiments.controls import CONTROLS
from rosetune.experiments.sets import ORIGINALS
from rosetune.experiments.tables import interval_cell, make_table, p_text, percent, set_title
from rosetune.experiments.verdict import Beside, beside, calibrations, robust_names, sentences

__all__ = ["compared_as_json", "print_compared"]


def compared_as_json(a: Side, b: Side, trained: Mapping[str, str]) -> dict[str, Any]:
    """All that :func:`print_compared` shows."""
    comparisons, controls = compare_sets(a, b), beside(a, b, trained)
    return {
        "baseline": _described(a),
        "claim": _described(b),
        "sets": {name: dataclasses.asdict(c) for name, c in comparisons.items()},
        "common_success": {name: common_success(a, b, name) for name in comparisons if name.startswith(ATTACK)},
        "advglue": {
            name: {group: dataclasses.asdict(c) for group, c in by_attack(a, b, name).items()}
            for name in comparisons
            if name.startswith("advglue") and not name.startswith(ORIGINALS)
        },
        "calibration": {"baseline": calibrations(a), "claim": calibrations(b)},
        "controls": {
            name: [{**dataclasses.asdict(c), "shows_it_too": c.shows_it_too} for c in part]
            for name, part in controls.items()
        },
        "verdicts": sentences(a.title, b.title, comparisons, controls),
    }


def print_compared(out: Console, a: Side, b: Side, trained: Mapping[str, str]) -> None:
    """The comparison, AdvGLUE by attack, the noise curve, calibration, the controls, and what they leave of a gain."""
    comparisons = compare_sets(a, b)
    controls = beside(a, b, trained)
    plain = {name: c for name, c in comparisons.items() if "@" not in name}
    out.print(_sets_table(a, b, plain))
    attacks = [name for name in plain if name.startswith(ATTACK)]
    if attacks:
        out.print(_success_table(a, b, attacks))
    for name in plain:
        groups = by_attack(a, b, name) if not name.startswith((ORIGINALS, ATTACK)) else {}
        if groups:
            out.print(_groups_table(f"{set_title(name)} by kind and attack", a, b, groups))
    curve = {name: c for name, c in comparisons.items() if "@" in name}
    if curve:
        out.print(_curve_table(a, b, curve))
    out.print(_calibration_table(a, b))
    for name in robust_names(comparisons):
        out.print(_controls_table(b, name, comparisons, controls[name]))
    said = sentences(a.title, b.title, comparisons, controls)
    for name, sentence in said.items():
        out.print(Text(f"{_title(name)}. ", style="bold") + Text(sentence, style="none"))
    out.print(_notes(a, trained))


def _sets_table(a: Side, b: Side, comparisons: Mapping[str, Comparison]) -> Table:
    title = f"{b.title} (seed {_seeds(b)}) against {a.title} (seed {_seeds(a)}), paired on the same examples"
    several = len(a.runs) > 1
    columns = ("set", "n", a.title, b.title, "difference \\[95%]", "p", f"p, {b.title}\nbetter")
    table = make_table(title, (*columns, *(["sd over\nseeds"] if several else [])), collapse_padding=True)
    for name, c in comparisons.items():
        tests = ["-" if p is None else p_text(p).removeprefix("= ") for p in (c.p_value, c.p_b_better)]
        spread = [f"{100 * c.t_test.sd:.1f}"] if c.t_test is not None else []
        table.add_row(_title(name), str(c.n), percent(c.a), percent(c.b), _difference(c), *tests, *spread)
    return table


def _success_table(a: Side, b: Side, names: Sequence[str]) -> Table:
    columns = ("attack success on rows that both get right", "rows", a.title, b.title)
    table = make_table("", columns)
    for name in names:
        n, rate_a, rate_b = common_success(a, b, name)
        table.add_row(_title(name), str(n), percent(rate_a), percent(rate_b))
    return table


def _groups_table(title: str, a: Side, b: Side, groups: Mapping[str, Comparison]) -> Table:
    table = make_table(title, ("attack", "n", a.title, b.title, "difference \\[95%]"))
    for name, c in groups.items():
        shown = f"  {name.split('/', 1)[1]}" if "/" in name else name
        table.add_row(shown, str(c.n), percent(c.a), percent(c.b), _difference(c))
    return table


def _curve_table(a: Side, b: Side, curve: Mapping[str, Comparison]) -> Table:
    strengths = sorted({float(name.split("@")[1]) for name in curve})
    table = make_table(
        f"Noise curve: accuracy of {a.title} and {b.title} in %, by the share of words touched",
        ("noise", *(f"{strength:g}" for strength in strengths)),
    )
    for noise in dict.fromkeys(name.split("@")[0] for name in curve):
        cells = []
        for strength in strengths:
            c = curve.get(f"{noise}@{strength:g}")
            text = "-" if c is None else f"{percent(c.a)}  {percent(c.b)}"
            cells.append(text if c is None or c.within_noise else f"[bold]{text}[/bold]")
        table.add_row(set_title(noise), *cells)
    table.caption = "Bold: the 95% interval of the difference is apart from 0."
    return table


def _calibration_table(a: Side, b: Side) -> Table:
    table = make_table(
        "Calibration: ECE in % and Brier score, and after temperature scaling (T fitted on clean examples)",
        ("set", *(part for side in (a, b) for part in (f"{side.title}\nECE, Brier", "after T", "T"))),
        collapse_padding=True,
    )
    of_a, of_b = calibrations(a), calibrations(b)
    for name in (name for name in of_a if name in of_b):
        cells = []
        for found in (of_a[name], of_b[name]):
            before, after = (f"{percent(found[k]['ece'])} {found[k]['brier']:.2f}" for k in ("before", "after"))
            cells += [before, after, f"{found['temperature']:.2f}"]
        table.add_row(_title(name), *cells)
    return table


def _controls_table(b: Side, name: str, comparisons: Mapping[str, Comparison], controls: Sequence[Beside]) -> Table:
    c = comparisons[name]
    clean = comparisons.get("clean")
    columns = ("", "clean %", f"{_title(name)} %", f"{b.title} minus it \\[95%]", "shows\na gain too")
    table = make_table(f"Controls: {_title(name)}", columns)
    table.add_row(b.title, percent(clean.b if clean else None), percent(c.b), "", "")
    table.add_row("baseline", percent(clean.a if clean else None), percent(c.a), _difference(c), "", end_section=True)
    gain = c.low > 0
    for control in controls:
        cell = interval_cell(control.difference, control.low, control.high, sign="+")
        too = ("yes" if control.shows_it_too else "no") if gain else "-"
        table.add_row(control.control.replace("_", " "), percent(control.clean), percent(control.accuracy), cell, too)
    return table


def _notes(a: Side, trained: Mapping[str, str]) -> Padding:
    missing = [name for name, control in CONTROLS.items() if control.training and name not in trained]
    missing = [name for name in missing if not (name == "vanilla" and a.title == "vanilla")]
    parts = []
    if missing:
        parts.append(f"Controls not at hand: {', '.join(missing)} (`rosetune controls RUN` trains them).")
    if len(a.runs) == 1:
        parts.append("One seed: the intervals cover the choice of examples, not the luck of a training run.")
    return Padding(Text(" ".join(parts)), (1, 0, 0, 0))


def _difference(c: Comparison) -> str:
    text = f"{100 * c.difference:+.1f} \\[{100 * c.low:+.1f},{100 * c.high:+.1f}]"
    return f"[dim]{text}[/dim]" if c.within_noise else f"[bold]{text}[/bold]"


def _title(name: str) -> str:
    return f"under {name.removeprefix(ATTACK)}" if name.startswith(ATTACK) else set_title(name)


def _seeds(side: Side) -> str:
    return ", ".join(map(str, side.seeds))


def _described(side: Side) -> dict[str, Any]:
    return {"method": side.title, "task": side.task, "runs": list(side.runs), "seeds": list(side.seeds)}
