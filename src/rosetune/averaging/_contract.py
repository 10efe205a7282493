"""What the trainer asks of an averaging."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from transformers import TrainerCallback


class Averaging(TrainerCallback):
    """Which weights are kept? A callback that puts them into the model when training ends.

    :class:`~rosetune.RobustTrainer` calls the methods below beside those of a callback; none of them must do anything.

    Attributes:
        after_training: whether it takes no more than what a finished training leaves, so that a run of the command
            line that differs in it alone need not train again.
    """

    after_training: ClassVar[bool] = True

    def begin(self, model: Any, args: Any, *, sharded: bool = False) -> None:
        """See the model as it is before its training, and refuse what cannot be averaged.

        Args:
            args: of the trainer.
            sharded: whether the weights will lie in parts on several devices (FSDP, DeepSpeed).

        Raises:
            ValueError: this model or these arguments do not go with it.
        """
        if sharded:
            raise ValueError(
                "an averaging takes whole weights, not the shards of FSDP or DeepSpeed: use one device or "
                "DistributedDataParallel (accelerate launch)"
            )

    def follow(self, optimizer: torch.optim.Optimizer, model: Any) -> None:
        """Start anew with the weights of a model that this optimizer trains; its state dict carries the average's."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this, the model has the weights that would be kept now."""
        yield


def refuse_adapters(model: torch.nn.Module, name: str) -> None:
    """For what takes whole weights.

    Raises:
        ValueError: the model has adapters of peft.
    """
    if hasattr(model, "peft_config"):
        raise ValueError(
            f"averaging {name!r} takes whole weights, and the product of two averaged matrices of an adapter is not "
            "the average of their products: train without peft, or take 'ema'"
        )
