"""transformers' training arguments with the axes of a method, and what they name."""

from dataclasses import dataclass, field

from transformers import TrainingArguments

from rosetune._axes import AXES
from rosetune.augmentation import AUGMENTATIONS, Augmentation
from rosetune.averaging import AVERAGINGS, Averaging
from rosetune.methods import Objective, UpdateMask, build, build_from

__all__ = [
    "RobustTrainingArguments",
    "build_augmentation",
    "build_averaging",
    "build_objective",
    "build_update_mask",
]


@dataclass
class RobustTrainingArguments(TrainingArguments):
    """transformers' training arguments, with objective, update mask, augmentation and averaging by name.

    ``logging_nan_inf_filter`` is off (a non-finite loss is shown, not replaced) and ``ddp_broadcast_buffers`` too
    (several forwards in one step fail with it).

    Raises:
        ValueError: an unknown method or option.
    """

    _VALID_DICT_FIELDS = [  # noqa: RUF012 (no field, as in the base class)
        *TrainingArguments._VALID_DICT_FIELDS,
        "objective_kwargs",
        "update_mask_kwargs",
        "augmentation_kwargs",
        "averaging_kwargs",
    ]

    objective: str = field(default="cross_entropy", metadata={"help": AXES["objective"]})
    objective_kwargs: dict | str | None = field(default=None, metadata={"help": AXES["objective_kwargs"]})
    update_mask: str | None = field(default=None, metadata={"help": AXES["update_mask"]})
    update_mask_kwargs: dict | str | None = field(default=None, metadata={"help": AXES["update_mask_kwargs"]})
    augmentation: str | None = field(default=None, metadata={"help": AXES["augmentation"]})
    augmentation_kwargs: dict | str | None = field(default=None, metadata={"help": AXES["augmentation_kwargs"]})
    averaging: str | None = field(default=None, metadata={"help": AXES["averaging"]})
    averaging_kwargs: dict | str | None = field(default=None, metadata={"help": AXES["averaging_kwargs"]})
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Replace non-finite losses in the log by the mean of the finite ones."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ddp_broadcast_buffers is None:
            self.ddp_broadcast_buffers = False
        build_objective(self)
        build_update_mask(self)
        build_augmentation(self)
        build_averaging(self)


def build_objective(args: TrainingArguments) -> Objective:
    """The objective that the arguments name; plain ``TrainingArguments`` name cross-entropy."""
    name = getattr(args, "objective", "cross_entropy")
    kwargs = getattr(args, "objective_kwargs", None)
    return build("objective", name, kwargs, label_smoothing=args.label_smoothing_factor)


def build_update_mask(args: TrainingArguments) -> UpdateMask | None:
    """A fresh update mask of the kind that the arguments name, or None."""
    name = getattr(args, "update_mask", None)
    if name is None:
        if getattr(args, "update_mask_kwargs", None):
            raise ValueError("update_mask_kwargs is given without update_mask: name the mask as well")
        return None
    return build("update_mask", name, getattr(args, "update_mask_kwargs", None), seed=args.seed)


def build_augmentation(args: TrainingArguments) -> Augmentation | None:
    """The augmentation that the arguments name, or None."""
    name = getattr(args, "augmentation", None)
    if name is None:
        if getattr(args, "augmentation_kwargs", None):
            raise ValueError("augmentation_kwargs is given without augmentation: name the augmentation as well")
        return None
    return build_from("augmentation", AUGMENTATIONS, name, getattr(args, "augmentation_kwargs", None))


def build_averaging(args: TrainingArguments) -> Averaging | None:
    """A fresh averaging of the kind that the arguments name, or None."""
    name = getattr(args, "averaging", None)
    if name is None:
        if getattr(args, "averaging_kwargs", None):
            raise ValueError("averaging_kwargs is given without averaging: name the averaging as well")
        return None
    return build_from("averaging", AVERAGINGS, name, getattr(args, "averaging_kwargs", None))
