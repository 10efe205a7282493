"""A mask that stays in force for several steps, and frozen tensors without weight gradients in between."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.nn import Parameter
from torch.nn.parallel import DistributedDataParallel

from rosetune.methods._options import number, switch, whole

logger = logging.getLogger(__name__)


class Economy:
    """When a mask is made anew, and what is saved until then.

    A mask is in force for k steps. With ``agreement`` 0, k is ``refresh``. Else k begins at 1; whenever a mask is
    made, its Jaccard index with the one before, sum_i min(M_i, M'_i) / sum_i max(M_i, M'_i), doubles k up to
    ``refresh`` where it reaches ``agreement``, and halves it down to 1 where it does not.

    Args:
        refresh: steps that a mask is in force, at most.
        agreement: in [0, 1].
        skip_gradients: whether tensors with M = 0 go without weight gradients until the next refresh.
    """

    def __init__(self, refresh: int, agreement: float, skip_gradients: bool) -> None:
        self.refresh = whole("refresh", refresh, 1)
        self.agreement = number("agreement", agreement, most=1.0)
        self.skip_gradients = switch("skip_gradients", skip_gradients)
        self._interval = 1 if self.agreement else self.refresh
        self._age = 0  # steps that the mask in force has acted
        self._mask: dict[str, float] = {}  # by tensor name
        self._said: set[str] = set()

    @property
    def due(self) -> bool:
        """Whether the mask of the coming step is made anew."""
        return not self._mask or self._age >= self._interval

    def is_frozen(self, name: str) -> bool:
        """Whether the last mask that was good for later steps froze this tensor."""
        return self._mask.get(name, 1.0) == 0.0

    def renew(self, names: Sequence[str], multipliers: Sequence[float]) -> None:
        """Put a new mask in force, which acts for the first time in this step."""
        mask = dict(zip(names, multipliers, strict=True))
        if self._mask and self.agreement:
            grown = 2 * self._interval if _jaccard(self._mask, mask) >= self.agreement else self._interval // 2
            self._interval = min(max(grown, 1), self.refresh)
        self._mask, self._age = mask, 1

    def again(self, names: Sequence[str]) -> list[float]:
        """The mask in force for one step more; a tensor that it does not know is updated."""
        self._age += 1
        return [self._mask.get(name, 1.0) for name in names]

    @contextmanager
    def resting(self, optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> Iterator[None]:
        """Within this, tensors that are frozen until the next refresh take no gradient; afterwards all can again."""
        parameters = [] if self.due or not self.skip_gradients else self._frozen(optimizer)
        if not parameters:
            yield
            return
        obstacle = _obstacle(model, parameters)
        if obstacle is not None and obstacle not in self._said:
            self._said.add(obstacle)
            logger.info("the gradients of frozen tensors are computed and dropped, which saves nothing: %s", obstacle)
        try:
            for parameter in parameters:
                parameter.requires_grad_(obstacle is not None)
            yield
        finally:  # an error must not leave a tensor frozen for good
            for parameter in parameters:
                parameter.requires_grad_(True)
                parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The mask in force, its age and k."""
        return {"mask": dict(self._mask), "age": self._age, "interval": self._interval}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self._mask, self._age, self._interval = dict(state["mask"]), int(state["age"]), int(state["interval"])

    def _frozen(self, optimizer: torch.optim.Optimizer) -> list[Parameter]:
        return [
            parameter
            for group in optimizer.param_groups
            for name, parameter in zip(group["param_names"], group["params"], strict=True)
            if self.is_frozen(name) and parameter.requires_grad
        ]


def _jaccard(one: dict[str, float], other: dict[str, float]) -> float:
    pairs = [(one.get(name, 0.0), other.get(name, 0.0)) for name in {*one, *other}]
    union = sum(max(pair) for pair in pairs)
    return sum(min(pair) for pair in pairs) / union if union else 1.0


def _obstacle(model: torch.nn.Module, parameters: list[Parameter]) -> str | None:
    """Why requires_grad cannot be switched, in words."""
    if any(isinstance(parameter, DTensor) for parameter in parameters):
        return "the parameters are sharded (FSDP)"
    for module in model.modules():
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            return "torch.compile would compile the model anew for every mask"
        if isinstance(module, DistributedDataParallel) and not module.find_unused_parameters:
            return "DistributedDataParallel waits for every gradient without find_unused_parameters=True"
    return None
