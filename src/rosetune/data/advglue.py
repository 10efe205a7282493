"""AdvGLUE's development sets, from its JSON file (annotated or plain) or from the hub."""

import hashlib
import json
from pathlib import Path
from typing import Any

from datasets import Dataset

from rosetune.data.glue import benchmark_ids, benchmark_labels
from rosetune.data.hub import fetch, hub_table
from rosetune.data.rows import make_dataset, text_key
from rosetune.data.tables import DataError, Table, json_table, read_text
from rosetune.data.tasks import TASKS, Task, find_task

__all__ = ["load_advglue"]

HUB = "AI-Secure/adv_glue"
# The annotated edition comes first: it tells the attack and the original text.
FILES = ("adv_glue/dev_ann.json", "dev_ann.json", "adv_glue/dev.json", "dev.json")


def load_advglue(task: str, *, data_dir: str | None = None) -> dict[str, Dataset]:
    """The adversarial test sets of a task: "advglue", and for MNLI "advglue_mismatched" too.

    Beside the columns of every dataset they have `method` (the attack) and `data_construction` (word, sentence,
    human), both "" in the plain edition; `original_<column>`, the text before the perturbation, None for items that
    were written by hand; and `original_id`, which items that stem from the same original share. Originals are the same
    if they agree in letters and digits: the file holds them with several tokenisations, up to a trailing space.

    Args:
        task: a task's name.
        data_dir: a folder with adv_glue/dev_ann.json or adv_glue/dev.json; None means the hub.

    Raises:
        DataError: AdvGLUE does not cover the task, or its data is not there.
    """
    known = find_task(task)
    if known is None or not known.advglue:
        covered = ", ".join(name for name, other in TASKS.items() if other.advglue)
        raise DataError(f"AdvGLUE has no data for the task {task!r}; it covers {covered}")
    tables = _from_hub(known) if data_dir is None else _from_file(known, Path(data_dir).expanduser())
    return {split: _dataset(known, table) for split, table in tables.items()}


def _from_file(task: Task, data_dir: Path) -> dict[str, Table]:
    path = next((data_dir / name for name in FILES if (data_dir / name).is_file()), None)
    if path is None:
        raise DataError(f"no AdvGLUE in {data_dir}: looked for {', '.join(FILES)}")
    try:
        content: Any = json.loads(read_text(path), parse_int=str)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}); download it again") from error
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
    remedy = "pass --data_dir with a folder that holds adv_glue/dev_ann.json or adv_glue/dev.json"
    return {
        part.split: hub_table(f"{HUB} {part.config}", fetch(HUB, part.config, remedy)["validation"])
        for part in task.advglue
    }


def _dataset(task: Task, table: Table) -> Dataset:
    columns = task.text_columns
    texts = table.texts(columns, empty="one")
    blank = [None] * len(table)
    changed = [table.columns.get(f"original_{column}", blank) for column in columns]
    originals: list[tuple[str | None, ...]] = []
    groups = []
    for own, before in zip(zip(*texts, strict=True), zip(*changed, strict=True), strict=True):
        # Of a pair often one text was perturbed and the other is its own original.
        original = tuple(old or new for old, new in zip(before, own, strict=True))
        originals.append(original if any(before) else (None,) * len(columns))
        groups.append(hashlib.sha256("\n".join(map(text_key, original)).encode()).hexdigest()[:16])
    extra: dict[str, list[str | None]] = {
        "method": [value or "" for value in table.columns.get("method", blank)],
        "data_construction": [value or "" for value in table.columns.get("data_construction", blank)],
        "original_id": [*groups],
    }
    for column, values in zip(columns, zip(*originals, strict=True), strict=True):
        extra[f"original_{column}"] = list(values)
    labels = benchmark_labels(task, table, "label")
    return make_dataset(benchmark_ids(table, "idx"), dict(zip(columns, texts, strict=True)), labels, extra)
