"""Averages of weights against their formulas, with a Trainer and in a plain loop."""

import copy
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import TrainerCallback

from helpers import StopAt, arguments, dataset, logged, make_model, same, train
from rosetune import AVERAGINGS, CheckpointMean, ExponentialMovingAverage, PretrainedInterpolation, RobustTrainer

DECAY = 0.8
EMA = {"averaging": "ema", "averaging_kwargs": {"decay": DECAY}}


class Weights(TrainerCallback):
    """The weights after every optimizer step."""

    def __init__(self):
        self.steps = []

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.steps.append({name: p.detach().double().clone() for name, p in model.named_parameters()})


def expected_average(steps):
    """sum_i d^(t - i) theta_i / sum_i d^(t - i)."""
    shares = [DECAY ** (len(steps) - 1 - i) for i in range(len(steps))]
    return {name: sum(s * w[name] for s, w in zip(shares, steps, strict=True)) / sum(shares) for name in steps[0]}


def close(model, weights):
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.double(), weights[name], rtol=0, atol=1e-6)


# --- the moving average -------------------------------------------------------------------------------------------


def test_ema_is_that_of_the_optimizer_steps_and_what_is_evaluated(tmp_path):
    """Under accumulation, a mask and a Trainer that evaluates after every second step."""
    weights, data = Weights(), dataset()
    more = {"max_steps": 4, "gradient_accumulation_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    args = arguments(tmp_path, **EMA, **more, update_mask="rose", per_device_train_batch_size=4)
    trainer = train(make_model(), args, data, eval_dataset=data, callbacks=[weights])
    assert len(weights.steps) == 4
    close(trainer.model, expected_average(weights.steps))
    evaluated = {e["step"]: e["eval_loss"] for e in trainer.state.log_history if "eval_loss" in e}
    assert evaluated.keys() == {2, 4}
    assert trainer.evaluate()["eval_loss"] == pytest.approx(evaluated[4], abs=1e-6)
    model, plain = make_model(), []
    for at in (expected_average(weights.steps[:2]), weights.steps[1]):
        model.load_state_dict({name: value.float() for name, value in at.items()}, strict=False)
        plain.append(RobustTrainer(model, arguments(tmp_path)).evaluate(data)["eval_loss"])
    assert evaluated[2] == pytest.approx(plain[0], abs=1e-6)
    assert abs(plain[0] - plain[1]) > 1e-4


def test_a_killed_and_resumed_average_is_the_uninterrupted_one(tmp_path):
    data, kwargs = dataset(), {**EMA, "max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = train(make_model(), arguments(tmp_path / "whole", **kwargs), data)
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), arguments(tmp_path / "cut", **kwargs), data, callbacks=[StopAt(3)])
    checkpoint = str(tmp_path / "cut" / "checkpoint-2")
    resumed = train(make_model(seed=9), arguments(tmp_path / "cut", **kwargs), data, resume=checkpoint)
    assert same(whole.model, resumed.model)
    assert logged(whole) == logged(resumed)
    assert not same(whole.model, train(make_model(), arguments(tmp_path, max_steps=4), data).model)
    other = {**kwargs, "averaging_kwargs": {"decay": 0.5}}
    with pytest.raises(ValueError, match=r"decay: 0.8 there, 0.5 here"):
        train(make_model(), arguments(tmp_path / "cut", **other), data, resume=checkpoint)
    torch.save({"state": {}, "param_groups": []}, tmp_path / "cut" / "checkpoint-2" / "optimizer.pt")
    with pytest.raises(ValueError, match="holds no average"):
        train(make_model(), arguments(tmp_path / "cut", **kwargs), data, resume=checkpoint)


def test_a_chosen_checkpoint_is_the_average_of_its_step(tmp_path):
    weights, data, scores = Weights(), dataset(), iter((0.1, 0.3, 0.2))
    choice = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, "max_steps": 3}
    choice |= {"load_best_model_at_end": True, "metric_for_best_model": "score", "greater_is_better": True}
    given = {"eval_dataset": data, "compute_metrics": lambda predicted: {"score": next(scores)}}
    trainer = train(make_model(), arguments(tmp_path, **EMA, **choice), data, callbacks=[weights], **given)
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-2")
    close(trainer.model, expected_average(weights.steps[:2]))


def test_ema_in_a_plain_loop_leaves_buffers_and_frozen_weights_as_the_model_has_them():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[0].bias.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    average, steps = ExponentialMovingAverage(DECAY), []
    average.follow(optimizer, model)
    with average.applied():  # before the first step
        pass
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(8, 3)).pow(2).mean().backward()
        optimizer.step()
        steps.append({name: p.detach().double().clone() for name, p in model.named_parameters()})
    last = copy.deepcopy(model)
    with average.applied():
        close(model, expected_average(steps))
    assert same(model, last)
    average.finish()
    close(model, expected_average(steps))
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), last.buffers(), strict=True))
    assert model[1].running_mean.abs().sum() > 0
    assert torch.equal(model[0].bias, last[0].bias)


# --- the mean of checkpoints --------------------------------------------------------------------------------------


def test_the_last_checkpoints_are_averaged(tmp_path):
    args = arguments(tmp_path, max_steps=5, save_strategy="steps", save_steps=2, save_total_limit=2)
    trainer = train(make_model(), args, dataset(), averaging=CheckpointMean(last=2))
    files = [load_file(tmp_path / f"checkpoint-{step}" / "model.safetensors") for step in (4, 5)]
    close(trainer.model, {name: (files[0][name].double() + files[1][name].double()) / 2 for name in files[0]})


def mean_of(folder, *steps):
    files = [load_file(folder / f"checkpoint-{step}" / "model.safetensors") for step in steps]
    return {name: sum(file[name].double() for file in files) / len(files) for name in files[0]}


def trained_mean(folder, data, last=2, resume=None, **options):
    """After 5 steps, with checkpoints at 2, 4 and 5."""
    args = arguments(folder, **{"max_steps": 5, "save_strategy": "steps", "save_steps": 2, **options})
    return train(make_model(), args, data, resume, averaging=CheckpointMean(last=last)).model


def test_checkpoints_of_an_earlier_training_are_no_part_of_the_mean(tmp_path):
    """Neither those of greater numbers nor those of smaller ones."""
    data = dataset()
    train(make_model(seed=7), arguments(tmp_path, max_steps=12, save_strategy="steps", save_steps=3), data)
    assert {path.name for path in tmp_path.glob("checkpoint-*")} >= {"checkpoint-3", "checkpoint-12"}
    close(trained_mean(tmp_path, data), mean_of(tmp_path, 4, 5))
    close(trained_mean(tmp_path, data, last=3), mean_of(tmp_path, 2, 4, 5))


@pytest.mark.parametrize("known", [True, False])
def test_a_resumed_training_counts_what_it_saved_before(tmp_path, known):
    """A checkpoint of an earlier version does not know: then all count that come before it."""
    data = dataset()
    whole = trained_mean(tmp_path / "whole", data, last=3)
    args = arguments(tmp_path / "cut", max_steps=5, save_strategy="steps", save_steps=2)
    train(make_model(seed=7), arguments(tmp_path / "cut", max_steps=9, save_strategy="steps", save_steps=3), data)
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), args, data, averaging=CheckpointMean(last=3), callbacks=[StopAt(4)])
    checkpoint = tmp_path / "cut" / "checkpoint-2"
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    if not known:
        del state["stateful_callbacks"]["CheckpointMean"]
        (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    resumed = trained_mean(tmp_path / "cut", data, last=3, resume=str(checkpoint))
    assert same(whole, resumed)
    close(resumed, mean_of(tmp_path / "cut", 2, 4, 5))
    again = {"restore_callback_states_from_checkpoint": True}
    later = trained_mean(tmp_path / "cut", data, last=3, resume=str(tmp_path / "cut" / "checkpoint-4"), **again)
    assert same(whole, later)


def test_a_checkpoint_that_is_gone_is_named(tmp_path):
    class Deletes(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            if state.global_step == 5:
                shutil.rmtree(tmp_path / "checkpoint-4")

    args = arguments(tmp_path, max_steps=5, save_strategy="steps", save_steps=1)
    with pytest.raises(ValueError, match=r"lacks checkpoint-4: keep more \(save_total_limit\)"):
        train(make_model(), args, dataset(), averaging=CheckpointMean(last=3), callbacks=[Deletes()])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"save_strategy": "no"}, "give a save_strategy"),
        ({"save_strategy": "steps", "save_total_limit": 2}, "give save_total_limit=3"),
        ({"save_strategy": "steps", "save_steps": 3}, r"saves 2 at save_steps=3: give save_steps=1"),
        (
            {"save_strategy": "steps", "eval_strategy": "steps", "load_best_model_at_end": True},
            "leave one of the two out",
        ),
    ],
)
def test_a_training_without_the_checkpoints_is_refused_before_it_begins(tmp_path, options, said):
    args = arguments(tmp_path, averaging="checkpoints", averaging_kwargs={"last": 3}, **options)
    weights = Weights()
    with pytest.raises(ValueError, match=said):
        train(make_model(), args, dataset(), eval_dataset=dataset(), callbacks=[weights])
    assert weights.steps == []


# --- the line to the pre-trained weights --------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_body_is_a_point_on_the_line_and_the_head_is_kept(tmp_path, alpha):
    start, weights = make_model(), Weights()
    before = {name: p.detach().double().clone() for name, p in start.named_parameters()}
    args = arguments(tmp_path, max_steps=2, averaging="pretrained", averaging_kwargs={"alpha": alpha})
    model = train(start, args, dataset(), callbacks=[weights]).model
    tuned = weights.steps[-1]
    for name, p in model.named_parameters():
        share = alpha if name.startswith("bert.") else 1.0
        expected = share * tuned[name] + (1 - share) * before[name]
        torch.testing.assert_close(p.double(), expected, rtol=0, atol=1e-7 if 0 < share < 1 else 0)
    assert not torch.equal(before["classifier.weight"], tuned["classifier.weight"])


def test_what_has_no_whole_weights_is_refused():
    for kind in AVERAGINGS.values():
        with pytest.raises(ValueError, match="FSDP or DeepSpeed"):
            kind().begin(make_model(), None, sharded=True)
    with pytest.raises(ValueError, match="does not find it in a Linear"):
        PretrainedInterpolation().begin(nn.Linear(2, 2), None)
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(make_model(), peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
    with pytest.raises(ValueError, match="train without peft, or take 'ema'"):
        PretrainedInterpolation().begin(adapted, None)
