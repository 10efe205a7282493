"""Match-Tuning against its formula, row by row in numpy, on a linear head."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from transformers.utils import ModelOutput

from formulas import log_softmax
from helpers import ARCHITECTURES, arguments, dataset, logged, make_batch, same, train
from rosetune.methods.match_tuning import MatchTuning

POOLED = [name for name in ARCHITECTURES if name != "gpt2"]
ROWS, WIDTH, LABELS = 6, 4, 3


class Head(nn.Module):
    """A linear layer on states that are given; a second forward scales them, in the place of dropout."""

    def __init__(self, labels=LABELS):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(WIDTH, labels).double()
        self.calls = 0

    def forward(self, inputs_embeds):
        self.calls += 1
        return ModelOutput(logits=self.linear(inputs_embeds * (1.0 if self.calls == 1 else 0.5)))


def batch(rows=ROWS, labels=LABELS):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64)
    y = torch.randn(ROWS, generator=generator).double() if labels == 1 else torch.arange(ROWS) % labels
    return {"inputs_embeds": x[:rows], "labels": y[:rows]}


def temperature_of(u, option):
    if option == "sqrt_width":
        return math.sqrt(u.shape[1])
    if option == "spread":
        centre = [sum(u[:, k]) / len(u) for k in range(u.shape[1])]
        distances = [sum((row[k] - centre[k]) ** 2 for k in range(len(row))) for row in u]
        return sum(distances) / len(u) / math.log(len(u))
    return option


def mixed(u, option):
    """A and R."""
    matrix = np.zeros((len(u), len(u)))
    for i in range(len(u)):
        weights = [math.exp(float(np.dot(u[i], u[j])) / temperature_of(u, option)) for j in range(len(u))]
        matrix[i] = np.array(weights) / sum(weights)
    return matrix, np.array([sum(matrix[i, j] * u[j] for j in range(len(u))) for i in range(len(u))])


@pytest.mark.parametrize("temperature", ["spread", "sqrt_width", 0.7, 3])
def test_the_formula(temperature):
    model, inputs = Head(), batch()
    out = MatchTuning(temperature=temperature)(model, inputs, consistency=True)
    w, b = model.linear.weight.detach().numpy(), model.linear.bias.detach().numpy()
    u, y = inputs["inputs_embeds"].numpy(), inputs["labels"].numpy()
    (matrix, first), (_, second) = (mixed(scale * u, temperature) for scale in (1.0, 0.5))
    log_p, log_q = log_softmax(first @ w.T + b), log_softmax(second @ w.T + b)
    np.testing.assert_allclose(out.outputs.logits.detach().numpy(), first @ w.T + b, atol=1e-12)
    assert out.loss.item() == pytest.approx(-log_p[np.arange(ROWS), y].mean(), abs=1e-12)
    assert out.task_loss is out.loss
    kl = ((np.exp(log_p) - np.exp(log_q)) * (log_p - log_q)).sum(1).mean()
    assert out.consistency.item() == pytest.approx(kl, abs=1e-12)
    assert model.calls == 2
    assert out.terms["matching_diagonal"].item() == pytest.approx(np.trace(matrix) / ROWS, abs=1e-12)
    same = sum(matrix[i, j] for i in range(ROWS) for j in range(ROWS) if i != j and y[i] == y[j]) / ROWS
    assert out.terms["same_label_mass"].item() == pytest.approx(same, abs=1e-12)
    assert all(not term.requires_grad for term in out.terms.values())


def test_the_second_pass_does_not_change_the_loss():
    alone, beside = (MatchTuning()(Head(), batch(), consistency=consistency) for consistency in (False, True))
    assert alone.consistency is None
    assert alone.loss.item() == beside.loss.item()
    assert set(beside.terms) - set(alone.terms) == {"consistency"}


@pytest.mark.parametrize("temperature", ["sqrt_width", 0.7])
def test_gradients_flow_through_both_arguments(temperature):
    model, inputs = Head(), batch()
    states = inputs["inputs_embeds"].clone().requires_grad_()

    def loss(states):
        model.calls = 0
        return MatchTuning(temperature=temperature)(model, {**inputs, "inputs_embeds": states}).loss

    assert torch.autograd.gradcheck(loss, (states,))


def test_the_spread_is_a_constant_to_the_gradient():
    model, inputs = Head(), batch()
    gradients = []
    for option in ("spread", temperature_of(inputs["inputs_embeds"].numpy(), "spread")):
        model.calls, states = 0, inputs["inputs_embeds"].clone().requires_grad_()
        MatchTuning(temperature=option)(model, {**inputs, "inputs_embeds": states}).loss.backward()
        gradients.append(states.grad)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("rows", "width"), [(4, 768), (32, 768), (128, 384)])
def test_an_unrelated_row_keeps_about_half_of_its_mass(rows, width, scale):
    """The log of the ratio of its weight to another's is log(rows) on average."""
    states = torch.randn(rows, width, generator=torch.Generator().manual_seed(0)) * scale
    diagonal = MatchTuning().matching(states).diagonal()
    assert 0.35 < diagonal.mean() < 0.75


@pytest.mark.parametrize("temperature", ["spread", "sqrt_width", 1e-3])
def test_rows_that_are_all_the_same_stay_as_they_are(temperature):
    states = torch.full((5, 8), 3.0)
    matrix = MatchTuning(temperature=temperature).matching(states)
    torch.testing.assert_close(matrix @ states, states)
    single = MatchTuning(temperature=temperature).matching(states[:1])
    assert torch.equal(single, torch.ones(1, 1))


def test_a_low_temperature_is_cross_entropy():
    model, inputs = Head(), batch()
    unit = nn.functional.normalize(inputs["inputs_embeds"])
    out = MatchTuning(temperature=1e-4)(model, {**inputs, "inputs_embeds": unit})
    expected = nn.functional.cross_entropy(model.linear(unit), inputs["labels"])
    assert out.loss.item() == pytest.approx(expected.item(), abs=1e-12)
    assert out.terms["matching_diagonal"].item() == pytest.approx(1, abs=1e-12)


def test_a_first_batch_of_one_row_is_refused_and_a_left_over_row_is_itself():
    with pytest.raises(ValueError, match="Raise per_device_train_batch_size; gradient accumulation does not help"):
        MatchTuning()(Head(), batch(rows=1))
    objective, model = MatchTuning(), Head()
    objective(model, batch())
    model.calls, inputs = 0, batch(rows=1)
    out = objective(model, inputs)
    expected = nn.functional.cross_entropy(model.linear(inputs["inputs_embeds"]), inputs["labels"])
    assert out.loss.item() == pytest.approx(expected.item(), abs=1e-12)


def test_a_left_over_row_in_the_trainer(tmp_path, tiny_model):
    args = arguments(tmp_path, objective="match_tuning", max_steps=4)
    trainer = train(tiny_model(), args, dataset(rows=9))  # 8 rows, then one
    entries = logged(trainer)
    assert [entry["matching_diagonal"] == 1 for entry in entries] == [False, True, False, True]
    assert all(np.isfinite(entry["loss"]) for entry in entries)


def test_a_run_may_be_resumed_at_a_left_over_row(tmp_path, tiny_model):
    args = arguments(tmp_path, objective="match_tuning", max_steps=4, save_strategy="steps", save_steps=1)
    whole = train(tiny_model(), args, dataset(rows=9))  # the second and the fourth batch are the row that is left
    for step in (1, 3):
        resumed = train(tiny_model(), args, dataset(rows=9), resume=str(tmp_path / f"checkpoint-{step}"))
        assert same(whole.model, resumed.model)
    with pytest.raises(ValueError, match="the first batch has a single one"):
        train(tiny_model(), arguments(tmp_path, objective="match_tuning"), dataset(rows=1))


def test_a_regression_is_mixed_too():
    model, inputs = Head(labels=1), batch(labels=1)
    out = MatchTuning()(model, inputs)
    w, b = model.linear.weight.detach().numpy(), model.linear.bias.detach().numpy()
    scores = (mixed(inputs["inputs_embeds"].numpy(), "spread")[1] @ w.T + b)[:, 0]
    assert out.loss.item() == pytest.approx(((scores - inputs["labels"].numpy()) ** 2).mean(), abs=1e-12)
    assert "same_label_mass" not in out.terms


@pytest.mark.parametrize("architecture", POOLED)
def test_it_mixes_in_training_and_on_request_at_inference(tiny_model, architecture):
    model, objective = tiny_model(architecture, dropout=0.0), MatchTuning()
    inputs = make_batch()
    features = {name: x for name, x in inputs.items() if name != "labels"}
    plain = model(**features).logits
    out = objective(model, inputs)
    out.loss.backward()
    assert next(model.parameters()).grad.any()
    assert not torch.allclose(out.outputs.logits, plain, atol=1e-6)
    assert torch.equal(model(**features).logits, plain)
    one = {name: x[:1] for name, x in features.items()}
    torch.testing.assert_close(model(**one).logits, plain[:1])
    with objective.mixing(model):
        torch.testing.assert_close(model(**features).logits, out.outputs.logits)
        torch.testing.assert_close(model(**one).logits, plain[:1])  # what else is in the batch decides
    assert torch.equal(model(**features).logits, plain)


def test_half_precision_and_autocast(tiny_model):
    inputs, objective = make_batch(), MatchTuning()
    whole = objective(tiny_model(dropout=0.0), inputs)
    with torch.autocast("cpu", torch.bfloat16):
        cast = objective(tiny_model(dropout=0.0), inputs)
    half = objective(tiny_model(dropout=0.0).bfloat16(), inputs)
    for out in (cast, half):
        out.loss.backward()
        assert out.loss.item() == pytest.approx(whole.loss.item(), abs=0.02)
        assert out.terms["matching_diagonal"].item() == pytest.approx(
            whole.terms["matching_diagonal"].item(), abs=0.05
        )


def test_it_learns_and_rows_come_to_match_their_own_label(tiny_model):
    """A word tells the label; the mass on other labels starts near their share and ends near zero."""
    model, objective = tiny_model(), MatchTuning()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    torch.manual_seed(0)
    foreign = []
    for step in range(120):
        inputs = make_batch(rows=16, seed=step)
        inputs["labels"] = torch.arange(16) % 2
        inputs["input_ids"][:, 1] = 7 + inputs["labels"]
        out = objective(model, inputs)
        out.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        foreign.append(1 - (out.terms["matching_diagonal"] + out.terms["same_label_mass"]).item())
    assert foreign[0] > 0.2
    assert foreign[-1] < 0.05
    with torch.no_grad():
        logits = model.eval()(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    assert torch.equal(logits.argmax(-1), inputs["labels"])


@pytest.mark.parametrize("temperature", [0, -1.0, float("inf"), float("nan"), "width", None])
def test_options_outside_their_values(temperature):
    with pytest.raises(ValueError, match="unless it is spread or sqrt_width, must be a finite number above 0"):
        MatchTuning(temperature=temperature)


def test_a_model_without_a_pooled_state_is_refused(tiny_model):
    with pytest.raises(ValueError, match="GPT2ForSequenceClassification has no pooled state"):
        MatchTuning()(tiny_model("gpt2"), make_batch())
