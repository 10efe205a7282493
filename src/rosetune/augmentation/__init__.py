"""Augmentations, each by its name: which rows are seen in training?

Any of them goes with any objective and any update mask. A new one is one file here and one line below.
"""

from rosetune.augmentation.dataset import Augmentation, AugmentedDataset
from rosetune.augmentation.noise import NoiseAugmentation
from rosetune.augmentation.subword import SubwordDropout

__all__ = ["AUGMENTATIONS", "Augmentation", "AugmentedDataset", "NoiseAugmentation", "SubwordDropout"]

AUGMENTATIONS: dict[str, type] = {
    "noise": NoiseAugmentation,
    "subword_dropout": SubwordDropout,
}
