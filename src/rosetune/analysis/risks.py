"""ROSE's risks of a model's tensors, drawn again and again: how much of the ranking is noise, and how much is size."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rosetune._torch import forward, keeping_modes, seeded
from rosetune.analysis.weights import Batch, row_losses
from rosetune.methods._consistency import require_dropout, symmetric_kl, two_passes
from rosetune.methods._targets import LAYER_WEIGHTS

__all__ = ["Risks", "measure_risks"]

BETA1 = 0.9


@dataclass(frozen=True)
class Risks:
    """Risks of n tensors of one model.

    Attributes:
        names: of the tensors that a mask may freeze.
        sizes: shape (n,), scalars of each.
        norms: shape (n,), ||theta_i||.
        first: shape (batches, n), the first-order risk on each batch.
        again: shape (batches, n), on the same batches with a second draw of dropout.
        half: shape (batches, n), on every second row of each batch.
        second: shape (batches - 1, n), the second-order risk on each batch from the second one on. Its first moment is
            the mean that AdamW would hold after all batches before it, corrected for their small number; the weights
            stand still.
        second_again: likewise, on the same batches and with the same moments, with a second draw of dropout.
    """

    names: tuple[str, ...]
    sizes: np.ndarray
    norms: np.ndarray
    first: np.ndarray
    again: np.ndarray
    half: np.ndarray
    second: np.ndarray
    second_again: np.ndarray


def measure_risks(
    model: torch.nn.Module, batches: Sequence[Batch], seed: int = 0, target_parameters: str = LAYER_WEIGHTS
) -> Risks:
    """First- and second-order risks (Eqs. 2 and 4 of the ROSE paper), in train mode, with seeded dropout.

    Weights, ``.grad``, modes and random state stay as they were.

    Args:
        batches: at least two, with ``labels``; rows in the order in which training would see them.
        target_parameters: as in :class:`~rosetune.methods.rose.Rose`.

    Raises:
        ValueError: fewer than two batches, a batch of one row, no matching tensor, or no dropout acts.
    """
    targets = {n: p for n, p in model.named_parameters() if p.requires_grad and re.search(target_parameters, n)}
    if not targets:
        raise ValueError(f"target_parameters={target_parameters!r} matches no trainable tensor of this model")
    if len(batches) < 2 or min(len(batch["labels"]) for batch in batches) < 2:
        raise ValueError("risks need at least two batches of two rows: give more --examples")
    first, again, half = [], [], []
    with seeded(model, seed), keeping_modes(model):
        model.train()
        for batch in batches:
            first.append(_first_order(model, batch, list(targets.values())))
            again.append(_first_order(model, batch, list(targets.values())))
            half.append(_first_order(model, {n: v[::2] for n, v in batch.items()}, list(targets.values())))
        second, second_again = _second_order(model, batches, list(targets.values()))
    return Risks(
        tuple(targets),
        np.array([p.numel() for p in targets.values()]),
        np.array([float(p.detach().double().norm()) for p in targets.values()]),
        np.stack(first),
        np.stack(again),
        np.stack(half),
        second,
        second_again,
    )


def _first_order(model: torch.nn.Module, batch: Batch, tensors: list[Tensor]) -> np.ndarray:
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    one, other, _ = two_passes(model, inputs)
    divergence = symmetric_kl(one, other)
    require_dropout(divergence)
    return _norms(torch.autograd.grad(divergence, tensors, allow_unused=True))


def _second_order(
    model: torch.nn.Module, batches: Sequence[Batch], tensors: list[Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    """On each batch after the first, with two draws of dropout; the second ones come after all of the first."""
    moments = [torch.zeros_like(tensor) for tensor in tensors]
    before, risks = [], []
    for seen, batch in enumerate(batches):
        gradients = _task_gradient(model, batch, tensors)
        if seen:
            before.append(_norms(moments) / (1 - BETA1**seen))
            risks.append(_surprise(_norms(gradients), before[-1]))
        for moment, gradient in zip(moments, gradients, strict=True):
            moment.mul_(BETA1)
            if gradient is not None:
                moment.add_(gradient, alpha=1 - BETA1)
    again = [
        _surprise(_norms(_task_gradient(model, batch, tensors)), norms)
        for batch, norms in zip(batches[1:], before, strict=True)
    ]
    return np.stack(risks), np.stack(again)


def _surprise(now: np.ndarray, before: np.ndarray) -> np.ndarray:
    """| (1 - beta1) ||g|| / ||m|| - 1 | of each tensor."""
    ratio = np.divide((1 - BETA1) * now, before, out=np.ones_like(now), where=before > 0)  # without history: kept
    return np.abs(ratio - 1)


def _task_gradient(model: torch.nn.Module, batch: Batch, tensors: list[Tensor]) -> Sequence[Tensor | None]:
    logits = forward(model, {name: value for name, value in batch.items() if name != "labels"}).logits
    return torch.autograd.grad(row_losses(logits, batch["labels"]).mean(), tensors, allow_unused=True)


def _norms(gradients: Sequence[Tensor | None]) -> np.ndarray:
    return np.array([0.0 if g is None else float(g.detach().double().norm()) for g in gradients])
