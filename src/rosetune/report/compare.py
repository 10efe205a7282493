"""What `rosetune compare` prints."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from rosetune._numbers import fixed
from rosetune.report.attacks import TRIED_ON_THE_OTHER, fooled_share, success_grid, words_differences_grid
from rosetune.report.console import (
    Grid,
    difference_cell,
    interval_cell,
    mean_cell,
    p_text,
    percent,
    print_grid,
    set_title,
)
from rosetune.report.measures import FEW
from rosetune.robustness.statistics import Difference
from rosetune.runs.calibration import calibrations
from rosetune.runs.changed import differences_at_words
from rosetune.runs.claim import ControlResult, control_results, differing, not_tried, sentences
from rosetune.runs.comparable import check_comparable, not_judged
from rosetune.runs.compare import by_attack, common_success, compare, not_compared, side_names
from rosetune.runs.identity import task_name
from rosetune.runs.normalized import same_weights
from rosetune.runs.notes import shared_notes
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.titles import group_titles

__all__ = ["compared_as_json", "print_compared"]

Group = Sequence[Run]
Titles = Mapping[str, str]  # by the name of a set what a person calls it
_CALIBRATION = (
    "ECE: mean gap between confidence and accuracy, in %. Brier: squared error of the probabilities, summed over the "
    "labels. Of both less is better. at T: with the logits divided by T, which is fitted on clean examples: for the "
    "clean set and noise on the other half of them, else on all."
)
_CONTROLS = {
    "constant": "always the most frequent label of a set, so that it has no clean accuracy",
    "flip": "predictions of A with so many turned at random that A's clean accuracy sinks to B's",
    "early_stopping": "the checkpoint of A with B's clean accuracy",
}


def compared_as_json(a: Group, b: Group, trained: Mapping[str, Group]) -> dict[str, Any]:
    """All that :func:`print_compared` shows.

    Raises:
        RunError: see :func:`~rosetune.runs.comparable.check_comparable`.
    """
    check_comparable(a, b)
    compared, controls = compare(a, b), control_results(a, b, trained)
    baseline, claim = side_names(a, b)
    return {
        "baseline": _described(a, baseline),
        "claim": _described(b, claim),
        "differing": differing(a[0], b[0]),
        "sets": {name: {**dataclasses.asdict(d), "verdict": d.verdict} for name, d in compared.items()},
        "not_compared": not_compared(a, b),
        "common_success": {name: common_success(a, b, name) for name in _attacks(compared)},
        "at_most_words": {
            name: {
                limit: {**dataclasses.asdict(d), "verdict": d.verdict}
                for limit, d in differences_at_words(a, b, name).items()
            }
            for name in _attacks(compared)
        },
        "transfer": {
            name: {"found_on_a": fooled_share(a, b, name), "found_on_b": fooled_share(b, a, name)}
            for name in _attacks(compared)
        },
        "advglue": {
            name: {group: dataclasses.asdict(d) for group, d in by_attack(a, b, name).items()}
            for name in compared
            if SetName.parse(name).kind == "advglue" and not SetName.parse(name).is_original
        },
        "calibration": {
            side: {name: found for name, found in calibrations(group).items() if name in compared}
            for side, group in (("baseline", a), ("claim", b))
        },
        "controls": {
            name: [{**dataclasses.asdict(c), "shows_it_too": c.answer} for c in part]
            for name, part in controls.items()
        },
        "not_tried": [*not_judged(a, b), *not_tried(a, b, trained, controls)],
        "trained_on": {"baseline": _trained_on(a), "claim": _trained_on(b)},
        "verdicts": sentences(a, b, compared, controls),
    }


def print_compared(out: Console, a: Group, b: Group, trained: Mapping[str, Group]) -> None:
    """The comparison, AdvGLUE by attack, the noise curve, calibration, the controls, and what they leave of a gain.

    Raises:
        RunError: see :func:`~rosetune.runs.comparable.check_comparable`.
    """
    check_comparable(a, b)
    compared, controls, titles = compare(a, b), control_results(a, b, trained), group_titles(a, b)
    plain = {name: d for name, d in compared.items() if not SetName.parse(name).on_curve}
    for side, name, group in zip("AB", side_names(a, b), (a, b), strict=True):
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        out.print(Text(f"{side}: {name}{_seeds(group)}, {task_name(group[0].identity)}; {group[0]}{more}"))
    out.print(Text("Paired on the same examples.\n"))
    print_grid(out, _sets_grid(a, plain, titles))
    if _attacks(plain):
        success = success_grid(a, b, {name: titles[name] for name in _attacks(plain)})
        print_grid(out, dataclasses.replace(success, caption=TRIED_ON_THE_OTHER))
        print_grid(out, words_differences_grid(a, b, {name: titles[name] for name in _attacks(plain)}))
    for name in plain:
        parsed = SetName.parse(name)
        groups = by_attack(a, b, name) if parsed.kind == "advglue" and not parsed.is_original else {}
        if groups:
            print_grid(out, _groups_grid(f"{parsed.title} by kind and attack", groups))
    curve = {name: d for name, d in compared.items() if SetName.parse(name).on_curve}
    if curve:
        print_grid(out, _curve_grid(curve, regression=not a[0].labels))
    sides = {"A": calibrations(a), "B": calibrations(b)}
    calibrated = [name for name in sides["A"] if name in sides["B"] and name in compared]
    if calibrated:
        print_grid(out, _calibration_grid(len(a), sides, calibrated))
    for clean in dict.fromkeys(SetName.parse(name).clean(compared) for name in controls):
        part = {name: of for name, of in controls.items() if SetName.parse(name).clean(compared) == clean}
        print_grid(out, _controls_grid(a, b, compared, part, clean, titles))
    for name, results in controls.items():
        if compared[name].verdict > 0:
            print_grid(out, _gain_grid(titles[name], results, regression=not a[0].labels))
    lines = [*_verdicts(a, b, compared, controls, titles), *map(Text, not_judged(a, b))]
    for line in lines:
        out.print(line)
    if lines:
        out.print()
    for note in _notes(a, b, not_tried(a, b, trained, controls), titles):
        out.print(Text(note))


def _seeds(group: Group) -> str:
    """The seeds of a group; nothing of a given model, which has none."""
    seeds = [str(run.seed) for run in group if run.seed is not None]
    return f", seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}" if seeds else ""


def _attacks(names: Mapping[str, Any]) -> list[str]:
    return [name for name in names if SetName.parse(name).attack is not None]


def _sets_grid(a: Group, compared: Mapping[str, Difference], titles: Titles) -> Grid:
    several = any(d.sd is not None for d in compared.values())
    regression = not a[0].labels
    value = "MSE" if regression else "%"
    title = "Mean squared error; above 0: B has less" if regression else "Accuracy"
    below = "p: exact test (over seeds: t-test) that A and B differ; p, B better: that B is better."
    if any(None in (d.p, d.p_b_better) for d in compared.values()):
        below += " -: no test, since B differs from A by the same for every seed."
    columns = ("set", "n", f"A {value}", f"B {value}", "B - A [95%]" if not regression else "A - B [95%]", "p")
    grid = Grid(title, (*columns, "p, B better", *(["sd over seeds"] if several else [])), caption=below)
    for name, d in compared.items():
        sides = (mean_cell(s.value, regression) for s in (d.a, d.b))
        tests = ["-" if p is None else p_text(p).removeprefix("= ") for p in (d.p, d.p_b_better)]
        spread = [] if d.sd is None else [mean_cell(d.sd, regression)]
        grid.rows.append((escape(titles[name]), str(d.n), *sides, difference_cell(d, regression), *tests, *spread))
    return grid


def _groups_grid(title: str, groups: Mapping[str, Difference]) -> Grid:
    grid = Grid(title, ("attack", "n", "A %", "B %", "B - A [95%]"))
    for name, d in groups.items():
        shown = f"  {name.split('/', 1)[1]}" if "/" in name else name
        grid.rows.append((escape(shown), str(d.n), percent(d.a.value), percent(d.b.value), difference_cell(d)))
    return grid


def _curve_grid(curve: Mapping[str, Difference], regression: bool) -> Grid:
    cells = {(SetName.parse(name).noise, SetName.parse(name).strength): d for name, d in curve.items()}
    strengths = sorted({strength for _, strength in cells if strength is not None})
    grid = Grid(
        f"Noise curve: {'mean squared error of A and B' if regression else 'accuracy of A and B in %'}",
        ("share of words touched", *(f"{strength:g}" for strength in strengths)),
        caption="*: one is shown to be better, each cell by itself.",
    )
    for noise in dict.fromkeys(noise for noise, _ in cells):
        row = []
        for d in (cells.get((noise, strength)) for strength in strengths):
            text = "-" if d is None else f"{mean_cell(d.a.value, regression)} {mean_cell(d.b.value, regression)}"
            row.append(f"{text} " if d is None or not d.verdict else f"[bold]{text}*[/bold]")
        grid.rows.append((str(noise).replace("_", " "), *row))
    return grid


def _calibration_grid(seeds: int, sides: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> Grid:
    columns = [f"{name}\n{part}" for name in sides for part in ("ECE %", "at T", "Brier", "at T")]
    of = "" if seeds == 1 else ", mean over seeds"
    title = f"Calibration, and at the temperature T that fits clean examples{of}"
    grid = Grid(title, ("set", *columns), caption=f"{_CALIBRATION} {_temperatures(sides)}")
    for name in names:
        cells = []
        for found in sides.values():
            before, after = found[name]["before"], found[name]["after"]
            cells += [percent(before["ece"]), percent(after and after["ece"])]
            cells += [fixed(before["brier"], 2), "-" if after is None else fixed(after["brier"], 2)]
        grid.rows.append((escape(set_title(name)), *cells))
    return grid


def _temperatures(sides: Mapping[str, Mapping[str, Any]]) -> str:
    """T of each side, or why there is none."""
    said = []
    for name, found in sides.items():
        t = found["clean"]["temperature"]
        none = f"none for {name}, which makes no error on one of these halves"
        said.append(none if t is None else f"{t:.2f} for {name}")
    return f"T of the clean set: {', '.join(said)}."


def _controls_grid(
    a: Group,
    b: Group,
    compared: Mapping[str, Difference],
    controls: Mapping[str, Sequence[ControlResult]],
    clean: str,
    titles: Titles,
) -> Grid:
    """Every control's accuracy on some robust sets that share their clean set."""
    heads = (titles[name].replace(" ", "\n") for name in controls)
    regression = not a[0].labels
    grid = Grid(f"Controls: {'mean squared error' if regression else 'accuracy in %'}", ("", "seeds", "clean", *heads))
    at = compared.get(clean)
    for title, group, side in (("B", b, "b"), ("A", a, "a")):
        cells = (mean_cell(getattr(compared[name], side).value, regression) for name in controls)
        level = mean_cell(getattr(at, side).value if at else None, regression)
        grid.rows.append((escape(f"{title}, {group[0].method}"), str(len(group)), level, *cells))
    grid.rows.append(None)
    found = {name: {result.control: result for result in part} for name, part in controls.items()}
    shown = dict.fromkeys(control for part in found.values() for control in part)
    for control in shown:
        here = [part.get(control) for part in found.values()]
        known = [result for result in here if result is not None]
        own = next((result.clean for result in known if result.clean is not None), None)
        cells = (mean_cell(result.accuracy if result else None, regression) for result in here)
        grid.rows.append((escape(control.replace("_", " ")), str(known[0].seeds), percent(own), *cells))
    said = (f"{name.replace('_', ' ')}: {text}." for name, text in _CONTROLS.items() if name in shown)
    return dataclasses.replace(grid, caption=" ".join(said))


def _gain_grid(title: str, controls: Sequence[ControlResult], regression: bool) -> Grid:
    """What of a gain a control shows too."""
    columns = ("", "control - A", "B - control [95%]", "shows the gain too")
    grid = Grid(f"The gain on {title} beside its controls", columns)
    for result in controls:
        cell = interval_cell(result.difference, result.low, result.high, sign="+", regression=regression)
        gain = mean_cell(result.gain, regression, sign="+")
        grid.rows.append((escape(result.control.replace("_", " ")), gain, cell, result.answer))
    return grid


def _verdicts(
    a: Group,
    b: Group,
    compared: Mapping[str, Difference],
    controls: Mapping[str, list[ControlResult]],
    titles: Titles,
) -> Iterator[Text]:
    none, (baseline, claim) = [], side_names(a, b)
    for name, sentence in sentences(a, b, compared, dict(controls)).items():
        if compared[name].verdict:
            yield Text(f"{titles[name]}. ", style="bold") + Text(sentence, style="none")
        else:
            none.append(name)
    for name, d in compared.items():
        parsed = SetName.parse(name)
        if d.verdict and (name == "clean" or parsed.kind == "file"):
            where = "the clean set" if name == "clean" else parsed.title
            said = "better" if d.verdict > 0 else "worse"
            yield Text(f"On {where} {claim} is {said} than {baseline}.")
    if none:
        shown = [titles[name] for name in none]
        plain = ", ".join(title for title in shown if not title.startswith("under "))
        attacks = ", ".join(title for title in shown if title.startswith("under "))
        told = ", ".join(filter(None, (plain and f"on {plain}", attacks)))
        yield Text(f"{claim} is not shown to be better or worse than {baseline} {told}.")
    few = {name: compared[name].n for name in none if compared[name].n < FEW}
    if few:
        said = ", ".join(f"{titles[name]} ({n})" for name, n in few.items())
        yield Text(f"Few examples, on which only a large difference could show: {said}.")


def _notes(a: Group, b: Group, missing: Sequence[str], titles: Titles) -> list[str]:
    said = []
    other = differing(a[0], b[0])
    if other:
        said.append(f"A and B differ in more than the method: {', '.join(other)}.")
    if same_weights(a[0], b[0]):
        said.append("A and B have the same weights, one of them behind a normalisation of its texts.")
    said += [f"{titles[name]} is left out: {reason}." for name, reason in not_compared(a, b).items()]
    for side, group in (("A", a), ("B", b)):
        said += [f"{side}: {note}" for note in _trained_on(group)]
    said += missing
    said.append(
        "Better or worse is said where interval and exact test (over seeds: t-test) both say so, on every set by "
        "itself: of many sets, attacks and cells some come out by chance."
    )
    if len(a) == 1:
        said.append("One seed: the intervals cover the choice of examples, not the luck of a training run.")
    return said


def _trained_on(group: Group) -> list[str]:
    return [*dict.fromkeys(note for run in group for note in shared_notes(run.metrics["sets"]))]


def _described(group: Group, name: str) -> dict[str, Any]:
    runs, task = [str(run) for run in group], task_name(group[0].identity)
    return {"name": name, "method": group[0].method, "task": task, "runs": runs, "seeds": [run.seed for run in group]}
