"""Weights that follow a model's own slowly, and the logits that they give."""

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from rosetune._torch import evaluating, logits_of, unwrap
from rosetune.methods._shards import refuse_shards

_REFUSED = ("a second set of weights (SMART's Bregman term)", "since it is not in shards")


class MomentumWeights:
    """A moving average of a model's trained weights: theta~ <- (1 - beta) theta + beta theta~, at first theta itself.

    Frozen weights and buffers are the model's own. Half-precision weights are averaged in float32, since a share of
    1 - beta = 0.001 of them would round away.

    Args:
        model: on its device; may be wrapped.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._weights = {
            name: weight.detach().to(torch.promote_types(weight.dtype, torch.float32), copy=True)
            for name, weight in unwrap(model).named_parameters()
            if weight.requires_grad
        }

    @torch.no_grad()
    def follow(self, model: torch.nn.Module, beta: float) -> None:
        """One step towards the model's weights, of the share 1 - beta."""
        live = dict(unwrap(model).named_parameters())
        refuse_shards(live.values(), *_REFUSED)
        averages = list(self._weights.values())
        weights = [live[name].detach().to(average) for name, average in self._weights.items()]
        torch._foreach_lerp_(averages, weights, 1 - beta)

    @torch.no_grad()
    def logits(self, model: torch.nn.Module, features: dict[str, Any]) -> Tensor:
        """The logits of the model with these weights instead of its own, without dropout and without a graph.

        Args:
            features: inputs without labels.
        """
        inner = unwrap(model)
        refuse_shards(inner.parameters(), *_REFUSED)
        live = dict(inner.named_parameters())
        weights = {name: average.to(live[name]) for name, average in self._weights.items()}
        with evaluating(inner):
            return logits_of(functional_call(inner, weights, kwargs=features))

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of each average, by the parameter's name."""
        return {name: average.clone() for name, average in self._weights.items()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the averages from a state.

        Raises:
            ValueError: the state has other names or shapes.
        """
        here = {name: average.shape for name, average in self._weights.items()}
        there = {name: average.shape for name, average in state.items()}
        if here != there:
            odd = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
            raise ValueError(
                f"the saved momentum weights do not fit the tensors that this model trains ({', '.join(odd[:3])}"
                f"{', ...' if len(odd) > 3 else ''}): resume with the model that the run was started with"
            )
        for name, average in self._weights.items():
            average.copy_(state[name])
