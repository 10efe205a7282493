"""SMART: smoothness against small perturbations, and small steps (Jiang et al., ACL 2020)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune._torch import unwrap
from rosetune.methods._consistency import clean_pass, single_precision, symmetric_kl
from rosetune.methods._contracts import ObjectiveOutput
from rosetune.methods._gradients import gradient as gradient_of
from rosetune.methods._momentum import MomentumWeights
from rosetune.methods._options import number, one_of, switch, whole
from rosetune.methods._perturbation import (
    DropoutState,
    ascend,
    embed,
    finite_rows,
    forward_changed,
    project,
    token_mask,
)
from rosetune.methods._task_loss import TaskLoss, scored_tokens, split_labels


@dataclass
class Smart(TaskLoss):
    """Smoothness-inducing adversarial regularisation with Bregman proximal point steps.

        L = CE(f(x; theta), y) + lambda R_s + mu D_Breg
        R_s    = symKL(f(x + delta; theta), f(x; theta))         delta: found by gradient ascent, see below
        D_Breg = symKL(f(x; theta), f(x; theta~))                theta~ <- (1 - beta) theta + beta theta~ every step

    where symKL is the mean over the rows of KL in both directions, or for a regression head the squared difference.
    The perturbation is of the word embeddings; padding is left as it is. It starts as N(0, sigma^2) noise, and each of
    T steps goes along the gradient g of a row's divergence from its (detached) clean output,

        delta <- Proj(delta + eta g / ||g||_inf),        Proj: every entry clamped to [-epsilon, epsilon],

    the norm being that of the row's whole sequence. In R_s itself both arguments carry gradient.

    theta~ starts as theta before the first step; after every step it takes in the new theta. Its logits are those of
    a model without dropout, so that even for theta~ = theta the term is not zero where dropout acts.

    Args:
        adversarial_weight: lambda, of R_s; the paper chooses among 1, 3 and 5. 0 leaves the search and R_s out.
        bregman_weight: mu, of D_Breg. 0 leaves theta~ and its pass out.
        epsilon: largest perturbation of an entry of the embeddings.
        noise_std: sigma, of the random start.
        step_size: eta, of one ascent step.
        steps: T, the number of ascent steps.
        momentum: beta, a pair: for the first tenth of all steps, and after that. Where the number of steps is
            unknown, the second value is used throughout.
        variant: "paper", or "mt-dnn" for the authors' published code: after each step of size eta along the
            unnormalised g the perturbation of every token is scaled to a maximum of nearly 1,

                delta <- (delta + eta g) / (max over the width of |delta + eta g| + 1e-6),

            without a projection (epsilon has no part in it); g is of the sum over the rows of the code's own
            divergence, 2 sum_c p~_c (logit p~_c - logit p_c), of which only the factor p~_c carries gradient (squared
            error for regression); and in R_s each direction stops the gradient of its reference, KL(sg(t)||s) +
            KL(sg(s)||t). That code has no D_Breg and a step size of 1e-5: give ``bregman_weight=0, step_size=1e-5``.
        sync_dropout: draw the clean pass's dropout masks again in the search and in the adversarial pass, so that R_s
            measures the perturbation alone. Without it the two passes differ by their dropout far more than by a
            perturbation of 1e-5; with it R_s is of the order of epsilon^2 and next to nothing for the default.

    Raises:
        ValueError: an option outside its values; in a step with D_Breg: :meth:`setup` or :meth:`begin_step` was not
            called; later: the model has no word embeddings that could be perturbed, or a state does not fit.

    Reference:
        Jiang et al., SMART: Robust and Efficient Fine-Tuning for Pre-trained Natural Language Models through
        Principled Regularized Optimization, ACL 2020, Section 3.

    Cost:
        2 + T forwards, two backward passes, and T more that stop at the embeddings. With D_Breg one more forward
        without a graph, and a copy of the trained weights in memory and in every checkpoint.

    Deviates:
        From the paper: theta~ is renewed after every optimizer step (its S = 1). A row whose ascent gradient is not
        finite stays where it is (counted as ``nonfinite_ascent``); the random start is drawn from the global random
        state, as dropout is. From the published code, in its variant too: that code perturbs padding, feeds the
        perturbed pass through the model's embedding layer twice, and loses the term of a whole batch with a gradient
        that is not finite. Its squared error for regression compares outputs of shape (batch,) with targets of shape
        (batch, 1), and so every row with every other; here each row is compared with itself. Weights in bfloat16 round
        a perturbation of 1e-5 away.
    """

    adversarial_weight: float = 1.0
    bregman_weight: float = 1.0
    epsilon: float = 1e-5
    noise_std: float = 1e-5
    step_size: float = 1e-3
    steps: int = 1
    momentum: Sequence[float] = (0.99, 0.999)
    variant: Literal["paper", "mt-dnn"] = "paper"
    sync_dropout: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("adversarial_weight", "bregman_weight", "epsilon", "noise_std", "step_size"):
            number(name, getattr(self, name))
        self.steps = whole("steps", self.steps, 1)
        if not isinstance(self.momentum, list | tuple) or len(self.momentum) != 2:
            raise ValueError(f"momentum must be a pair of numbers in [0, 1], not {self.momentum!r}")
        self.momentum = tuple(number("momentum", beta, most=1.0) for beta in self.momentum)
        one_of("variant", self.variant, ("paper", "mt-dnn"))
        switch("sync_dropout", self.sync_dropout)
        if self.variant == "mt-dnn" and self.epsilon != type(self).epsilon:
            raise ValueError("epsilon has no part in variant='mt-dnn', which projects nothing: leave it out")
        self._step, self._total_steps = 0, 0
        self._averaged: MomentumWeights | None = None

    def setup(
        self, model: torch.nn.Module, *, tokenizer: Any = None, total_steps: int | None = None, seed: int = 0
    ) -> None:
        """Take the model's weights as theta~. ``tokenizer`` and ``seed`` are not used."""
        self._step, self._total_steps = 0, total_steps or 0
        self._averaged = MomentumWeights(model) if self.bregman_weight else None

    def begin_step(self, model: torch.nn.Module) -> None:
        """Take the weights as the last optimizer step left them into theta~; before the first there is nothing."""
        updates = self._step
        self._step += 1
        if self._averaged is not None and updates > 0:
            first, later = self.momentum
            self._averaged.follow(model, first if 10 * updates <= self._total_steps else later)

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """None: theta~ is not trained."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """The number of steps begun, and theta~ by parameter name."""
        return {"step": self._step, "momentum": {} if self._averaged is None else self._averaged.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load both, after :meth:`setup`."""
        if (self._averaged is not None) != bool(state["momentum"]):
            here, there = ("without", "with") if state["momentum"] else ("with", "without")
            raise ValueError(
                f"this state of SMART was saved {there} a Bregman term, but is loaded into one {here} it: resume with "
                "the bregman_weight that the run was started with, and call setup(model) before load_state_dict"
            )
        if self._averaged is not None:
            self._averaged.load_state_dict(state["momentum"])
        self._step = state["step"]

    def __call__(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        *,
        consistency: float = False,
        backward: Callable[[Tensor], None] | None = None,
    ) -> ObjectiveOutput:
        """The loss of one micro-batch; ``backward`` is not used."""
        features, labels = split_labels(model, inputs)
        tokens = scored_tokens(model, features, labels)
        dropout = DropoutState(features)
        outputs, second = clean_pass(model, features, consistency, apart=self.sync_dropout)
        loss = task = self.task_loss(outputs.logits, labels)
        terms = {"task_loss": task.detach()}
        if self.adversarial_weight:
            term, terms["nonfinite_ascent"] = self._adversarial(model, features, outputs.logits, tokens, dropout)
            terms["adversarial"] = term.detach()
            loss = loss + self.adversarial_weight * term
        if self.bregman_weight:
            term = self._bregman(model, features, outputs.logits, tokens)
            terms["bregman"] = term.detach()
            loss = loss + self.bregman_weight * term
        kl = None if second is None else symmetric_kl(outputs.logits, second, tokens)
        if kl is not None:
            terms["consistency"] = kl.detach()
        return ObjectiveOutput(loss, task, outputs, kl, terms)

    def _adversarial(
        self,
        model: torch.nn.Module,
        features: dict[str, Any],
        clean: Tensor,
        tokens: Tensor | None,
        dropout: DropoutState,
    ) -> tuple[Tensor, Tensor]:
        """R_s, and how often a row's ascent gradient was not finite."""
        ascended, minimised = (symmetric_kl,) * 2 if self.variant == "paper" else (_stable_kl, _one_sided_kl)
        embeddings = single_precision(embed(model, features))
        mask = token_mask(features, embeddings)
        delta = self.noise_std * torch.randn_like(embeddings)
        nonfinite = delta.new_zeros(())

        def perturbed(network: torch.nn.Module) -> Tensor:
            with dropout.again(self.sync_dropout):
                return forward_changed(network, features, lambda e: e + (delta * mask).to(e)).logits

        for _ in range(self.steps):
            delta.requires_grad_()
            divergence = ascended(perturbed(unwrap(model)), clean.detach(), tokens)
            gradient = gradient_of(divergence, delta, of="the divergence", reaching="the word embeddings")
            delta, stayed = self._ascend(delta.detach(), gradient)
            nonfinite += stayed
        return minimised(perturbed(model), clean, tokens), nonfinite

    def _ascend(self, delta: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The perturbation after one step, and the number of rows that stayed because of NaN or infinity."""
        if self.variant == "paper":
            delta, stayed = ascend(delta, gradient, self.step_size, "linf")
            return project(delta, self.epsilon, "linf"), stayed
        finite = finite_rows(gradient)
        moved = delta + self.step_size * gradient
        moved = moved / (moved.abs().amax(-1, keepdim=True) + 1e-6)
        return torch.where(finite, moved, delta), (~finite).sum()

    def _bregman(
        self, model: torch.nn.Module, features: dict[str, Any], clean: Tensor, tokens: Tensor | None
    ) -> Tensor:
        if self._averaged is None or self._step == 0:
            raise ValueError(
                "SMART's Bregman term keeps a second set of weights: call objective.setup(model, total_steps=...) "
                "before the training and objective.begin_step(model) before every optimizer step, as RobustTrainer "
                "does, or leave the term out with bregman_weight=0"
            )
        return symmetric_kl(clean, self._averaged.logits(model, features), tokens)


def _one_sided_kl(logits_p: Tensor, logits_q: Tensor, tokens: Tensor | None) -> Tensor:
    """The value of ``symmetric_kl``, but each direction stops the gradient of its reference."""
    if tokens is not None:
        logits_p, logits_q = logits_p[tokens], logits_q[tokens]
    if logits_p.shape[-1] == 1 or logits_p.numel() == 0:
        return symmetric_kl(logits_p, logits_q)
    log_p, log_q = single_precision(logits_p).log_softmax(-1), single_precision(logits_q).log_softmax(-1)
    one, other = ((a.exp() * (a - b)).sum(-1).mean() for a, b in ((log_p.detach(), log_q), (log_q.detach(), log_p)))
    return one + other


def _stable_kl(logits: Tensor, reference: Tensor, tokens: Tensor | None) -> Tensor:
    """The sum that the published code ascends."""
    if tokens is not None:
        logits, reference = logits[tokens], reference[tokens]
    logits, reference = single_precision(logits), single_precision(reference)
    if logits.shape[-1] == 1:
        return (logits - reference).square().sum()
    p, q = logits.softmax(-1), reference.softmax(-1)
    odds_p, odds_q = (-(1 / (x.detach() + 1e-6) - 1 + 1e-6).log() for x in (p, q))
    return 2 * (p * (odds_p - odds_q)).sum()
