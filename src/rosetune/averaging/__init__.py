"""Averagings, each by its name: which weights are kept?

Any of them goes with any objective, update mask and augmentation. A new one is one file here and one line below.
"""

from rosetune.averaging._contract import Averaging
from rosetune.averaging.checkpoints import CheckpointMean
from rosetune.averaging.ema import ExponentialMovingAverage
from rosetune.averaging.pretrained import PretrainedInterpolation

__all__ = ["AVERAGINGS", "Averaging", "CheckpointMean", "ExponentialMovingAverage", "PretrainedInterpolation"]

AVERAGINGS: dict[str, type] = {
    "ema": ExponentialMovingAverage,
    "checkpoints": CheckpointMean,
    "pretrained": PretrainedInterpolation,
}
