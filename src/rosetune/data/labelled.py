"""A further labelled file for a task that is known: other texts for the same columns and labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset

from rosetune.data.assemble import OBVIOUS_LABEL
from rosetune.data.gaps import Gaps, empty_texts, refuse_gaps, without_label
from rosetune.data.grouped import groups_of
from rosetune.data.labels import UNLABELLED, label_cells, label_name, numbers_of
from rosetune.data.options import ReadOptions
from rosetune.data.readers import read_table
from rosetune.data.rows import make_dataset
from rosetune.data.tables import DataError, names_of, quoted

__all__ = ["LabelledFile", "load_labelled_file"]


class LabelledFile(NamedTuple):
    """Its rows, by reason how many were left out, and by id the group of each; None without a column of groups."""

    rows: Dataset
    left_out: dict[str, int]
    groups: dict[str, str | None] | None = None


def load_labelled_file(
    path: str,
    text_columns: Sequence[str],
    label_column: str | None,
    labels: Sequence[str],
    options: ReadOptions,
    *,
    numbered: bool = False,
) -> LabelledFile:
    """Read a file whose columns are called as in the training data; labels are matched by name.

    Args:
        path: a CSV, TSV, JSON, JSON Lines or Parquet file.
        text_columns: one or two.
        label_column: None: "label".
        labels: the label names, in order; none for a regression.
        options: how the file is read, and which column names the groups of rows.
        numbered: whether 0, 1, ... stand for the labels in their order, as in GLUE's files, where no name is found.

    Raises:
        DataError: the file cannot be read, or a label is none of the task's.
    """
    table = read_table(Path(path).expanduser(), options.encoding, options.delimiter)
    remedy = "; the file needs the columns that the model was trained on"
    texts, column = table.texts(text_columns, remedy), label_column or OBVIOUS_LABEL
    cells = label_cells(table, column, remedy)
    mark = UNLABELLED if labels and UNLABELLED not in labels else None  # as in the files of the task itself
    unlabelled = without_label(cells, column, mark)
    gaps = Gaps(table, empty_texts(text_columns, texts), unlabelled, options, frozenset())
    refuse_gaps([gaps])
    kept = gaps.kept()
    targets: Sequence[int] | Sequence[float]
    if labels:
        names = [label_name(cells[row] or "") for row in kept]
        index = {name: i for i, name in enumerate(labels)}
        if numbered and not {*names} & {*labels}:
            index = {str(i): i for i in range(len(labels))}
        for row, name in zip(kept, names, strict=True):
            if name not in index:
                raise DataError(
                    f"{table.place(row)}: the model does not know the label {quoted(name)}, but {names_of(labels)}; "
                    "name the labels as the training data does"
                )
        targets = [index[name] for name in names]
    else:
        targets = numbers_of(table, column, cells, kept)
    columns = {name: [part[row] or "" for row in kept] for name, part in zip(text_columns, texts, strict=True)}
    rows, group = make_dataset(map(str, kept), columns, targets), options.group_column
    return LabelledFile(rows, gaps.left_out(), None if group is None else groups_of(table, group, rows["id"][:]))
