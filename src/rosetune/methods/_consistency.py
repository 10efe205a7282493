"""Two stochastic passes of the same input, and the divergence between them."""

import math
from typing import Any

import torch
from torch import Tensor
from transformers.utils import ModelOutput

from rosetune._torch import forward
from rosetune.methods._shared_backward import mark_logits


def two_passes(
    model: torch.nn.Module, inputs: dict[str, Any], shared: bool = False, share: float = 1.0
) -> tuple[Tensor, Tensor, ModelOutput]:
    """Two dropout passes of the same rows, in one forward of the doubled batch.

    Dropout draws per row, so that the two halves of the doubled batch are two independent passes; one forward is
    faster than two, and DistributedDataParallel allows only one. Not for objectives that mix rows; noise that is drawn
    once a forward, such as LayerDrop, is the same in both halves.

    Args:
        inputs: without labels; tensors of shape (batch, ...).
        shared: the loss that is followed will depend on the model through both of these logits and nothing else, so
            that its backward pass can serve the consistency as well (see ``_shared_backward``).
        share: of the rows that take the second pass, the first ceil(share batch).

    Returns:
        Logits of the first pass (batch, ...) and of the second (ceil(share batch), ...), and the first one's outputs.
    """
    batch = batch_size(inputs)
    logits = forward(model, doubled(inputs, math.ceil(share * batch - 1e-9))).logits
    if shared:
        mark_logits(logits)
    return logits[:batch], logits[batch:], ModelOutput(logits=logits[:batch])


def doubled(inputs: dict[str, Any], rows: int | None = None) -> dict[str, Any]:
    """The same rows twice, one set after the other; the second time only the first ``rows`` of them."""
    batch = batch_size(inputs)
    return {
        name: torch.cat([x, x[:rows]]) if isinstance(x, Tensor) and x.dim() > 0 and x.shape[0] == batch else x
        for name, x in inputs.items()
    }


def clean_pass(
    model: torch.nn.Module, inputs: dict[str, Any], consistency: float, apart: bool = False
) -> tuple[Any, Tensor | None]:
    """The outputs of one clean pass and, where a consistency is asked for, the logits of a second dropout pass.

    Args:
        apart: the second one is a forward of its own, so that the first draws the dropout of a batch of this shape,
            which ``DropoutState`` can repeat; a doubled batch draws another.
    """
    if not consistency:
        return forward(model, inputs), None
    if apart:
        return forward(model, inputs), forward(model, inputs).logits
    _, second, outputs = two_passes(model, inputs)
    return outputs, second


def symmetric_kl(logits_p: Tensor, logits_q: Tensor, tokens: Tensor | None = None) -> Tensor:
    """KL(p||q) + KL(q||p) of two softmax outputs, mean over the batch, or over the tokens of the batch.

    Written as sum (p - q)(log p - log q); both arguments carry gradient. With a single output (regression) it is the
    mean squared difference, as in R-Drop.

    Args:
        logits_p, logits_q: shape (batch, labels) or (batch, tokens, labels).
        tokens: shape (batch, tokens), true where a token counts; None: all of them. With none at all the divergence
            is zero.

    Reference:
        Jiang et al. 2022, Eq. 1; Liang et al. 2021 for regression.
    """
    if tokens is not None:
        logits_p, logits_q = logits_p[tokens], logits_q[tokens]
    logits_p, logits_q = single_precision(logits_p), single_precision(logits_q)
    if logits_p.numel() == 0:
        return (logits_p + logits_q).sum()
    if logits_p.shape[-1] == 1:
        return (logits_p - logits_q).square().mean()
    log_p, log_q = logits_p.log_softmax(-1), logits_q.log_softmax(-1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1).mean()


def require_dropout(consistency: Tensor) -> bool:
    """True for a consistency loss that is not exactly zero.

    Raises:
        ValueError: it is exactly zero, so that both passes gave the same logits.
    """
    if consistency.detach().item() == 0.0:
        raise ValueError(
            "the two passes gave exactly the same logits. Either the model is in eval mode, as from_pretrained leaves "
            "it (call model.train()), or no dropout acts anywhere in it: load it with a dropout above zero (by "
            "architecture hidden_dropout_prob and attention_probs_dropout_prob, dropout, resid_pdrop, mlp_dropout). "
            "Where only a head or adapter that starts at zero has dropout, let ROSE wait for it with start_step=1."
        )
    return True


def batch_size(inputs: dict[str, Any]) -> int:
    """Rows of a batch."""
    for name in ("input_ids", "inputs_embeds", "attention_mask"):
        if isinstance(inputs.get(name), Tensor):
            return int(inputs[name].shape[0])
    raise ValueError(f"a batch needs input_ids or inputs_embeds, but has only {', '.join(inputs) or 'nothing'}")


def single_precision(logits: Tensor) -> Tensor:
    """Half-precision logits as float32: a KL of 16-bit logits loses what it should measure."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
