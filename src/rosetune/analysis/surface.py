"""The grid of a loss landscape, and what is read off it."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Surface", "grid_axis"]


def grid_axis(span: float = 0.25, points: int = 51) -> np.ndarray:
    """Points from -span to span; an odd number of them has 0 among them, exactly."""
    steps = np.arange(points) - (points - 1) / 2
    return steps * (2 * span / (points - 1))


@dataclass(frozen=True)
class Surface:
    """f(alpha, beta) = L(theta + alpha delta + beta eta) on a grid.

    Attributes:
        alpha, beta: shape (columns,) and (rows,).
        loss, accuracy: shape (rows, columns); NaN where it is not computed yet.
    """

    alpha: np.ndarray
    beta: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray

    @property
    def centre(self) -> float:
        """The loss of the model itself; NaN where it is not on the grid."""
        found = self.loss[np.ix_(self.beta == 0, self.alpha == 0)]
        return float(found[0, 0]) if found.size else float("nan")

    def share_below(self, loss: float) -> float:
        """The share of the grid where the loss is at most this."""
        return float((self.loss <= loss).mean())

    def curvature(self) -> tuple[float, float]:
        """The second derivatives along alpha and beta at the model, by central differences of neighbours.

        On a quadratic they are delta^T H delta and eta^T H eta exactly. NaN where the model is not on the grid, or
        a loss beside it is infinite.
        """
        across, down = self.loss[self.beta == 0], self.loss[:, self.alpha == 0].T
        return _second_difference(across, self.alpha), _second_difference(down, self.beta)


def _second_difference(line: np.ndarray, at: np.ndarray) -> float:
    (zero,) = np.nonzero(at == 0)
    if not len(line) or not len(zero) or not 0 < zero[0] < len(at) - 1:
        return float("nan")
    below, middle, above = line[0, zero[0] - 1 : zero[0] + 2].tolist()
    return float((below - 2 * middle + above) / (at[zero[0] + 1] - at[zero[0]]) ** 2)
