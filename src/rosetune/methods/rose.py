"""ROSE: update only the tensors whose risk is low at this step (Jiang et al., EMNLP 2022)."""

import logging
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune.mask_trace import MaskTrace
from rosetune.methods._auto_threshold import AUTO, auto_count
from rosetune.methods._consistency import require_dropout
from rosetune.methods._observation import Observation, norms
from rosetune.methods._options import number, one_of, same_options, switch, whole
from rosetune.methods._targets import LAYER_WEIGHTS, check_pattern, kept_count, select_targets

logger = logging.getLogger(__name__)

Targets = list[tuple[str, Parameter]]


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
        start_step: the mask acts after this many steps; before, everything is updated.
        trace: record the multipliers of every step (see :meth:`trace`).

    Raises:
        ValueError: an option outside its values; later: no target matches, no tensor would be kept, no dropout acts
            (the KL of the first micro-batch is exactly zero), a first-order step that observed nothing, targets that
            change under a trace, or the state of a Rose with other options.

    Skipped steps:
        What was observed for a step that a gradient scaler skips is discarded by ``optimizer.zero_grad()`` after it
        (and by the RobustTrainer). In a loop that calls ``zero_grad`` between observation and backward pass, call
        :meth:`discard` after a skipped step.

    Reference:
        Jiang et al., ROSE: Robust Selective Fine-tuning for Pre-trained Language Models, EMNLP 2022, Eqs. 1-5.

    Cost:
        Second: norms only. First and ensemble: a second dropout pass, and for a classifier with two labels (or a
        regression) under cross-entropy or R-Drop one more product for each target's gradient, or nearly nothing with
        ``sketch``. Otherwise one more backward pass through both passes that stops at the targets, with ``sketch``
        without the gradients of weights: for more labels, other objectives, DeBERTa (whose weights also act beside
        the batch) and float16. Whole gradients in a backward pass of their own, whatever ``sketch`` says: under
        checkpointing and torch.compile, and for targets that other than linear layers, LayerNorms, embeddings and
        factors use. The log says which it is, once.

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
    ) -> None:
        one_of("order", order, ("first", "second", "ensemble"))
        one_of("keep", keep, ("lowest", "highest"))
        one_of("reduce", reduce, ("gradients", "norms"))
        one_of("risk", risk, ("consistency", "task"))
        one_of("normalize", normalize, ("norm", "rms"))
        one_of("second_order", second_order, ("paper", "corrected"))
        gamma, start_step = number("gamma", gamma, most=1.0), whole("start_step", start_step)
        switch("trace", trace)
        self.sketch, self.seed = whole("sketch", sketch), whole("seed", seed)
        self.order, self.gamma, self.keep, self.reduce, self.risk = order, gamma, keep, reduce, risk
        self.normalize, self.second_order, self.start_step = normalize, second_order, start_step
        self.upper_first, self.upper_second = _thresholds(upper)
        self._options = {
            **{"order": order, "upper": [self.upper_first, self.upper_second], "gamma": gamma, "keep": keep},
            **{"target_parameters": target_parameters, "reduce": reduce, "risk": risk, "normalize": normalize},
            **{"second_order": second_order, "start_step": start_step, "trace": trace},
            **({"sketch": self.sketch, "seed": self.seed} if self.sketch else {"sketch": 0}),
        }
        self.target_parameters = check_pattern(target_parameters)
        needs = set() if order == "second" else {"consistency" if risk == "consistency" else "task_loss"}
        self.needs = frozenset(needs if order == "first" else needs | {"task_loss"})
        self._step = 0
        self._observation = Observation()
        self._projections: dict[tuple[int, int], Tensor] = {}  # by step and width
        self._dropout_acts = False
        self._untaken: dict[str, float] = {}  # prod_t (1 - (1 - beta1) M_t) by tensor name
        self._trace: list[list[float]] | None = [] if trace else None
        self._targets: tuple[tuple[str, ...], list[int]] = ((), [])  # names and sizes, for the trace
        self.shares_kept: dict[str, float] = {}
        self._chosen: list[list[float]] | None = (
            [] if trace and AUTO in (self.upper_first, self.upper_second) else None
        )

    def observe(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        consistency: Tensor | None = None,
        task_loss: Tensor | None = None,
    ) -> None:
        """Take the gradient of one micro-batch's losses, leaving ``.grad`` alone; call it before the backward pass."""
        if self._step < self.start_step:
            return
        parameters = [parameter for _, parameter in select_targets(optimizer, self.target_parameters)]
        losses = {}
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
        projection = self._projection if self.sketch else None
        self._observation.add(losses, parameters, self.reduce == "norms", projection)

    def discard(self) -> None:
        """Forget what was observed since the last step."""
        self._observation.discard()

    def discard_used(self, optimizer: torch.optim.Optimizer) -> None:
        """Forget it if a backward pass has run since: then the step that it was for has been skipped."""
        self._observation.discard_used(
            [parameter for _, parameter in select_targets(optimizer, self.target_parameters)]
        )

    @torch.no_grad()
    def __call__(self, optimizer: torch.optim.Optimizer) -> dict[Parameter, float | Tensor]:
        """The multiplier of every target for this step, 0, gamma, 1 - gamma or 1."""
        targets = select_targets(optimizer, self.target_parameters)
        self._check_targets(targets)
        multipliers = [1.0] * len(targets)
        self.shares_kept = {}
        if self._step >= self.start_step:
            multipliers = self._mask(optimizer, targets)
        self._record(optimizer, targets, multipliers)
        self.discard()
        self._step += 1
        return {parameter: m for (_, parameter), m in zip(targets, multipliers, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Options, step count, what each moment has taken in, and the trace so far."""
        state: dict[str, Any] = {
            "options": dict(self._options),
            "step": self._step,
            "dropout_acts": self._dropout_acts,
            "untaken": dict(self._untaken),
        }
        if self._trace is not None:
            names, sizes = self._targets
            multipliers = torch.tensor(self._trace, dtype=torch.float32)
            state["trace"] = {"names": list(names), "sizes": list(sizes), "multipliers": multipliers}
            if self._chosen is not None:
                state["trace"]["chosen"] = torch.tensor(self._chosen, dtype=torch.float32)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        same_options("Rose", self._options, {"sketch": 0, **state["options"]})
        self._step, self._dropout_acts = int(state["step"]), bool(state["dropout_acts"])
        self._untaken = dict(state["untaken"])
        if self._trace is not None:
            self._targets = tuple(state["trace"]["names"]), list(state["trace"]["sizes"])
            self._trace = state["trace"]["multipliers"].tolist()
            if self._chosen is not None:
                self._chosen = state["trace"]["chosen"].tolist()
        self.discard()

    @property
    def trace(self) -> MaskTrace | None:
        """The multipliers of all steps so far, or None without ``trace=True`` or before the first step."""
        if not self._trace:
            return None
        names, sizes = self._targets
        chosen = None if self._chosen is None else np.array(self._chosen, dtype=np.float32)
        return MaskTrace(names, np.array(sizes), np.array(self._trace, dtype=np.float32), chosen)

    def _mask(self, optimizer: torch.optim.Optimizer, targets: Targets) -> list[float]:
        norms_of: list[Tensor] = []
        if self.order != "second":
            norms_of.append(self._first_order_risks(targets))
        if self.order != "first":
            norms_of += self._second_order_norms(optimizer, targets)
        rows = torch.stack([tensor.double() for tensor in norms_of]).tolist()  # the step's one wait for the device
        first = second = None
        if self.order != "second":
            first = self._keep(rows[0], self.upper_first, "first-order")
        if self.order != "first":
            gradients, moments = rows[-2:]
            risks = self._second_order_risks(optimizer, targets, gradients, moments)
            second = self._keep(risks, self.upper_second, "second-order")
        return self._mix(first, second)

    def _first_order_risks(self, targets: Targets) -> Tensor:
        name = "consistency" if self.risk == "consistency" else "task_loss"
        if name in self._observation:
            risks = self._observation.norms(name, self.reduce == "norms")
        elif name == "task_loss":
            risks = norms([_gradient(parameter) for _, parameter in targets])
        else:
            raise ValueError(
                f"Rose(order={self.order!r}) was asked for a mask without having observed this step's consistency "
                "loss: call rose.observe(optimizer, consistency=...) before the backward pass of every micro-batch"
            )
        if self.normalize == "rms":
            risks = risks / torch.tensor([float(p.numel()) for _, p in targets]).sqrt().to(risks)
        return risks

    def _second_order_norms(self, optimizer: torch.optim.Optimizer, targets: Targets) -> list[Tensor]:
        """Those of the task's gradients, in the units of the moments, and of the moments."""
        states = [optimizer.state.get(parameter, {}) for _, parameter in targets]
        pairs = zip(states, targets, strict=True)
        moments = norms([s["exp_avg"] if s else torch.zeros_like(p) for s, (_, p) in pairs])
        if "task_loss" not in self._observation:
            return [norms([_gradient(parameter) for _, parameter in targets]), moments]
        seen = self._observation.norms("task_loss", self.reduce == "norms")
        return [seen * getattr(optimizer, "clip_coefficient", 1.0), moments]

    def _second_order_risks(
        self, optimizer: torch.optim.Optimizer, targets: Targets, gradients: list[float], moments: list[float]
    ) -> list[float] | None:
        """None where no target has a moment yet: without any history nothing is frozen."""
        beta1 = {p: group["betas"][0] for group in optimizer.param_groups for p in group["params"]}
        risks = []
        for (name, parameter), g, m in zip(targets, gradients, moments, strict=True):
            if m == 0.0:
                risks.append(0.0)
            elif self.second_order == "paper":
                risks.append(abs((1.0 - beta1[parameter]) * g / m - 1.0))
            else:
                # A moment from before this mask counts as complete.
                risks.append(abs(g / (m / (1.0 - self._untaken.setdefault(name, 0.0))) - 1.0))
        return risks if any(moments) else None

    def _projection(self, width: int, like: Tensor) -> Tensor:
        """Shape (width, sketch): the same in every micro-batch and on every rank of a step."""
        if (self._step, width) not in self._projections:
            self._projections = {key: z for key, z in self._projections.items() if key[0] == self._step}
            draw = np.random.default_rng([self.seed, self._step, width]).standard_normal((width, self.sketch))
            self._projections[self._step, width] = torch.from_numpy(draw / math.sqrt(self.sketch)).to(like)
        return self._projections[self._step, width].to(like)

    def _check_targets(self, targets: Targets) -> None:
        names = tuple(name for name, _ in targets)
        if self._trace and names != self._targets[0]:
            raise ValueError(
                f"the {len(self._targets[0])} targets have become {len(names)} others, which a trace cannot hold: "
                "use trace=False where parameters are added or unfrozen on the way"
            )
        self._targets = names, [parameter.numel() for _, parameter in targets]

    def _keep(self, risks: list[float] | None, upper: float | str, name: str) -> list[bool]:
        n = len(self._targets[0])
        count = kept_count(upper, n) if not isinstance(upper, str) else n if risks is None else auto_count(risks)
        if upper == AUTO:
            self.shares_kept[name.partition("-")[0]] = count / n
        if count == 0:
            raise ValueError(
                f"upper={upper} keeps none of the {n} target tensors: it must be at least 1/{n} = {1 / n:.4f}"
            )
        if risks is None:
            return [True] * n
        nans = sum(map(math.isnan, risks))
        if nans:
            logger.warning("step %d: %d of %d %s risks are NaN; they rank last", self._step + 1, nans, n, name)
        sign = 1.0 if self.keep == "lowest" else -1.0
        # sorted is stable, so that ties follow the optimizer's order.
        ranked = sorted(range(n), key=lambda i: (1, 0.0) if math.isnan(risks[i]) else (0, sign * risks[i]))
        kept = set(ranked[:count])
        return [i in kept for i in range(n)]

    def _mix(self, first: list[bool] | None, second: list[bool] | None) -> list[float]:
        if first is None or second is None:
            return [float(kept) for kept in first or second or []]
        weight = {(True, True): 1.0, (True, False): self.gamma, (False, True): 1.0 - self.gamma, (False, False): 0.0}
        return [weight[pair] for pair in zip(first, second, strict=True)]

    def _record(self, optimizer: torch.optim.Optimizer, targets: Targets, multipliers: list[float]) -> None:
        if self._trace is not None:
            self._trace.append(multipliers)
        if self._chosen is not None:
            self._chosen.append([self.shares_kept.get(name, math.nan) for name in ("first", "second")])
        if self.second_order == "corrected":
            beta1 = {p: group["betas"][0] for group in optimizer.param_groups for p in group["params"]}
            for (name, parameter), m in zip(targets, multipliers, strict=True):
                self._untaken[name] = self._untaken.get(name, 1.0) * (1.0 - (1.0 - beta1[parameter]) * m)


def _gradient(parameter: Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _thresholds(upper: float | str | Sequence[float | str]) -> tuple[float | str, float | str]:
    pair = tuple(upper) if isinstance(upper, list | tuple) else (upper, upper)
    if len(pair) != 2:
        raise ValueError(
            f'upper must be a share in (0, 1] or "auto", or a pair of them (first, second), not {upper!r}'
        )
    if any(isinstance(value, str) and value != AUTO for value in pair):
        raise ValueError(
            f'upper must be a share in (0, 1] or "auto", or a pair of them (first, second), not {upper!r}'
        )
    first, second = (v if v == AUTO else number("upper", v, most=1.0, positive=True) for v in pair)
    return first, second
