"""Texts and labels as a Python user has them, as one data set with class indices."""

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset, IterableDataset

from rosetune.data.tables import flaw_of

__all__ = ["TEXT_COLUMNS", "class_names", "read_examples", "with_gold"]

TEXT_COLUMNS = ("text", "text_pair")
_KEPT = ("id", "original_id", "method", "data_construction")


def read_examples(texts: Any, labels: Any = None) -> Dataset:
    """Texts and what is known of them, in the columns ``id``, ``text``, of pairs ``text_pair``, and ``label``.

    Args:
        texts: a list of strings, a list of pairs of strings, or a :class:`datasets.Dataset` with these columns, of
            which ``id`` (the row's number where there is none), AdvGLUE's annotations and the class names of ``label``
            are kept.
        labels: one per text, as names or numbers; None: the data set's.

    Raises:
        ValueError: something else, no text at all, a text that is no string or holds half a character, ids that are
            not unique, no labels, or not a label per text.
    """
    columns: dict[str, Any] = {}
    if isinstance(texts, Dataset):
        plain = texts.with_format(None)
        if "text" not in plain.column_names:
            raise ValueError(
                f"the data set has no column 'text', but {', '.join(plain.column_names)}: rename the one that holds "
                "the texts (and a second one to 'text_pair')"
            )
        names = [name for name in TEXT_COLUMNS if name in plain.column_names]
        rows = list(zip(*(plain[name][:] for name in names), strict=True))
        columns = {name: plain[name][:] for name in _KEPT if name in plain.column_names}
        labels = plain["label"][:] if labels is None and "label" in plain.column_names else labels
    else:
        rows = _rows(texts)
    if not rows:
        raise ValueError("there are no texts")
    for at, row in enumerate(rows):
        if not all(isinstance(text, str) for text in row):
            raise ValueError(f"text {at} is no string: {row if len(row) > 1 else row[0]!r}")
        if flaw := next(filter(None, map(flaw_of, row)), None):
            raise ValueError(f"text {at} {flaw}")
    if labels is None:
        raise ValueError("there are no labels to compare predictions with: give labels, one per text")
    found = list(labels)
    if len(found) != len(rows):
        raise ValueError(f"there are {len(rows)} texts, but {len(found)} labels")
    columns.setdefault("id", list(range(len(rows))))
    if len({*columns["id"]}) < len(rows):
        raise ValueError("an id occurs more than once in the column 'id'")
    columns |= dict(zip(TEXT_COLUMNS, map(list, zip(*rows, strict=True)), strict=False))
    return Dataset.from_dict({**columns, "label": _plain(found)})


def class_names(texts: Any) -> tuple[str, ...] | None:
    """The names of a data set's classes, where its column ``label`` has them."""
    features = getattr(texts, "features", None) or {}
    names = getattr(features.get("label"), "names", None)
    return None if names is None else tuple(names)


def with_gold(dataset: Dataset, model: Sequence[str], data: Sequence[str] | None) -> tuple[Dataset, tuple[str, ...]]:
    """The data set with class indices in the order of the model's outputs, and the names of the classes.

    A model that has not been told the names of its classes ("LABEL_0", or "0") takes over those of the data, whose
    numbers then count in the order of the outputs. Otherwise classes are aligned by name, whatever its case.

    Args:
        dataset: from :func:`read_examples`.
        model: the model's names of its classes; none of a regression.
        data: the data's, from :func:`class_names`.

    Raises:
        ValueError: a label that is none of the model's, names that cannot be aligned, or no label at all.
    """
    golds: list[Any] = dataset["label"][:]
    names = tuple(model)
    if not names:
        numbers = [_number(at, gold) for at, gold in enumerate(golds)]
        return _labelled(dataset, numbers), names
    anonymous = all(name in (str(i), f"LABEL_{i}") for i, name in enumerate(names))
    if anonymous and data is not None:
        if len(data) != len(names):
            raise ValueError(f"the data has {len(data)} classes ({', '.join(data)}), the model {len(names)} outputs")
        names = tuple(data)
    indices = [_index(at, gold, names, data) for at, gold in enumerate(golds)]
    return _labelled(dataset, indices), names


def _labelled(dataset: Dataset, golds: list[Any]) -> Dataset:
    if all(gold is None for gold in golds):
        raise ValueError("no text has a label: all are None or -1")
    return dataset.remove_columns("label").add_column("label", golds)


def _index(at: int, gold: Any, names: Sequence[str], data: Sequence[str] | None) -> int | None:
    if gold is None or gold != gold or gold == -1:
        return None
    if data is not None and gold in range(len(data)):
        gold = data[int(gold)]
    if isinstance(gold, str):
        folded = {name.casefold(): i for i, name in enumerate(names)} | {name: i for i, name in enumerate(names)}
        index = folded.get(gold, folded.get(gold.casefold()))
        if index is None:
            raise ValueError(
                f"label {gold!r} of text {at} is none of the model's ({', '.join(names)}): give label_names, the "
                "labels' own names in the order of the model's outputs"
            )
        return index
    if gold in range(len(names)):
        return int(gold)
    raise ValueError(f"label {gold!r} of text {at} is no index of the model's classes ({', '.join(names)})")


def _number(at: int, gold: Any) -> float | None:
    if gold is None or gold != gold:
        return None
    if not isinstance(gold, int | float):
        raise ValueError(f"label {gold!r} of text {at} is no number, but the model is a regression with one output")
    return float(gold)


def _rows(texts: Any) -> list[tuple[Any, ...]]:
    remedy = "give a list of strings, a list of pairs of strings, or a datasets.Dataset"
    if texts is None:
        raise ValueError(f"there are no texts: {remedy}, by name (texts=...)")
    if isinstance(texts, Mapping):
        raise ValueError(f"texts are a {type(texts).__name__} with {', '.join(map(str, texts))}: give one of these")
    if isinstance(texts, str | bytes | IterableDataset) or hasattr(texts, "columns") or not hasattr(texts, "__iter__"):
        raise ValueError(f"texts are a {type(texts).__name__}: {remedy}")
    rows = [(text,) if isinstance(text, str) or not isinstance(text, Sequence) else tuple(text) for text in texts]
    lengths = {len(row) for row in rows}
    if len(lengths) > 1 or not lengths <= {1, 2}:
        raise ValueError(f"texts have {' and '.join(map(str, sorted(lengths)))} parts: {remedy}")
    return rows


def _plain(labels: list[Any]) -> list[Any]:
    """Numbers of numpy, torch and pandas as Python's own."""
    found = [label.item() if hasattr(label, "item") else label for label in labels]
    kinds = {type(label) for label in found if label is not None}
    for at, label in enumerate(found):
        if not (label is None or isinstance(label, str | int | float)):
            raise ValueError(f"label {at} is neither a name nor a number: {label!r}")
        if isinstance(label, str) and (flaw := flaw_of(label)):
            raise ValueError(f"label {at} {flaw}")
    if str in kinds and len(kinds) > 1:
        raise ValueError("some labels are names and others numbers: give one or the other")
    return [int(label) if isinstance(label, bool) else label for label in found]
