"""What ``metrics.json`` holds beside accuracy: how one class is told from the rest, results by length and by group."""

from collections.abc import Mapping, Sequence
from typing import Any

from rosetune.robustness.detection import Threshold, choose_threshold, detection_metrics, scores_by_class
from rosetune.robustness.parts import by_band, by_group
from rosetune.runs.files import Rows, read_lines
from rosetune.runs.measures import VALIDATION, Measures, read_features
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["OWN_TEXTS", "further_measures"]

DEFAULT_RATE = 0.01
OWN_TEXTS = ("clean", "advglue", "file")  # kinds of sets whose texts are not those of the clean set


def further_measures(run: Run, sets: Mapping[str, Rows], labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By set what stands in ``metrics.json`` beside accuracy, as far as the run has what it takes.

    Args:
        sets: the prediction rows of each set.

    Returns:
        ``detection`` (see :func:`~rosetune.robustness.detection.detection_metrics`) of every set; of all but the noise
        curve ``lengths`` (see :func:`~rosetune.robustness.parts.by_band`) and ``groups`` (see
        :func:`~rosetune.robustness.parts.by_group`) with their ``column``. Noisy texts have the length and the group
        of the clean text.

    Raises:
        RunError: a positive label that there is not, or a damaged file.
    """
    measures, features = Measures.read(run.folder), read_features(run.folder / "predictions")
    positive = measures.positive(labels)
    threshold = None if positive is None else _threshold(run, measures, sets, labels, positive)
    options = {} if positive is None else {"labels": labels, "positive": positive, "threshold": threshold}
    found: dict[str, dict[str, Any]] = {}
    for name, rows in sets.items():
        part = found[name] = {}
        if all(row["gold"] is None for row in rows):
            continue
        if positive is not None:
            part["detection"] = detection_metrics(rows, labels, positive, threshold)
        parsed = SetName.parse(name)
        known = features.get(name if parsed.kind in OWN_TEXTS else parsed.clean(sets), {})
        if parsed.on_curve or parsed.is_original:
            continue
        if {str(row["id"]) for row in rows} <= known.get("words", {}).keys():
            part["lengths"] = by_band(rows, known["words"], **options)
        column = measures.group_column
        if column in known.get("groups", {}):
            part["groups"] = {"column": column, "groups": by_group(rows, known["groups"][column], **options)}
    return found


def _threshold(
    run: Run, measures: Measures, sets: Mapping[str, Rows], labels: Sequence[str], positive: str
) -> Threshold | None:
    """Chosen on rows that are not reported, where the run has some, else on the clean set."""
    rate = measures.false_positive_rate or DEFAULT_RATE
    place = run.folder / "predictions" / VALIDATION
    chosen_on = next((name for name in ("validation", "held_out") if (place / f"{name}.jsonl").is_file()), "clean")
    rows = sets.get("clean", [])
    if chosen_on != "clean":
        rows = read_lines(place / f"{chosen_on}.jsonl", "remove it and evaluate again")
    _, negatives = scores_by_class(rows, labels, positive)
    return choose_threshold(negatives, rate, chosen_on)
