"""What every objective with every update mask must do, for each entry of both dicts.

A new method is in this suite as soon as it is in its dict; options for it go into OPTIONS.
"""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import TrainerCallback
from transformers.modeling_outputs import SequenceClassifierOutput

from helpers import ROSES, arguments, dataset, same, trace_of, train
from rosetune import RobustTrainer
from rosetune.methods import OBJECTIVES, UPDATE_MASKS

# Several variants of a method, or options without which it does nothing.
OPTIONS = {
    "rose": {**ROSES, "corrected": {"order": "ensemble", "second_order": "corrected", "trace": True}},
    "static": {"upper": {"upper": 0.5}, "frozen": {"frozen": "."}},
}
MASKS = {"none": {}} | {
    f"{name}-{variant}" if variant else name: {"update_mask": name, "update_mask_kwargs": options}
    for name in UPDATE_MASKS
    for variant, options in OPTIONS.get(name, {"": {}}).items()
}

every_objective = pytest.mark.parametrize("objective", OBJECTIVES)
every_mask = pytest.mark.parametrize("mask", MASKS)


class RowNoise(nn.Module):
    """A classifier with noise in the place of dropout that depends on the row's content and on the pass alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(100, 16)
        self.layer = nn.ModuleList(nn.Linear(16, 16) for _ in range(6))
        self.head = nn.Linear(16, 2)
        self.double()

    def forward(self, input_ids, attention_mask, labels=None):
        half = len(input_ids) // 2
        doubled = len(input_ids) % 2 == 0 and torch.equal(input_ids[:half], input_ids[half:])
        which = torch.arange(len(input_ids)) >= (half if doubled else len(input_ids))
        x = (self.embed(input_ids) * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)
        for i, layer in enumerate(self.layer):
            noise = torch.sin(input_ids.sum(1).double() * (i + 1) + 3.0 * which)[:, None]
            x = torch.tanh(layer(x)) * (1 + 0.3 * noise)
        return SequenceClassifierOutput(logits=self.head(x))


@every_objective
@every_mask
def test_accumulation_does_not_matter(tmp_path, objective, mask):
    """Two-pass methods through noise that depends on the row alone; 1 x 8 rows against 8 x 1."""
    data = dataset()
    results = []
    for rows, accumulation in ((8, 1), (1, 8)):
        sizes = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": accumulation}
        args = arguments(tmp_path, objective=objective, **sizes, **MASKS[mask])
        results.append(train(RowNoise(), args, data))
    whole, parts = results
    for p, q in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-10)
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in results]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    if mask.startswith("rose"):
        np.testing.assert_array_equal(trace_of(whole).multipliers, trace_of(parts).multipliers)
        assert len(np.unique(trace_of(whole).multipliers)) > 1


class StopAt(TrainerCallback):
    """Kills the process, as far as a test can, after some steps."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 4:
            raise KeyboardInterrupt


@every_objective
@every_mask
def test_a_killed_and_resumed_run_is_the_uninterrupted_one(tmp_path, tiny_model, objective, mask):
    data = dataset()
    kwargs = {**MASKS[mask], "objective": objective, "save_strategy": "steps", "save_steps": 3}
    whole = train(tiny_model(), arguments(tmp_path / "whole", **kwargs), data)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_model(), arguments(tmp_path / "cut", **kwargs), data, callbacks=[StopAt()])
    resumed = train(
        tiny_model(seed=9), arguments(tmp_path / "cut", **kwargs), data, resume=str(tmp_path / "cut" / "checkpoint-3")
    )
    assert same(whole.model, resumed.model)
    logs = [[e for e in t.state.log_history if "loss" in e] for t in (whole, resumed)]
    assert logs[0] == logs[1]
    if mask.startswith("rose"):
        np.testing.assert_array_equal(trace_of(whole).multipliers, trace_of(resumed).multipliers)


@every_objective
@every_mask
def test_the_same_seed_gives_the_same_run(tmp_path, tiny_model, objective, mask):
    runs = [train(tiny_model(), arguments(tmp_path, objective=objective, **MASKS[mask]), dataset()) for _ in range(2)]
    assert same(runs[0].model, runs[1].model)


@every_objective
@every_mask
def test_evaluation_is_one_plain_forward(tmp_path, tiny_model, objective, mask):
    model, data = tiny_model(), dataset(rows=16)
    args = arguments(tmp_path, objective=objective, **MASKS[mask])
    trainer = RobustTrainer(model, args, train_dataset=data, eval_dataset=data)
    predictions = trainer.predict(data)
    inputs = {k: torch.tensor(data[k]) for k in data.column_names}
    with torch.no_grad():
        expected = model.eval()(**inputs)
    np.testing.assert_allclose(predictions.predictions, expected.logits.numpy(), atol=1e-6)
    assert predictions.metrics["test_loss"] == pytest.approx(expected.loss.item(), abs=1e-5)


@every_objective
@every_mask
@pytest.mark.parametrize("variant", ["lora", "bf16"])
def test_lora_and_bf16(tmp_path, tiny_model, objective, mask, variant):
    model = tiny_model()
    if variant == "lora":
        peft = pytest.importorskip("peft")
        model = peft.get_peft_model(
            model, peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
        )
    before = [p.detach().clone() for p in model.parameters()]
    args = arguments(tmp_path, objective=objective, max_steps=2, bf16=variant == "bf16", **MASKS[mask])
    trainer = train(model, args, dataset(rows=16))
    moved = [not torch.equal(p, b) for p, b in zip(trainer.model.parameters(), before, strict=True)]
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
    assert any(moved)
    assert all(p.requires_grad for p, m in zip(trainer.model.parameters(), moved, strict=True) if m)
