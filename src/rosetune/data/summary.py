"""What was read: rows, labels, what was left out, and what a user should know before a model is trained on it."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from datasets import Dataset

from rosetune.data.labels import look_alikes
from rosetune.data.rows import TaskData, text_keys
from rosetune.data.tables import names_of, quoted

__all__ = ["DataSummary", "count_shared", "shared_sentence", "summarise"]

RARE = 5  # fewer training rows than these
MANY = 20  # from so many labels on, those that are whole numbers may be scores
_SHOWN = 10
_SPLITS = {"train": "training", "validation_mismatched": "mismatched validation"}
# As pandas and spreadsheets write what is missing; "none" may be a class.
_MISSING = ("nan", "NaN", "NA", "N/A", "n/a", "<NA>", "NaT", "null", "NULL", "None", "#N/A")


@dataclass(frozen=True)
class DataSummary:
    """What was read of a task.

    Args:
        name: of the task.
        rows: how many rows each split has.
        labels: per split how many rows each label has, of the training rows those that are trained on; empty in a
            regression.
        ranges: per split the least, the mean and the greatest label of a regression; empty in a classification.
        left_out: per split and reason how many rows were left out.
        notes: how files were read, where that is not the usual way, and what was held out.
        warnings: what may make a result wrong or misleading.
        truncation: a sentence on the texts that are cut, from who knows the tokenizer: "3% of the texts ..."; set it
            with :func:`dataclasses.replace`.
        trained_on: how many of the training rows are trained on; None: all.
    """

    name: str
    rows: Mapping[str, int]
    labels: Mapping[str, Mapping[str, int]]
    ranges: Mapping[str, tuple[float, float, float]]
    left_out: Mapping[str, Mapping[str, int]]
    notes: Sequence[str]
    warnings: Sequence[str]
    truncation: str = ""
    trained_on: int | None = None

    def lines(self) -> list[str]:
        """The summary for a person, a line for each fact."""
        part = self.trained_on
        of = {} if part is None or part == self.rows["train"] else {"train": f"{part:,} of "}
        sizes = ", ".join(f"{of.get(split, '')}{n:,} {_split(split)}" for split, n in self.rows.items())
        lines = [f"{self.name}: {sizes} rows"]
        lines += [f"{_split(split)} labels: {_counts(counts)}" for split, counts in self.labels.items()]
        for split, (low, mean, high) in self.ranges.items():
            lines.append(f"{_split(split)} labels: from {low:g} to {high:g}, {mean:g} on average")
        for split, reasons in self.left_out.items():
            why = " and ".join(f"{n:,} with {reason}" for reason, n in reasons.items())
            lines.append(f"left out of the {_split(split)} rows: {why}")
        lines += [*self.notes, *([self.truncation] if self.truncation else [])]
        return [*lines, *(f"warning: {warning}" for warning in self.warnings)]


def summarise(data: TaskData, trained_on: Dataset | None = None, *, trained: bool = True) -> DataSummary:
    """Look through the data once; a million rows take some seconds.

    Warnings name labels that look alike, that look like missing values, that are rare, or that are so many whole
    numbers that they may be scores; training texts with different labels, evaluation texts that repeat each other or
    also occur in the training data (whatever their case, spaces and punctuation); texts that look like missing values,
    or that were read or saved in a wrong encoding.

    Args:
        data: of a task.
        trained_on: those of its training rows that are trained on, of which labels and texts are counted; None: all.
        trained: False where a model from elsewhere is only evaluated: warnings that speak of training are left out,
            and of texts that stand in training rows too it is said that the model may have seen them.
    """
    rows = {split: len(ds) for split, ds in data.splits.items()}
    if trained_on is not None:
        data = replace(data, splits={**data.splits, "train": trained_on})
    values = {split: ds["label"][:] for split, ds in data.splits.items()}
    labels, ranges = {}, {}
    for split, own in values.items():
        if data.task_type == "regression":
            ranges[split] = (min(own), sum(own) / len(own), max(own))
        else:
            counts = Counter(own)
            labels[split] = {label: counts[i] for i, label in enumerate(data.labels)}
    of_labels = _label_warnings(labels.get("train", {}), trained)
    warnings = [*of_labels, *_shared_texts(data, trained), *_odd_texts(data)]
    count = None if trained_on is None else len(trained_on)
    return DataSummary(data.name, rows, labels, ranges, data.left_out, data.notes, warnings, trained_on=count)


def _split(name: str) -> str:
    return _SPLITS.get(name, name)


def _counts(counts: Mapping[str, int]) -> str:
    # All of them in the order of the classes, or the most frequent ones.
    shown = list(counts.items()) if len(counts) <= _SHOWN else Counter(counts).most_common(_SHOWN)
    more = len(counts) - len(shown)
    listed = ", ".join(f"{label} {n:,}" for label, n in shown)
    return listed + (f" and {more} more with {sum(counts.values()) - sum(n for _, n in shown):,} rows" if more else "")


def _label_warnings(counts: Mapping[str, int], trained: bool) -> Iterator[str]:
    for group in look_alikes(counts):
        # ascii tells apart what looks the same.
        each = ", ".join(f"{label!a} ({counts[label]:,} row{'s' * (counts[label] != 1)})" for label in group)
        yield f"labels that look alike are different classes: {each}"
    missing = [label for label in counts if label in _MISSING]
    if missing:
        yield f"{names_of(missing)} looks like a missing label, but is {'trained as ' if trained else ''}a class"
    absent = [label for label, n in counts.items() if not n]
    if absent and trained:
        yield f"no training row has the label {names_of(absent, 5)}"
    rare = [f"{quoted(label)} {n}" for label, n in counts.items() if 0 < n < RARE]
    if rare and trained:
        more = f" and {len(rare) - _SHOWN} more labels" if len(rare) > _SHOWN else ""
        yield f"labels with fewer than {RARE} training rows: {', '.join(rare[:_SHOWN])}{more}"
    if len(counts) > MANY and all(label.removeprefix("-").isdecimal() for label in counts):
        yield f"the labels are {len(counts)} whole numbers: if they are scores and not classes, use a regression"


def _shared_texts(data: TaskData, trained: bool) -> Iterator[str]:
    """Texts that stand twice: with another label, within what is evaluated, or in training and evaluation."""
    train = data.splits["train"]
    keys = text_keys(train, data.text_columns)
    if trained and data.task_type != "regression":
        told = {*zip(keys, train["label"][:], strict=True)}
        odd = sum(n > 1 for n in Counter(key for key, _ in told).values())
        if odd:
            yield f"{odd:,} training text{'s occur' if odd > 1 else ' occurs'} with different labels"
    seen = {*keys}
    for split, ds in data.splits.items():
        if split == "train":
            continue
        own = text_keys(ds, data.text_columns)
        repeated = len(own) - len({*own})
        if repeated:
            yield (
                f"{repeated:,} of {len(ds):,} {_split(split)} rows repeat{'s' * (repeated == 1)} the text of another: "
                "intervals take them for different texts"
            )
        shared = sum(key in seen for key in own)
        if shared and trained:
            yield shared_sentence(shared, len(ds), f"{_split(split)} texts")
        elif shared and not seen <= {*own}:  # else one file was given for both
            yield (
                f"{shared:,} of {len(ds):,} {_split(split)} texts also occur in the training rows of --task: if the "
                "model has seen these, accuracy on them is not accuracy on new texts"
            )


def count_shared(ds: Dataset, seen: Collection[tuple[str, ...]], columns: Sequence[str]) -> int:
    """How many of these texts also occur in the training data.

    Args:
        ds: the texts.
        seen: the keys of the training texts, from :func:`~rosetune.data.rows.text_keys`.
        columns: of the texts.
    """
    return sum(key in seen for key in text_keys(ds, columns))


def shared_sentence(shared: int, n: int, texts: str) -> str:
    """What a reader must know of a result on `n` texts, of which some were trained on; `texts` is what they are."""
    return (
        f"{shared:,} of {n:,} {texts} also occur in the training data: accuracy on them is not accuracy on new texts"
    )


def _odd_texts(data: TaskData) -> Iterator[str]:
    for split, ds in data.splits.items():
        for column in data.text_columns:
            texts = ds[column][:]
            replaced = [row for row, text in enumerate(texts) if "\ufffd" in text]
            misread = [row for row, text in enumerate(texts) if _misread(text)]
            missing = [row for row, text in enumerate(texts) if text.strip() in _MISSING]
            if replaced:
                yield (
                    f"{len(replaced):,} {_split(split)} texts hold U+FFFD, which stands for a character that was lost "
                    f"in an earlier conversion (ids {_ids(ds, replaced)})"
                )
            if misread:
                yield (
                    f"{len(misread):,} {_split(split)} texts seem to be UTF-8 that was read as CP1252, such as "
                    f"{quoted(texts[misread[0]])} (ids {_ids(ds, misread)})"
                )
            if missing:
                found = names_of(sorted({texts[row].strip() for row in missing}), 5)
                yield (
                    f"{len(missing):,} {_split(split)} texts are {found}, which looks like a missing text "
                    f"(ids {_ids(ds, missing)})"
                )


def _ids(ds: Dataset, rows: Sequence[int]) -> str:
    first = ds[list(rows[:5])]["id"]
    return ", ".join(first) + (", ..." if len(rows) > len(first) else "")


def _misread(text: str) -> bool:
    """Whether a text is one that UTF-8 gives when it is read as CP1252, such as "cafÃ©"."""
    if text.isascii():
        return False
    try:
        return len(text.encode("cp1252").decode()) < len(text)
    except UnicodeError:
        return False
