"""AdvGLUE's development sets, from its JSON file (annotated or plain) or from the hub."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset

from rosetune.data.encodings import read_text
from rosetune.data.gaps import Gaps, empty_texts, refuse_gaps
from rosetune.data.glue import benchmark_ids, benchmark_labels, unlabelled
from rosetune.data.hub import fetch, hub_table
from rosetune.data.labels import label_cells
from rosetune.data.options import ReadOptions
from rosetune.data.readers import json_table, parse_json
from rosetune.data.rows import align_labels, make_dataset, text_key
from rosetune.data.tables import DataError, Table, names_of
from rosetune.data.tasks import TASKS, Task, find_task

__all__ = ["load_advglue"]

HUB = "AI-Secure/adv_glue"
# The annotated edition comes first: it tells the attack and the original text.
FILES = ("adv_glue/dev_ann.json", "dev_ann.json", "adv_glue/dev.json", "dev.json")


def load_advglue(
    task: str,
    *,
    data_dir: str | None = None,
    labels: Sequence[str] | None = None,
    text_columns: Sequence[str] | None = None,
) -> dict[str, Dataset]:
    """The adversarial test sets of a task: "advglue", and for MNLI "advglue_mismatched" too.

    Beside the columns of every dataset they have

        method             the attack; "" in the plain edition
        data_construction  "word" or "sentence" (perturbed), "human" (written by hand); "" in the plain edition
        original_<column>  the text before the perturbation; None where there is none or it is not known
        original_id        the same for items of the same original, so that intervals can draw them together; None
                           for items written by hand, which stem from nothing, and where the original is not known

    So `original_id` is None beside another `data_construction` than "human" where nothing is known: then intervals
    that take the items for independent are too narrow. Originals are the same if they agree in letters and digits: the
    file holds them with several tokenisations, up to a trailing space.

    Args:
        task: a task's name.
        data_dir: a folder with adv_glue/dev_ann.json or adv_glue/dev.json; None means the hub.
        labels: the label names to count in, for example those of a run on files of one's own, which may have another
            order; they are matched by name. None: GLUE's.
        text_columns: what that run calls the texts. None: as on the hub.

    Raises:
        DataError: AdvGLUE does not cover the task, its data is not there, or labels or columns do not match.
    """
    known = find_task(task)
    if known is None or not known.advglue:
        covered = ", ".join(name for name, other in TASKS.items() if other.advglue)
        raise DataError(f"AdvGLUE has no data for the task {task!r}; it covers {covered}")
    names = _renamed(known, text_columns)
    tables = _from_hub(known) if data_dir is None else _from_file(known, Path(data_dir).expanduser())
    sets = {split: _dataset(known, table, names) for split, table in tables.items()}
    return sets if labels is None else {split: _aligned(known, ds, labels) for split, ds in sets.items()}


def _renamed(task: Task, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """AdvGLUE's text columns, in its order, under the names that are wanted."""
    own = task.text_columns
    if wanted is None or {*wanted} == {*own}:
        return own
    # GLUE's files and the hub call MNLI's and MRPC's texts differently; one text is no matter of order.
    if (task.tsv_text and {*wanted} == {*task.tsv_text}) or len(own) == len(wanted) == 1:
        return task.tsv_text if len(own) > 1 else tuple(wanted)
    raise DataError(
        f"AdvGLUE's items of {task.name} have the texts {names_of(own)}, the training data has {names_of(wanted)}: "
        "give its columns AdvGLUE's names"
    )


def _aligned(task: Task, ds: Dataset, labels: Sequence[str]) -> Dataset:
    try:
        return align_labels(ds, task.labels, labels)
    except DataError as error:
        raise DataError(
            f"AdvGLUE's items of {task.name} have the labels {names_of(task.labels)}, the training data has "
            f"{names_of(labels)}: give its labels AdvGLUE's names, since an order would be a guess"
        ) from error


def _from_file(task: Task, data_dir: Path) -> dict[str, Table]:
    path = next((data_dir / name for name in FILES if (data_dir / name).is_file()), None)
    if path is None:
        raise DataError(f"no AdvGLUE in {data_dir}: looked for {', '.join(FILES)}")
    content = parse_json(read_text(path), str(path))
    if not isinstance(content, dict) or not all(isinstance(items, list) for items in content.values()):
        raise DataError(f"{path}: AdvGLUE's file is expected, an object with a list of items per task")
    tables = {}
    for part in task.advglue:
        if part.key in content:
            items = content[part.key]
            tables[part.split] = json_table(f"{path}, {part.key}", items, range(1, len(items) + 1), "row")
    if not tables:
        raise DataError(f"{path} holds no items for {task.name}, only for {', '.join(content)}")
    return tables


def _from_hub(task: Task) -> dict[str, Table]:
    remedy = "pass --data_dir (a plan: data_dir) with a folder that holds adv_glue/dev_ann.json or adv_glue/dev.json"
    return {
        part.split: hub_table(f"{HUB} {part.config}", fetch(HUB, part.config, remedy)["validation"])
        for part in task.advglue
    }


def _dataset(task: Task, table: Table, names: Sequence[str]) -> Dataset:
    columns, cells = task.text_columns, label_cells(table, "label")
    texts = table.texts(columns)
    refuse_gaps([Gaps(table, empty_texts(columns, texts, "one"), unlabelled(task, cells, "label"), ReadOptions())])
    blank = [None] * len(table)
    changed = [table.columns.get(f"original_{column}", blank) for column in columns]
    originals: list[tuple[str | None, ...]] = []
    groups: list[str | None] = []
    for own, before in zip(zip(*texts, strict=True), zip(*changed, strict=True), strict=True):
        # Of a pair often one text was perturbed and the other is its own original.
        original = tuple(old or new or "" for old, new in zip(before, own, strict=True))
        originals.append(original if any(before) else (None,) * len(columns))
        key = hashlib.sha256("\n".join(map(text_key, original)).encode()).hexdigest()[:16]
        groups.append(key if any(before) else None)
    extra: dict[str, list[str | None]] = {
        "method": [value or "" for value in table.columns.get("method", blank)],
        "data_construction": [value or "" for value in table.columns.get("data_construction", blank)],
        "original_id": groups,
    }
    for name, values in zip(names, zip(*originals, strict=True), strict=True):
        extra[f"original_{name}"] = list(values)
    named = {name: [cell or "" for cell in column] for name, column in zip(names, texts, strict=True)}
    labels = benchmark_labels(task, table, cells, range(len(table)), "label")
    return make_dataset(benchmark_ids(table, "idx"), named, labels, extra)
