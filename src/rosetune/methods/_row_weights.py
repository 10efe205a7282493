"""A factor of each row of a batch, on what a layer takes in and what comes back to it."""

import torch
from torch import Tensor


class RowWeights:
    """Products with the rows' factors, in memory that is used again: for one backward pass.

    Layers that read the same input (query, key and value) come one after the other, and have it multiplied once.

    Args:
        factors: shape (rows,); None: all are 1.
        rows: of the batch.
    """

    def __init__(self, factors: Tensor | None = None, rows: int = 0) -> None:
        self._factors, self._rows = factors, rows
        self._spread: dict[tuple[int, torch.dtype], Tensor] = {}  # by rows that a layer has, and precision
        self._memory: Tensor | None = None
        self._times: tuple[Tensor, Tensor] | None = None  # the last product, and of what
        self._sketch: tuple[Tensor, Tensor, Tensor] | None = None

    def spread(self, count: int, dtype: torch.dtype) -> Tensor | None:
        """Shape (count,): each row's factor for all of its tokens, where a layer joined both."""
        if self._factors is None:
            return None
        if (count, dtype) not in self._spread:
            self._spread[count, dtype] = self._factors.repeat_interleave(count // self._rows).to(dtype)
        return self._spread[count, dtype]

    def times(self, x: Tensor) -> Tensor:
        """Every row times its factor, shape as ``x``; good until the next call."""
        factors = self.spread(x.shape[0], x.dtype)
        if factors is None:
            return x
        if self._times is None or not _same(self._times[0], x):
            self._times = x, torch.mul(x, _columns(factors, x), out=self._room(x))
        return self._times[1]

    def sketch(self, x: Tensor, z: Tensor) -> Tensor:
        """Shape (rows, columns): x z, every row times its factor."""
        if self._sketch is None or not (_same(self._sketch[0], x) and self._sketch[1] is z):
            factors, product = self.spread(x.shape[0], x.dtype), x @ z
            self._sketch = x, z, product if factors is None else product.mul_(_columns(factors, product))
        return self._sketch[2]

    def _room(self, x: Tensor) -> Tensor:
        if self._memory is None or self._memory.dtype != x.dtype or self._memory.numel() < x.numel():
            self._memory = torch.empty(x.numel(), dtype=x.dtype, device=x.device)
        return self._memory[: x.numel()].view(x.shape)


def _columns(factors: Tensor, x: Tensor) -> Tensor:
    return factors.view(-1, *[1] * (x.dim() - 1))


def _same(held: Tensor, x: Tensor) -> bool:
    """Whether both are one memory: it cannot have been given to another while it is held."""
    return held.data_ptr() == x.data_ptr() and held.shape == x.shape and held.stride() == x.stride()
