"""Gradients of losses that are looked at and not followed: kept for one step, averaged, reduced to norms."""

import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune._torch import world_size
from rosetune.methods._gradients import gradients


class Observation:
    """The norms of some losses' gradients, averaged over the micro-batches and ranks of one step.

    ``torch.autograd.grad`` takes the gradients, so that ``.grad`` is left alone and DistributedDataParallel's reducer
    does not fire. One gradient buffer of the parameters is held for each loss until :meth:`discard`.
    """

    def __init__(self) -> None:
        self._sums: dict[str, list[Tensor]] = {}
        self._micro_batches = 0
        self._marks: list[tuple[int, int] | None] = []  # .grad as it was at the last observation

    def __contains__(self, name: str) -> bool:
        return name in self._sums

    def add(self, losses: dict[str, Tensor], parameters: list[Parameter], only_norms: bool = False) -> None:
        """Take the gradients of one micro-batch's losses, before its backward pass.

        Args:
            losses: scalars by name, the same names in every micro-batch of a step.
            parameters: what the gradients are taken of; one that a loss does not reach counts as zero.
            only_norms: keep the norms, and average those.
        """
        for name, loss in losses.items():
            with torch.autocast(loss.device.type, enabled=False):
                about = {"of": f"the {name.replace('_', ' ')}", "reaching": "any of the target tensors"}
                found = gradients(loss, parameters, retain_graph=True, **about)
            seen = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
            seen = [norms(seen)] if only_norms else seen
            if self._micro_batches == 0:
                self._sums[name] = seen
            elif self._micro_batches == 1:  # not in place: autograd may have handed out one tensor for two parameters
                self._sums[name] = list(torch._foreach_add(self._sums[name], seen))
            else:
                torch._foreach_add_(self._sums[name], seen)
        self._micro_batches += 1
        self._marks = _marks(parameters)

    def norms(self, name: str, only_norms: bool = False) -> Tensor:
        """Shape (parameters,): the norm of the mean gradient, or the mean norm."""
        seen, parts = self._sums[name], self._micro_batches
        if world_size() > 1:
            seen = [tensor.clone() for tensor in seen] if parts == 1 else seen  # see add
            for work in [torch.distributed.all_reduce(tensor, async_op=True) for tensor in seen]:
                work.wait()
            parts *= world_size()
        return (seen[0] if only_norms else norms(seen)) / parts

    def discard(self) -> None:
        """Forget what was added since the last step."""
        self._sums, self._micro_batches = {}, 0

    def discard_used(self, parameters: list[Parameter]) -> None:
        """Forget it if a backward pass has run since: then the step that it was for has been skipped."""
        if self._micro_batches and _marks(parameters) != self._marks:
            self.discard()


def norms(tensors: list[Tensor]) -> Tensor:
    """Shape (n,): Frobenius norms, in at least single precision."""
    dtype = torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32
    half = (torch.float16, torch.bfloat16)
    each = [torch.linalg.vector_norm(t, dtype=torch.float32 if t.dtype in half else None) for t in tensors]
    return torch.stack([norm.to(dtype) for norm in each])


def _marks(parameters: list[Parameter]) -> list[tuple[int, int] | None]:
    """Changes with every backward pass that reaches one of the parameters."""
    return [None if p.grad is None else (id(p.grad), p.grad._version) for p in parameters]
