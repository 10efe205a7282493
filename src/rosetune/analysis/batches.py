"""Labelled texts as padded batches."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rosetune.robustness.evaluation import BATCH, BATCH_ON_CPU, check_padding, encode, padded_batches

__all__ = ["make_batches"]


def make_batches(
    model: Any,
    tokenizer: Any,
    texts: Sequence[list[str]],
    labels: Sequence[float],
    batch_size: int | None = None,
) -> list[dict[str, Tensor]]:
    """Inputs with ``labels`` on the model's device, sorted by length: the longest rows come first.

    Args:
        texts: one column, or two for pairs.
        labels: numbers in the order of the model's logits, or of a regression what it should say.
        batch_size: rows of a batch; None: 16 on a CPU, else 128.

    Raises:
        ValueError: rows cannot be padded.
    """
    check_padding(model, tokenizer)
    size = batch_size or (BATCH_ON_CPU if model.device.type == "cpu" else BATCH)
    batches = []
    for chosen, batch in padded_batches(model, tokenizer, encode(model, tokenizer, texts), size):
        batches.append({**batch, "labels": torch.tensor([labels[i] for i in chosen], device=model.device)})
    return batches
