"""The ASCC adversary: the mixture of synonyms, in the hull of each word, that moves a prediction most."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from rosetune._torch import evaluating, forward, unwrap
from rosetune.methods._consistency import single_precision
from rosetune.methods._gradients import gradient as gradient_of
from rosetune.methods._hull import Hull
from rosetune.methods._perturbation import forward_changed, word_embeddings

ENTROPY_SCALE = 300 * 128  # the published code's divisor of the summed entropy, whatever the batch
WEIGHT_DECAY = 2e-5  # of the adversary's Adam, as published


def ascc_attack(
    model: torch.nn.Module, features: dict[str, Any], hull: Hull, *, steps: int, step_size: float, sparsity: float
) -> tuple[Tensor, Tensor]:
    """The mixture of synonyms that moves the prediction most (ASCC).

        max over w^    sum_rows KL(p_clean || p_adv) - sparsity sum_words H(w) / (300 * 128),    w = softmax(w^)

    by Adam from w^ ~ N(0, 2 / (tokens J)), in eval mode; only the gradient with respect to w^ is computed. A row whose
    gradient is not finite keeps its w^ in that iteration.

    Args:
        features: inputs without labels; the model gives logits of shape (batch, labels).
        steps: iterations.
        step_size: Adam's learning rate.
        sparsity: weight of the entropy H, which makes the mixtures one-hot.

    Returns:
        The weights, shape (W, J), without a graph; the number of rows that stayed, summed over the iterations.

    Reference:
        Dong et al., Towards Robustness Against Natural Language Word Substitutions, ICLR 2021; as in RIFT's code.
    """
    inner = unwrap(model)
    stayed = torch.zeros((), device=hull.valid.device)
    with evaluating(inner):
        with torch.no_grad():
            vectors = candidate_vectors(inner, hull)
            clean = single_precision(forward(inner, features).logits).log_softmax(-1)
        spread = (2 / (features["input_ids"].shape[1] * hull.valid.shape[1])) ** 0.5
        dtype = torch.promote_types(vectors.dtype, torch.float32)
        logits = (spread * torch.randn(hull.valid.shape, dtype=dtype, device=stayed.device)).requires_grad_()
        adam = torch.optim.Adam([logits], lr=step_size, weight_decay=WEIGHT_DECAY)
        for _ in range(steps if len(logits) else 0):
            log_weights = hull.log_weights(logits)
            mix = partial(hull.mix, weights=log_weights.exp(), vectors=vectors)
            adversarial = single_precision(forward_changed(inner, features, mix).logits).log_softmax(-1)
            divergence = (clean.exp() * (clean - adversarial)).sum()
            gain = divergence - sparsity * _entropy(log_weights).sum() / ENTROPY_SCALE
            gradient = gradient_of(-gain, logits, of="the divergence", reaching="the word embeddings")
            stayed += _step(adam, logits, gradient, hull.row_of_word)
    return hull.log_weights(logits.detach()).exp(), stayed


def candidate_vectors(model: torch.nn.Module, hull: Hull) -> Tensor:
    """Word embeddings of the candidates, shape (P, J, width), past all hooks; with their graph."""
    return word_embeddings(model).forward(hull.candidates)


def _entropy(log_weights: Tensor) -> Tensor:
    finite = log_weights.masked_fill(log_weights == float("-inf"), 0.0)  # 0 log 0 is 0, and so is its gradient
    return -(log_weights.exp() * finite).sum(-1)


def _step(adam: torch.optim.Adam, logits: Tensor, gradient: Tensor, row_of_word: Tensor) -> Tensor:
    """One step of Adam, but for the words of rows whose gradient is not finite; the number of such rows."""
    finite = gradient.isfinite().all(-1)
    bad_rows = row_of_word[~finite].unique()
    stays = torch.isin(row_of_word, bad_rows).unsqueeze(-1)
    before = logits.detach().clone()
    logits.grad = torch.where(stays, torch.zeros_like(gradient), gradient)
    adam.step()
    with torch.no_grad():
        logits.copy_(torch.where(stays, before, logits))
    return torch.tensor(float(len(bad_rows)), device=logits.device)
