"""Batches of rows of about one length, so that little is padded."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

__all__ = ["GroupedByLength", "grouped_sampler"]

_POOL = 50  # batches whose rows are sorted together, as in transformers


class GroupedByLength(Sampler[int]):
    """Row indices in which the rows of a batch are about as long.

    The rows are shuffled, those of 50 batches at a time (a quarter of the data where that is less) are sorted by
    length, and the batches are shuffled again; what fills no batch comes last. Each row comes once an epoch. The order
    depends on (seed, epoch) alone.

    Args:
        lengths: of each row.
        batch_size: rows of a batch.
        seed: of the orders.

    Deviates:
        transformers' own draws from the global random state, so that a resumed run sees other batches, and leaves the
        batches in order of length, so that the length falls again and again while the learning rate decays.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int = 0) -> None:
        self._lengths, self._batch, self._seed, self._epoch = np.asarray(lengths), batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator, size = np.random.default_rng([self._seed, self._epoch]), len(self._lengths)
        rows = generator.permutation(size)
        whole = size - size % self._batch
        pool = self._batch * max(1, min(_POOL, size // (4 * self._batch)))
        batches: list[np.ndarray] = []
        for start in range(0, whole, pool):
            together = rows[start : min(start + pool, whole)]
            by_length = together[np.argsort(self._lengths[together], kind="stable")]
            batches += np.split(by_length, len(by_length) // self._batch)
        for number in generator.permutation(len(batches)):
            yield from batches[number].tolist()
        yield from rows[whole:].tolist()

    def __len__(self) -> int:
        return len(self._lengths)


def grouped_sampler(dataset: Any, batch_size: int, seed: int) -> GroupedByLength:
    """One for the tokens of a data set.

    Raises:
        ValueError: its rows have no ``input_ids``.
    """
    try:
        lengths = [len(row["input_ids"]) for row in dataset]
    except (KeyError, TypeError):
        raise ValueError("batches of one length need rows with input_ids: leave train_sampling_strategy out") from None
    return GroupedByLength(lengths, batch_size, seed)
