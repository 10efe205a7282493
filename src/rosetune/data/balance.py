"""Batches in which every class has the same share."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

__all__ = ["ClassBalancedSampler", "balanced_sampler"]


class ClassBalancedSampler(Sampler[int]):
    """Row indices that go through the C classes in turn, so that every batch holds as many rows of each.

    A batch whose size is no multiple of C has one row more of some classes, the next batch of others. Each class is
    gone through in a shuffled order of its own, again and again where it is small; one epoch has as many rows as the
    data. The order depends on (seed, epoch) alone.

    Args:
        labels: one class a row.
        batch_size: rows of a batch, at least one for each class.
        seed: of the orders.

    Raises:
        ValueError: labels that are no classes, or fewer rows in a batch than classes.
    """

    def __init__(self, labels: Sequence[int], batch_size: int, seed: int = 0) -> None:
        if not all(isinstance(label, int | np.integer) for label in labels):
            raise ValueError(
                "class-balanced batches need one class label a row, a whole number, not those of a regression or of "
                f"tokens such as {str(labels[0])[:40]}"
            )
        self._rows = {label: np.flatnonzero(np.asarray(labels) == label) for label in sorted(set(labels))}
        if batch_size < len(self._rows):
            raise ValueError(
                f"class-balanced batches of {batch_size} rows cannot hold all {len(self._rows)} classes: "
                "raise per_device_train_batch_size"
            )
        self._size, self._seed, self._epoch = len(labels), seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Take the orders of this epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self._seed, self._epoch])
        classes = [_forever(rows, generator) for rows in self._rows.values()]
        for position in range(self._size):
            yield int(next(classes[position % len(classes)]))

    def __len__(self) -> int:
        return self._size


def _forever(rows: np.ndarray, generator: np.random.Generator) -> Iterator[int]:
    while True:
        yield from generator.permutation(rows)


def balanced_sampler(dataset: Any, label_names: Sequence[str], batch_size: int, seed: int) -> ClassBalancedSampler:
    """One for the labels of a data set.

    Args:
        dataset: a ``datasets.Dataset``.
        label_names: of columns that may hold them, beside "labels" and "label".

    Raises:
        ValueError: none of these columns is there.
    """
    columns = getattr(dataset, "column_names", None) or ()
    column = next((name for name in (*label_names, "labels", "label") if name in columns), None)
    if column is None:
        raise ValueError(
            "class-balanced batches need a datasets.Dataset with a column of labels: name it labels or set "
            "label_names, or give the objective balanced_batches=false"
        )
    return ClassBalancedSampler(dataset[column][:], batch_size, seed)
