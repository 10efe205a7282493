"""Adversarial rows: what fooled a model, kept in a file with where it came from, and added to the training rows."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from rosetune.data.rows import TaskData, make_dataset, text_keys
from rosetune.data.tables import DataError, flaw_of, names_of

__all__ = ["add_adversarial_rows", "read_adversarial_rows", "reported_texts"]

_NEEDED: dict[str, type | tuple[type, ...]] = {"id": str, "original": list, "texts": list, "label": str}
Key = tuple[str, ...]


def read_adversarial_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file of adversarial rows.

    A row holds ``texts`` (one, or two of a pair), ``label`` (its name), ``original`` (the unchanged texts of a
    training row), an ``id`` of its own, and what else is known of it: ``original_id``, ``attack``, ``round``,
    ``changes``.

    Raises:
        DataError: the file is missing, empty or damaged, or a row lacks one of these.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise DataError(f"cannot read the adversarial rows in {path}: {reason}; correct --adversarial_file") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not valid JSON ({error}); write the file again") from error
        if not isinstance(row, dict) or any(not isinstance(row.get(n), kind) for n, kind in _NEEDED.items()):
            raise DataError(
                f"{path}, line {number}: a row has {names_of(list(_NEEDED))}, of which texts and original "
                "are lists of one or two texts; write the file again"
            )
        if flaw := flaw_of(json.dumps([row[name] for name in _NEEDED], ensure_ascii=False)):
            raise DataError(f"{path}, line {number} {flaw}")
        rows.append(row)
    if not rows:
        raise DataError(f"{path} holds no adversarial rows: leave out --adversarial_file")
    if len({row["id"] for row in rows}) < len(rows):
        raise DataError(f"{path}: an id occurs more than once; write the file again")
    return rows


def reported_texts(data: TaskData, held_out: Dataset | None = None) -> set[Key]:
    """The keys of all texts that a model is evaluated or chosen on, and so must not be trained on in any guise.

    Args:
        data: the splits of a task.
        held_out: training rows that are held out, beside those that `data` holds out already.
    """
    rows = [
        *(part for name, part in data.splits.items() if name != "train"),
        *([] if held_out is None else [held_out]),
    ]
    return {key for part in rows for key in text_keys(part, data.text_columns)}


def add_adversarial_rows(train: Dataset, path: str | Path, data: TaskData, held_out: Dataset | None = None) -> Dataset:
    """The training rows, and below them the adversarial rows of a file.

    Each must be made of one of these training rows and keep its label. Neither it nor the text it was made of may
    stand among the evaluation data or the rows that are held out.

    Args:
        train: what is trained on.
        path: of the file, see :func:`read_adversarial_rows`.
        data: of the task.
        held_out: training rows that are held out of `train`.

    Returns:
        A dataset with the columns id, the texts and label.

    Raises:
        DataError: a row that breaks one of these rules; the message has its line.
    """
    rows, columns = read_adversarial_rows(path), data.text_columns
    before = data.splits["train"]
    golds = _golds(text_keys(before, columns), before["label"][:])
    own, reported = {*text_keys(train, columns)}, reported_texts(data, held_out)
    known = {label: i for i, label in enumerate(data.labels)}
    made = {part: _keys([row[part] for row in rows], columns, path) for part in ("original", "texts")}
    for line, (row, original, text) in enumerate(zip(rows, made["original"], made["texts"], strict=True), start=1):
        where = f"{path}, line {line}"
        if row["label"] not in known:
            raise DataError(f"{where}: label {row['label']!r} is none of the data's, {names_of(data.labels)}")
        if original in reported or text in reported:
            raise DataError(f"{where}: its text, or the one it was made of, is evaluated on or held out: leave it out")
        if original not in own:
            raise DataError(f"{where}: it was made of none of the rows that are trained on: leave it out")
        if known[row["label"]] not in golds[original]:
            raise DataError(f"{where}: it has another label than the training row it was made of: correct it")
    texts = {name: [*train[name][:], *(row["texts"][i] for row in rows)] for i, name in enumerate(columns)}
    labels = [*train["label"][:], *(known[row["label"]] for row in rows)]
    return make_dataset([*train["id"][:], *(f"adversarial:{row['id']}" for row in rows)], texts, labels)


def _golds(keys: Sequence[Key], labels: Sequence[int]) -> Mapping[Key, set[int]]:
    """The labels of each text, of which a file may hold several."""
    found: dict[Key, set[int]] = {}
    for key, label in zip(keys, labels, strict=True):
        found.setdefault(key, set()).add(label)
    return found


def _keys(rows: Sequence[list[Any]], columns: Sequence[str], path: str | Path) -> list[Key]:
    for line, texts in enumerate(rows, start=1):
        if len(texts) != len(columns) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"{path}, line {line}: the task has {len(columns)} texts a row; write the file again")
    by_column = {name: [texts[i] for texts in rows] for i, name in enumerate(columns)}
    return text_keys(make_dataset(map(str, range(len(rows))), by_column), columns)
