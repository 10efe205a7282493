"""A backward pass that computes no weight gradient of a tensor which its own step freezes."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.nn import Parameter

from rosetune.methods._shards import norms
from rosetune.methods._shared_backward import SharedBackward
from rosetune.methods._uses import LEAF, nodes


def spared(
    loss: Tensor,
    shared: SharedBackward,
    likely: set[int],
    still_alone: Callable[[], bool],
    choose: Callable[[], Sequence[float]],
    tell: Callable[[Tensor], None],
) -> Tensor:
    """A loss whose backward pass leaves the gradients of some linear layers' weights until the mask is known.

    Input x and output gradient d of such a layer are kept. Once the pass has been through, d^T x is taken of the
    tensors that the mask keeps. Of the others it is the projection d^T (x z), for the norm alone. These are layers of
    the lower half, which the pass reaches last: their x and d then fit into what it has given back.

    Args:
        shared: what looks along with this pass, and ranks.
        likely: numbers of the parameters that the mask will probably freeze; others take their gradient as ever.
        still_alone: whether this pass is still the only one of its step when it comes.
        choose: the multipliers of ``shared.parameters``, after the pass.
        tell: takes the norm of all gradients that were left out; its square is an unbiased estimate.

    Returns:
        The same number. Its backward pass is as ever where this is not possible, or where it is multiplied with
        something: a factor that is taken out of ``.grad`` again would not reach the norm.
    """
    if not shared.is_all_of(loss):
        return loss

    def run(slope: Tensor) -> None:
        held = shared.hold(likely) if slope.item() == 1.0 and still_alone() else None
        if held is None or not held.numbers:
            shared.held = None
            torch.autograd.backward([loss], [slope])
            return
        left = {id(shared.parameters[i]) for i in held.numbers}
        reached = [node.variable for node in nodes(loss.grad_fn, _is_leaf) if _is_leaf(node)]  # type: ignore[attr-defined]
        try:
            torch.autograd.backward([loss], [slope], inputs=[leaf for leaf in reached if id(leaf) not in left])
            left_out = []
            for i, multiplier in enumerate(choose()):
                if i in held.numbers and multiplier > 0.0:
                    _add(shared.parameters[i], held.gradient(i))
                elif i in held.numbers and (sketch := held.sketch(i)) is not None:
                    left_out.append(sketch)
            if left_out:
                tell(norms(left_out).float().norm())
        finally:
            shared.held = None

    result: Tensor = _Spared.apply(loss.detach().requires_grad_(), run)
    return result


class _Spared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor, run: Callable[[Tensor], None]) -> Tensor:
        ctx.run = run
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[None, None]:
        run, ctx.run = ctx.run, None  # which holds the graph
        run(slope)
        return None, None


def _is_leaf(node: Node) -> bool:
    return node.name().endswith(LEAF)


@torch.no_grad()
def _add(parameter: Parameter, gradient: Tensor | None) -> None:
    if gradient is not None:
        gradient = gradient.to(parameter.dtype)
        parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
