"""Optuna's samplers, so seeded that a search which was killed goes on as if it had not been."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from rosetune.experiments.search_space import Dimension

__all__ = ["SeededSampler", "distribution", "make_sampler"]


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension as Optuna has it."""
    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    if dimension.whole:
        return IntDistribution(
            int(dimension.low), int(dimension.high), log=dimension.log, step=int(dimension.step or 1)
        )
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def make_sampler(name: str, seed: int, points: Sequence[Mapping[str, Any]] | None = None) -> BaseSampler:
    """One of ``SAMPLERS`` by name.

    Args:
        seed: of the draws, and of the order in which a grid is gone through.
        points: of a grid.
    """
    if points is not None:
        return _Grid([points[i] for i in np.random.default_rng(seed).permutation(len(points))])
    return SeededSampler({"tpe": TPESampler, "random": RandomSampler}[name], seed)


class SeededSampler(BaseSampler):
    """A sampler whose draws for a trial follow from the seed, the trial's number and the trials before it alone.

    Optuna's own samplers go on drawing from one generator, whose state is lost when the process ends.
    """

    def __init__(self, make: Callable[..., BaseSampler], seed: int) -> None:
        self._make, self._seed = make, seed

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._fresh(trial, "").infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._fresh(trial, "").sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._fresh(trial, param_name).sample_independent(study, trial, param_name, param_distribution)

    def _fresh(self, trial: FrozenTrial, name: str) -> BaseSampler:
        entropy = [self._seed, trial.number, *name.encode()]
        return self._make(seed=int(np.random.SeedSequence(entropy).generate_state(1)[0]))


class _Grid(BaseSampler):
    """The points one after the other, by the number of the trial.

    Optuna's own leaves out a point whose trial was killed.
    """

    def __init__(self, points: Sequence[Mapping[str, Any]]) -> None:
        self._points = points

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._points[trial.number % len(self._points)][param_name]
