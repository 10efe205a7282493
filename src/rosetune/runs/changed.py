"""Attacks on finished runs, read at a number of changed words."""

from collections.abc import Iterable, Sequence

from rosetune.robustness.attacks.changed_words import AT_MOST, within
from rosetune.robustness.attacks.run import attack_row
from rosetune.robustness.statistics import Difference
from rosetune.runs.compare import common_rows, rows_difference
from rosetune.runs.files import Rows
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError

__all__ = ["at_most_words", "differences_at_words"]


def at_most_words(run: Run, name: str, at_most: str | None) -> Rows:
    """The rows of an attack where only that counts as broken which took at most so many changed words.

    Args:
        name: of the attack's set.
        at_most: see :func:`~rosetune.robustness.attacks.changed_words.within`; None: any number.

    Raises:
        RunError: there is no such finished attack on it, or no such limit.
    """
    attack = SetName.parse(name).attack
    header, results = run.attacks.get(attack or "", ({}, []))
    if not header.get("finished"):
        raise RunError(f"{run} has no finished attack {attack}: `rosetune attack` makes one")
    try:
        broken = {result["id"] for result in results if at_most is None or within(result, at_most)}
    except ValueError as error:
        raise RunError(str(error)) from error
    rows = [attack_row(name, result) for result in results]
    return [
        {**row, "prediction": "robust"} if row["prediction"] == "broken" and row["id"] not in broken else row
        for row in rows
    ]


def differences_at_words(
    a: Sequence[Run], b: Sequence[Run], name: str, limits: Iterable[str | None] = AT_MOST
) -> dict[str | None, Difference]:
    """Two groups of runs under one attack, by the largest number of changed words; on the rows that all suffered.

    Raises:
        RunError: a run without the attack, or no row in common.
    """
    found = {}
    for limit in limits:
        before, after = common_rows(*([at_most_words(run, name, limit) for run in group] for group in (a, b)))
        found[limit] = rows_difference(before, after, name)
    return found
