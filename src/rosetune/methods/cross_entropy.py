"""Cross-entropy, in one dropout pass or averaged over two."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rosetune._torch import forward
from rosetune.methods._consistency import symmetric_kl, two_passes
from rosetune.methods._contracts import ObjectiveOutput
from rosetune.methods._task_loss import TaskLoss, scored_tokens, split_labels


@dataclass
class CrossEntropy(TaskLoss):
    """The plain objective (squared error for a regression head, mean over the tokens for a language model).

    One pass: L = CE(z, y). Two passes: L = (CE(z1, y) + CE(z2, y)) / 2 with independent dropout.

    Args:
        passes: how many dropout passes the loss averages over, 1 or 2. None takes one, and both where the update
            mask asks for two passes anyway: the authors train ROSE-First that way, while their ROSE-Second takes one.
            ``passes=1`` keeps the second pass out of the loss; ``passes=2`` without a mask is the control that tells
            the averaging from the mask. Where a mask asks for two passes of a share of the rows, the loss averages
            over the passes that each row has.

    Raises:
        ValueError: an option outside its values, or logits and labels of shapes that do not fit.

    Cost:
        One forward and backward; with two passes, of the doubled batch.
    """

    passes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.passes not in (None, 1, 2) or isinstance(self.passes, bool):
            raise ValueError(f"passes must be 1 or 2, not {self.passes!r}")

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
        if not consistency and self.passes != 2:
            outputs = forward(model, features)
            loss = self.task_loss(outputs.logits, labels)
            return ObjectiveOutput(loss, loss, outputs, terms={"task_loss": loss.detach()})
        share = 1.0 if self.passes == 2 else float(consistency)
        shared = bool(consistency) and self.passes != 1
        first, second, outputs = two_passes(model, features, shared, share)
        rows, tokens = len(second), scored_tokens(model, features, labels)
        loss = self.task_loss(first, labels)
        if self.passes != 1 and rows == len(first):
            loss = (loss + self.task_loss(second, labels)) / 2
        elif self.passes != 1:  # the mean over the passes of each row; those with one have it twice
            both = torch.cat([first, second, first[rows:]])
            loss = self.task_loss(both, torch.cat([labels, labels]))
        kl = symmetric_kl(first[:rows], second, None if tokens is None else tokens[:rows])
        terms = {"task_loss": loss.detach(), "consistency": kl.detach()}
        return ObjectiveOutput(loss, loss, outputs, kl if consistency else None, terms)
