"""ROSE's second-order risk: how far a gradient is from its own momentum."""

import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune.methods._shards import norms

Targets = list[tuple[str, Parameter]]


class SecondOrderRisk:
    """r_i = | (1 - beta1) ||g_i|| / ||m_i|| - 1 |, or with the moment corrected | ||g_i|| / ||m_hat_i|| - 1 |.

    m_hat = m / (1 - prod_t (1 - (1 - beta1) M_t)): what a moment has taken in under the multipliers M_t of the steps.
    """

    def __init__(self, corrected: bool) -> None:
        self.corrected = corrected
        self.untaken: dict[str, float] = {}  # prod_t (1 - (1 - beta1) M_t) by tensor name

    @staticmethod
    def moment_norms(optimizer: torch.optim.Optimizer, targets: Targets) -> Tensor:
        """Shape (targets,): those of AdamW's first moments; zero where there is none yet."""
        states = [optimizer.state.get(parameter, {}) for _, parameter in targets]
        pairs = zip(states, targets, strict=True)
        return norms([s["exp_avg"] if s else torch.zeros_like(p) for s, (_, p) in pairs])

    def risks(
        self, optimizer: torch.optim.Optimizer, targets: Targets, gradients: list[float], moments: list[float]
    ) -> list[float] | None:
        """From both norms; None where no target has a moment yet: without any history nothing is frozen."""
        beta1, risks = _beta1(optimizer), []
        for (name, parameter), g, m in zip(targets, gradients, moments, strict=True):
            if m == 0.0:
                risks.append(0.0)
            elif not self.corrected:
                risks.append(abs((1.0 - beta1[parameter]) * g / m - 1.0))
            else:
                # A moment from before this mask counts as complete.
                risks.append(abs(g / (m / (1.0 - self.untaken.setdefault(name, 0.0))) - 1.0))
        return risks if any(moments) else None

    def take(self, optimizer: torch.optim.Optimizer, targets: Targets, multipliers: list[float]) -> None:
        """What the moments take in under the multipliers of this step."""
        if self.corrected:
            beta1 = _beta1(optimizer)
            for (name, parameter), m in zip(targets, multipliers, strict=True):
                self.untaken[name] = self.untaken.get(name, 1.0) * (1.0 - (1.0 - beta1[parameter]) * m)


def _beta1(optimizer: torch.optim.Optimizer) -> dict[Parameter, float]:
    return {p: group["betas"][0] for group in optimizer.param_groups for p in group["params"]}
