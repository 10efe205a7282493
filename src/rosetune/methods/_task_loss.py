"""The task's own loss from logits and labels, the same for every objective."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from rosetune._torch import unwrap
from rosetune.methods._consistency import single_precision
from rosetune.methods._options import number

IGNORED = -100


@dataclass(kw_only=True)
class TaskLoss:
    """Cross-entropy for integer labels, squared error for a single output; mean over what is scored.

    The options that every objective shares:

    Args:
        label_smoothing: epsilon in [0, 1) of every cross-entropy: its target is (1 - epsilon) one-hot + epsilon /
            labels. By itself the control for methods that flatten confidence.
        class_weights: one factor a label, for every cross-entropy; the mean is then a weighted mean. None: all alike.

    Raises:
        ValueError: label_smoothing outside [0, 1), class_weights that are no weights; later: either of them for a
            regression.
    """

    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if number("label_smoothing", self.label_smoothing, most=1.0) == 1.0:
            raise ValueError("label_smoothing must lie in [0, 1), not 1.0")
        if self.class_weights is not None:
            if not isinstance(self.class_weights, list | tuple):
                raise ValueError(f"class_weights must be a list with one number a label, not {self.class_weights!r}")
            weights = [number("class_weights", weight) for weight in self.class_weights]
            if not any(weights):
                raise ValueError(f"class_weights must not all be zero, but are {self.class_weights!r}")

    def task_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of one pass.

        Args:
            logits: shape (batch, labels); (batch, 1) for regression; (batch, tokens, labels) for token-level outputs.
            labels: shape (batch,) or (batch, tokens), aligned with the logits; -100 is left out.

        Raises:
            ValueError: other shapes, or class_weights of another number of labels.
        """
        logits = single_precision(logits)
        if logits.dim() == 3 and labels.dim() == 2:
            logits, labels = logits.flatten(0, 1), labels.flatten()
        elif logits.dim() == 2 and logits.shape[-1] == 1 and labels.dim() == 1:
            if self.label_smoothing or self.class_weights is not None:
                raise ValueError(
                    "label_smoothing and class_weights are for classes, but the model has a single output "
                    "(regression): leave them out, or give the model two labels"
                )
            return F.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
        if logits.dim() != 2 or labels.dim() != 1:
            raise ValueError(
                "expected logits of shape (batch, labels) with labels of shape (batch,), as a sequence classifier "
                "gives, or (batch, tokens, labels) with (batch, tokens), as a token-level model does, but got "
                f"{tuple(logits.shape)} and {tuple(labels.shape)}"
            )
        weights = None
        if self.class_weights is not None:
            if len(self.class_weights) != logits.shape[-1]:
                raise ValueError(f"class_weights has {len(self.class_weights)} entries for {logits.shape[-1]} labels")
            weights = torch.tensor(self.class_weights, dtype=logits.dtype, device=logits.device)
        return F.cross_entropy(
            logits, labels, weight=weights, ignore_index=IGNORED, label_smoothing=self.label_smoothing
        )


def split_labels(model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
    """The inputs without their labels, and the labels aligned with the model's logits.

    A causal language model's logits at a token are about the next one: its labels move one to the left, and the last
    token has none.

    Raises:
        ValueError: there are no labels.
    """
    if "labels" not in inputs:
        raise ValueError(f"training needs a column of labels, but the batch has only {', '.join(inputs)}")
    features = {name: value for name, value in inputs.items() if name != "labels"}
    labels = inputs["labels"]
    if labels.dim() == 2 and _is_causal(model):
        labels = F.pad(labels[:, 1:], (0, 1), value=IGNORED)
    return features, labels


def scored_tokens(model: torch.nn.Module, features: dict[str, Any], labels: Tensor) -> Tensor | None:
    """Which tokens a divergence between two passes covers: those with a label, padding left out.

    Args:
        labels: as :func:`split_labels` gives them.

    Returns:
        Shape (batch, tokens), or None where the model scores whole sequences.
    """
    if labels.dim() != 2:
        return None
    mask = labels != IGNORED
    attention = features.get("attention_mask")
    if isinstance(attention, Tensor) and attention.shape == mask.shape:
        if _is_causal(model):
            attention = F.pad(attention[:, 1:], (0, 1))
        mask &= attention.bool()
    return mask


def _is_causal(model: torch.nn.Module) -> bool:
    inner: Any = unwrap(model)
    inner = inner.get_base_model() if hasattr(inner, "get_base_model") else inner  # peft
    causal = getattr(inner, "loss_type", None) == "ForCausalLM"
    return causal or type(inner).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
