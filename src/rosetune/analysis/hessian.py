"""The curvature of the loss at a model's weights: the Hessian's largest eigenvalue and its trace."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rosetune.analysis.directions import Direction
from rosetune.analysis.weights import MeanLoss

__all__ = ["Hessian", "Trace"]

RESTARTS = 300  # of the Lanczos method


class _ZeroError(Exception):
    """Ends a search: there is but the eigenvalue 0."""


@dataclass(frozen=True)
class Trace:
    """Hutchinson's estimate: the mean of v^T H v over random signs v, and its standard error."""

    value: float
    standard_error: float
    samples: np.ndarray


class Hessian:
    """H, the second derivatives of L with respect to theta, as a linear map of vectors.

    A product takes a backward pass through a backward pass of every batch. Rows of a word embedding that no input
    reads have zeros in H, and are left out: no eigenvalue other than 0 changes, nor does the trace.

    Args:
        of: the loss; load its model with ``attn_implementation="eager"``.
        product_done: called after each product with the number of products so far.

    Raises:
        ValueError: at a product, the model cannot be differentiated twice, or the product is not finite.
    """

    def __init__(self, of: MeanLoss, product_done: Callable[[int], object] | None = None) -> None:
        self._of, self._done, self._products = of, product_done, 0
        self.size = sum(part.numel() for part in of.parts.values())

    def times(self, vector: Tensor) -> Tensor:
        """H v, shape (size,)."""
        directions, parts = self.split(vector), self._leaves()
        total = torch.zeros_like(vector)
        for term in self._of.terms(parts):
            total += _flat(_products(term, parts, directions))
        if not total.isfinite().all():
            raise ValueError(
                "the loss of these rows, or a derivative of it, is not a finite number: a model that has diverged has "
                "no Hessian, look at an earlier checkpoint"
            )
        self._products += 1
        if self._done is not None:
            self._done(self._products)
        return total

    def split(self, vector: Tensor) -> list[Tensor]:
        """A vector in the shapes of the moved weights."""
        pieces = vector.split([part.numel() for part in self._of.parts.values()])
        return [piece.view_as(part) for piece, part in zip(pieces, self._of.parts.values(), strict=True)]

    def along(self, direction: Direction) -> float:
        """d^T H d, the second derivative along a direction."""
        parts = self._of.parts.items()
        flat = _flat([direction[n] if n in direction.noise else torch.zeros_like(part) for n, part in parts])
        return float(flat.double() @ self.times(flat).double())

    def top_eigenvalue(self, seed: int = 0, tolerance: float = 1e-5, vectors: int = 8) -> float:
        """The largest eigenvalue, by the Lanczos method.

        The largest, not the largest in size, which power iteration finds: beside a negative eigenvalue of almost the
        same size that converges slowly, or to the wrong one.

        Args:
            seed: of the start.
            tolerance: relative.
            vectors: how many of the size of the weights are kept.

        Raises:
            ValueError: it has not converged, or as for the class.
        """
        from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh

        like = next(iter(self._of.parts.values()))
        dtype = np.float64 if like.dtype == torch.float64 else np.float32
        if self.size <= 2:
            return float(np.linalg.eigvalsh(self._dense(like))[-1])

        nonzero = False

        def product(vector: np.ndarray) -> np.ndarray:
            nonlocal nonzero
            found = self.times(torch.tensor(vector.ravel()).to(like)).cpu().numpy().astype(dtype)
            nonzero = nonzero or bool(found.any())
            if not nonzero:  # a random vector that H takes to zero
                raise _ZeroError
            return found

        start = np.random.default_rng(seed).standard_normal(self.size).astype(dtype)
        operator = LinearOperator((self.size, self.size), matvec=product, dtype=dtype)
        try:
            (value,) = eigsh(
                operator,
                k=1,
                which="LA",
                v0=start,
                tol=tolerance,
                ncv=min(self.size, vectors),
                maxiter=RESTARTS,
                return_eigenvectors=False,
            )
        except _ZeroError:
            return 0.0
        except ArpackNoConvergence as error:
            raise ValueError(
                f"the largest eigenvalue was not found in {RESTARTS} restarts: give a larger --tolerance"
            ) from error
        except ArpackError as error:
            raise ValueError(f"the largest eigenvalue was not found ({error}): try another --seed") from error
        return float(value)

    def trace(self, samples: int = 20, seed: int = 0) -> Trace:
        """The trace, by Hutchinson's estimator.

        Args:
            samples: at least 2; the standard error falls with their square root.
            seed: of the signs.
        """
        like = next(iter(self._of.parts.values()))
        generator = torch.Generator().manual_seed(seed)
        found = []
        for _ in range(samples):
            signs = torch.randint(2, (self.size,), generator=generator, dtype=torch.int8).to(like) * 2 - 1
            found.append(float(signs.double() @ self.times(signs).double()))
        values = np.array(found)
        return Trace(float(values.mean()), float(values.std(ddof=1) / np.sqrt(samples)), values)

    def _dense(self, like: Tensor) -> np.ndarray:
        return np.stack([self.times(row).cpu().double().numpy() for row in torch.eye(self.size).to(like)])

    def _leaves(self) -> dict[str, Tensor]:
        return {name: part.detach().clone().requires_grad_() for name, part in self._of.parts.items()}


def _products(term: Tensor, parts: Mapping[str, Tensor], directions: list[Tensor]) -> list[Tensor]:
    leaves = list(parts.values())
    try:
        gradients = torch.autograd.grad(term, leaves, create_graph=True, allow_unused=True)
        pairs = [(g, d) for g, d in zip(gradients, directions, strict=True) if g is not None and g.requires_grad]
        if not pairs:  # the loss is linear in the weights
            return [torch.zeros_like(leaf) for leaf in leaves]
        along = torch.stack([(g * d).sum() for g, d in pairs]).sum()
        found = torch.autograd.grad(along, leaves, allow_unused=True)
    except RuntimeError as error:
        if not re.search("derivative|differentiat|not implemented", str(error)):
            raise
        raise ValueError(
            f"this model cannot be differentiated twice ({str(error).splitlines()[0]}): load it with "
            'attn_implementation="eager", or look at a model whose layers have second derivatives'
        ) from error
    return [torch.zeros_like(leaf) if f is None else f.detach() for leaf, f in zip(leaves, found, strict=True)]


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
