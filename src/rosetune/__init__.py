"""rosetune: robust fine-tuning of pre-trained language models, and honest evaluation of the gain."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rosetune.methods import OBJECTIVES, UPDATE_MASKS, Objective, ObjectiveOutput, UpdateMask
    from rosetune.methods.controls import RandomMask, StaticMask, UniformMask
    from rosetune.methods.cross_entropy import CrossEntropy
    from rosetune.methods.r_drop import RDrop
    from rosetune.methods.rose import Rose
    from rosetune.optim import SelectiveAdamW
    from rosetune.trainer import RobustTrainer, RobustTrainingArguments

# Importing torch and transformers takes seconds, so that a name is imported when it is first asked for.
_HOME = {
    "SelectiveAdamW": "rosetune.optim",
    "RobustTrainer": "rosetune.trainer",
    "RobustTrainingArguments": "rosetune.trainer",
    "Rose": "rosetune.methods.rose",
    "RandomMask": "rosetune.methods.controls",
    "StaticMask": "rosetune.methods.controls",
    "UniformMask": "rosetune.methods.controls",
    "CrossEntropy": "rosetune.methods.cross_entropy",
    "RDrop": "rosetune.methods.r_drop",
    "Objective": "rosetune.methods",
    "ObjectiveOutput": "rosetune.methods",
    "UpdateMask": "rosetune.methods",
    "OBJECTIVES": "rosetune.methods",
    "UPDATE_MASKS": "rosetune.methods",
}

__all__ = [
    "OBJECTIVES",
    "UPDATE_MASKS",
    "CrossEntropy",
    "Objective",
    "ObjectiveOutput",
    "RDrop",
    "RandomMask",
    "RobustTrainer",
    "RobustTrainingArguments",
    "Rose",
    "SelectiveAdamW",
    "StaticMask",
    "UniformMask",
    "UpdateMask",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'rosetune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
