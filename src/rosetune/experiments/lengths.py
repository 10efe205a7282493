"""Which texts are longer than what a model sees of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from datasets import Dataset

from rosetune.data.rows import take

__all__ = ["Cut", "cut_texts"]


class Cut(NamedTuple):
    """How many of so many texts, or pairs, are cut at so many tokens, and how many the longest has."""

    cut: int
    total: int
    limit: int
    longest: int

    def sentence(self, what: str, option: str = "") -> str:
        """For a person: "2 of 60 training texts are cut at 64 tokens (--max_length); the longest has 202"."""
        verb = "is" if self.cut == 1 else "are"
        at = f"{self.limit} tokens{f' ({option})' if option else ''}"
        return f"{self.cut:,} of {self.total:,} {what} {verb} cut at {at}; the longest has {self.longest:,}"


def cut_texts(
    tokenizer: Any, dataset: Dataset, text_columns: Sequence[str], limit: int, known: Sequence[int] | None = None
) -> Cut | None:
    """The texts that are longer than the limit, special tokens included; None where there are none.

    Args:
        limit: tokens that the model sees.
        known: of each row the number of tokens once it is cut, where that is known: short ones are not looked at.
    """
    chosen = dataset if known is None else take(dataset, [row for row, n in enumerate(known) if n >= limit])
    if not len(chosen):
        return None
    whole = tokenizer(*(chosen[column][:] for column in text_columns), truncation=False, verbose=False)["input_ids"]
    lengths = [len(ids) for ids in whole if len(ids) > limit]
    return Cut(len(lengths), len(dataset), limit, max(lengths)) if lengths else None
