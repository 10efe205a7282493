"""Which scalars matter to a task: squared gradients over the training data, and the exact top share of them."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from operator import length_hint
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from tqdm import tqdm

from rosetune._torch import forward, is_main_process, keeping_modes, world_size
from rosetune.methods._gradients import gradients
from rosetune.methods._shards import norms
from rosetune.methods._targets import kept_count
from rosetune.methods._task_loss import TaskLoss, split_labels

logger = logging.getLogger(__name__)


def diagonal_fisher(
    model: torch.nn.Module,
    parameters: list[Parameter],
    batches: Iterable[dict[str, Any]],
    *,
    per_example: bool,
    clip: float | None,
    limit: int | None = None,
) -> list[Tensor]:
    """The mean of the squared gradient of the task loss, over the batches (or examples) of all ranks.

    The model runs in train mode. Its weights, buffers, modes and ``.grad``, and torch's random state, are afterwards
    what they were. A gradient that is not finite is left out of the mean, counted and logged.

    Args:
        batches: inputs with labels of shape (batch, ...), on the model's device.
        per_example: square the gradient of each example's loss instead of each batch's mean loss.
        clip: cap on the norm of each tensor's gradient by itself, before it is squared; None: no cap.
        limit: how many batches each rank sees; None: all.

    Returns:
        One float32 tensor a parameter, of its shape.

    Raises:
        ValueError: no gradient was finite, there was no batch, or the loss reaches none of the parameters.
    """
    sums = [torch.zeros(p.shape, dtype=torch.float32, device=p.device) for p in parameters]
    counted = skipped = 0
    with _left_as_it_was(model, parameters[0].device):
        for batch in _progress(batches, limit):
            for part in _examples(batch) if per_example else [batch]:
                finite = _add_square(sums, _gradients(model, parameters, part), clip)
                counted += finite
                skipped += not finite
    tally = torch.tensor([counted, skipped], device=sums[0].device)
    if world_size() > 1:
        for tensor in (tally, *sums):
            torch.distributed.all_reduce(tensor)
    counted, skipped = tally.tolist()
    what = "examples" if per_example else "batches"
    if not counted:
        raise ValueError(
            f"none of the {skipped} {what} of the Fisher pass had a finite gradient: look at the loss of the model "
            "before training (learning starts from broken weights, or 16 bits overflow)"
            if skipped
            else "the Fisher pass got no batch: give the batches of the training data (a used-up iterator has none)"
        )
    if skipped:
        logger.warning(
            "Fisher pass: %d of %d %s had a gradient that is not finite and are left out",
            *(skipped, counted + skipped, what),
        )
    return [tensor.div_(counted) for tensor in sums]


def keep_top(values: list[Tensor], share: float) -> list[Tensor]:
    """Boolean masks of the entries at or above the (1 - share) percentile of all tensors together.

    The percentile is numpy's default, interpolated linearly between the sorted entries x at the position
    h = (n - 1)(1 - share): it lies in (x[floor h], x[ceil h]], or is both where these are equal. No entry lies
    strictly between the two, so that "at or above the percentile" and "at or above x[ceil h]" are the same entries.
    x[ceil h] is found by counting, tensor by tensor, without joining or sorting them.

    Args:
        values: float32, not negative, no NaN.
        share: in (0, 1]; ties at the percentile are all kept, and logged where they exceed the share by 0.01.
    """
    n = sum(value.numel() for value in values)
    count = kept_count(share, n - 1) + 1
    threshold = _order_statistic(values, n - count)
    masks = [value >= threshold for value in values]
    kept = sum(int(mask.sum()) for mask in masks)
    if kept - count > 0.01 * n:
        logger.warning(
            "%.1f %% of the %d candidate scalars are kept instead of %.1f %%: so many tie at the threshold, %g",
            *(100 * kept / n, n, 100 * count / n, threshold),
        )
    return masks


def _order_statistic(values: list[Tensor], index: int) -> float:
    """The entry of this index in ascending order, by radix selection.

    The bits of a float32 that is not negative, read as an integer, order as the float does: the upper 16 of them by a
    first histogram, the lower 16 by a second one of the entries that share the upper.
    """
    upper = _histogram(bits >> 16 for bits in _bits(values))
    high, index = _bin_of(upper, index)
    lower = _histogram(bits[bits >> 16 == high] & 0xFFFF for bits in _bits(values))
    low, _ = _bin_of(lower, index)
    return torch.tensor((high << 16) | low, dtype=torch.int32).view(torch.float32).item()


def _bits(values: list[Tensor]) -> Iterator[Tensor]:
    return (value.contiguous().view(torch.int32).flatten() for value in values)


def _histogram(parts: Iterable[Tensor]) -> Tensor:
    total = torch.zeros(1 << 16, dtype=torch.int64)
    for part in parts:
        total += torch.bincount(part, minlength=1 << 16).cpu()
    return total


def _bin_of(histogram: Tensor, index: int) -> tuple[int, int]:
    """The bin that holds this index, and the index within it."""
    ends = histogram.cumsum(0)
    found = int(torch.searchsorted(ends, index, right=True))
    return found, index - (int(ends[found - 1]) if found else 0)


def _gradients(model: torch.nn.Module, parameters: list[Parameter], batch: dict[str, Any]) -> list[Tensor | None]:
    with torch.enable_grad():
        features, labels = split_labels(model, batch)
        loss = TaskLoss().task_loss(forward(model, features).logits, labels)
    with torch.autocast(loss.device.type, enabled=False):
        return gradients(loss, parameters, of="the task loss", reaching="any of the parameters to be masked")


def _add_square(sums: list[Tensor], gradients: list[Tensor | None], clip: float | None) -> bool:
    """Add the squares if all gradients are finite; whether they were."""
    reached = [(total, g.float()) for total, g in zip(sums, gradients, strict=True) if g is not None]
    lengths = norms([g for _, g in reached])
    if not bool(lengths.isfinite().all()):
        return False
    # As torch.nn.utils.clip_grad_norm_ does it, for each tensor by itself.
    factors = torch.ones_like(lengths) if clip is None else (clip / (lengths + 1e-6)).clamp(max=1.0)
    for (total, g), factor in zip(reached, factors, strict=True):
        total.add_((g * factor).square_())
    return True


def _examples(batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
    rows = len(batch["labels"])
    for i in range(rows):
        yield {
            name: value[i : i + 1] if isinstance(value, Tensor) and value.dim() and len(value) == rows else value
            for name, value in batch.items()
        }


def _progress(batches: Iterable[dict[str, Any]], limit: int | None) -> Iterable[dict[str, Any]]:
    total = length_hint(batches) or None
    if limit is not None:
        total = limit if total is None else min(limit, total)
    silent = getattr(batches, "quiet", False) or not is_main_process()
    return tqdm(islice(batches, limit), total=total, desc="Fisher pass", unit="batch", disable=silent)


@contextmanager
def _left_as_it_was(model: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """Train mode within; afterwards the modes, buffers (BatchNorm counts) and random state from before."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with keeping_modes(model), torch.random.fork_rng([device] if device.type == "cuda" else []):
            if not model.training:  # a part that was put into eval mode by hand stays there
                model.train()
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)
