"""Weights in shards (FSDP2 through accelerate): what a trainer refuses there, and the state its checkpoints leave out."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rosetune._files import replacing
from rosetune.optim import SelectiveAdamW, require_same_mask

METHOD_STATE = "method_state.pt"


def refuse_layouts(trainer: Any) -> None:
    """Layouts of the hardware under which a mask would rank wrongly.

    Args:
        trainer: a ``transformers.Trainer`` with an update mask, whose accelerator is made.

    Raises:
        ValueError: DeepSpeed, FSDP 1, tensor or context parallelism, a model that transformers has sharded itself.
    """
    remedy = "use one device, DistributedDataParallel, or FSDP2 (fsdp=True, fsdp_config={'version': 2})"
    if trainer.is_deepspeed_enabled:
        raise ValueError(f"update masks do not work under DeepSpeed, which hides the gradient of a tensor: {remedy}")
    if trainer.is_fsdp_enabled and not trainer.accelerator.is_fsdp2:
        raise ValueError(f"update masks rank tensors, which FSDP version 1 joins into one flat parameter: {remedy}")
    parallel = getattr(trainer.accelerator, "parallelism_config", None)
    kinds = [kind for kind in ("tp", "cp", "sp") if getattr(parallel, f"{kind}_enabled", False)]
    if kinds or trainer.is_distributed_loading_by_transformers:
        found = " and ".join(f"{kind}_size above 1" for kind in kinds) or "a model that transformers has sharded"
        raise ValueError(f"update masks need plain data parallelism, which {found} is not: {remedy}")


def warn_of_no_shards(trainer: Any) -> None:
    """FSDP that was asked for and is not there: accelerate has it for accelerators only."""
    asked = trainer.args.fsdp or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if asked and not trainer.is_fsdp_enabled:
        warnings.warn("accelerate leaves FSDP out on a CPU: weights are not in shards", stacklevel=3)


def save_method_state(optimizer: torch.optim.Optimizer, checkpoint: str | os.PathLike[str]) -> None:
    """Write what an optimizer's state dict has of mask and objective, which FSDP's checkpoints leave out.

    It is the same on all processes, so that one of them writes.
    """
    state = {k: v for k, v in optimizer.state_dict().items() if k not in ("state", "param_groups")}
    with replacing(Path(checkpoint) / METHOD_STATE) as partial:
        torch.save(state, partial)


@contextmanager
def restoring_method_state(optimizer: torch.optim.Optimizer, checkpoint: str | os.PathLike[str]) -> Iterator[None]:
    """Within this the moments of a checkpoint of FSDP are loaded; mask and objective get their state as well.

    Raises:
        ValueError: the state is that of another mask or objective, or there is none.
    """
    file = Path(checkpoint) / METHOD_STATE
    own = torch.load(file, weights_only=True) if file.exists() else {}
    selective = optimizer if isinstance(optimizer, SelectiveAdamW) else None
    mask = None if selective is None else selective.update_mask
    require_same_mask(own, mask)
    objective = {k: v for k, v in own.items() if k != "update_mask"}
    handle = optimizer.register_load_state_dict_pre_hook(lambda _, state: {**state, **objective}, prepend=True)
    if selective is not None:
        selective.update_mask = None  # torch makes the moments by a step that is none
    try:
        yield
    finally:
        handle.remove()
        if selective is not None:
            selective.update_mask = mask
    if mask is not None:
        mask.load_state_dict({k: v for k, v in own["update_mask"].items() if k != "kind"})
