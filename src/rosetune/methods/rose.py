"""ROSE: update only the tensors whose risk is low at this step (Jiang et al., EMNLP 2022)."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune._auto_threshold import AUTO
from rosetune.mask_trace import MaskTrace
from rosetune.methods._consistency import require_dropout
from rosetune.methods._economy import Economy
from rosetune.methods._observation import Observation
from rosetune.methods._options import number, same_options, switch, whole
from rosetune.methods._ranking import Ranking, check_rules, thresholds
from rosetune.methods._recorder import Recorder
from rosetune.methods._second_order import SecondOrderRisk
from rosetune.methods._sketch import SeededProjection
from rosetune.methods._spared import spared
from rosetune.methods._targets import LAYER_WEIGHTS, check_pattern, select_targets

# Options that a state from before them lacks.
_ABSENT = {"sketch": 0, "refresh": 1, "agreement": 0.0, "consistency_share": 1.0, "skip_gradients": True}


class Rose:
    """Robust selective fine-tuning: first-order, second-order, ensemble.

    The unit of selection is a parameter tensor i out of n. Risks, with the Frobenius norm:

        first order    r_i = || grad_i KL ||         KL: symmetric, between two dropout passes of the clean input
        second order   r_i = | (1 - beta1) ||g_i|| / ||m_i|| - 1 |      g: task gradient, m: AdamW's first moment

    The floor(upper n + 1e-9) tensors of lowest risk are kept (M_i = 1), the others frozen (M_i = 0). The ensemble
    mixes both masks, M = gamma M_first + (1 - gamma) M_second. The KL gradient ranks; it never updates a weight.

    Args:
        order: "first", "second" or "ensemble".
        upper: share of the tensors that is kept, in (0, 1]; a pair (first, second) for the ensemble. "auto", for one
            or both: in each step as many of the lowest risks as hold at most half of the squared risk,
            sum_kept r_i^2 <= 1/2 sum_i r_i^2, and at least one tensor; the shares are logged.
        gamma: weight of the first-order mask in the ensemble, in [0, 1].
        target_parameters: regular expression (``re.search`` on the parameter's name) of the tensors that may be
            frozen; all others are always updated. Default: every weight inside an encoder or decoder layer.
        keep: "lowest" risks (the paper) or "highest", the reversed ranking, as a control.
        reduce: "gradients" takes the norm of an observed gradient averaged over the micro-batches and ranks of the
            step, and holds one gradient buffer of the targets for it; "norms" averages the norms, cheap and
            approximate.
        risk: what the first-order risk is the gradient of: "consistency" (the paper's KL) or "task", the
            cross-entropy, as a control. The latter needs no second pass: beside it, ``passes=2`` of the objective
            keeps the loss that of "consistency".
        normalize: "norm" (the paper) or "rms", norm / sqrt(scalars of the tensor), for the first-order risk.
        second_order: "paper" as above; "corrected" takes | ||g_i|| / ||m_hat_i|| - 1 | with the moment corrected for
            what it has taken in, m_hat = m / (1 - prod_t (1 - (1 - beta1) M_t)).
        sketch: columns S of a random projection; 0 takes every observed gradient whole. That of a linear layer is then
            known as its product with z of independent normal entries of variance 1/S alone, whose squared norm is
            that of the gradient without bias, off by about sqrt(2/S) of itself and less where the gradient has no
            single direction. An approximation: near ties may fall otherwise. 16 does well.
        seed: with the step's number, of that projection.
        refresh: steps that a mask stays in force, at most (see Economy); 1 makes one in every step.
        agreement: 0 for always ``refresh`` steps. Else 1 step at first, doubled at each new mask whose Jaccard index
            with the last one reaches ``agreement``, and halved at every other.
        consistency_share: share of the rows of a micro-batch, the first of it, whose consistency ranks, in (0, 1]. For
            cross-entropy, whose other rows then take one pass; other objectives give the consistency of all rows.
        skip_gradients: tensors with M = 0 get no weight gradient until the next refresh; of first order with
            ``sketch``, many get none in the step of the refresh either (see :meth:`spare`).
        start_step: the mask acts after this many steps; before, everything is updated.
        trace: record the multipliers of every step (see :meth:`trace`).

    Raises:
        ValueError: an option outside its values; later: no target matches, no tensor would be kept, no dropout acts
            (the KL of the first micro-batch is exactly zero), a first-order step that observed nothing, targets that
            change under a trace, or the state of a Rose with other options.

    Attributes:
        spared_norm: of the gradients that :meth:`spare` left out of this step, estimated from their projections
            (its square is unbiased); None where there are none.

    Economy:
        ``refresh`` above 1 is an approximation. Until the next refresh :attr:`needs` is empty, so that cross-entropy
        takes one pass (R-Drop keeps two), and within :meth:`resting` frozen tensors take no gradient. The norm that
        gradient clipping sees lacks theirs, so that it clips less than the published code, which takes it over all;
        ``skip_gradients=False`` computes them all and clips as published. The mask of a step with a risk that is not
        finite, or without any moment, is in force for that step alone.

    Skipped steps:
        What was observed for a step that a gradient scaler skips is discarded by ``optimizer.zero_grad()`` after it
        (and by the RobustTrainer, which has the scaler skip a step too where an observed gradient overflows). In a
        loop that calls ``zero_grad`` between observation and backward pass, call :meth:`discard` after a skipped step.

    Shards:
        Under FSDP2 (``fully_shard`` over all processes) a whole gradient that ranks is reduce-scattered where it
        arises, and only its shard kept; with ``sketch`` there is no whole gradient of a linear layer anywhere. The
        norm is that of the mean over the global batch. ``reduce="norms"`` is refused there.

    Reference:
        Jiang et al., ROSE: Robust Selective Fine-tuning for Pre-trained Language Models, EMNLP 2022, Eqs. 1-5.

    Cost:
        Second: norms only. First and ensemble: a second dropout pass, and for a classifier with two labels (or a
        regression) under cross-entropy or R-Drop one more product for each target's gradient, or nearly nothing with
        ``sketch``. Otherwise one more backward pass through both passes that stops at the targets, with ``sketch``
        without the gradients of weights: for more labels, other objectives, DeBERTa (whose weights also act beside
        the batch) and float16. Whole gradients in a backward pass of their own, whatever ``sketch`` says: under
        checkpointing and torch.compile. A target that other than linear layers, LayerNorms, embeddings and factors use
        makes it a pass of its own, and is whole there itself. The log says which it is, once. The device is waited for
        once a step, for the ranking, and with a shared pass once a micro-batch, to see whether every row has a
        gradient to weigh.

    Deviates:
        From the published code: it masks only after the warm-up steps (``start_step`` does so; its scripts have no
        warm-up), keeps the tensors between a ``lower`` and an upper quantile (lower is 0 in its scripts), which are
        floor(upper (n - 1)) + 1 and all that tie with the last, uses one upper for both masks of the ensemble, fixes
        1 - beta1 at 0.1 and fails under gradient accumulation. Here ties follow the optimizer's order, and a NaN risk
        ranks last. A tensor whose moment is zero has no second-order risk and is kept; in the first step that is
        every tensor.
    """

    freezes_update = True

    def __init__(
        self,
        order: Literal["first", "second", "ensemble"] = "ensemble",
        upper: float | str | Sequence[float | str] = 0.6,
        gamma: float = 0.5,
        target_parameters: str = LAYER_WEIGHTS,
        keep: Literal["lowest", "highest"] = "lowest",
        reduce: Literal["gradients", "norms"] = "gradients",
        risk: Literal["consistency", "task"] = "consistency",
        normalize: Literal["norm", "rms"] = "norm",
        second_order: Literal["paper", "corrected"] = "paper",
        start_step: int = 0,
        trace: bool = False,
        sketch: int = 0,
        seed: int = 0,
        refresh: int = 1,
        agreement: float = 0.0,
        consistency_share: float = 1.0,
        skip_gradients: bool = True,
    ) -> None:
        rules = {"order": order, "keep": keep, "reduce": reduce, "risk": risk, "normalize": normalize}
        check_rules({**rules, "second_order": second_order})
        self.order, self.reduce, self.start_step = order, reduce, whole("start_step", start_step)
        gamma, shares = number("gamma", gamma, most=1.0), thresholds(upper)
        self.target_parameters = check_pattern(target_parameters)
        self.sketch, seed = whole("sketch", sketch), whole("seed", seed)
        self.consistency_share = number("consistency_share", consistency_share, most=1.0, positive=True)
        self._economy = Economy(refresh, agreement, skip_gradients)
        self._options = {
            **{**rules, "upper": list(shares), "gamma": gamma, "target_parameters": target_parameters},
            **{"second_order": second_order, "start_step": self.start_step, "trace": switch("trace", trace)},
            **({"sketch": self.sketch, "seed": seed} if self.sketch else {"sketch": 0}),
            **{"refresh": self._economy.refresh, "agreement": self._economy.agreement},
            **{"consistency_share": self.consistency_share, "skip_gradients": skip_gradients},
        }
        ranked = set() if order == "second" else {"consistency" if risk == "consistency" else "task_loss"}
        self._ranked_by = frozenset(ranked if order == "first" else ranked | {"task_loss"})
        self._step, self._dropout_acts = 0, False
        self._observation, self._recorder = Observation(), Recorder(trace, AUTO in shares)
        self._project = SeededProjection(self.sketch, seed)
        # The second-order risk needs the gradients of all tensors first, and their factor of clipping.
        self._spares = order == "first" and risk == "consistency" and skip_gradients and self.sketch > 0
        self.spared_norm: Tensor | None = None
        self._early: tuple[list[float], bool] | None = None  # the mask of this step, where its backward pass needed it
        self.shares_kept: dict[str, float] = {}
        second = SecondOrderRisk(second_order == "corrected")
        highest, scaled, only_norms = keep == "highest", normalize == "rms", reduce == "norms"
        self._ranking = Ranking(order, shares, gamma, highest, risk, scaled, only_norms, second)

    @property
    def needs(self) -> frozenset[str]:
        """The losses that the mask of the coming step is ranked by; none where the last one stays in force."""
        return self._ranked_by if self._economy.due else frozenset()

    def resting(self, optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> AbstractContextManager[None]:
        """Within this, tensors that stay frozen until the next refresh take no weight gradient.

        Where requires_grad cannot be switched (FSDP, torch.compile, DistributedDataParallel without
        find_unused_parameters), gradients are computed and dropped, and the log says so once. ``model`` is what is
        called, with its wrappers.
        """
        return self._economy.resting(optimizer, model)

    def observe(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        consistency: Tensor | None = None,
        task_loss: Tensor | None = None,
        consistency_weight: float | None = None,
    ) -> None:
        """Take the gradient of one micro-batch's losses, leaving ``.grad`` alone; call it before the backward pass."""
        if self._step < self.start_step or not self._economy.due:
            return
        if self._early is not None:
            raise ValueError(
                "the mask of this step was made in the backward pass of its first micro-batch: leave out spare in "
                "steps of several"
            )
        losses, targets = {}, select_targets(optimizer, self.target_parameters)
        if "consistency" in self.needs:
            if consistency is None:
                raise ValueError(
                    f"Rose(order={self.order!r}) ranks by the consistency loss of every micro-batch: call the "
                    "objective with consistency=True and pass its consistency to observe"
                )
            self._dropout_acts = self._dropout_acts or require_dropout(consistency)
            losses["consistency"] = consistency
        if "task_loss" in self.needs and task_loss is not None:
            losses["task_loss"] = task_loss
        self._project.step = self._step
        projection = self._project if self.sketch else None
        self._observation.add(losses, [p for _, p in targets], self.reduce == "norms", projection, consistency_weight)

    def spare(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
        """The loss that is followed, to go backward without the weight gradients of what this step freezes.

        For the only micro-batch of a step, after :meth:`observe`, as the last thing before a plain ``backward()``. The
        mask is then made within the backward pass. The weights of linear layers which the last mask froze wait for
        it, and get their gradient, d^T x, only where this one keeps them. Those of the upper half of the layers, which
        the pass reaches first, do not wait, since that would take memory. Clipping takes the others into account by
        :attr:`spared_norm`.

        The loss comes back as it is without ``sketch`` or ``skip_gradients``, for other orders and risks, and under
        torch.distributed. So it does where the gradients that rank do not come with this backward pass, or where the
        loss reaches a target by another way than the logits. Weights with a hook or with a gradient are not left out.

        Raises:
            ValueError: at the backward pass: as :meth:`__call__`; later: another micro-batch is observed in this step.
        """
        shared = self._observation.awaited
        if shared is None or not self._spares or torch.distributed.is_initialized():
            return loss
        targets = select_targets(optimizer, self.target_parameters)

        def choose() -> list[float]:
            self._early = self._ranking(optimizer, targets, self._observation, self._step)
            return self._early[0]

        def tell(norm: Tensor) -> None:
            self.spared_norm = norm

        likely = {i for i, (name, _) in enumerate(targets) if self._economy.is_frozen(name)}
        return spared(loss, shared, likely, lambda: self._observation.awaited is shared, choose, tell)

    def overflowed(self) -> Tensor | None:
        """Whether the gradient of a loss observed in this step is not finite, on its device; None: not known yet."""
        return self._observation.overflowed()

    def discard(self) -> None:
        """Forget what was observed since the last step."""
        self._observation.discard()
        self._early = self.spared_norm = None

    def discard_used(self, optimizer: torch.optim.Optimizer) -> None:
        """Forget it if a backward pass has run since: then the step that it was for has been skipped."""
        if self._early is not None:  # made in a backward pass
            self.discard()
        self._observation.discard_used(
            [parameter for _, parameter in select_targets(optimizer, self.target_parameters)]
        )

    @torch.no_grad()
    def __call__(self, optimizer: torch.optim.Optimizer) -> dict[Parameter, float | Tensor]:
        """The multiplier of every target for this step, 0, gamma, 1 - gamma or 1."""
        targets = select_targets(optimizer, self.target_parameters)
        self.shares_kept = {}
        if self._step < self.start_step:
            multipliers = [1.0] * len(targets)
        elif self._economy.due:
            early = self._early
            multipliers, lasts = early or self._ranking(optimizer, targets, self._observation, self._step)
            self.shares_kept = self._ranking.shares_kept
            if lasts:
                self._economy.renew([name for name, _ in targets], multipliers)
        else:
            multipliers = self._economy.again([name for name, _ in targets])
        self._recorder.add(targets, multipliers, self.shares_kept)
        self._ranking.second_order.take(optimizer, targets, multipliers)
        self._step += 1
        self.discard()
        return {parameter: m for (_, parameter), m in zip(targets, multipliers, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Options, step count, what each moment has taken in, the mask in force, and the trace so far."""
        return {
            "options": dict(self._options),
            "step": self._step,
            "dropout_acts": self._dropout_acts,
            "untaken": dict(self._ranking.second_order.untaken),
            "economy": self._economy.state_dict(),
            **self._recorder.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        same_options("Rose", self._options, {**_ABSENT, **state["options"]})
        self._step, self._dropout_acts = int(state["step"]), bool(state["dropout_acts"])
        self._ranking.second_order.untaken = dict(state["untaken"])
        if "economy" in state:
            self._economy.load_state_dict(state["economy"])
        self._recorder.load_state_dict(state)
        self.discard()

    @property
    def trace(self) -> MaskTrace | None:
        """The multipliers of all steps so far, or None without ``trace=True`` or before the first step."""
        return self._recorder.trace
