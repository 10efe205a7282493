"""The life of a mask: which tensors it keeps, how steady that is, and what the ranking is made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from rosetune._auto_threshold import AUTO, auto_count
from rosetune.analysis.layers import kind_of, layer_of, order_of_layers
from rosetune.mask_trace import MaskTrace

__all__ = [
    *("PairAgreement", "agreement", "agreement_by_lag", "by_layer_and_kind", "chance_agreement", "kept_by"),
    *("over_time", "pair_agreement", "rank_correlation", "share_named"),
]


def kept_by(risk: np.ndarray, upper: float | str) -> np.ndarray:
    """Shape (n,): 1 for the floor(upper n + 1e-9) tensors of lowest risk; ties follow the order, NaN is last.

    Args:
        upper: a share, or "auto" for as many as :func:`~rosetune._auto_threshold.auto_count` keeps of these risks.
    """
    # As rosetune.methods keeps them.
    count = auto_count(risk.tolist()) if isinstance(upper, str) else int(upper * len(risk) + 1e-9)
    kept = np.zeros(len(risk))
    kept[np.argsort(risk, kind="stable")[:count]] = 1.0
    return kept


def share_named(upper: object, otherwise: float) -> float | str:
    """A share of tensors as :func:`kept_by` takes it: a number, or "auto".

    Args:
        upper: as a run's options have it. A static mask that follows a trace has none.
        otherwise: what stands for anything else.
    """
    if isinstance(upper, int | float) and not isinstance(upper, bool):
        return float(upper)
    return AUTO if upper == AUTO else otherwise


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """1 - mean |a - b| of two masks: of masks of zeros and ones the share of tensors that are treated alike.

    Of other multipliers it is more than that share: 0.5 beside 1 counts half.
    """
    return float(1 - np.abs(a - b).mean())


def chance_agreement(multipliers: np.ndarray) -> float:
    """The agreement of a mask with itself after its tensors have been exchanged at random, a mean over steps.

    For a mask that keeps a share p it is 1 - 2 p (1 - p).

    Args:
        multipliers: shape (steps, n).
    """
    ordered = np.sort(multipliers, axis=1)
    n = ordered.shape[1]
    # The mean of |a_i - a_j| over all pairs, from sorted values.
    weights = 2 * np.arange(n) - n + 1
    return float(1 - (2 * (ordered @ weights) / n**2).mean())


def agreement_by_lag(trace: MaskTrace, lags: Sequence[int]) -> np.ndarray:
    """Shape (lags,): the mean agreement of steps that lie so far apart; NaN where the trace is too short."""
    m = trace.multipliers
    return np.array([agreement(m[lag:], m[:-lag]) if 0 < lag < len(m) else np.nan for lag in lags])


@dataclass(frozen=True)
class PairAgreement:
    """What two runs' masks of the same tensors have in common.

    Attributes:
        rank_correlation: Spearman's, over the tensors, of how often each was kept; by chance 0. NaN where all tensors
            of a run were kept alike.
        by_step: mean agreement of the masks of the same step.
        by_chance: likewise, once the tensors of one of them have been exchanged at random.
        steps: that both runs have.
    """

    rank_correlation: float
    by_step: float
    by_chance: float
    steps: int


def pair_agreement(one: MaskTrace, other: MaskTrace) -> PairAgreement:
    """Compare the masks of two runs.

    Raises:
        ValueError: they have not the same tensors.
    """
    if {*one.names} != {*other.names}:
        raise ValueError("the runs have not the same tensors")
    order = [other.names.index(name) for name in one.names]
    steps = min(len(one.multipliers), len(other.multipliers))
    a, b = one.multipliers[:steps], other.multipliers[:steps, order]
    # Exchanged at random, each tensor of one meets each of the other equally often.
    chance = 1 - float(np.mean([np.abs(np.subtract.outer(x, y)).mean() for x, y in zip(a, b, strict=True)]))
    correlation = rank_correlation(one.share_kept(), other.share_kept()[order])
    return PairAgreement(correlation, agreement(a, b), chance, steps)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's; NaN where one of them has but one value."""
    return float("nan") if not np.ptp(a) or not np.ptp(b) else float(spearmanr(a, b).statistic)


def over_time(trace: MaskTrace, windows: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean multiplier of each tensor in stretches of the training, whose lengths differ by a step at most.

    Returns:
        The step, counted from 1, in which each stretch begins, and its length in steps, both of shape (w,), and the
        means, shape (w, n); w is at most ``windows``.
    """
    parts = np.array_split(np.arange(len(trace.multipliers)), min(windows, len(trace.multipliers)))
    means = np.stack([trace.multipliers[part].mean(axis=0) for part in parts])
    return np.array([part[0] + 1 for part in parts]), np.array([len(part) for part in parts]), means


def by_layer_and_kind(names: Sequence[str], values: np.ndarray) -> tuple[list[str], list[str], np.ndarray]:
    """Kinds of tensors, layers, and the mean value of each, shape (kinds, layers); NaN where a layer lacks a kind."""
    kinds, layers = [*dict.fromkeys(map(kind_of, names))], order_of_layers(map(layer_of, names))
    cells: dict[tuple[str, str], list[float]] = {}
    for name, value in zip(names, values, strict=True):
        cells.setdefault((kind_of(name), layer_of(name)), []).append(float(value))
    table = [[np.mean(cells[k, la]) if (k, la) in cells else np.nan for la in layers] for k in kinds]
    return kinds, layers, np.array(table)
