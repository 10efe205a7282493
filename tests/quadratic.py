"""A loss with a known Hessian, importable as ``quadratic``."""

import numpy as np
import torch
from torch import Tensor


class Quadratic(torch.nn.Module):
    """c + b.w + w^T H w / 2 over the entries of two matrices and a vector, times the mean of the inputs.

    Args:
        hessian: shape (n, n) with n = 2 * columns * 3 + 2; see :data:`SHAPES`.
    """

    def __init__(self, hessian: np.ndarray, seed: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.first = torch.nn.Parameter(torch.tensor(rng.standard_normal((3, 4))))
        self.second = torch.nn.Parameter(torch.tensor(rng.standard_normal((2, 3))))
        self.bias = torch.nn.Parameter(torch.tensor(rng.standard_normal(2)))
        self.hessian, self.slope = torch.tensor(hessian), torch.tensor(rng.standard_normal(len(hessian)))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        w = torch.cat([self.first.flatten(), self.second.flatten(), self.bias])
        return {"logits": (3.0 + self.slope @ w + w @ self.hessian @ w / 2) * x[:, None]}


SIZE = 3 * 4 + 2 * 3 + 2


def symmetric(eigenvalues: np.ndarray, seed: int = 1) -> np.ndarray:
    """A matrix with these eigenvalues in a random basis."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(eigenvalues), len(eigenvalues))))
    return basis @ np.diag(eigenvalues) @ basis.T


def value(logits: Tensor, labels: Tensor) -> Tensor:
    """The model's output is the loss."""
    return logits.squeeze(-1)


def batches() -> list[dict[str, Tensor]]:
    """Three rows in two batches, whose factors have the mean 1."""
    return [
        {"x": torch.tensor([0.5, 2.0]).double(), "labels": torch.zeros(2)},
        {"x": torch.tensor([0.5]).double(), "labels": torch.zeros(1)},
    ]
