"""What every objective with every update mask must do, for each entry of both dicts.

A new method is in this suite as soon as it is in its dict; options for it go into ``method_cases``.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DataCollatorWithPadding, TrainerCallback

from helpers import (
    StopAt,
    arguments,
    dataset,
    gradient_is_rounding,
    logged,
    make_tokenizer,
    same,
    trace_of,
    train,
)
from method_cases import PAIRS, method
from rosetune import RobustTrainer
from rosetune.methods import OBJECTIVES, UPDATE_MASKS, build
from row_noise import RowNoise

# Where 1 x 8 rows are not 8 x 1, by the method's own definition.
ONE_BATCH = {
    "match_tuning": "its matching matrix is that of the rows of a micro-batch",
    "rift": "its InfoNCE contrasts the rows of a micro-batch",
    "child_tuning-D": "its Fisher squares the mean gradient of a micro-batch; fisher='example' does not",
}
# Masks of ROSE that do not want to see the consistency of every step.
SOMETIMES = ("rose-second", "rose-economy")
# Objectives that search for a perturbation by its gradient.
ASCENDING = ("smart", "freelb", "rift")


# Every mask meets the plain objective, and every objective no mask and the ensemble; the other pairs are slow.
QUICK_OBJECTIVES = ("cross_entropy",)
QUICK_MASKS = ("none", "rose-ensemble")


def each(pairs):
    def marks(objective, mask):
        return () if objective in QUICK_OBJECTIVES or mask in QUICK_MASKS else pytest.mark.slow

    cases = [pytest.param(*pair, id="+".join(pair), marks=marks(*pair)) for pair in pairs]
    return pytest.mark.parametrize(("objective", "mask"), cases)


every_pair = each(PAIRS)


def run(model, args, data, **kwargs):
    tokenizer = make_tokenizer()
    return train(
        model, args, data, processing_class=tokenizer, data_collator=DataCollatorWithPadding(tokenizer), **kwargs
    )


@each([pair for pair in PAIRS if not ONE_BATCH.keys() & {*pair}])
def test_accumulation_does_not_matter(tmp_path, synonyms, objective, mask):
    """Two-pass methods through noise that depends on the row alone; 1 x 8 rows against 8 x 1."""
    data = dataset()
    results = []
    for rows, accumulation in ((8, 1), (1, 8)):
        sizes = {"max_steps": 4, "per_device_train_batch_size": rows, "gradient_accumulation_steps": accumulation}
        if mask == "rose-sketched":  # in one micro-batch clipping takes an estimate for what is left out
            sizes["max_grad_norm"] = 0.0
        model = RowNoise()
        results.append(run(model, arguments(tmp_path, **sizes, **method(objective, mask, synonyms, model)), data))
    whole, parts = results
    for p, q in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-10)
    losses = [[e["loss"] for e in logged(t)] for t in results]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    if mask.startswith("rose"):
        np.testing.assert_array_equal(trace_of(whole).multipliers, trace_of(parts).multipliers)
        assert len(np.unique(trace_of(whole).multipliers)) > 1


def test_accumulation_does_not_matter_to_the_fisher_of_single_examples(tmp_path, synonyms):
    data, results = dataset(), []
    mask = {"update_mask": "child_tuning", "update_mask_kwargs": {"mode": "D", "fisher": "example"}}
    for rows, accumulation in ((8, 1), (1, 8)):
        sizes = {"max_steps": 4, "per_device_train_batch_size": rows, "gradient_accumulation_steps": accumulation}
        results.append(run(RowNoise(), arguments(tmp_path, **sizes, **mask), data))
    for p, q in zip(results[0].model.parameters(), results[1].model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-10)


@every_pair
def test_a_killed_and_resumed_run_is_the_uninterrupted_one(tmp_path, tiny_model, synonyms, objective, mask):
    """Up to the kill that is a second run of the same seed; and every term of the loss is in the log, by name."""
    data = dataset()
    kwargs = {**method(objective, mask, synonyms), "max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = run(tiny_model(), arguments(tmp_path / "whole", **kwargs), data)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_model(), arguments(tmp_path / "cut", **kwargs), data, callbacks=[StopAt(3)])
    resumed = run(
        tiny_model(seed=9), arguments(tmp_path / "cut", **kwargs), data, resume=str(tmp_path / "cut" / "checkpoint-2")
    )
    assert same(whole.model, resumed.model)
    assert logged(whole) == logged(resumed)
    if mask.startswith("rose"):
        np.testing.assert_array_equal(trace_of(whole).multipliers, trace_of(resumed).multipliers)
    terms = terms_of(whole, tiny_model(), consistency=mask.startswith("rose") and mask not in SOMETIMES)
    assert {"task_loss"} <= terms
    for entry in logged(whole):
        assert terms <= entry.keys()
        assert all(np.isfinite(entry[name]) for name in terms)
        assert ("mask_density_scalars" in entry) is (mask != "none")


def terms_of(trainer, model, consistency: bool) -> set[str]:
    """What the objective itself returns for a batch."""
    options = trainer.args.objective_kwargs or {}
    objective = build("objective", trainer.args.objective, options)
    if hasattr(objective, "setup"):
        objective.setup(model, tokenizer=make_tokenizer(), total_steps=3)
        objective.begin_step(model)
    batch = {name: torch.tensor(values) for name, values in dataset(rows=8).to_dict().items()}
    return set(objective(model, batch, consistency=consistency, backward=None).terms)


@every_pair
def test_evaluation_is_one_plain_forward(tmp_path, tiny_model, synonyms, objective, mask):
    model, data = tiny_model(), dataset(rows=16)
    args = arguments(tmp_path, **method(objective, mask, synonyms))
    trainer = RobustTrainer(model, args, train_dataset=data, eval_dataset=data)
    predictions = trainer.predict(data)
    inputs = {k: torch.tensor(data[k]) for k in data.column_names}
    with torch.no_grad():
        expected = model.eval()(**inputs)
    np.testing.assert_allclose(predictions.predictions, expected.logits.numpy(), atol=1e-6)
    assert predictions.metrics["test_loss"] == pytest.approx(expected.loss.item(), abs=1e-5)


@every_pair
@pytest.mark.parametrize("variant", ["lora", "bf16"])
def test_lora_and_bf16(tmp_path, tiny_model, synonyms, objective, mask, variant):
    model = tiny_model()
    if variant == "lora":
        peft = pytest.importorskip("peft")
        model = peft.get_peft_model(
            model, peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
        )
    before = [p.detach().clone() for p in model.parameters()]
    args = arguments(tmp_path, max_steps=2, bf16=variant == "bf16", **method(objective, mask, synonyms, model))
    if (variant, mask) == ("lora", "layer_norm_only"):
        with pytest.raises(ValueError, match="matches none of the trainable tensors"):  # LoRA trains no normalisation
            run(model, args, dataset(rows=16))
        return
    trainer = run(model, args, dataset(rows=16))
    moved = [not torch.equal(p, b) for p, b in zip(trainer.model.parameters(), before, strict=True)]
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
    assert any(moved)
    if mask == "none" and variant == "bf16":  # the gradient reaches every layer
        assert all(
            m
            for (name, _), m in zip(trainer.model.named_parameters(), moved, strict=True)
            if ".layer." in name and not gradient_is_rounding(name)
        )
    assert all(p.requires_grad for p, m in zip(trainer.model.parameters(), moved, strict=True) if m)


class Poison:
    """NaN in the gradient that enters the first layer, in the first backward pass of every other step."""

    def __init__(self, model):
        self.first_of_step, self.step, self.hits = True, 0, 0
        model.bert.encoder.layer[0].register_forward_pre_hook(self._watch)

    def _watch(self, module, args):
        if args[0].requires_grad:
            args[0].register_hook(self._spoil)

    def _spoil(self, gradient):
        spoil, self.first_of_step = self.first_of_step and self.step % 2 == 1, False
        self.hits += spoil
        return gradient * float("nan") if spoil else gradient


class NextStep(TrainerCallback):
    def __init__(self, poison):
        self.poison = poison

    def on_step_end(self, args, state, control, **kwargs):
        self.poison.step, self.poison.first_of_step = state.global_step, True


@each([pair for pair in PAIRS if pair[0] in ASCENDING])
def test_nan_in_an_inner_ascent_step_is_logged_and_survived(tmp_path, tiny_model, synonyms, objective, mask):
    model = tiny_model()
    poison = Poison(model)
    args = arguments(tmp_path, max_steps=4, **method(objective, mask, synonyms))
    if mask == "child_tuning-D":
        poison.first_of_step = False  # not its Fisher pass
    trainer = run(model, args, dataset(), callbacks=[NextStep(poison)])
    assert poison.hits == 2
    assert all(torch.isfinite(p).all() for p in model.parameters())
    counts = [entry["nonfinite_ascent"] for entry in logged(trainer)]
    assert counts[0] == counts[2] == 0
    assert counts[1] > 0
    assert counts[3] > 0
    assert all(np.isfinite(entry["loss"]) for entry in logged(trainer))


def test_every_objective_and_mask_is_in_the_documentation():
    page = (Path(__file__).resolve().parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    missing = [name for name in (*OBJECTIVES, *UPDATE_MASKS) if f"`{name}`" not in page]
    assert not missing, json.dumps(missing)
