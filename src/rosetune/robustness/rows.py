"""Prediction rows: one per example, and every metric and comparison from them alone.

Nothing here needs torch, so that finished runs are read and compared at once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rosetune.robustness.calibration import calibration_metrics
from rosetune.robustness.metrics import classification_metrics, constant_predictor, regression_metrics
from rosetune.robustness.statistics import Difference, difference, difference_of_errors, estimate

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["clusters_of", "compare_rows", "paired_correctness", "paired_errors", "prediction_rows", "set_metrics"]

T = TypeVar("T")
Row = dict[str, Any]
ANNOTATIONS = ("method", "data_construction", "original_id")  # of AdvGLUE's items


def prediction_rows(
    set_name: str, dataset: "Dataset", logits: NDArray[np.floating], labels: Sequence[str]
) -> list[Row]:
    """One JSON-able dict per example, from which every metric can be computed without the model.

        {"set", "id", "gold", "prediction", "logits"} and, where the data set has these columns, AdvGLUE's "method",
        "data_construction" and "original_id"

    Gold and prediction are label names. Gold is None where the data set says None or -1 (a hidden test label), or has
    no column ``label``. Without a column ``id`` the id is the position of the row. For regression both are numbers,
    the prediction being the one logit, and -1 is a number like others: hidden are None and NaN.

    Args:
        set_name: name of the evaluation set.
        dataset: with class indices in ``label``, for regression numbers.
        logits: shape (n, labels), from :func:`predict`; for regression (n, 1).
        labels: class names, in the order of the logits; none for regression.

    Raises:
        ValueError: shapes that do not fit, a gold label that is no index of ``labels`` or, for regression, no number,
            or logits that are not finite.
    """
    if logits.shape != (len(dataset), len(labels) or 1):
        raise ValueError(f"logits of shape {logits.shape} do not fit {len(dataset)} rows and {len(labels)} labels")
    if not np.isfinite(logits).all():
        # An arg max of NaN would pass for a prediction.
        bad = int((~np.isfinite(logits).all(axis=1)).sum())
        raise ValueError(
            f"the logits of {bad} of {len(dataset)} rows of {set_name!r} are not finite: a diverged model"
        )
    dataset, columns = dataset.with_format(None), dataset.column_names
    ids = dataset["id"][:] if "id" in columns else range(len(dataset))
    golds = dataset["label"][:] if "label" in columns else [None] * len(dataset)
    rows: list[Row] = [
        {
            "set": set_name,
            "id": example,
            "gold": _label_name(gold, labels) if labels else _number(gold),
            "prediction": labels[int(scores.argmax())] if labels else float(scores[0]),
            "logits": scores.tolist(),
        }
        for example, gold, scores in zip(ids, golds, logits, strict=True)
    ]
    for column in ANNOTATIONS:
        if column in columns:
            for row, value in zip(rows, dataset[column][:], strict=True):
                row[column] = value
    return rows


def set_metrics(rows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    """Metrics of one evaluation set from its prediction rows; rows without a gold label do not count.

    Args:
        rows: of one set, from :func:`prediction_rows` or a ``predictions.jsonl``.
        labels: class names, in the order of the logits; none for regression.

    Returns:
        ``n``, ``accuracy`` with its 95 % interval ``low``, ``high`` (clustered by ``original_id`` where rows have it),
        ``f1``, ``mcc`` (see :func:`~rosetune.robustness.metrics.classification_metrics`), ``constant``: the ``label``
        and ``accuracy`` of the best constant predictor on this set, and ``calibration``: what
        :func:`~rosetune.robustness.calibration.calibration_metrics` gives.
        For regression ``n``, ``mse`` with its interval ``low``, ``high``, ``pearson``, ``spearman`` (see
        :func:`~rosetune.robustness.metrics.regression_metrics`), and ``constant``: the ``value`` (the mean of the gold
        numbers) and ``mse`` of the best constant predictor on this set.

    Raises:
        ValueError: rows of several sets, no labelled row, or labels in another order than the rows were made with.
    """
    sets = {row["set"] for row in rows}
    if len(sets) > 1:
        raise ValueError(f"rows of several sets: {sorted(sets)}; a pooled accuracy means little")
    rows = [row for row in rows if row["gold"] is not None]
    if not rows:
        raise ValueError("no row has a gold label")
    if not labels:
        return _regression_metrics(rows)
    index = {label: i for i, label in enumerate(labels)}
    for row in rows:
        if row["gold"] not in index or labels[int(np.argmax(row["logits"]))] != row["prediction"]:
            raise ValueError(f"row {row['id']!r} of {row['set']!r} was made with other labels than {list(labels)}")
    golds = [row["gold"] for row in rows]
    correct = [row["gold"] == row["prediction"] for row in rows]
    classes, logits = [index[gold] for gold in golds], [row["logits"] for row in rows]
    metrics = classification_metrics(classes, logits, labels)
    interval = estimate(correct, clusters=clusters_of(rows))
    label, share = constant_predictor(golds)
    return {
        "n": len(rows),
        "accuracy": metrics["accuracy"],
        "low": interval.low,
        "high": interval.high,
        "f1": metrics["f1"],
        "mcc": metrics["mcc"],
        "constant": {"label": label, "accuracy": share},
        "calibration": calibration_metrics(logits, classes),
    }


def _regression_metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    for row in rows:
        if isinstance(row["gold"], str) or isinstance(row["prediction"], str):
            raise ValueError(f"row {row['id']!r} of {row['set']!r} holds labels: set_metrics needs their names")
    gold = np.array([row["gold"] for row in rows], dtype=float)
    predicted = np.array([row["prediction"] for row in rows], dtype=float)
    metrics = regression_metrics(gold, predicted)
    interval = estimate((predicted - gold) ** 2, clusters=clusters_of(rows))
    return {
        "n": len(rows),
        "mse": metrics["mse"],
        "low": interval.low,
        "high": interval.high,
        "pearson": metrics["pearson"],
        "spearman": metrics["spearman"],
        "constant": {"value": float(gold.mean()), "mse": float(gold.var())},
    }


def compare_rows(rows_a: Sequence[Mapping[str, Any]], rows_b: Sequence[Mapping[str, Any]]) -> Difference:
    """Compare two models on the same examples, paired by (set, id); rows without a gold label do not count.

    Rows of regression, whose predictions are numbers, are compared by their squared errors.

    Raises:
        ValueError: as :func:`paired_correctness`.
    """
    if any(isinstance(row["prediction"], float) for row in rows_a):
        (errors_a, errors_b), clusters = paired_errors(rows_a, rows_b)
        return difference_of_errors(errors_a, errors_b, clusters=clusters)
    (a, b), clusters = paired_correctness(rows_a, rows_b)
    return difference(a, b, clusters=clusters)


def paired_correctness(
    *sides: Sequence[Mapping[str, Any]],
) -> tuple[list[list[bool]], list[tuple[Any, ...]] | None]:
    """Whether each of several models is right on the same examples, and the originals that these stem from.

    Returns:
        For each side a list over the examples that have a gold label, in the order of the first side; and a key per
        example, or None where no row tells its original.

    Raises:
        ValueError: an example occurs twice or on one side only, the gold labels differ, or none is known.
    """
    return _paired(sides, lambda row: bool(row["prediction"] == row["gold"]))


def paired_errors(
    *sides: Sequence[Mapping[str, Any]],
) -> tuple[list[list[float]], list[tuple[Any, ...]] | None]:
    """The same for rows of regression: the squared error of each of several models on the same examples.

    Raises:
        ValueError: as :func:`paired_correctness`.
    """
    return _paired(sides, lambda row: float((row["prediction"] - row["gold"]) ** 2))


def _paired(
    sides: Sequence[Sequence[Mapping[str, Any]]], score: Callable[[Mapping[str, Any]], T]
) -> tuple[list[list[T]], list[tuple[Any, ...]] | None]:
    first, *others = (_by_example(rows, i) for i, rows in enumerate(sides, 1))
    for other in others:
        _check_same(first, other)
    scored = [example for example, row in first.items() if row["gold"] is not None]
    if not scored:
        raise ValueError("no row has a gold label")
    scores = [[score(side[example]) for example in scored] for side in (first, *others)]
    # A run from before originals were kept does not know them; the other side may.
    whole = [{**row, **_original(side[example] for side in others)} for example, row in first.items()]
    return scores, clusters_of([row for row in whole if row["gold"] is not None])


def _original(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return next(({"original_id": row["original_id"]} for row in rows if row.get("original_id") is not None), {})


def _check_same(a: Mapping[Any, Mapping[str, Any]], b: Mapping[Any, Mapping[str, Any]]) -> None:
    if a.keys() != b.keys():
        apart = sorted(a.keys() ^ b.keys(), key=str)
        raise ValueError(
            f"the two sides do not hold the same examples: {len(a.keys() - b.keys())} only in the first, "
            f"{len(b.keys() - a.keys())} only in the second, for instance {apart[0]}"
        )
    for example, row in a.items():
        if row["gold"] != b[example]["gold"]:
            raise ValueError(
                f"example {example} has gold {row['gold']!r} in the first, {b[example]['gold']!r} in the second"
            )


def _label_name(gold: int | None, labels: Sequence[str]) -> str | None:
    if gold is None or gold == -1:
        return None
    if not isinstance(gold, int) or not 0 <= gold < len(labels):
        raise ValueError(f"gold label {gold!r} is no index of the labels {list(labels)}")
    return labels[gold]


def _number(gold: Any) -> float | None:
    if gold is None or gold != gold:
        return None
    if isinstance(gold, str) or not np.isfinite(gold):
        raise ValueError(f"gold {gold!r} is no number: regression needs a finite one")
    return float(gold)


def clusters_of(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]] | None:
    """The original that each row stems from, as a key; a row that does not tell is its own. None where no row tells.

    Args:
        rows: prediction rows, or results of an attack.
    """
    if not any("original_id" in row for row in rows):
        return None
    keys = ((row.get("set"), row["id"], row.get("original_id")) for row in rows)
    return [(name, key) if original is None else (name, "original", original) for name, key, original in keys]


def _by_example(rows: Sequence[Mapping[str, Any]], side: int) -> dict[tuple[Any, Any], Mapping[str, Any]]:
    by_example = {(row["set"], row["id"]): row for row in rows}
    if len(by_example) < len(rows):
        raise ValueError(f"an example occurs more than once in side {side}: ids must be unique within a set")
    return by_example
