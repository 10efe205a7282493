"""What `rosetune compare` prints."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rosetune.experiments.claim import differing
from rosetune.experiments.compare import Comparison, by_attack, common_success, compare_sets, not_compared
from rosetune.experiments.equal_clean import clean_set
from rosetune.experiments.sets import ORIGINALS
from rosetune.experiments.sides import ATTACK, Side
from rosetune.experiments.tables import difference_cell, interval_cell, make_table, p_text, percent, set_title
from rosetune.experiments.temperature import calibrations
from rosetune.experiments.verdict import Beside, beside, not_tried, sentences

__all__ = ["compared_as_json", "print_compared"]


def compared_as_json(a: Side, b: Side, trained: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """All that :func:`print_compared` shows."""
    comparisons, controls = compare_sets(a, b), beside(a, b, trained)
    return {
        "baseline": _described(a),
        "claim": _described(b),
        "differing": differing(a.runs[0], b.runs[0], method=False),
        "sets": {name: {**dataclasses.asdict(c), "verdict": c.verdict} for name, c in comparisons.items()},
        "not_compared": not_compared(a, b),
        "common_success": {name: common_success(a, b, name) for name in comparisons if name.startswith(ATTACK)},
        "advglue": {
            name: {group: dataclasses.asdict(c) for group, c in by_attack(a, b, name).items()}
            for name in comparisons
            if name.startswith("advglue") and not name.startswith(ORIGINALS)
        },
        "calibration": {"baseline": calibrations(a), "claim": calibrations(b)},
        "controls": {
            name: [{**dataclasses.asdict(c), "shows_it_too": c.answer} for c in part]
            for name, part in controls.items()
        },
        "not_tried": not_tried(a, b, trained, controls),
        "verdicts": sentences(a, b, comparisons, controls),
    }


def print_compared(out: Console, a: Side, b: Side, trained: Mapping[str, Sequence[str]]) -> None:
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
    at_once = max(1, (out.width - 34) // 11)  # sets beside each other
    for clean in dict.fromkeys(clean_set(name, comparisons) for name in controls):
        names = [name for name in controls if clean_set(name, comparisons) == clean]
        for start in range(0, len(names), at_once):
            shown = {name: controls[name] for name in names[start : start + at_once]}
            out.print(_controls_table(a, b, comparisons, shown))
    for name, part in controls.items():
        if comparisons[name].verdict > 0:
            out.print(_gain_table(_title(a, name), part))
    _print_verdicts(out, a, b, comparisons, controls)
    out.print()
    for note in _notes(a, b, not_tried(a, b, trained, controls)):
        out.print(Text(note))


def _sets_table(a: Side, comparisons: Mapping[str, Comparison]) -> Table:
    several = any(c.t_test is not None for c in comparisons.values())
    columns = ("set", "n", "A %", "B %", "B - A \\[95%]", "p", "p, B better")
    table = make_table("Accuracy", (*columns, *(["sd over seeds"] if several else [])), collapse_padding=True)
    for name, c in comparisons.items():
        tests = ["-" if p is None else p_text(p).removeprefix("= ") for p in (c.p_value, c.p_b_better)]
        spread = [f"{100 * c.t_test.sd:.1f}"] if c.t_test is not None else []
        table.add_row(_title(a, name), str(c.n), percent(c.a), percent(c.b), difference_cell(c), *tests, *spread)
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
        table.add_row(shown, str(c.n), percent(c.a), percent(c.b), difference_cell(c))
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
            cells.append(f"{text} " if c is None or not c.verdict else f"[bold]{text}*[/bold]")
        table.add_row(set_title(noise), *cells)
    table.caption = "*: one is shown to be better, each cell by itself."
    return table


def _calibration_table(a: Side, b: Side) -> Table:
    sides = {"A": calibrations(a), "B": calibrations(b)}
    fitted = [f"{found['clean']['temperature']:.2f} for {name}" for name, found in sides.items() if found]
    columns = [f"{name}\n{part}" for name in sides for part in ("ECE %", "at T", "Brier", "at T")]
    of = "" if len(a.runs) == 1 else f" of seed {a.seeds[0]}"
    title = f"Calibration{of}, and at the temperature T that fits clean examples ({', '.join(fitted)})"
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
    """Every control's accuracy on some robust sets that share their clean set."""
    clean = comparisons.get(clean_set(next(iter(controls)), comparisons))
    columns = ("", "seeds", "clean", *(_title(a, name).replace(" ", "\n") for name in controls))
    table = make_table("Controls: accuracy in %", columns, collapse_padding=True)
    seeds = str(len(a.runs))
    cells = [percent(comparisons[name].b) for name in controls]
    table.add_row(f"B, {b.title}", seeds, percent(clean.b if clean else None), *cells)
    cells = [percent(comparisons[name].a) for name in controls]
    table.add_row(f"A, {a.title}", seeds, percent(clean.a if clean else None), *cells, end_section=True)
    found = {name: {control.control: control for control in part} for name, part in controls.items()}
    for control in dict.fromkeys(control for part in found.values() for control in part):
        here = [part.get(control) for part in found.values()]
        some = next(c for c in here if c is not None)
        own_clean = next((c.clean for c in here if c is not None and c.clean is not None), None)
        cells = [percent(c.accuracy if c else None) for c in here]
        table.add_row(escape(control.replace("_", " ")), str(some.seeds), percent(own_clean), *cells)
    return table


def _gain_table(title: str, controls: Sequence[Beside]) -> Table:
    """What of a gain a control shows too."""
    columns = ("", "control - A", "B - control \\[95%]", "shows the gain too")
    table = make_table(f"The gain on {title} beside its controls", columns)
    for control in controls:
        cell = interval_cell(control.difference, control.low, control.high, sign="+")
        table.add_row(escape(control.control.replace("_", " ")), f"{100 * control.gain:+.1f}", cell, control.answer)
    return table


def _print_verdicts(
    out: Console, a: Side, b: Side, comparisons: Mapping[str, Comparison], controls: Mapping[str, list[Beside]]
) -> None:
    none = []
    for name, sentence in sentences(a, b, comparisons, dict(controls)).items():
        if comparisons[name].verdict:
            out.print(Text(f"{_title(a, name)}. ", style="bold") + Text(sentence, style="none"))
        else:
            none.append(_title(a, name))
    if none:
        out.print(Text(f"{b.title} is not shown to be better than {a.title} on {', '.join(none)}."))


def _notes(a: Side, b: Side, missing: Sequence[str]) -> list[str]:
    said = []
    other = [name for name in differing(a.runs[0], b.runs[0], method=False) if name != "seed"]
    if other:
        said.append(f"A and B differ in more than the method: {', '.join(other)}.")
    said += [f"{_title(a, name)} is left out: {reason}." for name, reason in not_compared(a, b).items()]
    said += missing
    said.append(
        "Better or worse is said where interval and exact test (over seeds: t-test) both say so, on every set by "
        "itself: of many sets, attacks and cells some come out by chance."
    )
    if len(a.runs) == 1:
        said.append("One seed: the intervals cover the choice of examples, not the luck of a training run.")
    return said


def _title(side: Side, name: str) -> str:
    if not name.startswith(ATTACK):
        return set_title(name)
    # The recipe says enough unless another attack with it, of another budget for example, stands beside it.
    headers = [header for header in side.attacks[0].values() if header]
    recipe = (side.attacks[0].get(name) or {}).get("recipe", name.removeprefix(ATTACK))
    alone = sum(header["recipe"] == recipe for header in headers) <= 1
    return f"under {recipe if alone else name.removeprefix(ATTACK)}"


def _described(side: Side) -> dict[str, Any]:
    return {"method": side.title, "task": side.task, "runs": list(side.runs), "seeds": list(side.seeds)}
