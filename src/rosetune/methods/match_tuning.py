"""Match-Tuning: each row is represented by a mixture of the batch (Tong et al., IJCAI 2022)."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rosetune.methods._consistency import batch_size, single_precision, symmetric_kl
from rosetune.methods._contracts import ObjectiveOutput
from rosetune.methods._pooled import changed_pooling, forward_pooled
from rosetune.methods._task_loss import TaskLoss, split_labels

SQRT_WIDTH = "sqrt_width"


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
        temperature: a positive number, or "sqrt_width" for the square root of the states' width.
        label_smoothing, class_weights: of the CE.

    Raises:
        ValueError: an option outside its values; the model has no pooled state (GPT-2-style, token-level outputs); the
            first batch has a single row, so that the method would be cross-entropy.

    Reference:
        Tong et al., Robust Fine-tuning via Perturbation and Interpolation from In-batch Instances, IJCAI 2022.

    Cost:
        One forward and backward, and batch^2 width multiplications; with ``consistency`` a second forward.

    Deviates:
        The published snippet neither gives the temperature nor says what happens at inference. The width's square
        root is our choice: unscaled products of states of width 768 differ by tens, and A is then the identity. The
        snippet mixes the output of the pooling dense layer; here it is what enters the last layer, after the
        architecture's own activation and dropout.
    """

    temperature: float | str = field(
        default=SQRT_WIDTH, metadata={"help": f"divides the products of the states; a number or {SQRT_WIDTH}"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        number = isinstance(self.temperature, int | float) and 0 < self.temperature < float("inf")
        if self.temperature != SQRT_WIDTH and not number:
            raise ValueError(f"temperature must be a positive number or {SQRT_WIDTH!r}, not {self.temperature!r}")
        self._several_rows = False

    def __call__(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        *,
        consistency: bool = False,
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
        temperature = states.shape[-1] ** 0.5 if self.temperature == SQRT_WIDTH else float(self.temperature)
        with torch.autocast(states.device.type, enabled=False):
            return (states @ states.T / temperature).softmax(-1)

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
