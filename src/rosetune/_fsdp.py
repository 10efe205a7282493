"""The state of mask and objective beside checkpoints of weights in shards (FSDP2 through accelerate)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from rosetune._files import replacing
from rosetune.optim import SelectiveAdamW, require_same_mask

METHOD_STATE = "method_state.pt"


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
