"""Results by part of a set: by the length of a text, and by a group that the user's data names."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rosetune.robustness.detection import Threshold, recall, scores_by_class
from rosetune.robustness.rows import clusters_of
from rosetune.robustness.statistics import estimate

__all__ = ["BANDS", "MISSING", "band_of", "by_band", "by_group", "count_words"]

# Numbers of words, each the largest of a band; longer texts are a band of their own.
BANDS = (8, 16, 32, 64, 128)
MISSING = "(missing)"  # the group of rows whose group the data does not say

Row = Mapping[str, Any]


def count_words(texts: Iterable[str]) -> int:
    """The words of a text, or of the two of a pair together: what white space separates.

    A text in a script without spaces counts as one word.
    """
    return sum(len(text.split()) for text in texts)


def band_of(words: int) -> str:
    """The band of a text of so many words: "up to 8", "9 to 16" and so on, "over 128"."""
    low = 0
    for high in BANDS:
        if words <= high:
            return f"{low + 1} to {high}" if low else f"up to {high}"
        low = high
    return f"over {low}"


def by_band(rows: Sequence[Row], words: Mapping[str, int], **options: Any) -> list[dict[str, Any]]:
    """The results of each band of length that holds a labelled row, the short ones first.

    Args:
        rows: prediction rows of one set.
        words: by id, how many a text has.
        options: of the class to be found, as in :func:`by_group`.

    Returns:
        Of each band what :func:`by_group` gives of a group, under the name ``band``.
    """
    order = [band_of(high) for high in (*BANDS, BANDS[-1] + 1)]
    parts = _parts(rows, lambda row: band_of(words[str(row["id"])]), options)
    return [{"band": name, **parts[name]} for name in order if name in parts]


def by_group(rows: Sequence[Row], groups: Mapping[str, str | None], **options: Any) -> list[dict[str, Any]]:
    """The results of each group of rows, in the order of their names, those without a group last.

    Args:
        rows: prediction rows of one set.
        groups: by id; None, or no such id: the group :data:`MISSING`.
        options: ``labels``, ``positive`` and ``threshold`` of the class to be found, where there is one; see
            :func:`~rosetune.robustness.detection.detection_metrics`.

    Returns:
        Of each ``group`` its ``n`` labelled rows, ``accuracy`` (of a regression ``mse``) with its 95% interval ``low``
        and ``high``, and where a class is to be found ``positives`` and ``recall`` (None without a positive row or
        without a threshold).
    """
    parts = _parts(rows, lambda row: groups.get(str(row["id"])) or MISSING, options)
    return [{"group": name, **parts[name]} for name in sorted(parts, key=lambda name: (name == MISSING, name))]


def _parts(
    rows: Sequence[Row], name_of: Callable[[Row], str], options: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    members: dict[str, list[Row]] = {}
    for row in rows:
        if row["gold"] is not None:
            members.setdefault(name_of(row), []).append(row)
    return {name: _results(part, **options) for name, part in members.items()}


def _results(
    rows: Sequence[Row],
    labels: Sequence[str] = (),
    positive: str | None = None,
    threshold: Threshold | None = None,
) -> dict[str, Any]:
    if isinstance(rows[0]["prediction"], str):
        kind, values = "accuracy", np.array([row["prediction"] == row["gold"] for row in rows], dtype=float)
    else:
        kind, values = "mse", np.array([(row["prediction"] - row["gold"]) ** 2 for row in rows])
    found = estimate(values, clusters=clusters_of(rows))
    results: dict[str, Any] = {"n": found.n, kind: found.value, "low": found.low, "high": found.high}
    if positive is not None:
        of_class = [row for row in rows if row["gold"] == positive]
        scores, _ = scores_by_class(of_class, labels, positive)
        hit = recall(scores, threshold, clusters=clusters_of(of_class)) if threshold and len(scores) else None
        results["positives"] = len(of_class)
        results["recall"] = hit and {"value": hit.value, "low": hit.low, "high": hit.high}
    return results
