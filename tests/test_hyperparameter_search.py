"""``hyperparameter_search``: what a trial sets is what it trains with, and its score is the evaluation's."""

from pathlib import Path

import optuna
import pytest
from transformers import TrainerCallback

from helpers import ROSES, arguments, dataset, make_model
from rosetune import RobustTrainer


class Watch(TrainerCallback):
    """What each trial trained with."""

    def __init__(self):
        self.rates, self.kept = [], []

    def on_train_end(self, args, state, control, optimizer=None, **kwargs):
        self.rates.append(optimizer.param_groups[0]["initial_lr"])
        mask = optimizer.optimizer.update_mask
        self.kept.append(mask.trace.multipliers[1:].sum(1).tolist())


def trainer_of(folder: Path, evaluation: str, watch: Watch, **kwargs) -> RobustTrainer:
    data = dataset(rows=24)
    args = arguments(
        folder,
        max_steps=4,
        eval_strategy=evaluation,
        eval_steps=2,
        update_mask="rose",
        **{"update_mask_kwargs": ROSES["second"], **kwargs},
    )
    return RobustTrainer(
        args=args, model_init=lambda: make_model(), train_dataset=data, eval_dataset=data, callbacks=[watch]
    )


@pytest.mark.parametrize("evaluation", ["no", "steps"])
def test_over_the_learning_rate(tmp_path, evaluation):
    watch = Watch()
    trainer = trainer_of(tmp_path, evaluation, watch)
    best = trainer.hyperparameter_search(
        lambda trial: {"learning_rate": trial.suggest_categorical("lr", [1e-2, 1e-3])},
        n_trials=2,
        sampler=optuna.samplers.GridSampler({"lr": [1e-2, 1e-3]}),
    )
    assert sorted(watch.rates) == [1e-3, 1e-2]
    scores = {}
    for rate in (1e-3, 1e-2):
        alone = trainer_of(tmp_path, evaluation, Watch(), learning_rate=rate)
        alone.train()
        scores[rate] = alone.evaluate()["eval_loss"]
    assert best.objective == min(scores.values())
    assert best.hyperparameters["lr"] == min(scores, key=lambda rate: scores[rate])


def test_over_the_options_of_the_mask(tmp_path):
    watch = Watch()
    trainer = trainer_of(tmp_path, "no", watch, update_mask_kwargs=None)

    def space(trial):
        return {"update_mask_kwargs": {**ROSES["second"], "upper": trial.suggest_categorical("upper", [0.25, 0.75])}}

    grid = optuna.samplers.GridSampler({"upper": [0.25, 0.75]})
    best = trainer.hyperparameter_search(space, n_trials=2, sampler=grid)
    # 16 targets, of which the first step keeps all.
    assert sorted(watch.kept) == [[4.0] * 3, [12.0] * 3]
    assert best.hyperparameters["upper"] in (0.25, 0.75)
    assert isinstance(best.objective, float)
