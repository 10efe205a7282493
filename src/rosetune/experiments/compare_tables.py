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
from rosetune.experiments.verdict import Beside, beside, calibrations, sentences

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
    seeds = [f"seed{'s' if len(side.seeds) > 1 else ''} {', '.join(map(str, side.seeds))}" for side in (a, b)]
    out.print(Text(f"A: {a.title}, {seeds[0]}. B: {b.title}, {seeds[1]}. Paired on the same examples.\n"))
    out.print(_sets_table(a, plain))
    attacks = [name for name in plain if name.startswith(ATTACK)]
    if attacks:
        out.print(_success_table(a, b, attacks))
    for name in plain:
        groups = by_attack(a, b, name) if not name.startswith((ORIGINALS, ATTACK)) else {}
        if groups:
            out.print(_groups_table(f"{set_title(name)} by kind and attack", groups))
    curve = {name: c for name, c in comparisons.items() if "@" in name}
    if curve:
        out.print(_curve_table(curve))
    out.print(_calibration_table(a, b))
    names, at_once = list(controls), max(1, (out.width - 28) // 11)
    for start in range(0, len(names), at_once):  # as many sets beside each other as a line holds
        out.print(
            _controls_table(a, b, comparisons, {name: controls[name] for name in names[start : start + at_once]})
        )
    for name, part in controls.items():
        if comparisons[name].low > 0:
            out.print(_gain_table(_title(a, name), part))
    _print_verdicts(out, a, b, comparisons, controls)
    out.print(Padding(Text(_notes(a, trained)), (1, 0, 0, 0)))


def _sets_table(a: Side, comparisons: Mapping[str, Comparison]) -> Table:
    several = any(c.t_test is not None for c in comparisons.values())
    columns = ("set", "n", "A %", "B %", "B - A \\[95%]", "p", "p, B better")
    table = make_table("Accuracy", (*columns, *(["sd over seeds"] if several else [])), collapse_padding=True)
    for name, c in comparisons.items():
        tests = ["-" if p is None else p_text(p).removeprefix("= ") for p in (c.p_value, c.p_b_better)]
        spread = [f"{100 * c.t_test.sd:.1f}"] if c.t_test is not None else []
        table.add_row(_title(a, name), str(c.n), percent(c.a), percent(c.b), _difference(c), *tests, *spread)
    return table


def _success_table(a: Side, b: Side, names: Sequence[str]) -> Table:
    table = make_table("Attack success on the rows that both get right", ("", "rows", "on A %", "on B %"))
    for name in names:
        n, rate_a, rate_b = common_success(a, b, name)
        table.add_row(_title(a, name), str(n), percent(rate_a), percent(rate_b))
    return table


def _groups_table(title: str, groups: Mapping[str, Comparison]) -> Table:
    table = make_table(title, ("attack", "n", "A %", "B %", "B - A \\[95%]"))
    for name, c in groups.items():
        shown = f"  {name.split('/', 1)[1]}" if "/" in name else name
        table.add_row(shown, str(c.n), percent(c.a), percent(c.b), _difference(c))
    return table


def _curve_table(curve: Mapping[str, Comparison]) -> Table:
    strengths = sorted({float(name.split("@")[1]) for name in curve})
    columns = ("share of words touched", *(f"{strength:g}" for strength in strengths))
    table = make_table("Noise curve: accuracy of A and B in %", columns, collapse_padding=True)
    for noise in dict.fromkeys(name.split("@")[0] for name in curve):
        cells = []
        for strength in strengths:
            c = curve.get(f"{noise}@{strength:g}")
            text = "-" if c is None else f"{percent(c.a)} {percent(c.b)}"
            cells.append(f"{text} " if c is None or c.within_noise else f"[bold]{text}*[/bold]")
        table.add_row(set_title(noise), *cells)
    table.caption = "*: the 95% interval of the difference is apart from 0."
    return table


def _calibration_table(a: Side, b: Side) -> Table:
    sides = {"A": calibrations(a), "B": calibrations(b)}
    fitted = [f"{found['clean']['temperature']:.2f} for {name}" for name, found in sides.items() if found]
    columns = [f"{name}\n{part}" for name in sides for part in ("ECE %", "at T", "Brier", "at T")]
    title = f"Calibration, and at the temperature T that fits clean examples ({', '.join(fitted)})"
    table = make_table(title, ("set", *columns), collapse_padding=True)
    for name in (name for name in sides["A"] if name in sides["B"]):
        cells = []
        for found in sides.values():
            before, after = found[name]["before"], found[name]["after"]
            cells += [percent(before["ece"]), percent(after["ece"]), f"{before['brier']:.2f}", f"{after['brier']:.2f}"]
        table.add_row(set_title(name), *cells)
    return table


def _controls_table(
    a: Side, b: Side, comparisons: Mapping[str, Comparison], controls: Mapping[str, Sequence[Beside]]
) -> Table:
    """Every control's accuracy on some robust sets."""
    clean = comparisons.get("clean")
    columns = ("", "clean", *(_title(a, name).replace(" ", "\n") for name in controls))
    table = make_table("Controls: accuracy in %", columns, collapse_padding=True)
    table.add_row(f"B, {b.title}", percent(clean.b if clean else None), *(percent(comparisons[n].b) for n in controls))
    cells = [percent(comparisons[name].a) for name in controls]
    table.add_row(f"A, {a.title}", percent(clean.a if clean else None), *cells, end_section=True)
    found = {name: {control.control: control for control in part} for name, part in controls.items()}
    for control in dict.fromkeys(control for part in found.values() for control in part):
        here = [part.get(control) for part in found.values()]
        own_clean = next((c.clean for c in here if c is not None and c.clean is not None), None)
        cells = [percent(c.accuracy if c else None) for c in here]
        table.add_row(control.replace("_", " "), percent(own_clean), *cells)
    return table


def _gain_table(title: str, controls: Sequence[Beside]) -> Table:
    """Claim minus control where there is a gain to explain."""
    table = make_table(f"The gain on {title}: B beside the controls", ("", "B - control \\[95%]", "shows it too"))
    for control in controls:
        cell = interval_cell(control.difference, control.low, control.high, sign="+")
        table.add_row(control.control.replace("_", " "), cell, "yes" if control.shows_it_too else "no")
    return table


def _print_verdicts(
    out: Console, a: Side, b: Side, comparisons: Mapping[str, Comparison], controls: Mapping[str, list[Beside]]
) -> None:
    none = []
    for name, sentence in sentences(a.title, b.title, comparisons, controls).items():
        c = comparisons[name]
        if c.low <= 0 <= c.high:
            none.append(_title(a, name))
        else:
            out.print(Text(f"{_title(a, name)}. ", style="bold") + Text(sentence, style="none"))
    if none:
        out.print(Text(f"No gain of {b.title} over {a.title} that is more than noise: {', '.join(none)}."))


def _notes(a: Side, trained: Mapping[str, str]) -> str:
    missing = [name for name, control in CONTROLS.items() if control.training and name not in trained]
    missing = [name for name in missing if not (name == "vanilla" and a.title == "vanilla")]
    parts = []
    if missing:
        parts.append(f"Controls not at hand: {', '.join(missing)} (`rosetune controls RUN` trains them).")
    if len(a.runs) == 1:
        parts.append("One seed: the intervals cover the choice of examples, not the luck of a training run.")
    return " ".join(parts)


def _difference(c: Comparison) -> str:
    text = f"{100 * c.difference:+.1f} \\[{100 * c.low:+.1f},{100 * c.high:+.1f}]"
    return f"[dim]{text}[/dim]" if c.within_noise else f"[bold]{text}[/bold]"


def _title(side: Side, name: str) -> str:
    if not name.startswith(ATTACK):
        return set_title(name)
    # The recipe says enough unless another attack with it, of another budget for example, stands beside it.
    recipe = side.attacks[0][name]["recipe"]
    alone = sum(header["recipe"] == recipe for header in side.attacks[0].values()) == 1
    return f"under {recipe if alone else name.removeprefix(ATTACK)}"


def _described(side: Side) -> dict[str, Any]:
    return {"method": side.title, "task": side.task, "runs": list(side.runs), "seeds": list(side.seeds)}
