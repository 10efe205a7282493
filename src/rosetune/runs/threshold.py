"""How the threshold was chosen by which one class is told from the rest, in words."""

from collections.abc import Iterable, Mapping
from typing import Any

from rosetune.runs.sets import SetName

__all__ = ["threshold_note", "ties_note"]

_CHOSEN = {
    "validation": "validation rows, which are neither trained on nor reported",
    "held_out": "the training rows that were held out to choose the checkpoint",
    "clean": "the clean set itself, for want of other rows: on it the rate is met by construction",
}


def threshold_note(detection: Mapping[str, Any], names: Iterable[str] = ()) -> str:
    """Where the threshold of a set's detection was chosen, and what that leaves open.

    Args:
        names: of the sets that it is used on.
    """
    threshold = detection["threshold"]
    if threshold is None:
        return "There is no threshold: no row of another class was there to choose it on."
    rate, n = threshold["false_positive_rate"], threshold["negatives"]
    few = "" if rate * n >= 1 else f" Of {n} such rows {rate:.1%} cannot be told from none: take more."
    chosen = _CHOSEN[threshold["chosen_on"]]
    files = [SetName.parse(name).title for name in names if SetName.parse(name).kind == "file"]
    if threshold["chosen_on"] == "validation" and files:
        chosen = (
            "validation rows, which are not trained on, nor reported unless they also stand in "
            f"{' or '.join(files)}: on such rows the rate is met by construction"
        )
    return (
        f"The threshold, a probability of {threshold['probability']:.4g}, was chosen at {rate:.1%} false positives on "
        f"{n} rows of other classes ({chosen}), and is the same on every set.{few}"
    )


def ties_note(detections: Mapping[str, Mapping[str, Any]]) -> str:
    """Where a tenth of a class or more has the very score of the threshold; empty where there is no such set."""
    tied = [
        f"{d['at_threshold']} of {d['positives']} on {SetName.parse(name).title}"
        for name, d in detections.items()
        if d.get("at_threshold", 0) >= max(1, 0.1 * d["positives"])
    ]
    if not tied:
        return ""
    return (
        f" Rows with exactly this score do not count as found: {', '.join(tied)}. A model with few different answers, "
        "such as a list of rules, has no threshold at most rates: raise --false_positive_rate, or go by accuracy."
    )
