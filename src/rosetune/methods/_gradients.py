"""Gradients that are looked at and do not reach ``.grad``."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

CHECKPOINTING = "give activation_checkpointing_kwargs={'use_reentrant': False}"
TARGETS = "any of the target tensors"


def words(name: str) -> str:
    """A loss's name in an error."""
    return f"the {name.replace('_', ' ')}"


def gradients(
    loss: Tensor | GradientEdge,
    tensors: Sequence[Tensor],
    *,
    of: str,
    reaching: str,
    seed: Tensor | None = None,
    retain_graph: bool = False,
) -> list[Tensor | None]:
    """``torch.autograd.grad``; None for a tensor that the loss does not reach.

    Args:
        loss: a scalar, or another place in the graph with the gradient there as ``seed``.
        of, reaching: loss and tensors in words, for the errors.

    Raises:
        ValueError: none of the tensors is reached, or the forward ran under reentrant checkpointing, or was compiled
            for a single backward pass.
    """
    outputs: Any = [loss]
    try:
        found = torch.autograd.grad(outputs, tensors, [seed], retain_graph=retain_graph, allow_unused=True)
    except RuntimeError as error:
        if "donated" in str(error):
            raise ValueError(
                f"the gradient of {of} alone needs the buffers that torch.compile frees in a backward pass: set "
                "torch._functorch.config.donated_buffer = False before the first step, as RobustTrainer does"
            ) from error
        if "use_reentrant" not in str(error):
            raise
        raise ValueError(
            f"the gradient of {of} alone cannot be taken under reentrant checkpointing: {CHECKPOINTING}, or leave "
            "checkpointing out"
        ) from error
    if all(gradient is None for gradient in found):
        raise ValueError(
            f"no gradient of {of} reaches {reaching}. Under activation checkpointing {CHECKPOINTING}; else use the "
            "model whose named_parameters() the optimizer was given, and see whether its forward detaches them"
        )
    return list(found)


def gradient(loss: Tensor, tensor: Tensor, *, of: str, reaching: str) -> Tensor:
    """That of one tensor.

    Raises:
        ValueError: as in :func:`gradients`.
    """
    (found,) = gradients(loss, [tensor], of=of, reaching=reaching)
    assert found is not None
    return found
