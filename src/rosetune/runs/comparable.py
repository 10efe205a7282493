"""Whether two groups of runs can be compared at all, and judged, with the command that helps."""

from collections.abc import Sequence

from rosetune.runs.compare import common_sets, not_compared
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.titles import group_titles
from rosetune.runs.values import RunError

__all__ = ["check_comparable", "not_judged"]


def check_comparable(a: Sequence[Run], b: Sequence[Run]) -> None:
    """Both groups have a labelled set, or an attack, in common.

    Raises:
        RunError: there is none; it says why, set by set, and what makes the runs comparable.
    """
    if common_sets(a, b):
        return
    names: dict[str, list[str]] = {}
    called = group_titles(a, b)
    for name, reason in not_compared(a, b).items():
        names.setdefault(reason, []).append(called[name])
    why = "; ".join(f"{', '.join(titles)}: {reason}" for reason, titles in names.items()) or "neither has one"
    how = " and ".join(f"`rosetune evaluate {run} --test_file FILE`" for run in (a[0], b[0]))
    told = f"evaluate both on one labelled file, {how}"
    if all(reason.startswith(("not there", "not finished")) for reason in names):
        told = f"evaluate both alike, `rosetune evaluate {a[0]} {b[0]} --sets clean,noise`"
    raise RunError(f"{a[0]} and {b[0]} have no labelled set in common ({why}): {told}")


def not_judged(a: Sequence[Run], b: Sequence[Run]) -> list[str]:
    """A sentence with the command that adds a set, where both share no perturbed texts to judge robustness on."""
    if any(SetName.parse(name).perturbed for name in common_sets(a, b)):
        return []
    runs = " ".join(map(str, (*a, *b)))
    return [
        "Robustness is not judged: A and B share no perturbed texts and no attack. "
        f"`rosetune evaluate {runs} --sets noise` adds some."
    ]
