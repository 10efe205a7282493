"""Texts that are tokenised when they are asked for, and changed anew in every epoch."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Protocol

import torch
from torch.utils.data import Dataset

from rosetune.robustness.edits import generator

__all__ = ["Augmentation", "AugmentedDataset"]

Features = dict[str, Any]  # of one row, as a tokenizer gives them


class Augmentation(Protocol):
    """A change of a training row."""

    def __call__(self, texts: Sequence[str], tokenizer: Any, rng: Random) -> Features | None:
        """What the model sees of a row in place of its texts; None: the row stays as it is.

        Args:
            texts: one, or the two of a pair.
            tokenizer: called with ``truncation=True``, as for clean rows.
            rng: whatever is random draws from it alone.
        """
        ...


class AugmentedDataset(Dataset):
    """Rows of text for a Trainer, tokenised; the augmentation draws anew in every epoch.

    What becomes of a row depends on (seed, epoch, row) alone: not on the order in which rows are asked for, the
    process, or a kill in between. The Trainer tells the epoch through :meth:`set_epoch`, which reaches workers of a
    loader that outlive an epoch as well. Padding is the collator's.

    Args:
        rows: a ``datasets.Dataset`` with the texts and a label a row.
        text_columns: one, or two for pairs.
        tokenizer: the model's; its ``model_max_length`` cuts long texts.
        augmentation: such as :class:`~rosetune.augmentation.NoiseAugmentation`; None: all rows stay as they are.
        seed: another seed changes other rows in other ways.
        label_column: of the rows; the model gets it as ``labels``.

    Raises:
        ValueError: a column is missing.

    Example:
        rows = AugmentedDataset(data, ["text"], tokenizer, NoiseAugmentation(["typing"], p=0.5), seed=1)
        RobustTrainer(model, args, train_dataset=rows, processing_class=tokenizer).train()
    """

    def __init__(
        self,
        rows: Any,
        text_columns: Sequence[str],
        tokenizer: Any,
        augmentation: Augmentation | None = None,
        *,
        seed: int = 0,
        label_column: str = "label",
    ) -> None:
        missing = [name for name in (*text_columns, label_column) if name not in rows.column_names]
        if missing:
            raise ValueError(f"the data set has no column {missing[0]!r}; it has {', '.join(rows.column_names)}")
        columns = [rows[name][:] for name in text_columns]
        self._texts: list[tuple[str, ...]] = list(zip(*columns, strict=True))
        self._labels = rows[label_column][:]
        self._encoded: Mapping[str, Sequence[Any]] = tokenizer(*columns, truncation=True) if self._texts else {}
        self._tokenizer, self._augmentation = tokenizer, augmentation
        self._seed = seed
        # Persistent workers keep the copy of the rows that they began with: only memory in common tells them more.
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As a copy it has memory in common with workers of its own; in a worker that of the rows it came from."""
        self.__dict__.update(state)
        self._epoch.share_memory_()

    @property
    def column_names(self) -> list[str]:
        """What a row holds."""
        return [*self._encoded, "labels"]

    def set_epoch(self, epoch: int) -> None:
        """Draw as in this epoch from now on, in workers too; what they have fetched ahead stays."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, row: int | str) -> Any:
        """A row, or by its name the column of the clean rows."""
        if isinstance(row, str):
            return self._labels if row == "labels" else self._encoded[row]
        return {**(self._augmented(row) or self._clean(row)), "labels": self._labels[row]}

    def _clean(self, row: int) -> Features:
        return {name: column[row] for name, column in self._encoded.items()}

    def _augmented(self, row: int) -> Features | None:
        if self._augmentation is None:
            return None
        rng = generator(f"augmentation:{self._seed}:{int(self._epoch)}:{row}")
        return self._augmentation(self._texts[row], self._tokenizer, rng)
