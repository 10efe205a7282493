"""FreeLB: the mean gradient along an ascent in the word embeddings (Zhu et al., ICLR 2020)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune._torch import rank, unwrap
from rosetune.methods._consistency import single_precision, symmetric_kl, two_passes
from rosetune.methods._contracts import ObjectiveOutput
from rosetune.methods._options import number, one_of, switch, whole
from rosetune.methods._perturbation import (
    NORMS,
    DropoutState,
    ascend,
    embed,
    forward_changed,
    project,
    token_mask,
)
from rosetune.methods._task_loss import TaskLoss, scored_tokens, split_labels
from rosetune.methods.cross_entropy import CrossEntropy

VARIANTS = ("fairseq", "huggingface", "++")


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
        init_magnitude: size of delta_0. "l2": each element is drawn from U(-1, 1) init_magnitude / sqrt(tokens width),
            so that the row's norm is at most init_magnitude; "linf": from U(-init_magnitude, init_magnitude). 0 makes
            the first pass a clean one.
        max_norm: radius of the projection; None is unlimited (the published code writes 0 or -1). delta_0 is not
            projected.
        norm: that of the start, the ascent and the projection, "l2" or "linf".
        variant: what ``steps`` counts. "fairseq": ascent steps, K = 1 + steps; "huggingface": passes, K = steps. The
            last pass is not followed by an ascent in either. "++" (FreeLB++): as "huggingface", and there is no
            projection, so that many steps lead far: max_norm must be None.
        sync_dropout: all passes of a micro-batch have the same dropout.
        start_step: so many optimizer steps at the beginning are plain cross-entropy, for models where the ascent
            from the very start diverges (adv_begin_iter of the published code).

    Raises:
        ValueError: an option outside its values; the model's word embeddings cannot be perturbed; start_step in a
            loop that never calls :meth:`begin_step`.

    Reference:
        Zhu et al., FreeLB: Enhanced Adversarial Training for Natural Language Understanding, ICLR 2020, Algorithm 1.
        Li et al., Searching for an Effective Defender, EMNLP 2021 (FreeLB++; its paper was not at hand, its code was:
        RockyLzy/TextDefender).

    Cost:
        K forward and backward passes; memory of one, with delta, its gradient and, from the second pass on, a copy of
        the gradients so far. With ``consistency`` one more forward, of the doubled batch, for the KL alone.

    Deviates:
        The default values, and with them the default variant, are those of the published launch file for
        RoBERTa-large on QNLI in fp16: Algorithm 1 with K = 3. delta_0 is drawn from a generator of its own, seeded by
        seed, step and rank. Dropout is repeated by restoring the random state, which serves every architecture, where
        the published code patches some. The guards against NaN are ours. Left out: the code's KL to the clean logits,
        whose weight is 0 by default.

        Under DistributedDataParallel each early backward averages over the ranks what .grad holds, so that the sum is
        that of the averages; in micro-batches under no_sync nothing is averaged before the last one, and a pass is
        dropped by the rank that met the NaN alone. A gradient scaler does not see the overflow of a dropped pass.
    """

    adv_lr: float = 0.1
    steps: int = 2
    init_magnitude: float = 0.2
    max_norm: float | None = 0.2
    norm: Literal["l2", "linf"] = "l2"
    variant: Literal["fairseq", "huggingface", "++"] = "fairseq"
    sync_dropout: bool = True
    start_step: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("norm", self.norm, tuple(NORMS))
        one_of("variant", self.variant, VARIANTS)
        number("adv_lr", self.adv_lr)
        number("init_magnitude", self.init_magnitude)
        if self.variant == "++" and self.max_norm is not None:
            raise ValueError(
                f"max_norm must be None (null) in the variant '++', which has no bound: {self.max_norm!r}"
            )
        if self.max_norm is not None:  # None: no limit
            number("max_norm", self.max_norm, positive=True)
        self.steps = whole("steps", self.steps, 0 if self.variant == "fairseq" else 1)
        self.start_step = whole("start_step", self.start_step)
        switch("sync_dropout", self.sync_dropout)
        self._seed = self._begun = 0
        self._generator: torch.Generator | None = None  # of the random starts of this step

    def setup(
        self, model: torch.nn.Module, *, tokenizer: Any = None, total_steps: int | None = None, seed: int = 0
    ) -> None:
        """Start anew; ``seed`` is that of the random starts."""
        self._seed, self._begun, self._generator = seed, 0, None

    def begin_step(self, model: torch.nn.Module) -> None:
        """Count an optimizer step."""
        self._begun, self._generator = self._begun + 1, None

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """None of its own."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """The steps so far."""
        return {"steps": self._begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self._begun, self._generator = int(state["steps"]), None

    def __call__(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        *,
        consistency: float = False,
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
    ) -> tuple[Any, Tensor, dict[str, Tensor]]:
        """The outputs of the first pass, the loss with the graph of the last one, and the terms."""
        embeddings = single_precision(embed(model, features))
        mask = token_mask(features, embeddings)
        passes = self.steps + (self.variant == "fairseq")
        dropout = DropoutState(features)

        def run(delta: Tensor, again: bool = True) -> tuple[Any, Tensor]:
            with dropout.again(self.sync_dropout and again):
                outputs = forward_changed(model, features, partial(_shift, delta * mask))
            return outputs, self.task_loss(outputs.logits, labels) / passes

        delta = self._start(embeddings, mask).requires_grad_()
        outputs, loss = run(delta, again=False)
        first, earlier, dropped = loss.detach(), torch.zeros_like(loss.detach()), 0
        stayed = torch.zeros((), device=loss.device)
        for _ in range(passes - 1):
            if _backward_if_finite(model, loss, backward):
                earlier += loss.detach()
            else:
                dropped += 1
            delta, rows = self._climb(delta)
            stayed += rows
            _, loss = run(delta.requires_grad_())
        last = loss.detach()
        if not last.isfinite():
            dropped += 1
            loss = _zero(model)
        loss = loss + earlier
        terms = {
            "task_loss": loss.detach(),
            "first_pass": first * passes,
            "last_pass": last * passes,
            "nonfinite_ascent": stayed,
            "nonfinite_passes": torch.tensor(float(dropped)),
        }
        return outputs, loss, terms

    def _start(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """The random start, of the embeddings' shape; the global random state is left alone."""
        if self.init_magnitude == 0:
            return torch.zeros_like(embeddings)
        if self._generator is None:
            seed = np.random.SeedSequence([self._seed, self._begun, rank()]).generate_state(1)[0]
            self._generator = torch.Generator(embeddings.device).manual_seed(int(seed))
        noise = torch.empty_like(embeddings).uniform_(-1, 1, generator=self._generator)
        if self.norm == "l2":
            noise = noise / (mask.sum(1, keepdim=True) * embeddings.shape[-1]).clamp_min(1).sqrt()
        return self.init_magnitude * noise * mask

    def _climb(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """The next delta, and the number of rows that stayed since their gradient is not finite."""
        if delta.grad is None:
            raise ValueError("no gradient reaches the word embeddings: the model's forward detaches them")
        delta, stayed = ascend(delta, delta.grad, self.adv_lr, self.norm)
        return (delta if self.max_norm is None else project(delta, self.max_norm, self.norm)), stayed

    def _waits(self) -> bool:
        if self.start_step and not self._begun:
            raise ValueError(
                "start_step counts optimizer steps, but nobody tells them: call begin_step(model) before each one "
                "(RobustTrainer does), or leave start_step at 0"
            )
        return 0 < self._begun <= self.start_step


def _shift(delta: Tensor, embeddings: Tensor) -> Tensor:
    return embeddings + delta.to(embeddings.dtype)


def _backward_if_finite(model: torch.nn.Module, loss: Tensor, backward: Callable[[Tensor], None]) -> bool:
    """Back-propagate; a gradient that is not finite leaves ``.grad`` of the weights as it was.

    With a copy: to set the old tensors aside fails where DistributedDataParallel keeps gradients as bucket views.
    """
    trained = [p for p in unwrap(model).parameters() if p.requires_grad]
    before = [None if p.grad is None else p.grad.clone() for p in trained]
    backward(loss)
    gradients = [p.grad for p in trained if p.grad is not None]
    if _are_finite(gradients):
        return True
    if not _are_finite([gradient for gradient in before if gradient is not None]):
        return True  # the NaN is that of an earlier micro-batch
    for parameter, gradient in zip(trained, before, strict=True):
        parameter.grad = gradient
    return False


def _are_finite(gradients: list[Tensor]) -> bool:
    return not gradients or bool(torch.nn.utils.get_total_norm(gradients, float("inf")).isfinite())


def _zero(model: torch.nn.Module) -> Tensor:
    """Zero, with a graph that gives every trained weight a gradient of zero."""
    return sum((0.0 * p.sum() for p in unwrap(model).parameters() if p.requires_grad), torch.zeros(()))
