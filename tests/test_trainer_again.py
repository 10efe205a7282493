"""RobustTrainer trained again, after an attempt that failed or from a checkpoint; subclasses that bypass it."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn
from transformers import TrainerCallback, set_seed

from helpers import ROSES, arguments, dataset, make_model, same, trace_of, train
from rosetune import (
    ChildTuning,
    FreeLB,
    ObservingMask,
    PreparedMask,
    RandomMask,
    RobustTrainer,
    Rose,
    Smart,
    TracedMask,
)

CHILD = {"update_mask": "child_tuning", "update_mask_kwargs": {"reserve": 0.3}}


def failing(model, at, error):
    """The model, whose forward number ``at`` raises."""
    forward, calls = model.forward, []

    def fails(*args, **kwargs):
        calls.append(1)
        if len(calls) == at:
            raise error
        return forward(*args, **kwargs)

    fails.__signature__ = inspect.signature(forward)
    model.forward = fails
    return model


class StopIn(TrainerCallback):
    """An interruption in the middle of a step, once."""

    def __init__(self, step):
        self.step = step

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            self.step = None
            raise KeyboardInterrupt


@pytest.mark.parametrize("at", [2, 6], ids=["first batches", "end of the pass"])
def test_child_tuning_sees_the_data_again_after_an_attempt_that_failed_in_its_pass(tmp_path, at):
    args = arguments(tmp_path, **CHILD)
    trainer = RobustTrainer(failing(make_model(), at, KeyboardInterrupt()), args, train_dataset=dataset())
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert not trainer.update_mask.prepared
    whole = RobustTrainer(make_model(), args, train_dataset=dataset())
    for each in (trainer, whole):
        set_seed(0)
        each.train()
    assert same(trainer.model, whole.model)


def test_child_tuning_finds_a_batch_size(tmp_path):
    model = failing(make_model(), 2, RuntimeError("CUDA out of memory."))
    trainer = train(model, arguments(tmp_path, auto_find_batch_size=True, **CHILD), dataset())
    assert trainer.state.global_step == 6
    assert trainer.update_mask.prepared


@pytest.mark.parametrize("objective", ["cross_entropy", "smart", "freelb", "r_drop"])
def test_a_step_cut_in_its_middle_is_done_again_in_full(tmp_path, objective):
    """The same trainer goes on from the checkpoint before that step: no observation and no count of it stays."""
    kwargs = {"objective": objective, "update_mask": "rose", "update_mask_kwargs": ROSES["ensemble"]}
    if objective == "smart":
        kwargs["objective_kwargs"] = {"bregman_weight": 0.5, "noise_std": 0.02, "epsilon": 0.05, "step_size": 0.1}
    saving = {"save_strategy": "steps", "save_steps": 3}
    whole = train(make_model(), arguments(tmp_path / "whole", **kwargs, **saving), dataset())
    args = arguments(tmp_path / "cut", **kwargs, **saving)
    trainer = RobustTrainer(make_model(), args, train_dataset=dataset(), callbacks=[StopIn(step=3)])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-3"))
    assert same(whole.model, trainer.model)
    np.testing.assert_array_equal(trace_of(whole).multipliers, trace_of(trainer).multipliers)
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (whole, trainer)]
    assert losses[0] == losses[1]


def test_a_second_training_has_the_schedule_of_its_own_length(tmp_path):
    """SMART's momentum: 0.1 in the first tenth of the steps, 0.9 later; theta~ starts at the weights of its start."""
    used = []

    class Watched(Smart):
        def begin_step(self, model):
            before = None if self._step == 0 else {k: v.clone() for k, v in self._averaged.state_dict().items()}
            super().begin_step(model)
            after, name = self._averaged.state_dict(), "classifier.weight"
            weight = dict(model.named_parameters())[name]
            if before is None:
                used.append(torch.equal(after[name], weight))
            else:
                used.append(((after[name] - weight).norm() / (before[name] - weight).norm()).item())

    objective = Watched(momentum=(0.1, 0.9), adversarial_weight=0)
    trainer = train(make_model(), arguments(tmp_path, max_steps=10), dataset(), objective=objective)
    trainer.args.max_steps = 20
    trainer.train()
    assert used[0] is True
    assert used[10] is True
    assert used[1:10] == pytest.approx([0.1] + [0.9] * 8, rel=1e-2)
    assert used[11:] == pytest.approx([0.1] * 2 + [0.9] * 17, rel=1e-2)


def test_a_second_training_waits_for_freelb_again(tmp_path):
    trainer = train(make_model(), arguments(tmp_path, max_steps=3), dataset(), objective=FreeLB(start_step=2))
    ascents = [["last_pass" in e for e in trainer.state.log_history if "loss" in e]]
    trainer.train()
    ascents.append(["last_pass" in e for e in trainer.state.log_history if "loss" in e])
    assert ascents == [[False, False, True]] * 2


def test_an_optimizer_of_the_users_own_carries_the_objective(tmp_path):
    def go(folder, resume=None):
        model = make_model()
        args = arguments(tmp_path / folder, save_strategy="steps", save_steps=3)
        adam = torch.optim.AdamW(model.parameters(), lr=1e-2)
        objective = FreeLB(start_step=4)
        return train(model, args, dataset(), resume, objective=objective, optimizers=(adam, None))

    whole, resumed = go("a"), go("b", str(tmp_path / "a" / "checkpoint-3"))
    assert same(whole.model, resumed.model)


@pytest.mark.parametrize(("then", "here"), [("rose", "none"), ("none", "rose")])
def test_a_resume_without_the_mask_or_with_one_more_is_refused(tmp_path, then, here):
    def go(mask, resume=None):
        args = arguments(tmp_path, update_mask=None if mask == "none" else mask, save_strategy="steps", save_steps=3)
        train(make_model(), args, dataset(), resume)

    go(then)
    kinds = {"rose": "Rose", "none": "none"}
    with pytest.raises(ValueError, match=f"update mask {kinds[then]}, but the optimizer has {kinds[here]}: resume"):
        go(here, str(tmp_path / "checkpoint-3"))


@pytest.mark.parametrize(
    ("kwargs", "what"),
    [
        ({"update_mask": "rose"}, "the update mask would start anew"),
        ({"objective": "smart"}, "Smart would start anew"),
        ({"objective": "smart", "update_mask": "child_tuning"}, "the update mask and Smart would start anew"),
    ],
)
def test_a_checkpoint_without_state_is_no_place_to_resume_from(tmp_path, kwargs, what):
    """The Trainer would go on in silence, its moments, mask and objective fresh in the middle of the schedule."""
    saving = {"save_strategy": "steps", "save_steps": 3, "save_only_model": True}
    train(make_model(), arguments(tmp_path / "a", **kwargs, **saving), dataset())
    checkpoint = str(tmp_path / "a" / "checkpoint-3")
    with pytest.raises(ValueError, match=f"checkpoint-3 holds no state of optimizer and schedule.*: {what}"):
        train(make_model(), arguments(tmp_path / "b", **kwargs, **saving), dataset(), checkpoint)


def test_without_a_method_a_checkpoint_without_state_is_warned_of(tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 3, "save_only_model": True}
    train(make_model(), arguments(tmp_path / "a", **saving), dataset())
    with pytest.warns(UserWarning, match="training goes on with a fresh optimizer and schedule"):
        train(make_model(), arguments(tmp_path / "b", **saving), dataset(), str(tmp_path / "a" / "checkpoint-3"))


class Weighted(RobustTrainer):
    """The usual idiom for class weights."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = nn.functional.cross_entropy(outputs.logits, labels, weight=torch.tensor([1.0, 9.0]))
        return (loss, outputs) if return_outputs else loss


@pytest.mark.parametrize(
    "method",
    [
        {"objective": "freelb"},
        {"objective_kwargs": {"label_smoothing": 0.1}},
        {"update_mask": "rose"},
        {"update_mask": "random"},
        {"objective": "smart", "update_mask": "rose"},
    ],
)
def test_a_compute_loss_that_bypasses_the_method_is_refused_before_any_step(tmp_path, method):
    model = make_model()
    trainer = Weighted(model, arguments(tmp_path, **method), train_dataset=dataset())
    with pytest.raises(ValueError, match=r"Weighted.compute_loss bypasses .* objective_kwargs=\{'class_weights'"):
        trainer.train()
    assert same(model, make_model())


def test_without_a_method_it_is_the_trainers_own_matter_and_the_remedy_gives_the_same(tmp_path):
    args = arguments(tmp_path)
    own = Weighted(make_model(), args, train_dataset=dataset())
    own.train()
    remedy = train(make_model(), arguments(tmp_path, objective_kwargs={"class_weights": [1.0, 9.0]}), dataset())
    assert same(own.model, remedy.model)


def test_a_compute_loss_that_calls_ours_is_welcome(tmp_path):
    class Halved(RobustTrainer):
        def compute_loss(self, *args, **kwargs):
            return super().compute_loss(*args, **kwargs) / 2

    args = arguments(tmp_path, update_mask="rose")
    trainer = Halved(make_model(), args, train_dataset=dataset())
    trainer.train()
    whole = train(make_model(), args, dataset())
    first = [next(e["loss"] for e in t.state.log_history if "loss" in e) for t in (trainer, whole)]
    assert first[0] == pytest.approx(first[1] / 2, rel=1e-4)


def test_an_optimizer_that_knows_no_mask_is_refused(tmp_path):
    class Own(RobustTrainer):
        def create_optimizer(self, model=None):
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
            return self.optimizer

    with pytest.raises(ValueError, match=r"SGD.*leave create_optimizer to RobustTrainer"):
        Own(make_model(), arguments(tmp_path, update_mask="rose"), train_dataset=dataset()).train()
    trainer = train(make_model(), arguments(tmp_path), dataset())
    trainer.args.update_mask = "rose"
    with pytest.raises(ValueError, match=r"AdamW.*set trainer.optimizer = None"):
        trainer.train()
    trainer.optimizer = None
    trainer.train()
    assert trainer.update_mask is not None


class Foreign:
    """A mask of somebody else's that observes: no class of this package, known by what it can do."""

    freezes_update, needs = True, frozenset({"consistency"})

    def __init__(self):
        self.calls = []

    def observe(self, optimizer, *, consistency=None, task_loss=None):
        self.calls.append("observe")

    def discard(self):
        self.calls.append("discard")

    def discard_used(self, optimizer):
        self.calls.append("discard_used")

    def __call__(self, optimizer):
        self.calls.append("step")
        return {}

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_trainer_and_optimizer_know_an_observing_mask_by_what_it_can_do(tmp_path):
    assert isinstance(Foreign(), ObservingMask)
    assert not isinstance(Foreign(), TracedMask | PreparedMask)
    assert isinstance(Rose(), ObservingMask)
    assert isinstance(Rose(), TracedMask)
    assert not isinstance(RandomMask(), ObservingMask | TracedMask | PreparedMask)
    args = arguments(tmp_path, max_steps=2, gradient_accumulation_steps=2)
    trainer = train(make_model(), args, dataset(), update_mask=Foreign())
    trainer.optimizer.zero_grad()
    assert trainer.update_mask.calls == [*["discard", "observe", "observe", "step"] * 2, "discard_used"]


def test_the_mask_in_use_can_be_looked_at(tmp_path):
    trainer = RobustTrainer(make_model(), arguments(tmp_path, **CHILD), train_dataset=dataset())
    assert trainer.update_mask is None
    trainer.train()
    assert isinstance(trainer.update_mask, ChildTuning)
