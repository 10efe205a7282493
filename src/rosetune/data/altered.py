"""Training data altered on purpose, seeded: rows held out to choose options on, wrong labels, rare labels."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from rosetune.data.rows import TaskData, make_task_data, take, text_keys
from rosetune.data.split import shuffled
from rosetune.data.tables import DataError

__all__ = ["flip_labels", "hold_out_rows", "rare_labels"]

_SPLIT_SEED = 0  # not the training's: trials that differ in their seed are judged on the same rows


def hold_out_rows(data: TaskData, amount: float) -> TaskData:
    """The task whose evaluation data is a part of its training rows; its own evaluation data is gone.

    Options that are chosen on what this returns have seen nothing that is reported: a training row whose text is in
    the evaluation data too is never held out. Texts that are equal stay on one side. The split depends on the texts
    alone, neither on their order nor on a run's seed.

    Args:
        amount: a share of the distinct texts below 1, or from 1 on their number.

    Raises:
        DataError: one side would be empty, or the rest holds only one label.
    """
    train = data.splits["train"]
    keys = text_keys(train, data.text_columns)
    reported = {
        key for name, rows in data.splits.items() if name != "train" for key in text_keys(rows, data.text_columns)
    }
    order = [key for key in shuffled(keys, _SPLIT_SEED) if key not in reported]
    chosen = set(order[: round(amount * len(order)) if amount < 1 else int(amount)])
    if not 0 < len(chosen) < len(order):
        raise DataError(
            f"held_out={amount:g} of {len(order)} distinct training texts leaves nothing on one side: give a share "
            "such as 0.1, or a smaller number of rows"
        )
    parts = {held: take(train, [i for i, key in enumerate(keys) if (key in chosen) is held]) for held in (False, True)}
    note = f"{len(parts[True]):,} training rows are held out to choose on, in place of the evaluation data"
    return make_task_data(
        data.name,
        data.text_columns,
        data.labels,
        {"train": parts[False], "validation": parts[True]},
        task_type=data.task_type,
        left_out={name: reasons for name, reasons in data.left_out.items() if name == "train"},
        notes=(*data.notes, note),
        groups={"validation": data.groups["train"]} if "train" in data.groups else None,
    )


def flip_labels(train: Dataset, share: float, labels: int, seed: int) -> Dataset:
    """The rows with a share of the labels wrong: ``round(share n)`` rows, each with another label, all alike likely.

    Args:
        train: rows with an integer ``label``.
        share: in (0, 1).
        labels: how many there are.
        seed: decides which rows and which labels.
    """
    rng = np.random.default_rng([seed, 1])
    gold = np.asarray(train["label"][:])
    rows = rng.choice(len(gold), size=round(share * len(gold)), replace=False)
    wrong = gold.copy()
    wrong[rows] = (gold[rows] + rng.integers(1, labels, size=len(rows))) % labels
    return _with_labels(train, wrong.tolist())


def rare_labels(train: Dataset, share: float, labels: Sequence[str], seed: int) -> Dataset:
    """The rows without most of those of the last label: ``round(share n)`` of its n rows are kept, drawn by the seed.

    Args:
        train: rows with an integer ``label`` that counts in the order of `labels`.
        share: in (0, 1).
        labels: their names.
        seed: of the draw.

    Raises:
        DataError: no row of the last label is left.
    """
    last = len(labels) - 1
    gold = np.asarray(train["label"][:])
    rows = np.flatnonzero(gold == last)
    kept = np.random.default_rng([seed, 2]).choice(rows, size=round(share * len(rows)), replace=False)
    if not len(kept):
        counts = Counter(gold.tolist())
        raise DataError(f"imbalance={share:g} leaves none of the {counts[last]} rows of the label {labels[last]!r}")
    return take(train, np.sort(np.concatenate([np.flatnonzero(gold != last), kept])).tolist())


def _with_labels(rows: Dataset, labels: list[int]) -> Dataset:
    return Dataset.from_dict({**rows.to_dict(), "label": labels}, features=rows.features)
