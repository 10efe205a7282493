"""The loss on a plane through a model's weights (Eq. 6 of the ROSE paper)."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from rosetune.analysis.directions import Direction
from rosetune.analysis.surface import Surface
from rosetune.analysis.weights import MeanLoss

__all__ = ["landscape", "landscape_rows"]


def landscape(of: MeanLoss, directions: tuple[Direction, Direction], alpha: np.ndarray, beta: np.ndarray) -> Surface:
    """The whole grid at once; see :func:`landscape_rows`."""
    _, losses, accuracies = zip(*landscape_rows(of, directions, alpha, beta), strict=True)
    return Surface(alpha, beta, np.stack(losses), np.stack(accuracies))


def landscape_rows(
    of: MeanLoss,
    directions: tuple[Direction, Direction],
    alpha: np.ndarray,
    beta: np.ndarray,
    rows: Sequence[int] | None = None,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """f(alpha, beta) = L(theta + alpha delta + beta eta), a row of the grid at a time.

    Each point is computed from the model's weights anew, so that a row does not depend on which came before it. One
    copy of the weights is written to, again and again: with the directions in half precision, the weights of model and
    analysis take at most three times the model's memory, less with a large word embedding. Activations add to that.

    Args:
        directions: delta and eta.
        rows: numbers in beta of the wanted rows; None: all.

    Yields:
        Number of the row, and losses and accuracies, shape (columns,).

    Reference:
        Li et al. 2018; Jiang et al. 2022, Eq. 6.
    """
    delta, eta = directions
    buffers = of.buffers(list(delta.noise))
    for row in range(len(beta)) if rows is None else rows:
        found = []
        for a in alpha:
            for name, buffer in buffers.items():
                of.write(name, buffer, _moved(of.parts[name], delta, eta, name, float(a), float(beta[row])))
            found.append(of.measure(buffers))
        yield row, np.array([point.loss for point in found]), np.array([point.accuracy for point in found])


@torch.no_grad()
def _moved(weight: Tensor, delta: Direction, eta: Direction, name: str, a: float, b: float) -> Tensor:
    along = delta.noise[name] * (delta.scale[name] * a)
    return along.add_(eta.noise[name] * (eta.scale[name] * b)).add_(weight)
