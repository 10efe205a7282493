"""What every objective with every update mask must do, for each entry of both dicts.

A new method is in this suite as soon as it is in its dict; options for it go into OBJECTIVE_OPTIONS or MASK_OPTIONS.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import DataCollatorWithPadding, TrainerCallback
from transformers.modeling_outputs import SequenceClassifierOutput

from helpers import ROSES, arguments, dataset, make_model, make_tokenizer, same, trace_of, train, write_synonyms
from rosetune import RobustTrainer
from rosetune.methods import OBJECTIVES, UPDATE_MASKS, build
from rosetune.methods._targets import LAYER_WEIGHTS
from rosetune.mask_trace import MaskTrace

# Options without which a method does nothing, or nothing that such small models show; SYNONYMS and TRACE are paths.
SYNONYMS = "synonyms.json"
TRACE = "mask_trace.npz"
OBJECTIVE_OPTIONS = {
    "smart": {"epsilon": 0.05, "noise_std": 0.02, "step_size": 0.1, "bregman_weight": 0.5},
    "r3f": {"epsilon": 0.05},
    "rift": {"synonyms": SYNONYMS, "steps": 2},
}
# Several variants of a method.
MASK_OPTIONS = {
    "rose": {**ROSES, "corrected": {"order": "ensemble", "second_order": "corrected", "trace": True}},
    "static": {"upper": {"upper": 0.5}, "frozen": {"frozen": "."}},
    "replay": {"": {"trace": TRACE}},
    "child_tuning": {"D": {"mode": "D"}, "F": {"mode": "F"}},
}
MASKS = {"none": {}} | {
    f"{name}-{variant}" if variant else name: {"update_mask": name, "update_mask_kwargs": options}
    for name in UPDATE_MASKS
    for variant, options in MASK_OPTIONS.get(name, {"": {}}).items()
}
# Further variants of a mask, which need not meet every objective.
ONCE = ("rose-corrected", "static-frozen")
PAIRS = [(o, m) for o in OBJECTIVES for m in MASKS if m not in ONCE or o == "cross_entropy"]
# Where 1 x 8 rows are not 8 x 1, by the method's own definition.
ONE_BATCH = {
    "match_tuning": "its matching matrix is that of the rows of a micro-batch",
    "rift": "its InfoNCE contrasts the rows of a micro-batch",
    "child_tuning-D": "its Fisher squares the mean gradient of a micro-batch; fisher='example' does not",
}
# Objectives that search for a perturbation by its gradient.
ASCENDING = ("smart", "freelb", "rift")


def each(pairs):
    return pytest.mark.parametrize(("objective", "mask"), pairs, ids=["+".join(pair) for pair in pairs])


every_pair = each(PAIRS)


class RowNoise(nn.Module):
    """A classifier with noise in the place of dropout that depends on the row's content and on the pass alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(100, 16)
        self.layer = nn.ModuleList(nn.Linear(16, 16) for _ in range(6))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 2)
        self.double()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask, labels=None):
        half = len(input_ids) // 2
        doubled = len(input_ids) % 2 == 0 and torch.equal(input_ids[:half], input_ids[half:])
        which = torch.arange(len(input_ids)) >= (half if doubled else len(input_ids))
        x = (self.embed(input_ids) * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)
        for i, layer in enumerate(self.layer):
            noise = torch.sin(input_ids.sum(1).double() * (i + 1) + 3.0 * which)[:, None]
            x = torch.tanh(layer(x)) * (1 + 0.3 * noise)
        return SequenceClassifierOutput(logits=self.head(self.norm(x)))


@pytest.fixture
def synonyms(tmp_path_factory) -> str:
    return write_synonyms(tmp_path_factory.mktemp("synonyms"))


def method(objective: str, mask: str, synonyms: str, model: nn.Module | None = None, **more) -> dict:
    """Arguments that name this objective and this mask, with their options; a trace is of this model."""
    options = {
        name: synonyms if value == SYNONYMS else value for name, value in OBJECTIVE_OPTIONS.get(objective, {}).items()
    }
    chosen = dict(MASKS[mask])
    if (chosen.get("update_mask_kwargs") or {}).get("trace") == TRACE:
        chosen["update_mask_kwargs"] = {"trace": write_trace(Path(synonyms).parent, model or make_model())}
    return {"objective": objective, "objective_kwargs": {**options, **more} or None, **chosen}


def write_trace(folder: Path, model: nn.Module) -> str:
    """Six steps of multipliers for the model's default targets; returns its path."""
    targets = {n: p.numel() for n, p in model.named_parameters() if p.requires_grad and re.search(LAYER_WEIGHTS, n)}
    multipliers = np.random.default_rng(0).choice([0.0, 0.5, 1.0], (6, len(targets))).astype(np.float32)
    MaskTrace(tuple(targets), np.array([*targets.values()]), multipliers).save(folder / TRACE)
    return str(folder / TRACE)


def run(model, args, data, **kwargs):
    tokenizer = make_tokenizer()
    return train(
        model, args, data, processing_class=tokenizer, data_collator=DataCollatorWithPadding(tokenizer), **kwargs
    )


def logged(trainer) -> list[dict]:
    return [entry for entry in trainer.state.log_history if "loss" in entry]


@each([pair for pair in PAIRS if not ONE_BATCH.keys() & {*pair}])
def test_accumulation_does_not_matter(tmp_path, synonyms, objective, mask):
    """Two-pass methods through noise that depends on the row alone; 1 x 8 rows against 8 x 1."""
    data = dataset()
    results = []
    for rows, accumulation in ((8, 1), (1, 8)):
        sizes = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": accumulation}
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
        sizes = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": accumulation}
        results.append(run(RowNoise(), arguments(tmp_path, **sizes, **mask), data))
    for p, q in zip(results[0].model.parameters(), results[1].model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-10)


class StopAt(TrainerCallback):
    """Kills the process, as far as a test can, after some steps."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 4:
            raise KeyboardInterrupt


@every_pair
def test_a_killed_and_resumed_run_is_the_uninterrupted_one(tmp_path, tiny_model, synonyms, objective, mask):
    data = dataset()
    kwargs = {**method(objective, mask, synonyms), "save_strategy": "steps", "save_steps": 3}
    whole = run(tiny_model(), arguments(tmp_path / "whole", **kwargs), data)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_model(), arguments(tmp_path / "cut", **kwargs), data, callbacks=[StopAt()])
    resumed = run(
        tiny_model(seed=9), arguments(tmp_path / "cut", **kwargs), data, resume=str(tmp_path / "cut" / "checkpoint-3")
    )
    assert same(whole.model, resumed.model)
    assert logged(whole) == logged(resumed)
    if mask.startswith("rose"):
        np.testing.assert_array_equal(trace_of(whole).multipliers, trace_of(resumed).multipliers)


@every_pair
def test_the_same_seed_gives_the_same_run(tmp_path, tiny_model, synonyms, objective, mask):
    """And every term of the loss is in its log, by name."""
    args = arguments(tmp_path, max_steps=3, **method(objective, mask, synonyms))
    runs = [run(tiny_model(), args, dataset()) for _ in range(2)]
    assert same(runs[0].model, runs[1].model)
    assert logged(runs[0]) == logged(runs[1])
    terms = terms_of(runs[0], tiny_model(), consistency=mask.startswith("rose") and mask != "rose-second")
    assert {"task_loss"} <= terms
    for entry in logged(runs[0]):
        assert terms <= entry.keys()
        assert all(np.isfinite(entry[name]) for name in terms)
    assert all(("mask_density_scalars" in entry) is (mask != "none") for entry in logged(runs[0]))


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
            m for (name, _), m in zip(trainer.model.named_parameters(), moved, strict=True) if ".layer." in name
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


def test_every_objective_and_mask_is_in_the_readme():
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    missing = [name for name in (*OBJECTIVES, *UPDATE_MASKS) if f"`{name}`" not in readme]
    assert not missing, json.dumps(missing)
