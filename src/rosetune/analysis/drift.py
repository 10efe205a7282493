"""How far fine-tuning has moved each layer from where it began."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Drift", "drift"]


@dataclass(frozen=True)
class Drift:
    """The distance of each weight from the pre-trained one.

    Attributes:
        names: of the n tensors.
        distance: shape (n,), ||theta - theta_0||.
        norm: shape (n,), ||theta_0||.
        absent: weights without a pre-trained counterpart, such as the head.
    """

    names: tuple[str, ...]
    distance: np.ndarray
    norm: np.ndarray
    absent: tuple[str, ...]


@torch.no_grad()
def drift(model: torch.nn.Module, before: torch.nn.Module, fresh: Collection[str] = ()) -> Drift:
    """Compare a fine-tuned model with the pre-trained one, tensor by tensor.

    Args:
        model: fine-tuned.
        before: the pre-trained model in the same architecture.
        fresh: names of its weights that were not pre-trained.

    Raises:
        ValueError: the two share no tensor.
    """
    there = {name: p for name, p in before.named_parameters() if name not in fresh}
    names, distance, norm, absent = [], [], [], []
    for name, parameter in model.named_parameters():
        if name not in there or there[name].shape != parameter.shape:
            absent.append(name)
            continue
        origin = there[name].to(parameter.device, torch.float64)
        names.append(name)
        distance.append(float((parameter.double() - origin).norm()))
        norm.append(float(origin.norm()))
    if not names:
        raise ValueError("the two models share no tensor: compare a fine-tuned model with what it was tuned from")
    return Drift(tuple(names), np.array(distance), np.array(norm), tuple(absent))
