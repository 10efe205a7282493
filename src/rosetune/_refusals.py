"""What a trainer refuses before its first step: what would bypass the method, and layouts that it cannot work on."""

import os
import warnings
from typing import Any, NoReturn

from transformers import TrainingArguments

from rosetune.augmentation import AugmentedDataset

OWN_LOSS = (
    "give class weights as objective_kwargs={'class_weights': [...]}, and any other loss as an Objective, "
    "RobustTrainer(objective=...)"
)


def refuse_bypasses(args: TrainingArguments, given: dict[str, Any], masked: bool) -> None:
    """Arguments of ``transformers.Trainer`` that objective, mask or augmentation would not survive.

    Args:
        given: by name, what the Trainer is made with.
        masked: whether there is an update mask.

    Raises:
        ValueError: there is one.
    """
    if given.get("compute_loss_func") is not None:
        raise ValueError(f"compute_loss_func would bypass the objective: {OWN_LOSS}")
    for name in ("optimizers", "optimizer_cls_and_kwargs") if masked else ():
        if given.get(name) not in (None, (None, None)):
            raise ValueError(f"{name} would bypass the update mask, which lives in SelectiveAdamW: leave it out")
    rows = given.get("train_dataset")
    named = getattr(args, "augmentation", None)
    if named is not None and rows is not None and not isinstance(rows, AugmentedDataset):
        raise ValueError(
            f"augmentation {named!r} changes texts, which a tokenised data set no longer has: give "
            "train_dataset=rosetune.AugmentedDataset(rows, text_columns, tokenizer, build_augmentation(args))"
        )


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


def refuse_own_weights(objective: str) -> NoReturn:
    """Weights of an objective's own, which FSDP does not know.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"FSDP leaves out the weights of {objective}'s own: use DistributedDataParallel")
