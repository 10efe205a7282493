"""Random directions in the space of the weights, scaled to them filter by filter."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from rosetune.analysis.weights import MeanLoss

__all__ = ["Direction", "Normalisation", "random_direction"]

Normalisation = Literal["filter", "tensor"]


@dataclass(frozen=True)
class Direction:
    """A direction d = scale * noise.

    Attributes:
        noise: by name of the weight, in half precision, which takes half the memory; a tensor that is left alone is
            absent.
        scale: by name, of a shape that broadcasts to the noise.
    """

    noise: dict[str, Tensor]
    scale: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        """The direction in one weight, in its precision."""
        return self.noise[name] * self.scale[name]


def random_direction(of: MeanLoss, seed: int, normalise: Normalisation = "filter") -> Direction:
    """A Gaussian direction that is as large as the weights.

        filter    d_j <- d_j / ||d_j|| * ||theta_j||    for each slice j of a weight along its outputs: the row of a
                  matrix, the token of an embedding, the column of GPT-2's Conv1D. Biases and gains, which have no
                  filters, are left alone.
        tensor    d <- d / ||d|| * ||theta||            for each tensor as a whole, biases and gains too: the formula
                  of the ROSE paper, taken literally.

    Models of one architecture get the same noise from the same seed, each at its own scale: a filter that is
    multiplied by a number has its direction multiplied by it. Where a filter is zero, so is the direction. The noise
    of a tensor depends on seed and name alone; no global random state is read or changed. A tied weight is one tensor.

    Reference:
        Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, section 4; Jiang et al. 2022,
        section 4.1.

    Deviates:
        From the code of Li et al., whose direction in biases and gains is by default a copy of the weights.
    """
    noise, scale, columns = {}, {}, _conv1d_weights(of.model)
    for name, part in of.parts.items():
        whole = of.whole(name)
        if normalise == "filter" and whole.dim() < 2:
            continue
        drawn = _gaussian(whole.shape, seed, name).to(part.device)
        if normalise == "filter":
            drawn = of.part(name, drawn)
            along = 1 if name in columns else 0
            scale[name] = _ratio(_filter_norms(part, along), _filter_norms(drawn.to(part.dtype), along))
        else:
            norms = whole.norm(), drawn.to(part.dtype).norm()
            scale[name] = _ratio(
                *(norm.view([1] * whole.dim()) for norm in norms)
            )  # of 0 dimensions: the noise's type
            drawn = of.part(name, drawn)
        noise[name] = drawn
    return Direction(noise, scale)


def _gaussian(shape: torch.Size, seed: int, name: str) -> Tensor:
    digest = blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    # On the CPU, whatever the model is on: every device has a generator of its own.
    return torch.randn(shape, generator=generator, dtype=torch.float32).half()


def _conv1d_weights(model: torch.nn.Module) -> set[str]:
    """The weights that are laid out as (inputs, outputs)."""
    modules = [(prefix, module) for prefix, module in model.named_modules() if isinstance(module, Conv1D)]
    return {f"{prefix}.weight".removeprefix(".") for prefix, _ in modules}


def _filter_norms(weight: Tensor, along: int) -> Tensor:
    """The norms of the slices along a dimension, of a shape that broadcasts to the weight."""
    return weight.norm(dim=[dim for dim in range(weight.dim()) if dim != along], keepdim=True)


def _ratio(weight: Tensor, drawn: Tensor) -> Tensor:
    return torch.where(drawn > 0, weight / drawn, 0.0)
