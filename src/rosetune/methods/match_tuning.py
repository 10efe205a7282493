"""Match-Tuning: each row is represented by a mixture of the batch (Tong et al., IJCAI 2022)."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune.methods._consistency import batch_size, single_precision, symmetric_kl
from rosetune.methods._contracts import ObjectiveOutput
from rosetune.methods._options import number
from rosetune.methods._pooled import changed_pooling, forward_pooled
from rosetune.methods._task_loss import TaskLoss, split_labels

TEMPERATURES = ("spread", "sqrt_width")


@dataclass
class MatchTuning(TaskLoss):
    """Cross-entropy of pooled states that are mixed across the batch.

        A = softmax(U U^T / temperature), row by row;  R = A U;  L = CE(head(R), y)

    where U (batch, width) are the pooled states that enter the last layer. The diagonal belongs to A; labels do not
    enter it. U carries gradient in all three places. Early in training other rows disturb a row; as rows of a label
    come to match each other, mixing interpolates between them.

    The matrix is that of a micro-batch: unlike the other objectives this one changes with the batch size, and with
    accumulation, where rows meet those of their own micro-batch alone. A single row that is left over at an epoch's
    end stays as it is.

    The trained model is plain: at inference rows are not mixed. :meth:`mixing` mixes them there as well; the
    prediction for a row then depends on the other rows of its batch.

    ``terms`` has the mean of A's diagonal (1: nothing is mixed; 1 / batch: everything alike) and the mean over the
    rows of the mass that lies on other rows of the same label.

    With ``consistency`` the matched forward is done twice, since a doubled batch would mix the two passes; the loss is
    that of the first.

    Args:
        temperature: "spread": the states' mean squared distance from their mean, over log(batch), as a constant: a row
            that is unrelated to the others keeps about half of its mass, whatever the states' scale and width and the
            batch size. "sqrt_width": the square root of the width, as in attention. Or a positive number.

    Raises:
        ValueError: an option outside its values; the model has no pooled state (GPT-2-style, token-level outputs); the
            first batch of the training has a single row, so that the method would be cross-entropy.

    Reference:
        Tong et al., Robust Fine-tuning via Perturbation and Interpolation from In-batch Instances, IJCAI 2022.

    Cost:
        One forward and backward, and batch^2 width multiplications; with ``consistency`` a second forward.

    Deviates:
        The published snippet names a temperature without its value and does not say what happens at inference.
        "spread" is our choice, since fixed values fail on one side or the other: where the products of the states are
        large beside the temperature, A is the identity and the method cross-entropy; where they are small, as those of
        a head with fresh weights, all rows become the batch's mean and nothing is learnt ("sqrt_width" stood still for
        300 steps on a small BERT, and 1 for 100 steps on MiniLM, where "spread" and 0.1 learnt; at 0.1 the diagonal
        held 70 to 99%). The snippet mixes the output of the pooling dense layer; here it is what enters the last
        layer, after the architecture's own activation and dropout.
    """

    temperature: float | str = "spread"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature not in TEMPERATURES:
            number(f"temperature, unless it is {' or '.join(TEMPERATURES)},", self.temperature, positive=True)
        self._several_rows = False

    def setup(
        self, model: torch.nn.Module, *, tokenizer: Any = None, total_steps: int | None = None, seed: int = 0
    ) -> None:
        """Start anew: the next batch is the first one. No argument is used."""
        self._several_rows = False

    def begin_step(self, model: torch.nn.Module) -> None:
        """Nothing to do."""

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """None of its own."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Whether a batch of several rows was seen: a run may be resumed at a row that is left over."""
        return {"several_rows": self._several_rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        # A state that does not say so is of a version that kept nothing; its first batch was looked at all the same.
        self._several_rows = bool(state.get("several_rows", True))

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
        self._several_rows = self._several_rows or _require_rows(features)
        matrices: list[Tensor] = []

        def mix(states: Tensor) -> Tensor:
            matrices.append(self.matching(states))
            return _mixed(matrices[-1], states)

        outputs, _ = forward_pooled(model, features, mix)
        loss = self.task_loss(outputs.logits, labels)
        terms = {"task_loss": loss.detach(), **_matching_terms(matrices[0].detach(), labels)}
        kl = None
        if consistency:
            second, _ = forward_pooled(model, features, mix)
            kl = symmetric_kl(outputs.logits, second.logits)
            terms["consistency"] = kl.detach()
        return ObjectiveOutput(loss, loss, outputs, kl, terms)

    def matching(self, states: Tensor) -> Tensor:
        """A, shape (batch, batch), for states of shape (batch, width); its rows sum to 1."""
        states = single_precision(states)
        with torch.autocast(states.device.type, enabled=False):
            return (states @ states.T / self._temperature(states.detach())).softmax(-1)

    def _temperature(self, states: Tensor) -> float | Tensor:
        if self.temperature == "sqrt_width":
            return states.shape[-1] ** 0.5
        if self.temperature != "spread":
            return float(self.temperature)
        spread = (states - states.mean(0)).square().sum(-1).mean()
        # Rows that are all the same, or a single one, are mixed alike at any temperature.
        return torch.where(spread > 0, spread / math.log(max(len(states), 2)), 1.0)

    def mixing(self, model: torch.nn.Module) -> AbstractContextManager[None]:
        """Within this, the model mixes the rows of each batch that it is given: ``with objective.mixing(model): ...``.

        For inference only; this objective's own forwards would be mixed twice.
        """
        return changed_pooling(model, lambda states: _mixed(self.matching(states), states))


def _mixed(matrix: Tensor, states: Tensor) -> Tensor:
    with torch.autocast(states.device.type, enabled=False):
        return (matrix @ states.to(matrix.dtype)).to(states.dtype)


def _require_rows(features: dict[str, Any]) -> bool:
    if batch_size(features) < 2:
        raise ValueError(
            "Match-Tuning mixes the rows of a batch, and the first batch has a single one: it would be cross-entropy. "
            "Raise per_device_train_batch_size; gradient accumulation does not help, since rows are mixed within a "
            "micro-batch"
        )
    return True


def _matching_terms(matrix: Tensor, labels: Tensor) -> dict[str, Tensor]:
    terms = {"matching_diagonal": matrix.diagonal().mean()}
    if not labels.is_floating_point():
        others = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        terms["same_label_mass"] = (matrix * others).sum(-1).mean()
    return terms
