"""The page, put together: one file without any other."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

import rosetune
from rosetune._files import write_text
from rosetune.report.html import accuracy, curves, overview, training
from rosetune.report.html.equal import baseline_curves, equal_grid
from rosetune.report.html.examples import Packed, pack
from rosetune.report.html.groups import Group, grouped, kept
from rosetune.report.html.inside import MAPS, Look, looks
from rosetune.report.html.svg import swatch
from rosetune.report.html.tables import table
from rosetune.report.paper import sheet_grid
from rosetune.report.paper import table as paper_table
from rosetune.runs.run import Run, find_runs
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError, check_output

__all__ = ["render", "write_report"]

ROOM = 960_000  # bytes of the whole page
POINTS = 24_000  # of all training curves together
MASKS = 24  # charts of masks
_SURROGATES = re.compile("[\ud800-\udfff]")
Report = Callable[[str], Any]


@dataclass
class TaskPart:
    """What the page shows of one task; charts and tables are ready markup."""

    name: str
    number: int
    legend: list[tuple[Markup, str]]
    scores: Markup
    differences: Markup | None = None
    trade_offs: list[tuple[str, Markup]] = field(default_factory=list)
    over_training: str | None = None
    equal: Markup | None = None
    attacks: Markup | None = None
    advglue: list[Markup] = field(default_factory=list)
    noise: list[tuple[str, Markup]] = field(default_factory=list)
    losses: list[tuple[str, Markup]] = field(default_factory=list)
    masks: list[tuple[str, Markup]] = field(default_factory=list)
    mask_table: Markup | None = None
    inside: list[Look] = field(default_factory=list)
    cost: Markup | None = None
    options: Markup | None = None


def write_report(
    patterns: Iterable[str], output: str | Path, *, baseline: str | None = None, report: Report = print
) -> Path:
    """Write a page about finished runs.

    Args:
        patterns: as :func:`rosetune.find_runs` takes them.
        output: the page's file; one that is there is replaced.
        baseline: method that the others are set against; None: vanilla, where there is one.
        report: is told of what was left out.

    Raises:
        RunError: no finished run, none of the baseline, or a place that no file can be written to.
    """
    path, given = check_output("-o", output), [str(pattern) for pattern in patterns]
    failures: list[str] = []

    def failed(line: str) -> None:
        failures.append(line)
        report(line)

    runs = find_runs(given, failed)
    for line in (*overview.unfinished_lines(given), *overview.failed_lines(given)):
        failed(line)
    try:
        write_text(path, render(runs, failures, baseline=baseline, report=report))
    except OSError as error:
        raise RunError(f"cannot write {output}: {error.strerror}; name another file with -o") from error
    return path


def render(runs: Sequence[Run], failures: list[str], *, baseline: str | None = None, report: Report = print) -> str:
    """The page as HTML.

    Args:
        runs: finished ones.
        failures: what is known to be missing; what else is found is added.
        baseline: as for :func:`write_report`.
        report: is told of that.

    Raises:
        RunError: no run is left that can be read, or none is of the baseline.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    def told(line: str) -> None:
        if line not in failures:
            failures.append(line)
            report(line)

    tasks = grouped(kept(runs, told), told)
    if not tasks:
        raise RunError(f"none of {len(runs)} runs can be read: {failures[-1]}")
    if baseline is None:
        baseline = "vanilla"
    else:
        accuracy.check_baseline(tasks, baseline)
    notes: list[str] = []
    parts = [
        _task_part(i, task, groups, tasks, baseline, told, notes) for i, (task, groups) in enumerate(tasks.items())
    ]
    environment = overview.environment_grid(tasks)
    groups = [group for part in tasks.values() for group in part]
    count = sum(len(group.members) for group in groups)
    facts: dict[str, Any] = {
        "title": f"{count} run{'s' if count != 1 else ''} of {len(tasks)} task{'s' if len(tasks) != 1 else ''}",
        "version": rosetune.__version__,
        "methods": [*dict.fromkeys(group.name for group in groups)],
        "seeds": sorted({run.seed for group in groups for run in group.runs if run.seed is not None}),
        "parts": parts,
        **_over_tasks([run for group in groups for run in group.runs], baseline, told),
        "environment": None if environment is None else table(environment),
        "run_count": count,
        "run_table": table(overview.run_grid(tasks)),
        "failures": failures,
        "notes": notes,
    }
    engine = Environment(
        loader=PackageLoader("rosetune.report.html"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    folder = files("rosetune.report.html") / "templates"
    facts |= {name: Markup((folder / f"report.{name}").read_text(encoding="utf-8")) for name in ("css", "js")}
    digest = hashlib.sha256(str(facts["js"]).encode()).digest()
    facts |= {"script_hash": f"sha256-{base64.b64encode(digest).decode()}"}
    facts |= {"sections": _sections(parts, tasks), "ids": [name for name, _ in _sections(parts, tasks)]}
    template = engine.get_template("report.html.j2")
    bare = template.render(**facts, examples=Packed("{}", 0, 0, 0, 0, 0), examples_json=Markup("{}"))
    packed = pack(tasks, ROOM - len(bare.encode("utf-8", "replace")))
    text = template.render(**facts, examples=packed, examples_json=Markup(packed.json))
    # A name of a file that is no UTF-8 comes as halves of surrogate pairs, which no page can hold.
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def _over_tasks(runs: Sequence[Run], baseline: str, report: Report) -> dict[str, list[Any]]:
    """The paper's table of all runs, classifications and regressions apart, with its notes."""
    sheets: list[Markup] = []
    notes: dict[str, None] = {}
    for metric in ("accuracy", "mse"):
        own = [run for run in runs if bool(run.labels) is (metric == "accuracy")]
        trials = all(run.config.held_out is not None for run in own)
        there = baseline in {run.method for run in own}
        try:
            shown = own and paper_table(own, metric=(metric,), baseline=baseline if there else None, held_out=trials)
        except RunError as error:
            report(f"there is no table over tasks: {error}")
            continue
        if shown:
            sheets += [table(sheet_grid(sheet)) for sheet in shown.sheets]
            notes |= dict.fromkeys(shown.notes)
    return {"sheets": sheets, "sheet_notes": [*notes]}


def _sections(parts: Sequence[TaskPart], tasks: Mapping[str, Sequence[Group]]) -> list[tuple[str, str]]:
    """Those that have something to show, as they stand in the page, with their names in the list of contents."""
    names = [name for groups in tasks.values() for group in groups for m in group.members for name in m.figures]
    there = {
        ("accuracy", "Accuracy"): True,
        ("trade", "Clean and robust"): any(part.trade_offs or part.equal for part in parts),
        ("attacks", "Attacks"): any(part.attacks or part.advglue for part in parts),
        ("noise", "Noise"): any(part.noise for part in parts),
        ("training", "Training"): any(part.losses for part in parts),
        ("masks", "Masks"): any(part.masks for part in parts),
        ("inside", "Inside the models"): any(part.inside for part in parts),
        ("cost", "Cost"): any(part.cost for part in parts),
        ("examples", "Examples"): any(SetName.parse(name).attack is not None for name in names),
        ("failures", "Failures"): True,
        ("runs", "Runs"): True,
    }
    return [section for section, shown in there.items() if shown]


def _task_part(
    number: int, task: str, groups: Sequence[Group], tasks: Any, method: str, report: Report, notes: list[str]
) -> TaskPart:
    base = accuracy.baseline_of(groups, method)
    names, classes = accuracy.set_names(groups), bool(groups[0].runs[0].labels)
    part = TaskPart(task, number, [(swatch(group.style), group.name) for group in groups],
                    table(accuracy.score_grid(task, groups)))  # fmt: skip
    if base is None and len(groups) > 1:
        others = dict.fromkeys(group.runs[0].method for group in groups if not group.control)
        remedy = f"; name one with --baseline {' or '.join(others)}" if others else ""
        report(f"no run of {task} is of the method {method}: nothing is set against it{remedy}")
    if base is not None:
        found = accuracy.difference_grid(task, groups, base, report)
        part.differences = None if found is None else table(found)
    if classes:
        _add_trade_offs(part, groups, base, names, report)
        found = accuracy.attack_grid(task, groups)
        part.attacks = None if found is None else table(found)
        part.advglue = [table(grid) for grid in accuracy.advglue_grids(task, groups)]
    part.noise = curves.noise_charts(task, groups, accuracy.set_names(groups, curve=True))
    _add_training(part, groups, tasks, report, notes)
    part.inside = looks(task, groups, max(1, MAPS // len(tasks)), report, notes)
    found = training.cost_grid(task, groups, base)
    part.cost = None if found is None else table(found)
    part.options = table(overview.option_grid(task, groups))
    return part


def _add_trade_offs(
    part: TaskPart, groups: Sequence[Group], base: Group | None, names: Sequence[str], report: Report
) -> None:
    cells = accuracy.set_names(groups, curve=True)
    try:
        over_training = baseline_curves(base, [*names, *cells])
    except (RunError, ValueError) as error:
        report(f"the checkpoints of {base and base.name} on {part.name} are left out: {error}")
        over_training = []
    curve = over_training[0] if over_training else None
    robust = [name for name in names if SetName.parse(name).robust]
    part.trade_offs = [curves.trade_off(part.name, name, groups, base, curve) for name in robust]
    if base is not None and curve is not None:
        part.over_training = f"{base.name}, seed {curve.run.seed}, {len(curve.at['clean'])} checkpoints"
        found = equal_grid(part.name, groups, base, over_training, [*robust, *cells])
        part.equal = None if found is None else table(found)


def _add_training(part: TaskPart, groups: Sequence[Group], tasks: Any, report: Report, notes: list[str]) -> None:
    terms = training.terms_of(groups)
    lines = sum(len(training.terms_of(own)) * len(own) for own in tasks.values())
    most = max(8, min(60, POINTS // max(1, lines)))
    drawn = [training.training_chart(part.name, term, groups, most, report) for term in terms]
    part.losses = [chart for chart in drawn if chart is not None]
    longest = max((len(member.log) for group in groups for member in group.members), default=0)
    if longest > most:
        notes.append(f"{part.name}: of logs with up to {longest} lines at most {most} points of a curve are drawn.")
    room = max(1, MASKS // len(tasks))
    traced = [group for group in groups if any(member.trace is not None for member in group.members)]
    masks = [(group.name, training.mask_chart(part.name, group)) for group in traced[:room]]
    part.masks = [(name, chart) for name, chart in masks if chart is not None]
    if len(traced) > room:
        left = ", ".join(group.name for group in traced[room:])
        notes.append(f"{part.name}: masks of {room} methods are drawn; left out: {left}.")
    found = training.mask_grid(part.name, traced[:room])
    part.mask_table = None if found is None else table(found)
