"""Cutting one set of rows into parts that share no text."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

__all__ = ["hold_out", "shuffled"]


def shuffled(keys: Sequence[tuple[str, ...]], seed: int) -> list[tuple[str, ...]]:
    """The distinct keys in an order that depends on the seed and on nothing else.

    Hashing instead of a random generator makes the order the same with every version of every library, and
    independent of the order of the file.
    """
    return sorted(set(keys), key=lambda key: hashlib.sha256("\n".join((str(seed), *key)).encode()).digest())


def hold_out(
    keys: Sequence[tuple[str, ...]], labels: Sequence[int], parts: Sequence[str], seed: int
) -> dict[str, list[int]]:
    """Hold out a tenth of the rows for each part and leave the rest to "train".

    Rows with the same key stay together. The labels are spread evenly, and training keeps a row of every label.

    Args:
        keys: per row what identifies its text.
        labels: per row its label.
        parts: names of the held-out parts, at most ten.
        seed: of the shuffle.

    Returns:
        The row numbers of each part, in ascending order; a part is empty where there are too few rows.
    """
    rows: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    by_label: dict[int, list[tuple[str, ...]]] = defaultdict(list)
    for key in shuffled(keys, seed):
        by_label[labels[rows[key][0]]].append(key)
    # The first of every label trains; every tenth of the rest, label after label, goes to each part.
    rest = [key for label in sorted(by_label) for key in by_label[label][1:]]
    chosen = {key: part for offset, part in enumerate(parts) for key in rest[offset::10]}
    result: dict[str, list[int]] = {name: [] for name in ("train", *parts)}
    for row, key in enumerate(keys):
        result[chosen.get(key, "train")].append(row)
    return result
