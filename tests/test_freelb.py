"""FreeLB against Algorithm 1, followed by hand in numpy on a linear model."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import ModelOutput

from helpers import ARCHITECTURES, arguments, dataset, make_batch, same, train
from rosetune.methods import StatefulObjective
from rosetune.methods.cross_entropy import CrossEntropy
from rosetune.methods.freelb import FreeLB
from test_method_contract import RowNoise

ROWS, TOKENS, WIDTH, LABELS = 5, 4, 3, 3


class Linear(nn.Module):
    """logits = tanh(sum over the tokens of e) W^T + b; remembers the embeddings that it was given."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(WIDTH, LABELS).double()
        self.seen = []

    def forward(self, inputs_embeds, attention_mask):
        self.seen.append(inputs_embeds.detach().numpy())
        return ModelOutput(logits=self.linear(torch.tanh(inputs_embeds.sum(1))))


def batch(rows=ROWS):
    generator = torch.Generator().manual_seed(1)
    mask = (torch.arange(TOKENS) < torch.tensor([4, 2, 3, 1, 4])[:, None]).long()
    embeddings = torch.randn(ROWS, TOKENS, WIDTH, generator=generator, dtype=torch.float64)
    whole = {"inputs_embeds": embeddings, "attention_mask": mask, "labels": torch.tensor([0, 1, 2, 1, 0])}
    return {name: x[:rows] for name, x in whole.items()}


def one_pass(model, inputs, delta):
    """The loss at delta, its gradients by W and b, and by delta on real tokens: by the chain rule."""
    w, b = model.linear.weight.detach().numpy(), model.linear.bias.detach().numpy()
    e, y = inputs["inputs_embeds"].numpy(), inputs["labels"].numpy()
    h = np.tanh((e + delta).sum(1))
    z = h @ w.T + b
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    dz = (p - np.eye(LABELS)[y]) / len(y)
    by_delta = ((dz @ w) * (1 - h**2))[:, None, :] * inputs["attention_mask"].numpy()[:, :, None]
    return loss, dz.T @ h, dz.sum(0), by_delta


def follow(model, inputs, delta, passes, adv_lr, max_norm, norm):
    """Every delta, the losses, and the mean gradients of W and b over the passes."""
    deltas, losses, by_w, by_b = [delta], [], 0.0, 0.0
    for _ in range(passes):
        loss, dw, db, g = one_pass(model, inputs, deltas[-1])
        losses.append(loss)
        by_w, by_b = by_w + dw / passes, by_b + db / passes
        moved = deltas[-1].copy()
        for row in range(len(moved)):
            length = np.abs(g[row]).max() if norm == "linf" else np.sqrt((g[row] ** 2).sum())
            moved[row] += adv_lr * g[row] / length
            if max_norm is not None and norm == "linf":
                moved[row] = np.clip(moved[row], -max_norm, max_norm)
            elif max_norm is not None and np.sqrt((moved[row] ** 2).sum()) > max_norm:
                moved[row] *= max_norm / np.sqrt((moved[row] ** 2).sum())
        deltas.append(moved)
    return deltas[:passes], losses, by_w, by_b


@pytest.mark.parametrize("init_magnitude", [0.0, 0.5])
@pytest.mark.parametrize("max_norm", [None, 0.3])
@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize(
    ("variant", "steps", "passes"),
    [("huggingface", 1, 1), ("huggingface", 2, 2), ("huggingface", 3, 3), ("fairseq", 0, 1), ("fairseq", 2, 3)],
)
def test_algorithm_1(variant, steps, passes, norm, max_norm, init_magnitude):
    model, inputs = Linear(), batch()
    objective = FreeLB(
        adv_lr=0.25, steps=steps, init_magnitude=init_magnitude, max_norm=max_norm, norm=norm, variant=variant
    )
    early = []
    out = objective(model, inputs, backward=lambda loss: (early.append(loss.item()), loss.backward()))
    clean = inputs["inputs_embeds"].numpy()
    seen = [embeddings - clean for embeddings in model.seen]
    assert len(seen) == passes
    assert np.any(seen[0]) is np.bool_(init_magnitude > 0)
    deltas, losses, by_w, by_b = follow(model, inputs, seen[0], passes, 0.25, max_norm, norm)
    for got, expected in zip(seen, deltas, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-12)
        assert not np.any(got[inputs["attention_mask"].numpy() == 0])
    np.testing.assert_allclose(early, np.array(losses[:-1]) / passes, atol=1e-12)
    assert out.loss.item() == pytest.approx(np.mean(losses), abs=1e-12)
    assert out.task_loss is out.loss
    assert out.terms["first_pass"].item() == pytest.approx(losses[0], abs=1e-12)
    assert out.terms["last_pass"].item() == pytest.approx(losses[-1], abs=1e-12)
    assert out.terms["nonfinite_ascent"].item() == out.terms["nonfinite_passes"].item() == 0
    out.loss.backward()
    np.testing.assert_allclose(model.linear.weight.grad.numpy(), by_w, atol=1e-12)
    np.testing.assert_allclose(model.linear.bias.grad.numpy(), by_b, atol=1e-12)


def test_outputs_are_those_of_the_first_pass():
    model, inputs = Linear(), batch()
    out = FreeLB(init_magnitude=0.0)(model, inputs)
    features = {name: x for name, x in inputs.items() if name != "labels"}
    torch.testing.assert_close(out.outputs.logits, model(**features).logits, rtol=0, atol=0)


def start(norm, rows, seed=0, step=1, magnitude=0.7):
    """delta_0 of a long padded batch."""
    objective, model = FreeLB(norm=norm, init_magnitude=magnitude, steps=0), Linear()
    objective.setup(model, seed=seed)
    for _ in range(step):
        objective.begin_step(model)
    lengths = torch.arange(1, rows + 1) % 50 + 1
    mask = (torch.arange(50) < lengths[:, None]).long()
    embeddings = torch.zeros(rows, 50, WIDTH, dtype=torch.float64)
    objective(model, {"inputs_embeds": embeddings, "attention_mask": mask, "labels": torch.zeros(rows).long()})
    return model.seen[0], mask.bool().numpy(), lengths.numpy()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_start_is_uniform_within_its_magnitude_and_leaves_padding_alone(norm):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    delta, mask, lengths = start(norm, rows=400)
    assert torch.equal(torch.get_rng_state(), state)
    assert not np.any(delta[~mask])
    bound = np.full(len(delta), 0.7) if norm == "linf" else 0.7 / np.sqrt(lengths * WIDTH)
    unit = (delta / bound[:, None, None])[mask]
    assert np.abs(unit).max() <= 1
    # n = 30,600 draws: five standard errors of the mean, and of the variance of U(-1, 1), 1/3
    assert unit.mean() == pytest.approx(0, abs=5 * np.sqrt(1 / 3 / unit.size))
    assert unit.var() == pytest.approx(1 / 3, abs=5 * np.sqrt((1 / 5 - 1 / 9) / unit.size))
    if norm == "l2":
        assert np.sqrt((delta**2).sum((1, 2))).max() <= 0.7


def test_the_start_depends_on_seed_and_step_alone():
    first = start("l2", 8)[0]
    np.testing.assert_array_equal(start("l2", 8)[0], first)
    assert np.all((start("l2", 8, seed=1)[0] != first)[first != 0])
    assert np.all((start("l2", 8, step=2)[0] != first)[first != 0])


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_row_is_perturbed_alike_in_any_batch(norm):
    """The gradient of a batch mean carries 1/batch, which the normalisation removes."""
    seen = []
    for rows in (ROWS, 2):
        model = Linear()
        FreeLB(init_magnitude=0.0, norm=norm)(model, batch(rows))
        seen.append([embeddings[:2] for embeddings in model.seen])
    for five, two in zip(*seen, strict=True):
        np.testing.assert_allclose(five, two, atol=1e-12)


@pytest.mark.parametrize("init_magnitude", [0.0, 0.2])
def test_accumulation_does_not_matter(tmp_path, init_magnitude):
    """The random start, too, is drawn row after row through the micro-batches of a step."""
    results = []
    for rows, accumulation in ((8, 1), (1, 8)):
        sizes = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": accumulation}
        kwargs = {"objective": "freelb", "objective_kwargs": {"init_magnitude": init_magnitude}}
        results.append(train(RowNoise(), arguments(tmp_path, **sizes, **kwargs), dataset()))
    whole, parts = results
    for p, q in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-10)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dropout_is_that_of_the_first_pass(tiny_model, tiny_batch, architecture):
    """With no perturbation at all, passes differ by their dropout alone."""
    model, inputs = tiny_model(architecture, dropout=0.1), tiny_batch()

    def losses(sync_dropout):
        early = []
        objective = FreeLB(adv_lr=0.0, init_magnitude=0.0, steps=2, sync_dropout=sync_dropout)
        out = objective(model, inputs, backward=lambda loss: early.append(loss.item()) or loss.backward())
        return [*early, out.terms["last_pass"].item() / 3]

    assert len(set(losses(True))) == 1
    assert len(set(losses(False))) == 3


def test_the_random_state_goes_on_as_after_one_pass(tiny_model, tiny_batch):
    """So that arms of an experiment with other objectives see the same dropout in the steps that follow."""
    states = []
    for objective in (CrossEntropy(), FreeLB()):
        torch.manual_seed(2)
        objective(tiny_model(), tiny_batch())
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_ascent_raises_the_loss(tiny_model, tiny_batch, architecture):
    model, inputs = tiny_model(architecture, dropout=0.1), tiny_batch()
    out = FreeLB(init_magnitude=0.0, max_norm=None, adv_lr=0.2)(model, inputs)
    assert out.terms["last_pass"] > out.terms["first_pass"]
    out.loss.backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if "classifier" in name)


@pytest.mark.parametrize("start_step", [0, 3])
def test_consistency_leaves_the_loss_alone(tiny_model, tiny_batch, start_step):
    """Its KL is that of two clean dropout passes, with a graph, and is not in the loss."""
    inputs, gradients, results = tiny_batch(), [], []
    for consistency in (False, True):
        model, objective = tiny_model(dropout=0.0), FreeLB(start_step=start_step)
        objective.setup(model)
        objective.begin_step(model)
        if consistency:
            model.dropout.p = 0.5  # of the classifier alone
            model.dropout.eval()
            model.register_forward_pre_hook(doubled_passes_drop)
        results.append(objective(model, inputs, consistency=consistency))
        results[-1].loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    alone, beside = results
    assert alone.consistency is None
    assert beside.consistency.item() > 0
    assert beside.consistency.requires_grad
    assert beside.terms["consistency"].item() == beside.consistency.item()
    if not start_step:
        assert alone.loss.item() == beside.loss.item()
        assert all(torch.equal(p, q) for p, q in zip(*gradients, strict=True))


def doubled_passes_drop(model, args):
    raise NotImplementedError


class Poisoned(nn.Module):
    """A model whose gradient is NaN in one pass: below the embeddings of one row, or of the weights alone."""

    def __init__(self, at, where):
        super().__init__()
        self.inner, self.at, self.where, self.calls = Linear(), at, where, 0

    def forward(self, inputs_embeds, attention_mask):
        self.calls += 1
        x = inputs_embeds.clone()
        poison = torch.zeros(len(x), 1, 1, dtype=x.dtype)
        poison[1] = float("nan")
        out = self.inner(x, attention_mask)
        if self.calls != self.at + 1:
            return out
        if self.where == "loss":
            return ModelOutput(logits=out.logits + poison[:, 0])
        if self.where == "row":
            x.register_hook(lambda g: g + poison)
        out.logits.register_hook(lambda g: g) if self.where == "row" else self.spoil_weights()
        return out

    def spoil_weights(self):
        handle = self.inner.linear.weight.register_hook(lambda g: (handle.remove(), g * float("nan"))[1])


