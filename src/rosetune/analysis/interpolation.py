"""The loss on the line through two models' weights (Eq. 7 of the ROSE paper)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from rosetune.analysis.weights import MeanLoss, Measured

__all__ = ["interpolate", "interpolation_axis"]


def interpolation_axis(points: int = 51, low: float = -0.5, high: float = 1.5) -> np.ndarray:
    """Points from low to high, and both models beside them: neither 0 nor 1 is among the paper's 51."""
    return np.union1d(np.round(np.linspace(low, high, points), 12), (0.0, 1.0))


@torch.no_grad()
def interpolate(of: MeanLoss, other: torch.nn.Module, alpha: np.ndarray) -> Iterator[Measured]:
    """f(alpha) = L((1 - alpha) theta + alpha theta').

    At 0 and 1 the weights are those of the two models, bit for bit. Parameters are interpolated and so are buffers of
    floating point; other buffers must be the same.

    Args:
        of: the loss of the model theta.
        other: the model theta', of the same architecture.
        alpha: shape (points,).

    Yields:
        Loss and accuracy at each point.

    Raises:
        ValueError: the models have not the same tensors.
    """
    here, there = _tensors(of.model), _tensors(other)
    if {n: t.shape for n, t in here.items()} != {n: t.shape for n, t in there.items()}:
        wrong = sorted(
            n for n in {*here, *there} if n not in here or n not in there or here[n].shape != there[n].shape
        )
        raise ValueError(
            f"the models have not the same tensors ({wrong[0]} is another, one of {len(wrong)}): interpolate between "
            "two models of one architecture"
        )
    fixed = [n for n, t in here.items() if not t.is_floating_point() and not torch.equal(t, there[n].to(t.device))]
    if fixed:
        raise ValueError(f"the models differ in {fixed[0]}, which holds no weights and cannot be interpolated")
    moved = {name: tensor for name, tensor in here.items() if tensor.is_floating_point()}
    point = {name: torch.empty_like(tensor) for name, tensor in moved.items()}
    for a in alpha:
        for name, tensor in moved.items():
            # lerp is exact at both ends.
            torch.lerp(tensor, there[name].to(tensor), float(a), out=point[name])
        yield of.measure(point)


def _tensors(model: torch.nn.Module) -> dict[str, Any]:
    return {name: p.detach() for name, p in model.named_parameters()} | dict(model.named_buffers())
