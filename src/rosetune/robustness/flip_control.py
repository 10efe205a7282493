"""What a claim of robustness must beat without any training: label flips, and early stopping."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from rosetune.robustness.resampling import Floats, check_level, cluster_sums, quantiles, resampled_means
from rosetune.robustness.significance import correctness

__all__ = ["FlipControl", "flip_control", "flip_control_under_attack", "flipped_accuracy", "robust_at_equal_clean"]


def flipped_accuracy(clean: float, clean_after: float, adversarial: float, classes: int) -> float:
    """Adversarial accuracy of a model whose predictions are flipped at random until its clean accuracy has sunk.

    With probability q a prediction is replaced by one of the C - 1 other labels, all alike likely. A share 1 - q of
    the right ones stays right, and q / (C - 1) of the wrong ones become right:

        a' = (1 - q) a + q (1 - a) / (C - 1)    or    a' - 1/C = (1 - q C / (C - 1)) (a - 1/C)

    so that every accuracy shrinks toward chance by the same factor, whatever the set. The factor is known from the
    clean accuracies, and what it makes of the adversarial accuracy v follows:

        v' = 1/C + (v - 1/C) (clean_after - 1/C) / (clean - 1/C)

    Where v lies below chance, as on AdvGLUE, noise raises it. (A flip to any of the C labels needs a larger q and ends
    at the same v'. Noise that falls mostly on unsure predictions would raise v further: this control is the least that
    a gain must beat.) Without a loss of clean accuracy nothing is flipped; a loss beyond chance counts as chance.

    Args:
        clean: accuracy of the plain model on clean examples, in [0, 1].
        clean_after: clean accuracy of the robust model, at whose cost the flips come.
        adversarial: accuracy of the plain model on the adversarial set.
        classes: number of labels C.

    Raises:
        ValueError: an accuracy outside [0, 1], fewer than two classes, or a plain model no better than chance.
    """
    if classes < 2 or not all(0 <= share <= 1 for share in (clean, clean_after, adversarial)):
        raise ValueError("accuracies lie in [0, 1], of at least two classes")
    if clean <= 1 / classes:
        raise ValueError(f"a clean accuracy of {clean:.3f} is chance for {classes} classes: no flips can lower it")
    return float(_flipped(np.array(clean), np.array(clean_after), np.array(adversarial), classes))


@dataclass(frozen=True)
class FlipControl:
    """What a robust model shows beyond the label flips that cost as much clean accuracy.

    Attributes:
        flipped: adversarial accuracy of the flipped plain model, see :func:`flipped_accuracy`; ``robust``: that of the
            robust model; ``excess``: robust minus flipped.
        low, high: interval of the excess.
        gain_low: lower end of the interval of flipped minus the plain model's adversarial accuracy.
        flip_rate: share of predictions flipped to another label.
    """

    flipped: float
    robust: float
    excess: float
    low: float
    high: float
    flip_rate: float
    gain_low: float


def flip_control(
    clean_plain: ArrayLike,
    clean_robust: ArrayLike,
    adversarial_plain: ArrayLike,
    adversarial_robust: ArrayLike,
    classes: int,
    *,
    clusters: Sequence[Hashable] | None = None,
    same_examples: bool = False,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> FlipControl:
    """The analytic flip control, with a bootstrap interval over clean examples and clusters of adversarial ones.

    Args:
        clean_plain, clean_robust: shape (n,), 1 where the plain, the robust model is right on a clean example.
        adversarial_plain, adversarial_robust: shape (m,), the same on the adversarial set.
        classes: number of labels.
        clusters: a key per adversarial example.
        same_examples: both sets hold the same examples in the same order, as noise makes them of clean ones: then they
            are drawn together.
        level, resamples, seed: as in :func:`~rosetune.robustness.statistics.estimate`.

    Raises:
        ValueError: as :func:`flipped_accuracy`; no examples, different lengths, or values other than 0 and 1.
    """
    check_level(level)
    clean = np.concatenate(correctness(clean_plain, clean_robust))
    adversarial = np.concatenate(correctness(adversarial_plain, adversarial_robust))
    before, after, plain, robust = (float(side.mean()) for side in (*clean, *adversarial))
    flipped = flipped_accuracy(before, after, plain, classes)
    rng = np.random.default_rng(seed)
    tables = [(clean, None), (adversarial, clusters)]
    if same_examples:
        tables = [(np.concatenate([clean, adversarial]), clusters)]
    drawn = [
        means
        for table, keys in tables
        for means in resampled_means(*cluster_sums(table, keys), resamples, rng, lambda rows, count: rows @ count.T)
    ]
    flips = _flipped(drawn[0], drawn[1], drawn[2], classes)
    low, high = quantiles(drawn[3] - flips, level)
    gain_low, _ = quantiles(flips - drawn[2], level)
    lost = min(max(before - after, 0.0), before - 1 / classes) / (before - 1 / classes)
    return FlipControl(flipped, robust, robust - flipped, low, high, lost * (classes - 1) / classes, gain_low)


def flip_control_under_attack(
    clean_plain: ArrayLike,
    clean_robust: ArrayLike,
    withstood_plain: ArrayLike,
    wrong_plain: ArrayLike,
    withstood_robust: ArrayLike,
    classes: int,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> FlipControl:
    """At most what label flips that cost as much clean accuracy would leave of accuracy under attack.

    The flipped model answers with another label on a share q of the examples, on each of them for every change of
    its text. Where the plain model withstood the attack it is then wrong from the start; where it was wrong it is
    right with probability 1 / (C - 1), and nobody has attacked it there: such a row counts as withstood. So with r the
    share that withstood and w the share that was wrong before the attack

        r' <= (1 - q) r + q w / (C - 1),    q = (C - 1) / C (clean - clean_after) / (clean - 1 / C)

    which is no more than r unless more rows are wrong than withstand. A row that was broken stays so.

    Args:
        clean_plain, clean_robust, classes: as in :func:`flip_control`.
        withstood_plain, withstood_robust: shape (m,), 1 where the plain, the robust model withstood the attack.
        wrong_plain: 1 where the plain model was wrong before it.
        clusters, level, resamples, seed: as there.

    Raises:
        ValueError: as there.
    """
    check_level(level)
    clean = np.concatenate(correctness(clean_plain, clean_robust))
    attacked = np.concatenate(
        [*correctness(withstood_plain, withstood_robust), correctness(wrong_plain, wrong_plain)[0]]
    )
    before, after, plain, robust, wrong = (float(side.mean()) for side in (*clean, *attacked))
    flipped_accuracy(before, after, plain, classes)  # which refuses what is out of range

    def rate(clean: Floats, after: Floats) -> Floats:
        above = clean - 1 / classes
        kept = np.where(above > 0, (after - 1 / classes) / np.where(above > 0, above, 1), 1)
        return (1 - np.clip(kept, 0, 1)) * (classes - 1) / classes

    q = rate(np.array(before), np.array(after))
    flipped = float((1 - q) * plain + q * wrong / (classes - 1))
    rng = np.random.default_rng(seed)
    drawn = [
        means
        for table, keys in ((clean, None), (attacked, clusters))
        for means in resampled_means(*cluster_sums(table, keys), resamples, rng, lambda rows, count: rows @ count.T)
    ]
    rates = rate(drawn[0], drawn[1])
    flips = (1 - rates) * drawn[2] + rates * drawn[4] / (classes - 1)
    low, high = quantiles(drawn[3] - flips, level)
    gain_low, _ = quantiles(flips - drawn[2], level)
    return FlipControl(flipped, robust, robust - flipped, low, high, float(q), gain_low)


def robust_at_equal_clean(points: Sequence[tuple[float, float]], clean: float) -> list[float]:
    """Robust accuracy wherever a training run passes through a given clean accuracy, in the order of training.

    Between two checkpoints both accuracies are taken to move along a straight line. Clean accuracy may rise and fall,
    so there may be several passages: the first is early stopping at equal clean accuracy, the largest value is what a
    claim must beat. Nothing is extrapolated: a level that the run never reaches gives an empty list.

    Args:
        points: (clean, robust) of every checkpoint, in the order of training.
        clean: the level.

    Raises:
        ValueError: no points, or values that are not finite.
    """
    if not points or not np.isfinite(np.asarray([*points, (clean, clean)], dtype=float)).all():
        raise ValueError("finite (clean, robust) points and a finite level are needed")
    found = [points[0][1]] if points[0][0] == clean else []
    for (x0, y0), (x1, y1) in pairwise(points):
        if x1 == clean:
            found.append(y1)
        elif (x0 - clean) * (x1 - clean) < 0:
            found.append(y0 + (y1 - y0) * (clean - x0) / (x1 - x0))
    return [float(value) for value in found]


def _flipped(clean: Floats, after: Floats, adversarial: Floats, classes: int) -> Floats:
    # A resample may hold a plain model no better than chance: nothing is flipped there.
    above = clean - 1 / classes
    kept = np.where(above > 0, (after - 1 / classes) / np.where(above > 0, above, 1), 1)
    return 1 / classes + (adversarial - 1 / classes) * np.clip(kept, 0, 1)
