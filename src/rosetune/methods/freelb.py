"""FreeLB: the mean gradient along an ascent in the word embeddings (Zhu et al., ICLR 2020)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter
from transformers.utils import ModelOutput

from rosetune.methods._consistency import clean_pass, single_precision, symmetric_kl, two_passes
from rosetune.methods._contracts import ObjectiveOutput
from rosetune.methods._perturbation import (
    DropoutState,
    ascend,
    check_norm,
    embed,
    forward_changed,
    project,
    token_mask,
    unwrap,
)
from rosetune.methods._task_loss import TaskLoss, scored_tokens, split_labels

VARIANTS = ("fairseq", "huggingface")


@dataclass
class FreeLB(TaskLoss):
    """Free large-batch adversarial training.

        L = 1/K sum_k CE(f(e + delta_k), y),  k = 0 .. K - 1
        delta_0 uniform,  delta_{k+1} = project(delta_k + adv_lr g_k / ||g_k||),  g_k = dCE / ddelta_k

    where e are the word embeddings, before positions, normalisation and dropout. One backward pass gives both the
    gradient of the weights, which the K passes add up, and g_k; no gradient flows from one delta to the next. Norms
    and the projection are those of each row as a whole; padding is not perturbed.

    ``loss`` has the value of L and the graph of the last pass alone: the passes before it are back-propagated here,
    through ``backward``. There is no clean pass, unless init_magnitude is 0: ``outputs`` is that of the first pass.
    ``terms`` has the loss of the first and of the last pass, whose difference is what the ascent gained.

    A gradient that is not finite does not reach the weights. A row whose g_k is not finite keeps its delta
    (``nonfinite_ascent`` counts rows); a pass whose gradient of the weights, or in the last one whose loss, is not
    finite counts as zero in L and in the gradient (``nonfinite_passes``). What the caller's own backward of the last
    pass meets is the caller's, as with any loss.

    Args:
        adv_lr: length of an ascent step.
        steps: ascent steps, or passes; see ``variant``.
        init_magnitude: of delta_0. "l2": each element is drawn from U(-1, 1) init_magnitude / sqrt(tokens width), so
            that the row's norm is at most init_magnitude; "linf": from U(-init_magnitude, init_magnitude). 0 makes
            the first pass a clean one.
        max_norm: radius of the projection; None is unlimited (the published code writes 0 or -1). delta_0 is not
            projected.
        norm: "l2" or "linf".
        variant: what ``steps`` counts. "fairseq": ascent steps, K = 1 + steps; "huggingface": passes, K = steps. The
            last pass is not followed by an ascent in either.
        sync_dropout: all passes of a micro-batch have the same dropout.
        start_step: so many optimizer steps at the beginning are plain cross-entropy, for models where the ascent
            from the very start diverges (adv_begin_iter of the published code).
        label_smoothing, class_weights: of every CE.

    Raises:
        ValueError: an option outside its values; the model's word embeddings cannot be perturbed; start_step in a
            loop that never calls :meth:`begin_step`.

    Reference:
        Zhu et al., FreeLB: Enhanced Adversarial Training for Natural Language Understanding, ICLR 2020, Algorithm 1.

    Cost:
        K forward and backward passes; memory of one, with delta, its gradient and, from the second pass on, a copy of
        the gradients so far. With ``consistency`` one more forward, of the doubled batch, for the KL alone.

    Deviates:
        The default values, and with them the default variant, are those of the published launch file for
        RoBERTa-large on QNLI in fp16: Algorithm 1 with K = 3. delta_0 is drawn from a generator of its own, seeded by
        seed, step, micro-batch and rank. Dropout is repeated by restoring the random state, which serves every
        architecture, where the published code patches some. The guards against NaN are ours. Left out: the code's
        KL to the clean logits, whose weight is 0 by default.

        Under DistributedDataParallel each early backward averages over the ranks what .grad holds, so that the sum is
        that of the averages; in micro-batches under no_sync nothing is averaged until the last one, and a pass is
        dropped by the rank that met the NaN alone. A gradient scaler does not see the overflow of a dropped pass.
    """

    adv_lr: float = field(default=0.1, metadata={"help": "length of an ascent step"})
    steps: int = field(default=2, metadata={"help": "ascent steps (fairseq) or passes (huggingface)"})
    init_magnitude: float = field(default=0.2, metadata={"help": "size of the random start; 0: a clean first pass"})
    max_norm: float | None = field(default=0.2, metadata={"help": "largest norm of the perturbation; none: unlimited"})
    norm: str = field(default="l2", metadata={"help": "norm of a perturbation: l2 or linf"})
    variant: str = field(default="fairseq", metadata={"help": "what steps counts: fairseq or huggingface"})
    sync_dropout: bool = field(default=True, metadata={"help": "the same dropout in all passes"})
    start_step: int = field(default=0, metadata={"help": "plain cross-entropy before this optimizer step"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_norm(self.norm)
        if self.variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, not {self.variant!r}")
        for name in ("adv_lr", "init_magnitude", "start_step"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be finite and not negative, but is {getattr(self, name)}")
        if self.max_norm is not None and not self.max_norm > 0:
            raise ValueError(f"max_norm must be positive, or None for no limit, not {self.max_norm}")
        least = 0 if self.variant == "fairseq" else 1
        if self.steps != int(self.steps) or self.steps < least:
            raise ValueError(
                f"steps must be a whole number of at least {least} for variant {self.variant!r}, not {self.steps}"
            )
        self._seed = self._begun = self._batches = 0

    def setup(
        self, model: torch.nn.Module, *, tokenizer: Any = None, total_steps: int | None = None, seed: int = 0
    ) -> None:
        """Start anew; ``seed`` is that of the random starts."""
        self._seed, self._begun, self._batches = seed, 0, 0

    def begin_step(self, model: torch.nn.Module) -> None:
        """Count an optimizer step."""
        self._begun, self._batches = self._begun + 1, 0

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """None of its own."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """The steps so far."""
        return {"steps": self._begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self._begun, self._batches = int(state["steps"]), 0

    def __call__(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        *,
        consistency: bool = False,
        backward: Callable[[Tensor], None] | None = None,
    ) -> ObjectiveOutput:
        """The loss of one micro-batch; all passes but the last are back-propagated here."""
        if self._waits():
            plain = CrossEntropy(passes=1, label_smoothing=self.label_smoothing, class_weights=self.class_weights)
            return plain(model, inputs, consistency=consistency)
        features, labels = split_labels(model, inputs)
        outputs, loss, terms = self._ascent(model, features, labels, backward or Tensor.backward)
        kl = None
        if consistency:
            first, second, _ = two_passes(model, features)
            kl = symmetric_kl(first, second, scored_tokens(model, features, labels))
            terms["consistency"] = kl.detach()
        return ObjectiveOutput(loss, loss, outputs, kl, terms)

    def _ascent(
        self, model: torch.nn.Module, features: dict[str, Any], labels: Tensor, backward: Callable[[Tensor], None]
    ) -> tuple[ModelOutput, Tensor, dict[str, Tensor]]:
        """The outputs of the first pass, the loss with the graph of the last one, and the terms."""
        embeddings = single_precision(embed(model, features))
        mask = token_mask(features, embeddings)
        delta, dropout = self._start(embeddings, mask), DropoutState(features)
        passes = self.steps + (self.variant == "fairseq")
        earlier, stayed, dropped = embeddings.new_zeros(()), embeddings.new_zeros(()), 0
        for k in range(passes):
            last = k == passes - 1
            delta.requires_grad_(not last)
            with dropout.again(self.sync_dropout and k > 0):
                outputs = forward_changed(model, features, partial(_add, delta * mask))
            loss = self.task_loss(outputs.logits, labels) / passes
            if k == 0:
                clean_outputs, first = outputs, loss.detach() * passes
            if last:
                break
            if _backward_if_finite(model, loss, backward):
                earlier += loss.detach()
            else:
                dropped += 1
            if delta.grad is None:
                raise ValueError("no gradient reaches the word embeddings")
            delta, rows = ascend(delta, delta.grad, self.adv_lr, self.norm)
            delta = delta if self.max_norm is None else project(delta, self.max_norm, self.norm)
            stayed += rows
