"""The ROSE paper's own figures, which stand in paper.json with their source."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from rosetune.runs.aggregate import AVERAGE, DROP
from rosetune.runs.figures import Column, averaged_columns
from rosetune.runs.values import RunError

__all__ = ["PAPER_TASKS", "SOURCE", "check_accuracies", "paper_models", "published"]

SOURCE = "Jiang et al., EMNLP 2022, mean of 5 seeds."
PAPER_TASKS = ("sst2", "rte", "qnli", "qqp")
_TABLES = ("table1", "table2")


@cache
def _read() -> dict[str, Any]:
    return json.loads(files("rosetune.report").joinpath("paper.json").read_text(encoding="utf-8"))


def paper_models(models: Sequence[str], wanted: str | bool) -> dict[str, str]:
    """For each model of a table the one of the paper whose figures may stand beside it.

    Args:
        wanted: True: the one of the same name; or the name of the paper's model that is shown for all.

    Raises:
        RunError: the paper has no such model, or with True none of these.
    """
    known = list(_read()["table1"])
    if isinstance(wanted, str):
        if wanted not in known:
            raise RunError(f"the paper has no figures of {wanted}: it has {' and '.join(known)}")
        return dict.fromkeys(models, wanted)
    found = {model: re.sub(r" \(\w+\)$", "", model).lower() for model in models}
    matching = {model: name for model, name in found.items() if name in known}
    if not matching:
        raise RunError(
            f"the paper has no figures of {', '.join(models)}: name one of its models to show them all the same, "
            f"such as --paper {known[0]}"
        )
    return matching


def check_accuracies(metrics: Mapping[str, str], over_tasks: bool) -> None:
    """Refuse to set the paper's figures, which are accuracies, beside others.

    Args:
        metrics: by task.
        over_tasks: whether average and drop alone are shown, which the paper's stand beside whatever the tasks.

    Raises:
        RunError: a task that the paper has is shown in another metric; with ``over_tasks`` any task.
    """
    for task, metric in metrics.items():
        if metric != "accuracy" and (over_tasks or task in PAPER_TASKS):
            raise RunError(
                f"the paper's figures are accuracies, and {task} is shown in {metric}: leave out --paper, or give "
                "--metric accuracy"
            )


def published(
    model: str, method: str, columns: Sequence[Column], averaged: Sequence[str], value: str | None = None
) -> dict[Column, float]:
    """The paper's figures of a method, in percent, as far as it has these columns.

    Average and drop are as printed where these are its four tasks, and otherwise computed from its figures on those of
    them that are averaged here; missing where another task or set is.

    Args:
        model: of the paper.
        value: of gamma, for its Table 3.
    """
    paper = _read()
    if value is not None:
        row = paper["table3"][model].get(value, {}) if method == "rose-ensemble" else {}
        return {column: row[column.set] for column in (AVERAGE, DROP) if column in columns and column.set in row}
    row = next((paper[table][model][method] for table in _TABLES if method in paper[table][model]), None)
    if row is None:
        return {}
    tasks = [name for name, part in row.items() if isinstance(part, dict)]
    found = {
        column: row[column.task][column.set]
        for column in columns
        if column.task in tasks and column.set in row[column.task]
    }
    needed = averaged_columns(columns, averaged)
    if (
        found
        and all(column in found for column in needed)
        and {column.set for column in needed} == {"clean", "advglue"}
    ):
        if {*averaged} == {*tasks}:
            return found | {AVERAGE: row["average"], DROP: row["drop"]}
        sides = [[row[task][name] for task in averaged] for name in ("clean", "advglue")]
        clean, robust = (sum(side) / len(side) for side in sides)
        found |= {AVERAGE: round((clean + robust) / 2, 2), DROP: round(clean - robust, 2)}
    return found
