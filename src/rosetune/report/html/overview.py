"""What was run: the runs, their options, versions and hardware; and what has failed."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from rosetune.report.console import Grid
from rosetune.report.html.groups import Group
from rosetune.runs.compare import OF_THE_SEED
from rosetune.runs.files import LOGGED_FOLDER
from rosetune.runs.identity import model_title
from rosetune.runs.run import Run, find_folders, find_unfinished
from rosetune.runs.values import differences

__all__ = ["environment_grid", "failed_lines", "option_grid", "run_grid", "unfinished_lines"]

_LISTED_ELSEWHERE = ("training", "task", "processes")
_PROGRESS = re.compile(r"\b\d+/\d+.* gone\b")  # how far it was, which says nothing of what went wrong


def run_grid(tasks: Mapping[str, Sequence[Group]]) -> Grid:
    """A line for each run."""
    columns = ("task", "method", "seed", "model", "steps", "sets")
    grid = Grid("Runs", ("folder", *columns))
    for task, groups in tasks.items():
        for group in groups:
            for member in group.members:
                run, steps = member.run, member.timing.get("steps", "-")
                model = model_title(run.config.model_name_or_path)
                shown = (task, group.name, _seed(run), model, str(steps), str(len(member.figures)))
                grid.rows.append(tuple(map(escape, (str(run), *shown))))
    return grid


def option_grid(task: str, groups: Sequence[Group]) -> Grid:
    """What decided the results: options that all groups share once, the others by group."""
    identities = {group.name: differences({}, group.runs[0].identity, ignore=OF_THE_SEED) for group in groups}
    options = {name: {key: pair[1] for key, pair in found.items()} for name, found in identities.items()}
    keys = sorted({key for found in options.values() for key in found} - {*_LISTED_ELSEWHERE})
    first = options[groups[0].name]
    common = [key for key in keys if all(found.get(key) == first.get(key) for found in options.values())]
    grid = Grid(f"{task}: what decided the results", ("option", "value"))
    grid.rows.extend([(escape(key), escape(_shown(first.get(key)))) for key in common])
    for group in groups:
        seeds = ", ".join(map(_seed, group.runs))
        grid.rows.extend([None, (f"[bold]{escape(group.name)}[/bold]", f"seeds {seeds}")])
        own = options[group.name]
        grid.rows.extend([(escape(key), escape(_shown(own[key]))) for key in keys if key in own and key not in common])
    return grid


def environment_grid(tasks: Mapping[str, Sequence[Group]]) -> Grid | None:
    """Each environment that runs were trained in; None where none is known."""
    found: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for group in (group for groups in tasks.values() for group in groups):
        for member in group.members:
            key = json.dumps(member.environment, sort_keys=True)
            found.setdefault(key, (member.environment, []))[1].append(str(member.run))
    known = [(environment, runs) for environment, runs in found.values() if environment]
    if not known:
        return None
    grid = Grid(
        "Versions and hardware", ("", *(f"{len(runs)} run{'s' if len(runs) > 1 else ''}" for _, runs in known))
    )
    flat = [_flat(environment) for environment, _ in known]
    for key in dict.fromkeys(key for part in flat for key in part):
        grid.rows.append((escape(key), *(escape(_shown(part.get(key))) for part in flat)))
    return grid


def unfinished_lines(patterns: Iterable[str]) -> list[str]:
    """A line for each run that has begun and is not done: how far it came."""
    return [f"{folder} is not finished: {_progress(folder)}" for folder in find_unfinished(patterns)]


def failed_lines(patterns: Iterable[str]) -> list[str]:
    """A line for each run of a sweep that has left nothing but its log: what it said last.

    One whose folder is there is none of these, even where its files are damaged.

    A sweep keeps them in ``logs``, beside the folders of its runs. A log names its run's folder; where it does not
    yet, its own name ends as the folder's.
    """
    there = {folder.resolve().name.rpartition("-")[2] for folder in find_folders(patterns)}
    logs = [log for pattern in patterns for log in sorted(Path(pattern).expanduser().glob("logs/*.log"))]
    lines = []
    for log in logs:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        named = [line.removeprefix(LOGGED_FOLDER) for line in said if line.startswith(LOGGED_FOLDER)]
        name = Path(named[-1]).name if named else log.stem
        if name.rpartition("-")[2] in there:
            continue
        told = [line for line in said if not line.startswith(LOGGED_FOLDER) and not _PROGRESS.search(line)]
        last = f"its last line: {told[-1]}" if told else "it said nothing"
        lines.append(f"{log.stem} left nothing but its log; {last} ({log})")
    return lines


def _progress(folder: Path) -> str:
    if (folder / "model").is_dir():
        return "trained, but not evaluated to the end; the same command goes on"
    try:
        lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        return f"it has logged up to step {json.loads(lines[-1])['step']}; the same command goes on"
    except (OSError, ValueError, LookupError, TypeError):
        return "nothing is logged; the same command starts it anew"


def _seed(run: Run) -> str:
    return "-" if run.seed is None else str(run.seed)


def _flat(environment: Mapping[str, Any]) -> dict[str, Any]:
    packages = environment.get("packages")
    rest = {name: value for name, value in environment.items() if name != "packages"}
    return {**rest, **(packages if isinstance(packages, Mapping) else {})}


def _shown(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
