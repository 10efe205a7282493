"""What a trial is judged by, whether a search or a plan chooses on it."""

import math
from collections.abc import Iterable, Mapping

from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError

__all__ = ["HALVES", "mean_accuracies", "trial_score"]

HALVES = {"clean": 0.5, "noise": 0.5}


def mean_accuracies(run: Run, kinds: Iterable[str]) -> dict[str, float]:
    """By kind of set the mean of a trial's accuracies on the sets of that kind.

    Raises:
        RunError: the run was not evaluated on held-out training rows, or has no accuracy on a set of some kind.
    """
    if run.config.held_out is None:
        raise RunError(f"{run} was evaluated on data that is reported: nothing is chosen on it")
    found = {}
    for kind in kinds:
        sets = [metrics for name, metrics in run.metrics["sets"].items() if SetName.parse(name).kind == kind]
        values = [metrics.get("accuracy") for metrics in sets]
        if not values or None in values:
            raise RunError(f"{run} has no accuracy on {kind} rows: only options of a classification are chosen")
        found[kind] = math.fsum(values) / len(values)
    return found


def trial_score(accuracies: Mapping[str, float], mix: Mapping[str, float] = HALVES) -> float:
    """sum_k w_k a_k / sum_k w_k, with w_k the weight of kind k and a_k the mean accuracy on its sets."""
    return math.fsum(weight * accuracies[kind] for kind, weight in mix.items()) / math.fsum(mix.values())
