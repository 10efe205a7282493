"""rosetune: robust fine-tuning of pre-trained language models, and honest evaluation of the gain."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rosetune.arguments import RobustTrainingArguments, build_augmentation, build_averaging
    from rosetune.augmentation import AUGMENTATIONS, AugmentedDataset, NoiseAugmentation, SubwordDropout
    from rosetune.averaging import (
        AVERAGINGS,
        Averaging,
        CheckpointMean,
        ExponentialMovingAverage,
        PretrainedInterpolation,
    )
    from rosetune.methods import (
        OBJECTIVES,
        UPDATE_MASKS,
        ChoosingMask,
        DenseMask,
        EarlyMask,
        Objective,
        ObjectiveOutput,
        ObservingMask,
        PreparedMask,
        StatefulObjective,
        TracedMask,
        UpdateMask,
    )
    from rosetune.methods._layers import freeze_below
    from rosetune.methods.child_tuning import ChildTuning
    from rosetune.methods.controls import LayerNormOnly, RandomMask, StaticMask, UniformMask
    from rosetune.methods.cross_entropy import CrossEntropy
    from rosetune.methods.freelb import FreeLB
    from rosetune.methods.latent_adversarial import LatentAdversarial
    from rosetune.methods.magma import Magma, RandomStep
    from rosetune.methods.match_tuning import MatchTuning
    from rosetune.methods.noise_consistency import NoiseConsistency
    from rosetune.methods.r3f import R3F
    from rosetune.methods.r_drop import RDrop
    from rosetune.methods.replay import ReplayedMask
    from rosetune.methods.rift import Rift
    from rosetune.methods.rose import Rose
    from rosetune.methods.smart import Smart
    from rosetune.optim import SelectiveAdamW
    from rosetune.robustness.face import attack, compare, evaluate
    from rosetune.runs.averages import averages
    from rosetune.runs.gate import gate
    from rosetune.runs.run import Run, find_runs
    from rosetune.runs.table import examples, scores
    from rosetune.trainer import RobustTrainer

# Importing torch and transformers takes seconds, so that a name is imported when it is first asked for.
_HOME = {
    "SelectiveAdamW": "rosetune.optim",
    "RobustTrainer": "rosetune.trainer",
    "RobustTrainingArguments": "rosetune.arguments",
    "build_augmentation": "rosetune.arguments",
    "build_averaging": "rosetune.arguments",
    "AUGMENTATIONS": "rosetune.augmentation",
    "AugmentedDataset": "rosetune.augmentation",
    "NoiseAugmentation": "rosetune.augmentation",
    "SubwordDropout": "rosetune.augmentation",
    "AVERAGINGS": "rosetune.averaging",
    "Averaging": "rosetune.averaging",
    "CheckpointMean": "rosetune.averaging",
    "ExponentialMovingAverage": "rosetune.averaging",
    "PretrainedInterpolation": "rosetune.averaging",
    "freeze_below": "rosetune.methods._layers",
    "Rose": "rosetune.methods.rose",
    "ChildTuning": "rosetune.methods.child_tuning",
    "LayerNormOnly": "rosetune.methods.controls",
    "RandomMask": "rosetune.methods.controls",
    "ReplayedMask": "rosetune.methods.replay",
    "StaticMask": "rosetune.methods.controls",
    "UniformMask": "rosetune.methods.controls",
    "CrossEntropy": "rosetune.methods.cross_entropy",
    "RDrop": "rosetune.methods.r_drop",
    "Smart": "rosetune.methods.smart",
    "FreeLB": "rosetune.methods.freelb",
    "Rift": "rosetune.methods.rift",
    "NoiseConsistency": "rosetune.methods.noise_consistency",
    "LatentAdversarial": "rosetune.methods.latent_adversarial",
    "Magma": "rosetune.methods.magma",
    "RandomStep": "rosetune.methods.magma",
    "MatchTuning": "rosetune.methods.match_tuning",
    "R3F": "rosetune.methods.r3f",
    "ChoosingMask": "rosetune.methods",
    "DenseMask": "rosetune.methods",
    "EarlyMask": "rosetune.methods",
    "Objective": "rosetune.methods",
    "ObjectiveOutput": "rosetune.methods",
    "ObservingMask": "rosetune.methods",
    "PreparedMask": "rosetune.methods",
    "ScaledMask": "rosetune.methods",
    "SparingMask": "rosetune.methods",
    "StatefulObjective": "rosetune.methods",
    "TracedMask": "rosetune.methods",
    "UpdateMask": "rosetune.methods",
    "OBJECTIVES": "rosetune.methods",
    "UPDATE_MASKS": "rosetune.methods",
    "attack": "rosetune.robustness.face",
    "compare": "rosetune.robustness.face",
    "evaluate": "rosetune.robustness.face",
    "Run": "rosetune.runs.run",
    "find_runs": "rosetune.runs.run",
    "averages": "rosetune.runs.averages",
    "gate": "rosetune.runs.gate",
    "scores": "rosetune.runs.table",
    "examples": "rosetune.runs.table",
}

__all__ = [
    "AUGMENTATIONS",
    "AVERAGINGS",
    "OBJECTIVES",
    "R3F",
    "UPDATE_MASKS",
    "AugmentedDataset",
    "Averaging",
    "CheckpointMean",
    "ChildTuning",
    "ChoosingMask",
    "CrossEntropy",
    "DenseMask",
    "EarlyMask",
    "ExponentialMovingAverage",
    "FreeLB",
    "LatentAdversarial",
    "LayerNormOnly",
    "Magma",
    "MatchTuning",
    "NoiseAugmentation",
    "NoiseConsistency",
    "Objective",
    "ObjectiveOutput",
    "ObservingMask",
    "PreparedMask",
    "PretrainedInterpolation",
    "RDrop",
    "RandomMask",
    "RandomStep",
    "ReplayedMask",
    "Rift",
    "RobustTrainer",
    "RobustTrainingArguments",
    "Rose",
    "Run",
    "ScaledMask",
    "SelectiveAdamW",
    "Smart",
    "SparingMask",
    "StatefulObjective",
    "StaticMask",
    "SubwordDropout",
    "TracedMask",
    "UniformMask",
    "UpdateMask",
    "__version__",
    "attack",
    "averages",
    "build_augmentation",
    "build_averaging",
    "compare",
    "evaluate",
    "examples",
    "find_runs",
    "freeze_below",
    "gate",
    "scores",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'rosetune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
