"""What a backward pass brings to the weights of linear layers, kept until it is known whose gradients are needed."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune.methods._row_weights import RowWeights
from rosetune.methods._uses import Projection, Use, contribution, projection_of


class Held:
    """Input x and output gradient d of layers, and the gradients d^T x of their weights or the projections d^T (x z).

    Args:
        uses: by a key where each parameter enters the graph.
        parameters, sides, project: as in ``SharedBackward``.

    Attributes:
        numbers: which of the parameters are held back: those that only products use, and that have no gradient yet and
            no hook that waits for one.
    """

    def __init__(
        self,
        uses: Mapping[int, Use],
        parameters: Sequence[Parameter],
        sides: Sequence[str | None],
        project: Projection | None,
    ) -> None:
        forms: dict[int, set[str]] = {}
        for use in uses.values():
            forms.setdefault(use.parameter, set()).add(use.form)
        self.numbers = {i for i, of in forms.items() if of == {"linear"} and _is_free(parameters[i])}
        self._uses = {key: use for key, use in uses.items() if use.parameter in self.numbers}
        self._parameters, self._sides, self._project = parameters, sides, project
        self._came: dict[int, list[tuple[Use, Tensor]]] = {}

    def leave_out(self, keys: set[int]) -> None:
        """Do not hold back the parameters that enter the graph there."""
        self.numbers -= {use.parameter for key, use in self._uses.items() if key in keys}
        self._uses = {key: use for key, use in self._uses.items() if use.parameter in self.numbers}

    def take(self, key: int, d: Tensor) -> None:
        """The output gradient at one use has arrived."""
        if key in self._uses:
            use = self._uses[key]
            self._came.setdefault(use.parameter, []).append((use, d))

    def gradient(self, number: int) -> Tensor | None:
        """Of the loss that was followed; None where it did not come to this parameter."""
        return self._sum(number, sketched=False)

    def sketch(self, number: int) -> Tensor | None:
        """Its projection, whose squared norm estimates that of the gradient without bias; None as there."""
        return self._sum(number, sketched=True)

    def _sum(self, number: int, sketched: bool) -> Tensor | None:
        parameter, total, alike = self._parameters[number], None, RowWeights()
        with torch.no_grad(), torch.autocast(parameter.device.type, enabled=False):
            for use, d in self._came.get(number, []):
                z = projection_of(parameter, self._sides[number], self._project, d) if sketched else None
                part = contribution(use, d, alike, parameter, z)
                total = part if total is None else total.add_(part)
        return total


def _is_free(parameter: Parameter) -> bool:
    hooks: Any = parameter
    return parameter.grad is None and not hooks._backward_hooks and not hooks._post_accumulate_grad_hooks
