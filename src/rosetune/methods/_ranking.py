"""From risks to multipliers: the thresholds, the tensors that are kept, the mixture of two masks."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune._auto_threshold import AUTO, auto_count
from rosetune.methods._observation import Observation
from rosetune.methods._options import number, one_of
from rosetune.methods._second_order import SecondOrderRisk, Targets
from rosetune.methods._targets import kept_count

logger = logging.getLogger(__name__)

_RULES = {
    "order": ("first", "second", "ensemble"),
    "keep": ("lowest", "highest"),
    "reduce": ("gradients", "norms"),
    "risk": ("consistency", "task"),
    "normalize": ("norm", "rms"),
    "second_order": ("paper", "corrected"),
}


@dataclass
class Ranking:
    """The multipliers of a step from what was observed in it.

    Args:
        order, upper, gamma, risk: as for :class:`~rosetune.Rose`.
        highest: keep the highest risks.
        scaled: divide first-order norms by sqrt(scalars of the tensor).
        only_norms: an observation is the mean of its norms.

    Attributes:
        shares_kept: what "auto" chose in the last step, by "first" and "second".
    """

    order: str
    upper: tuple[float | str, float | str]
    gamma: float
    highest: bool
    risk: str
    scaled: bool
    only_norms: bool
    second_order: SecondOrderRisk
    shares_kept: dict[str, float] = field(default_factory=dict)

    def __call__(
        self, optimizer: torch.optim.Optimizer, targets: Targets, observation: Observation, step: int
    ) -> tuple[list[float], bool]:
        """One multiplier a target, and whether they are good for later steps: all risks were there and finite."""
        parameters, n, vectors = [parameter for _, parameter in targets], len(targets), []
        clip = getattr(optimizer, "clip_coefficient", 1.0)  # the task's gradients are in the units of the moments
        if self.order != "second":
            vectors.append(self._first_order_risks(parameters, observation, clip))
        if self.order != "first":
            vectors.append(observation.task_norms(parameters, clip, self.only_norms))
            vectors.append(self.second_order.moment_norms(optimizer, targets))
        rows = torch.stack([vector.double() for vector in vectors]).tolist()  # the step's one wait for the device
        lasts = all(math.isfinite(norm) for row in rows for norm in row)
        first = second = None
        if self.order != "second":
            first = kept(n, rows[0], self.upper[0], highest=self.highest, what="first-order", step=step + 1)
        if self.order != "first":
            risks = self.second_order.risks(optimizer, targets, rows[-2], rows[-1])
            second = kept(n, risks, self.upper[1], highest=self.highest, what="second-order", step=step + 1)
            lasts = lasts and risks is not None
        masks = {"first": (self.upper[0], first), "second": (self.upper[1], second)}
        self.shares_kept = {
            name: sum(mask) / n for name, (upper, mask) in masks.items() if mask is not None and upper == AUTO
        }
        return mixed(first, second, self.gamma), lasts

    def _first_order_risks(
        self, parameters: list[Parameter], observation: Observation, clip: float | Tensor
    ) -> Tensor:
        if self.risk == "task":
            risks = observation.task_norms(parameters, clip, self.only_norms)
        elif "consistency" in observation:
            risks = observation.norms("consistency", self.only_norms)
        else:
            raise ValueError(
                f"Rose(order={self.order!r}) was asked for a mask without having observed this step's consistency "
                "loss: call rose.observe(optimizer, consistency=...) before the backward pass of every micro-batch"
            )
        if self.scaled:
            risks = risks / torch.tensor([float(p.numel()) for p in parameters]).sqrt().to(risks)
        return risks


def check_rules(options: dict[str, str]) -> None:
    """Options of :class:`~rosetune.Rose` that name a rule.

    Raises:
        ValueError: one names none.
    """
    for name, value in options.items():
        one_of(name, value, _RULES[name])


def thresholds(upper: float | str | Sequence[float | str]) -> tuple[float | str, float | str]:
    """The share of tensors that each of the two masks keeps, in (0, 1] or "auto".

    Raises:
        ValueError: no share, and no pair of them.
    """
    pair = tuple(upper) if isinstance(upper, list | tuple) else (upper, upper)
    if len(pair) != 2 or any(isinstance(value, str) and value != AUTO for value in pair):
        raise ValueError(
            f'upper must be a share in (0, 1] or "auto", or a pair of them (first, second), not {upper!r}'
        )
    first, second = (v if v == AUTO else number("upper", v, most=1.0, positive=True) for v in pair)
    return first, second


def kept(n: int, risks: list[float] | None, upper: float | str, *, highest: bool, what: str, step: int) -> list[bool]:
    """Which of n tensors are among the floor(upper n + 1e-9) of lowest risk, or of highest.

    Ties follow the order given; a NaN ranks last. For "auto" see :func:`auto_count`: an infinite risk is last too.

    Args:
        risks: None where there are none yet: all are kept.
        what, step: the risks in a word, and whose they are, for the log.

    Raises:
        ValueError: none would be kept.
    """
    count = kept_count(upper, n) if not isinstance(upper, str) else n if risks is None else auto_count(risks)
    if count == 0:
        raise ValueError(
            f"upper={upper} keeps none of the {n} target tensors: it must be at least 1/{n} = {1 / n:.4f}"
        )
    if risks is None:
        return [True] * n
    nans = sum(map(math.isnan, risks))
    if nans:
        logger.warning("step %d: %d of %d %s risks are NaN; they rank last", step, nans, n, what)
    sign = -1.0 if highest else 1.0
    last = [not math.isfinite(risk) if upper == AUTO else math.isnan(risk) for risk in risks]
    # sorted is stable, so that ties follow the order given.
    ranked = sorted(range(n), key=lambda i: (1, 0.0) if last[i] else (0, sign * risks[i]))
    chosen = set(ranked[:count])
    return [i in chosen for i in range(n)]


def mixed(first: list[bool] | None, second: list[bool] | None, gamma: float) -> list[float]:
    """M = gamma M_first + (1 - gamma) M_second, or the one that there is."""
    if first is None or second is None:
        return [float(is_kept) for is_kept in first or second or []]
    weight = {(True, True): 1.0, (True, False): gamma, (False, True): 1.0 - gamma, (False, False): 0.0}
    return [weight[pair] for pair in zip(first, second, strict=True)]
