"""What several floors need of a model and of the process group."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from transformers.utils import ModelOutput


def unwrap(model: torch.nn.Module) -> torch.nn.Module:
    """The model itself, out of DistributedDataParallel or torch.compile; a wrapper of the user's own stays."""
    while True:
        if isinstance(model, DistributedDataParallel | torch.nn.DataParallel):
            model = model.module
            continue
        inner = getattr(model, "_orig_mod", None)
        if not isinstance(inner, torch.nn.Module):
            return model
        model = inner


@contextmanager
def keeping_modes(model: torch.nn.Module) -> Iterator[None]:
    """Afterwards each module is in train or eval mode as it was before."""
    # Module by module: a frozen part may have been in eval mode while the rest was training.
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Within this, the model is in eval mode; afterwards each of its modules is in the mode that it was in."""
    with keeping_modes(model):
        model.eval()
        yield


@contextmanager
def seeded(model: torch.nn.Module, seed: int) -> Iterator[None]:
    """Within this, what a model draws comes from a seed; afterwards no generator is in another state, on any device.

    ``torch.manual_seed`` would also seed every device that the model is not on.
    """
    devices = {p.device for p in model.parameters()}
    mps = any(device.type == "mps" for device in devices)
    cuda = [device for device in devices if device.type == "cuda"]
    before = torch.mps.get_rng_state() if mps else None
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        for device in cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        if before is not None:
            torch.mps.manual_seed(seed)
        try:
            yield
        finally:
            if before is not None:
                torch.mps.set_rng_state(before)


def forward(model: torch.nn.Module, features: Mapping[str, Any]) -> Any:
    """One forward of any model, as outputs that have ``logits``.

    Args:
        features: inputs without labels.

    Raises:
        ValueError: the model returns no logits.
    """
    outputs = model(**features)
    return outputs if hasattr(outputs, "logits") else ModelOutput(logits=logits_of(outputs))


def logits_of(outputs: Any) -> Tensor:
    """The logits in what a model returned: by that name, or in a tuple the first tensor that is not a scalar.

    Raises:
        ValueError: there are none.
    """
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    if isinstance(outputs, tuple | list):  # a loss stands in front of them
        logits = next((part for part in outputs if isinstance(part, Tensor) and part.dim()), logits)
    if not isinstance(logits, Tensor):
        parts = f" with {', '.join(map(str, outputs))}" if isinstance(outputs, Mapping) else ""
        raise ValueError(
            f"the model returned a {type(outputs).__name__}{parts} without logits: let its forward return a dict or "
            "ModelOutput with `logits`, or a tuple (loss, logits), also where it is given no labels"
        )
    return logits


def world_size() -> int:
    """How many processes train together, as torchrun or accelerate started them."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process among them, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_main_process() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


class Moved:
    """A data loader whose batches are moved to the model's device; ``quiet`` wants no progress bar over it."""

    def __init__(self, loader: Any, move: Callable[[Any], Any], quiet: bool | None) -> None:
        self._loader, self._move, self.quiet = loader, move, bool(quiet)

    def __iter__(self) -> Iterator[Any]:
        return map(self._move, self._loader)

    def __len__(self) -> int:
        return len(self._loader)
