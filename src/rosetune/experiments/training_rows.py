"""Which of a task's training rows a run is trained on."""

from datasets import Dataset

from rosetune.data.altered import flip_labels, rare_labels
from rosetune.data.rows import TaskData, shuffled_subset, take, text_keys
from rosetune.data.split import shuffled
from rosetune.runs.config import RunConfig
from rosetune.runs.values import RunError

__all__ = ["training_rows"]


def training_rows(config: RunConfig, data: TaskData, seed: int) -> tuple[Dataset, Dataset | None]:
    """What is trained on, and what is held out of it to choose the checkpoint; they share no text.

    Rare labels come before the subset, so that it has the size that was asked for; wrong labels come after it.
    """
    train = data.splits["train"]
    if config.imbalance is not None:
        train = rare_labels(train, config.imbalance, data.labels, seed)
    if config.max_train_samples is not None:
        train = shuffled_subset(train, config.max_train_samples, seed)
    if config.label_noise is not None:
        train = flip_labels(train, config.label_noise, len(data.labels), seed)
    if config.validation_from_train is None:
        return train, None
    keys = text_keys(train, data.text_columns)
    order = shuffled(keys, seed)
    chosen = set(order[: round(config.validation_from_train * len(order))])
    parts = {held: [row for row, key in enumerate(keys) if (key in chosen) is held] for held in (False, True)}
    if not all(parts.values()):
        raise RunError(
            f"validation_from_train={config.validation_from_train} of {len(order)} distinct texts leaves nothing on "
            "one side: give another share, or more data"
        )
    return take(train, parts[False]), take(train, parts[True])
