"""SMART: search, divergences and momentum weights against their formulas in numpy, on a linear model."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification
from transformers.utils import ModelOutput

from formulas import divergence, log_softmax, slope
from helpers import (
    ARCHITECTURES,
    StopAt,
    arguments,
    dataset,
    language_model,
    logged,
    make_batch,
    same,
    scored_texts,
    train,
)
from rosetune import CrossEntropy
from rosetune.methods import StatefulObjective
from rosetune.methods.smart import Smart

every_variant = pytest.mark.parametrize("variant", ["paper", "mt-dnn"])
# Perturbations of the size of the embeddings, of which an ascent step and a projection show.
LARGE = {
    "paper": {"epsilon": 0.2, "noise_std": 0.1, "step_size": 0.15},
    "mt-dnn": {"variant": "mt-dnn", "noise_std": 0.1, "step_size": 0.3},
}
PLACES = np.array([1.0, -0.5, 2.0, 0.25, 1.5])


class Linear(nn.Module):
    """Logits are a weighted sum over the tokens, padding too; remembers what it was given and what it gave."""

    def __init__(self, labels=3):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, labels).double()
        self.spoil = ()  # numbers of the passes whose backward pass gives NaN in row 2
        self.seen, self.gave = [], []

    def forward(self, inputs_embeds, attention_mask):
        logits = self.linear((torch.tensor(PLACES)[:, None] * inputs_embeds).sum(1))
        if len(self.seen) in self.spoil:
            row = (torch.arange(len(logits)) == 2)[:, None]
            logits.register_hook(lambda g: torch.where(row, torch.full_like(g, float("nan")), g))
        self.seen.append(inputs_embeds.detach().numpy().copy())
        self.gave.append(logits.detach().numpy())
        return ModelOutput(logits=logits)


def batch(labels=3, rows=6):
    generator = torch.Generator().manual_seed(1)
    words = torch.tensor([5, 4, 3, 5, 1, 2])[:rows, None]
    y = torch.randn(rows, generator=generator, dtype=torch.float64) if labels == 1 else torch.arange(rows) % labels
    return {
        "inputs_embeds": torch.randn(rows, 5, 4, generator=generator, dtype=torch.float64),
        "attention_mask": (torch.arange(5) < words).long(),
        "labels": y,
    }


def stable_slope(z, w):
    """The gradient of sum_c 2 p_c d_c of each row, d_c being the difference of the log-odds, as a constant.

    With the 1e-6 by which the published code keeps them finite.
    """
    if z.shape[-1] == 1:
        return 2 * (z - w)
    p, q = np.exp(log_softmax(z)), np.exp(log_softmax(w))
    d = np.log(1 / (q + 1e-6) - 1 + 1e-6) - np.log(1 / (p + 1e-6) - 1 + 1e-6)
    return 2 * p * (d - (p * d).sum(-1, keepdims=True))


def next_delta(delta, z, clean, weight, mask, options):
    """One step of the search, row by row."""
    out = np.empty_like(delta)
    paper = options.get("variant", "paper") == "paper"
    for row in range(len(delta)):
        s = (slope if paper else stable_slope)(z[row : row + 1], clean[row : row + 1])[0]
        gradient = PLACES[:, None] * (s @ weight) * mask[row][:, None]
        if paper:
            moved = delta[row] + options["step_size"] * gradient / np.abs(gradient).max()
            out[row] = np.minimum(np.maximum(moved, -options["epsilon"]), options["epsilon"])
        else:
            moved = delta[row] + options["step_size"] * gradient
            out[row] = moved / (np.abs(moved).max(-1, keepdims=True) + 1e-6)
    return out


@every_variant
@pytest.mark.parametrize("labels", [3, 1])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_search_and_value_by_hand(variant, labels, steps):
    model, inputs, options = Linear(labels), batch(labels), LARGE[variant]
    out = Smart(adversarial_weight=3.0, bregman_weight=0, steps=steps, **options)(model, inputs, consistency=False)
    assert len(model.seen) == steps + 2
    x, mask = inputs["inputs_embeds"].numpy(), inputs["attention_mask"].numpy()
    weight = model.linear.weight.detach().numpy()
    assert np.array_equal(model.seen[0], x)
    delta = model.seen[1] - x
    assert 0.05 < delta[mask == 1].std() < 0.15
    for k in range(steps):
        delta = next_delta(delta, model.gave[k + 1], model.gave[0], weight, mask, options)
        np.testing.assert_allclose(model.seen[k + 2] - x, delta, rtol=1e-5, atol=1e-9)
        delta = model.seen[k + 2] - x
    if variant == "paper":
        assert np.abs(delta).max() == pytest.approx(0.2)
    expected = divergence(model.gave[-1], model.gave[0]).mean()
    assert expected > divergence(model.gave[1], model.gave[0]).mean()
    assert out.terms["adversarial"].item() == pytest.approx(expected, rel=1e-12)
    assert out.loss.item() == pytest.approx(out.task_loss.item() + 3 * expected, rel=1e-12)
    plain = CrossEntropy()(model, inputs, consistency=False)
    assert out.task_loss.item() == pytest.approx(plain.loss.item(), rel=1e-12)
    assert np.array_equal(out.outputs.logits.detach(), model.gave[0])
    assert set(out.terms) == {"task_loss", "adversarial", "nonfinite_ascent"}
    assert not any(term.requires_grad for term in out.terms.values())
    assert out.terms["nonfinite_ascent"].item() == 0.0


@every_variant
def test_which_arguments_of_the_divergence_carry_gradient(variant):
    model, inputs = Linear(), batch()
    out = Smart(bregman_weight=0, **LARGE[variant])(model, inputs)
    assert all(p.grad is None for p in model.parameters())  # the search leaves nothing behind
    (out.loss - out.task_loss).backward()
    pooled = [(PLACES[:, None] * x).sum(1) for x in (model.seen[0], model.seen[-1])]
    clean, changed = model.gave[0], model.gave[-1]
    if variant == "paper":
        slopes = slope(clean, changed), slope(changed, clean)
    else:  # the cross-entropy's slope against a fixed reference
        p, q = np.exp(log_softmax(clean)), np.exp(log_softmax(changed))
        slopes = p - q, q - p
    expected = sum(s.T @ h for s, h in zip(slopes, pooled, strict=True)) / 6
    np.testing.assert_allclose(model.linear.weight.grad, expected, rtol=1e-9, atol=1e-12)


def test_the_papers_perturbation_by_default():
    smart = Smart()
    found = [getattr(smart, name) for name in ("adversarial_weight", "bregman_weight", "epsilon", "noise_std")]
    assert found == [1.0, 1.0, 1e-5, 1e-5]
    assert (smart.step_size, smart.steps, smart.momentum, smart.variant) == (1e-3, 1, (0.99, 0.999), "paper")
    model, inputs = Linear(), batch()
    Smart(bregman_weight=0)(model, inputs)
    delta = model.seen[-1] - model.seen[0]
    assert np.abs(delta).max() == pytest.approx(1e-5, rel=1e-6)
    tokens = inputs["attention_mask"].bool().numpy()
    assert (np.abs(delta[tokens]) > 0.999e-5).mean() > 0.8  # a step of 1e-3 ends on the surface nearly everywhere


@every_variant
def test_padding_is_not_perturbed(variant):
    model, inputs = Linear(), batch()
    Smart(bregman_weight=0, steps=3, **LARGE[variant])(model, inputs)
    tokens = inputs["attention_mask"].bool().numpy()
    for seen in model.seen[1:]:
        assert np.array_equal(seen[~tokens], model.seen[0][~tokens])
        assert (seen[tokens] != model.seen[0][tokens]).all()


def test_divergence_of_a_language_model_is_that_of_its_scored_tokens():
    model, inputs = language_model(dropout=0.0), scored_texts()
    gave = []
    model.register_forward_hook(lambda module, args, output: gave.append(output.logits.detach().double().numpy()))
    out = Smart(bregman_weight=0, **LARGE["paper"])(model, inputs)
    following = np.array([[*row[1:], -100] for row in inputs["labels"].tolist()])
    expected = divergence(gave[-1][following != -100], gave[0][following != -100]).mean()
    assert out.terms["adversarial"].item() == pytest.approx(expected, rel=1e-4)
    for variant in LARGE:
        unscored = {**inputs, "labels": torch.full((6, 12), -100)}
        assert Smart(bregman_weight=0, **LARGE[variant])(model, unscored).terms["adversarial"].item() == 0.0


@pytest.mark.parametrize(("total_steps", "betas"), [(10, [0.9, 0.5, 0.5]), (20, [0.9, 0.9, 0.5]), (None, [0.5] * 3)])
def test_momentum_weights_over_four_steps(total_steps, betas):
    """After update t, theta~ takes theta in with the first beta while t is within the first tenth."""
    model, inputs = Linear(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    smart = Smart(adversarial_weight=0, bregman_weight=2.0, momentum=(0.9, 0.5))
    smart.setup(model, total_steps=total_steps)

    def numbers():
        return [p.detach().numpy().copy() for p in model.parameters()]

    average = numbers()
    for step in range(4):
        smart.begin_step(model)
        if step:
            beta = betas[step - 1]
            average = [(1 - beta) * new + beta * old for new, old in zip(numbers(), average, strict=True)]
        for _ in range(2):  # two micro-batches see the same weights
            out = smart(model, inputs)
            weight, bias = average
            target = (PLACES[:, None] * inputs["inputs_embeds"].numpy()).sum(1) @ weight.T + bias
            expected = divergence(out.outputs.logits.detach().numpy(), target).mean()
            assert out.terms["bregman"].item() == pytest.approx(expected, rel=1e-9, abs=1e-15)
            assert out.loss.item() == pytest.approx(out.task_loss.item() + 2 * expected, rel=1e-12)
            assert (expected > 1e-9) == (step > 0)
        state = smart.state_dict()
        assert state["step"] == step + 1
        for name, value in zip(("linear.weight", "linear.bias"), average, strict=True):
            np.testing.assert_allclose(state["momentum"][name], value, rtol=1e-12)
        optimizer.zero_grad()
        out.loss.backward()
        pooled = (PLACES[:, None] * inputs["inputs_embeds"].numpy()).sum(1)
        clean = out.outputs.logits.detach().numpy()
        one_hot = np.eye(3)[inputs["labels"].numpy()]
        gradient = (np.exp(log_softmax(clean)) - one_hot + 2 * slope(clean, target)).T @ pooled / 6
        np.testing.assert_allclose(model.linear.weight.grad, gradient, rtol=1e-9, atol=1e-12)
        optimizer.step()


def test_without_a_weight_there_is_neither_copy_nor_pass():
    model, inputs = Linear(), batch()
    smart = Smart(bregman_weight=0)
    smart.setup(model, total_steps=10)
    smart.begin_step(model)
    assert set(smart(model, inputs).terms) == {"task_loss", "adversarial", "nonfinite_ascent"}
    assert len(model.seen) == 3
    assert smart.state_dict() == {"step": 1, "momentum": {}}
    both = Smart()
    both.setup(model)
    both.begin_step(model)
    model.seen.clear()
    assert set(both(model, inputs).terms) == {"task_loss", "adversarial", "nonfinite_ascent", "bregman"}
    assert len(model.seen) == 4


@pytest.mark.parametrize("consistency", [False, True])
def test_with_both_weights_zero_it_is_cross_entropy(tiny_model, tiny_batch, consistency):
    losses = []
    for objective in (Smart(adversarial_weight=0, bregman_weight=0), CrossEntropy(passes=1)):
        torch.manual_seed(1)
        losses.append(objective(tiny_model(), tiny_batch(), consistency=consistency))
    assert torch.equal(losses[0].loss, losses[1].loss)
    assert losses[0].loss is losses[0].task_loss
    assert losses[0].consistency is losses[1].consistency or losses[0].consistency == losses[1].consistency


@every_variant
def test_nan_in_the_search_stays_there(variant):
    model, inputs = Linear(), batch()
    model.spoil = (1, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    out = Smart(bregman_weight=0, steps=3, **LARGE[variant])(model, inputs)
    assert out.terms["nonfinite_ascent"].item() == 2.0
    assert out.terms["nonfinite_ascent"].is_floating_point()
    start = model.seen[1] - model.seen[0]
    for k in (2, 3):
        here = model.seen[k] - model.seen[0]
        kept = np.clip(start[2], -0.2, 0.2) if variant == "paper" else start[2]
        np.testing.assert_allclose(here[2], kept, atol=1e-12)
        assert np.abs(here[3] - start[3]).max() > 0.05
    assert np.abs(model.seen[4][2] - model.seen[3][2]).max() > 0.05
    out.loss.backward()
    optimizer.step()
    assert all(p.isfinite().all() for p in model.parameters())


@every_variant
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_any_architecture(tiny_model, tiny_batch, architecture, variant):
    """Only the backward pass of the loss leaves a gradient; without noise equal dropout is no difference."""
    model, inputs = tiny_model(architecture), tiny_batch()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    smart = Smart(variant=variant, sync_dropout=True)
    smart.setup(model)
    smart.begin_step(model)
    for consistency in (False, True):
        out = smart(model, inputs, consistency=consistency)
        assert out.terms["adversarial"] > 0
        assert (out.consistency is not None) is consistency
        assert all((p.grad == 7.0).all() for p in model.parameters())
    assert out.consistency > 0
    out.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert all(module.training for module in model.modules())
    silent = Smart(variant=variant, noise_std=0, bregman_weight=0, sync_dropout=True)
    for consistency in (False, True):
        assert silent(model, inputs, consistency=consistency).terms["adversarial"].item() == 0.0
    loud = Smart(variant=variant, noise_std=0, bregman_weight=0)
    assert loud(model, inputs).terms["adversarial"] > 0


@pytest.mark.parametrize("sync_dropout", [False, True])
@pytest.mark.parametrize("consistency", [False, True])
def test_distributed_training_is_the_same(tiny_model, tiny_batch, one_process, sync_dropout, consistency):
    """Also where the wrapper looks for unused weights in each forward, as the Trainer has it do."""
    gradients = []
    for wrap in (lambda model: model, one_process):
        model = tiny_model()
        smart = Smart(sync_dropout=sync_dropout, **LARGE["paper"])
        smart.setup(model)
        smart.begin_step(model)
        torch.manual_seed(3)
        wrapped = wrap(model)
        smart(wrapped, tiny_batch(), consistency=consistency).loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_model_without_dropout(tiny_model, tiny_batch):
    model = tiny_model(dropout=0.0)
    smart = Smart(epsilon=0.1, noise_std=0.05, step_size=0.1)
    smart.setup(model)
    smart.begin_step(model)
    out = smart(model, tiny_batch())
    assert out.terms["adversarial"] > 0
    assert out.terms["bregman"].item() == 0.0  # theta~ is theta
    out.loss.backward()


def test_consistency_is_that_of_the_clean_input(tiny_model, tiny_batch):
    """However large the perturbation is; and it is no part of the loss."""
    for sync in (False, True):
        torch.manual_seed(3)
        near = Smart(bregman_weight=0, sync_dropout=sync)(tiny_model(), tiny_batch(), consistency=True)
        torch.manual_seed(3)
        far = Smart(bregman_weight=0, sync_dropout=sync, epsilon=9.0, noise_std=9.0)(
            tiny_model(), tiny_batch(), consistency=True
        )
        assert near.consistency.item() == far.consistency.item() > 0
        assert near.consistency.requires_grad
        assert far.loss.item() == pytest.approx(far.task_loss.item() + far.terms["adversarial"].item(), rel=1e-6)


def test_the_momentum_pass_draws_no_dropout_and_leaves_every_mode_as_it_was(tiny_model, tiny_batch):
    model, inputs = tiny_model(dropout=0.3), tiny_batch()
    model.bert.encoder.layer[1].eval()
    modes = [module.training for module in model.modules()]
    smart = Smart(adversarial_weight=0)
    smart.setup(model)
    smart.begin_step(model)
    features = {name: value for name, value in inputs.items() if name != "labels"}
    before = torch.get_rng_state()
    logits = smart._averaged.logits(model, features)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == modes
    assert not logits.requires_grad
    torch.testing.assert_close(logits, copy.deepcopy(model).eval()(**features).logits)


def test_regression_of_a_transformer(tiny_model, tiny_batch):
    smart = Smart(epsilon=0.1, noise_std=0.05, step_size=0.1)
    model = tiny_model(num_labels=1)
    smart.setup(model)
    smart.begin_step(model)
    out = smart(model, tiny_batch(num_labels=1), consistency=True)
    out.loss.backward()
    parts = out.task_loss + out.terms["adversarial"] + out.terms["bregman"]
    assert out.loss.item() == pytest.approx(parts.item(), rel=1e-6)


def test_lora_averages_what_is_trained(tmp_path, tiny_model):
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(
        tiny_model(), peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    )
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    smart = Smart(epsilon=0.1, noise_std=0.05, step_size=0.1, sync_dropout=True)
    train(model, arguments(tmp_path, max_steps=3), dataset(rows=24), objective=smart)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(smart.state_dict()["momentum"]) == trained
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)


def test_half_precision_weights_are_averaged_in_single_precision():
    model = nn.Linear(4, 2).to(torch.bfloat16)
    smart = Smart(momentum=(0.99, 0.999))
    smart.setup(model)
    start = model.weight.detach().float().clone()
    smart.begin_step(model)
    with torch.no_grad():
        model.weight += 1
    for _ in range(10):
        smart.begin_step(model)
    expected = start + (1 - 0.999**10) * (model.weight.detach().float() - start)
    torch.testing.assert_close(smart.state_dict()["momentum"]["weight"], expected, rtol=1e-5, atol=1e-6)


def test_half_precision_model(tiny_model, tiny_batch):
    model = tiny_model().to(torch.bfloat16)
    smart = Smart(epsilon=0.1, noise_std=0.05, step_size=0.1, steps=2)
    smart.setup(model)
    smart.begin_step(model)
    out = smart(model, tiny_batch(), consistency=True)
    assert all(term.isfinite() for term in out.terms.values())
    out.loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_state_is_a_copy_and_loads_without_pickles(tmp_path):
    model = Linear()
    smart = Smart(momentum=(0.5, 0.5))
    assert isinstance(smart, StatefulObjective)
    assert smart.named_parameters() == []
    smart.setup(model, total_steps=4)
    smart.begin_step(model)
    state = smart.state_dict()
    torch.save(state, tmp_path / "state.pt")
    with torch.no_grad():
        model.linear.weight += 1
    smart.begin_step(model)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    assert torch.equal(saved["momentum"]["linear.weight"], state["momentum"]["linear.weight"])
    later = smart.state_dict()["momentum"]["linear.weight"]
    torch.testing.assert_close(later, state["momentum"]["linear.weight"] + 0.5)
    smart.load_state_dict(saved)
    smart.begin_step(model)  # from the state's own weights, and not into them
    assert torch.equal(smart.state_dict()["momentum"]["linear.weight"], later)
    assert torch.equal(saved["momentum"]["linear.weight"], state["momentum"]["linear.weight"])
    smart.setup(model)
    assert smart.state_dict()["step"] == 0
    assert torch.equal(smart.state_dict()["momentum"]["linear.weight"], model.linear.weight)


def test_states_that_do_not_fit(tiny_model):
    on, off = Smart(), Smart(bregman_weight=0)
    for smart in (on, off):
        smart.setup(Linear())
    with pytest.raises(ValueError, match="saved without a Bregman term, but is loaded into one with it"):
        on.load_state_dict(off.state_dict())
    with pytest.raises(ValueError, match="saved with a Bregman term, but is loaded into one without it"):
        off.load_state_dict(on.state_dict())
    with pytest.raises(ValueError, match=r"call setup\(model\) before"):
        Smart().load_state_dict(on.state_dict())
    other = Smart()
    other.setup(Linear(labels=2))
    with pytest.raises(ValueError, match=r"do not fit the tensors .* \(linear.bias, linear.weight\)"):
        other.load_state_dict(on.state_dict())
    other.setup(tiny_model())
    with pytest.raises(ValueError, match="resume with the model that the run was started with"):
        other.load_state_dict(on.state_dict())


def test_a_loop_that_forgets_setup_or_begin_step_is_told():
    smart, model, inputs = Smart(), Linear(), batch()
    with pytest.raises(ValueError, match=r"call objective.setup\(model, total_steps=...\)"):
        smart(model, inputs)
    smart.begin_step(model)
    with pytest.raises(ValueError, match="setup"):
        smart(model, inputs)
    smart.setup(model)
    with pytest.raises(ValueError, match=r"objective.begin_step\(model\) before every optimizer step"):
        smart(model, inputs)
    smart.begin_step(model)
    smart(model, inputs)
    Smart(bregman_weight=0)(model, inputs)  # needs neither


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adversarial_weight": -1}, "adversarial_weight must be a finite number of at least 0, not -1"),
        ({"bregman_weight": float("nan")}, "bregman_weight must be a finite number"),
        ({"epsilon": float("inf")}, "epsilon must be a finite number"),
        ({"noise_std": -1e-5}, "noise_std must be"),
        ({"step_size": -1e-3}, "step_size must be"),
        ({"steps": 0}, "steps must be a whole number of at least 1, not 0"),
        ({"steps": 1.5}, "steps must be a whole number of at least 1, not 1.5"),
        ({"momentum": 0.99}, r"momentum must be a pair of numbers in \[0, 1\], not 0.99"),
        ({"momentum": [0.99]}, "momentum must be a pair"),
        ({"momentum": (0.99, 1.1)}, "momentum must be a finite number"),
        ({"variant": "smart-pytorch"}, "variant must be one of paper, mt-dnn, not 'smart-pytorch'"),
        ({"variant": "mt-dnn", "epsilon": 1e-6}, "epsilon has no part in variant='mt-dnn'"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
    ],
)
def test_options_outside_their_values(options, message):
    with pytest.raises(ValueError, match=message):
        Smart(**options)


def test_a_model_whose_embeddings_cannot_be_reached(tiny_batch):
    class Opaque(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = BertForSequenceClassification(BertConfig(vocab_size=100, hidden_size=12, num_hidden_layers=1))

        def forward(self, **features):
            return self.inner(**features)

    with pytest.raises(ValueError, match=r"Opaque has no get_input_embeddings\(\)"):
        Smart(bregman_weight=0)(Opaque(), tiny_batch())


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_killed_and_resumed_run_is_the_uninterrupted_one(tmp_path, tiny_model, accumulation):
    """With its momentum weights."""
    data = dataset(rows=24)
    options = {"epsilon": 0.05, "noise_std": 0.02, "step_size": 0.1, "bregman_weight": 5.0, "momentum": (0.5, 0.9)}
    sizes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": accumulation}
    kwargs = {**sizes, "save_strategy": "steps", "save_steps": 3}
    args, cut = arguments(tmp_path / "whole", **kwargs), arguments(tmp_path / "cut", **kwargs)
    whole = train(tiny_model(), args, data, objective=Smart(**options))
    with pytest.raises(KeyboardInterrupt):
        train(tiny_model(), cut, data, objective=Smart(**options), callbacks=[StopAt(4)])
    checkpoint = str(tmp_path / "cut" / "checkpoint-3")
    resumed = train(tiny_model(seed=9), cut, data, resume=checkpoint, objective=Smart(**options))
    there, here = whole.training_objective.state_dict(), resumed.training_objective.state_dict()
    assert same(whole.model, resumed.model)
    assert here["step"] == there["step"] == 6
    assert here["momentum"].keys() == there["momentum"].keys() == dict(whole.model.named_parameters()).keys()
    assert all(torch.equal(here["momentum"][name], value) for name, value in there["momentum"].items())
    logs = [logged(trainer) for trainer in (whole, resumed)]
    assert logs[0] == logs[1]
    assert all(entry["bregman"] > 0 and entry["adversarial"] > 0 for entry in logs[0])


def test_the_trainer_tells_the_number_of_steps(tmp_path, tiny_model):
    """A run of two epochs of ten steps: beta switches after a tenth of the twenty."""
    data, betas, counts = dataset(rows=20), [], []
    smart = Smart(momentum=(0.3, 0.7))
    model = tiny_model()
    real = smart.setup

    def setup(*args, **kwargs):
        real(*args, **kwargs)
        counts.append(kwargs["total_steps"])
        follow = smart._averaged.follow
        smart._averaged.follow = lambda model, beta: (betas.append(beta), follow(model, beta))

    smart.setup = setup
    train(
        model,
        arguments(tmp_path, max_steps=-1, num_train_epochs=2, per_device_train_batch_size=2),
        data,
        objective=smart,
    )
    assert counts == [20]
    assert betas == [0.3] * 2 + [0.7] * 17


def test_smoothness_grows_with_its_weight(tiny_model):
    """Trained with the adversarial term, the model changes less under a random perturbation than without."""
    gaps = []
    batches = [make_batch(rows=16, seed=seed) for seed in range(4)]
    for weight in (0.0, 20.0):
        model = tiny_model("modernbert", dropout=0.0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        smart = Smart(adversarial_weight=weight, bregman_weight=0, epsilon=0.02, noise_std=0.01, step_size=0.05)
        torch.manual_seed(0)
        for _ in range(5):
            for inputs in batches:
                smart(model, inputs).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        probe = Smart(bregman_weight=0, epsilon=0.02, noise_std=0.01, step_size=0.05)
        gaps.append(probe(model, batches[0]).terms["adversarial"].item())
    assert gaps[1] < gaps[0] / 2
