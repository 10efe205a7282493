"""The task's own loss from logits and labels, the same for every objective."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetune.methods._consistency import single_precision


def task_loss(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
) -> Tensor:
    """Cross-entropy for integer labels, squared error for a single output; mean over the micro-batch.

    Args:
        logits: shape (batch, labels), or (batch, 1) for regression.
        labels: shape (batch,); an integer of -100 is left out.
        label_smoothing: epsilon in [0, 1): the target is (1 - epsilon) one-hot + epsilon / labels.
        class_weights: one factor a label; the mean is then a weighted mean.

    Raises:
        ValueError: the shapes are not those of a sequence classifier or regressor.
    """
    logits = single_precision(logits)
    if logits.dim() != 2 or labels.dim() != 1:
        raise ValueError(
            "expected logits of shape (batch, labels) and labels of shape (batch,), as a sequence classifier gives, "
            f"but got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    if logits.shape[-1] == 1:
        return F.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
    weights = None
    if class_weights is not None:
        if len(class_weights) != logits.shape[-1]:
            raise ValueError(f"class_weights has {len(class_weights)} entries for {logits.shape[-1]} labels")
        weights = torch.tensor(class_weights, dtype=logits.dtype, device=logits.device)
    return F.cross_entropy(logits, labels, weight=weights, label_smoothing=label_smoothing)


def split_labels(inputs: dict) -> tuple[dict, Tensor]:
    """The inputs without their labels, and the labels.

    Raises:
        ValueError: there are none.
    """
    if "labels" not in inputs:
        raise ValueError(f"training needs a column of labels, but the batch has only {', '.join(inputs)}")
    return {name: value for name, value in inputs.items() if name != "labels"}, inputs["labels"]


def check_smoothing(label_smoothing: float) -> float:
    """The value itself, if it lies in [0, 1)."""
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing must lie in [0, 1), not {label_smoothing}")
    return label_smoothing
