"""The one shape that all data takes, and what is done with rows of that shape."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd
from datasets import Dataset, Features, Value

from rosetune.data.options import TaskType
from rosetune.data.tables import DataError, names_of

__all__ = [
    "Remainder",
    "TaskData",
    "align_labels",
    "make_dataset",
    "make_task_data",
    "remove_shared",
    "set_fingerprint",
    "shuffled_subset",
    "take",
    "text_key",
    "text_keys",
]

# Every other column of our datasets is a text, or begins with "original_".
RESERVED = ("id", "label", "method", "data_construction", "original_id")


@dataclass(frozen=True)
class TaskData:
    """The splits of one task.

    Args:
        name: the task's name, or that of the file, folder or hub dataset.
        text_columns: one or two columns.
        labels: label names; the integer in the column `label` counts in this order. Empty in a regression.
        splits: by name ("train", "validation", "test", "validation_mismatched") a dataset with the columns `id`
            (str, unique within the split), the text columns (str) and `label` (int, or float32 in a regression).
        fingerprint: sha256 over columns, labels and all rows: the same wherever the data was loaded from.
        task_type: "classification" or "regression".
        left_out: by split and reason ("empty text", "no label") how many rows were left out.
        notes: how files were read, where that is not the usual way, and what was held out.
        groups: by split and id the group of a row, None where it has none; empty where no column names groups.
    """

    name: str
    text_columns: tuple[str, ...]
    labels: tuple[str, ...]
    splits: dict[str, Dataset]
    fingerprint: str
    task_type: TaskType = "classification"
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    groups: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)

    @property
    def clean(self) -> tuple[str, Dataset]:
        """The split whose accuracy is reported: "test" where there is a labelled one, else "validation"."""
        name = "test" if "test" in self.splits else "validation"
        return name, self.splits[name]


def make_task_data(
    name: str,
    text_columns: Sequence[str],
    labels: Sequence[str],
    splits: dict[str, Dataset],
    *,
    task_type: TaskType = "classification",
    left_out: Mapping[str, Mapping[str, int]] | None = None,
    notes: Sequence[str] = (),
    groups: Mapping[str, Mapping[str, str | None]] | None = None,
) -> TaskData:
    """Check that the training split can be learned from, and sign the whole.

    Raises:
        DataError: the training split holds fewer than two labels.
    """
    present = set(splits["train"]["label"][:])
    if len(present) < 2:
        found = ", ".join(repr(labels[value]) if labels else f"{value:g}" for value in present)
        raise DataError(f"{name}: the training data holds only the label {found}; at least two are needed")
    return TaskData(
        name,
        tuple(text_columns),
        tuple(labels),
        splits,
        _fingerprint(text_columns, labels, splits),
        task_type,
        {split: dict(reasons) for split, reasons in (left_out or {}).items() if reasons},
        tuple(notes),
        dict(groups or {}),
    )


def _fingerprint(text_columns: Sequence[str], labels: Sequence[str], splits: Mapping[str, Dataset]) -> str:
    digest = hashlib.sha256(json.dumps([list(text_columns), list(labels)]).encode())
    for split in sorted(splits):
        columns = splits[split].to_dict()
        digest.update(json.dumps([split, [columns[c] for c in ("id", *text_columns, "label")]]).encode())
    return digest.hexdigest()


def set_fingerprint(ds: Dataset, text_columns: Sequence[str], labels: Sequence[str]) -> str:
    """What one evaluation set is made of: a hash of its ids, texts, labels and label names, in their order.

    Args:
        ds: with or without a column `label`.
        labels: label names; none in a regression.
    """
    columns = ["id", *text_columns, *(["label"] if "label" in ds.column_names else [])]
    rows = [ds[column][:] for column in columns]
    return hashlib.sha256(json.dumps([list(labels), rows]).encode()).hexdigest()[:16]


def make_dataset(
    ids: Iterable[str],
    texts: Mapping[str, Sequence[str]],
    labels: Sequence[int] | Sequence[float] | None = None,
    extra: Mapping[str, Sequence[str | None]] | None = None,
) -> Dataset:
    """A dataset in memory with the columns id, the texts, label (where given) and any extra text columns.

    Labels are int64 where all are integers, else float32.
    """
    columns: dict[str, Sequence[str | int | float | None]] = {"id": list(ids), **texts, **(extra or {})}
    features = {name: Value("string") for name in columns}
    if labels is not None:
        columns["label"] = labels
        features["label"] = Value("float32" if any(isinstance(label, float) for label in labels) else "int64")
    # Eight times as fast as Dataset.from_dict, which encodes cell by cell.
    return Dataset.from_pandas(pd.DataFrame(columns), features=Features(features), preserve_index=False)


_NEITHER_LETTER_NOR_DIGIT = re.compile(r"[\W_]+")


def text_key(text: str) -> str:
    """What two texts share when they are the same sentence: letters and digits, whatever the case.

    Spaces and punctuation must not count: the published datasets tokenise the same sentence differently
    ("n't", "n ' t", "didn't"), which would hide more than 300 of SST-2's 872 validation sentences in Rotten Tomatoes.
    """
    folded = text.casefold()
    return _NEITHER_LETTER_NOR_DIGIT.sub("", folded) or " ".join(folded.split())


def text_keys(ds: Dataset, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Per row the keys of its texts."""
    # A column is sliced because iterating over it decodes row by row, many times as slowly.
    return list(zip(*([text_key(text) for text in ds[column][:]] for column in columns), strict=True))


class Remainder(NamedTuple):
    """What :func:`remove_shared` leaves of a set, and how many rows it dropped."""

    rows: Dataset
    dropped: int


def remove_shared(evaluation: Dataset, train: Dataset, text_columns: Sequence[str]) -> Remainder:
    """Drop what a model may have seen in training from an evaluation set.

    A row is dropped if its text, or the original text it was perturbed from, occurs in `train`; of a pair both texts
    must. Texts are compared by `text_key`. Columns are compared by position where the two datasets name them
    differently. The other way round, `remove_shared(train, evaluation, ...)` cleans the training set instead.

    Args:
        evaluation: the set to clean.
        train: the set whose texts are dropped.
        text_columns: the text columns of at least one of the two.

    Returns:
        The rows that are left, and how many were dropped: a score on a part of a benchmark is not the benchmark's.

    Raises:
        DataError: nothing is left, or one dataset holds single texts and the other pairs.
    """
    seen = set().union(*_own_and_original_keys(train, text_columns))
    rows = _own_and_original_keys(evaluation, text_columns)
    kept = [i for i, keys in enumerate(rows) if keys.isdisjoint(seen)]
    if rows and not kept:
        raise DataError(
            f"all {len(rows)} texts of the evaluation set, or their originals, occur in the training data: nothing is "
            "left to evaluate on; use other training or other evaluation data"
        )
    return Remainder(evaluation.select(kept), len(rows) - len(kept))


def _own_and_original_keys(ds: Dataset, text_columns: Sequence[str]) -> list[set[tuple[str, ...]]]:
    columns = _text_columns(ds, text_columns)
    keys = [{key} for key in text_keys(ds, columns)]
    originals = [f"original_{column}" for column in columns]
    if set(originals) <= set(ds.column_names):
        for row, texts in zip(keys, zip(*(ds[column][:] for column in originals), strict=True), strict=True):
            if None not in texts:
                row.add(tuple(map(text_key, texts)))
    return keys


def _text_columns(ds: Dataset, wanted: Sequence[str]) -> Sequence[str]:
    if set(wanted) <= set(ds.column_names):
        return wanted
    found = [c for c in ds.column_names if c not in RESERVED and not c.startswith("original_")]
    if len(found) != len(wanted):
        raise DataError(f"texts in the columns {found} cannot be compared with texts in the columns {list(wanted)}")
    return found


def take(ds: Dataset, rows: Sequence[int]) -> Dataset:
    """Some rows as a dataset of its own; `Dataset.select` would keep all rows and look them up."""
    return Dataset.from_dict(ds[list(rows)], features=ds.features)


def shuffled_subset(ds: Dataset, n: int, seed: int) -> Dataset:
    """The first `n` rows of a seeded shuffle; all rows, shuffled, where there are fewer."""
    return ds.shuffle(seed=seed).select(range(min(n, len(ds))))


def align_labels(ds: Dataset, from_labels: Sequence[str], to_labels: Sequence[str]) -> Dataset:
    """Renumber the labels from one order of names to another.

    A name is looked for as it is spelled, then whatever its case, where that leaves one.

    Args:
        ds: a dataset whose `label` counts in the order of `from_labels`.
        from_labels: the names it was built with.
        to_labels: the names to count in, for example those of a trained model.

    Raises:
        DataError: a name that `to_labels` does not know, or knows in several spellings.
    """
    new = [_index(name, to_labels) for name in from_labels]
    return Dataset.from_dict({**ds.to_dict(), "label": [new[i] for i in ds["label"][:]]}, features=ds.features)


def _index(name: str, labels: Sequence[str]) -> int:
    if name in labels:
        return labels.index(name)
    alike = [i for i, label in enumerate(labels) if label.casefold() == name.casefold()]
    if len(alike) != 1:
        raise DataError(
            f"the data has the label {name!r}, which the model does not know"
            f"{' in one spelling' if alike else ''} (its labels are {names_of(labels)}); "
            "use data or a model with the same labels"
        )
    return alike[0]
