"""R3F against its formula in numpy, on a linear model over a table of words."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from transformers.utils import ModelOutput

from formulas import divergence, slope
from helpers import ARCHITECTURES, arguments, dataset, language_model, logged, same, scored_texts, train
from rosetune import CrossEntropy, RDrop
from rosetune.methods.r3f import R3F

PLACES = np.array([1.0, -0.5, 2.0, 0.25, 1.5])
separate = pytest.mark.parametrize("options", [{}, {"sync_dropout": True}], ids=["doubled", "sync_dropout"])


class Words(nn.Module):
    """Logits are a weighted sum over the word embeddings, padding too; remembers embeddings and logits."""

    def __init__(self, labels=3):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.linear = nn.Embedding(100, 4).double(), nn.Linear(4, labels).double()
        self.seen, self.gave = [], []

    def get_input_embeddings(self):
        return self.table

    def forward(self, input_ids, attention_mask):
        embeddings = self.table(input_ids)
        logits = self.linear((torch.tensor(PLACES)[:, None] * embeddings).sum(1))
        self.seen.append(embeddings.detach().numpy().copy())
        self.gave.append(logits.detach().numpy())
        return ModelOutput(logits=logits)


def batch(labels=3):
    generator = torch.Generator().manual_seed(1)
    ids = torch.arange(30).reshape(6, 5)  # every word once, so that each has its own row of the table's gradient
    y = torch.randn(6, generator=generator, dtype=torch.float64) if labels == 1 else torch.arange(6) % labels
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(5) < torch.tensor([5, 4, 3, 5, 1, 2])[:, None]).long(),
        "labels": y,
    }


def passes(model):
    """Embeddings and logits of the clean and of the noised rows, in one pass of both or in two, noised first."""
    order = slice(None, None, 1 if len(model.seen) == 1 else -1)
    return np.concatenate(model.seen[order]).reshape(2, 6, 5, 4), np.concatenate(model.gave[order]).reshape(2, 6, -1)


@separate
@pytest.mark.parametrize("labels", [3, 1])
@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_value_and_gradients_by_hand(options, labels, noise):
    model, inputs = Words(labels), batch(labels)
    out = R3F(noise_weight=0.7, epsilon=0.3, noise=noise, **options)(model, inputs, consistency=False)
    assert len(model.seen) == (2 if options else 1)
    (x, changed), (z, w) = passes(model)
    expected = divergence(z, w).mean()
    assert expected > 1e-4
    assert out.terms["noise"].item() == pytest.approx(expected, rel=1e-9)
    assert out.loss.item() == pytest.approx(out.task_loss.item() + 0.7 * expected, rel=1e-12)
    assert out.task_loss.item() == pytest.approx(CrossEntropy()(model, inputs).loss.item(), rel=1e-12)
    assert out.outputs.logits.shape == (6, labels)
    assert set(out.terms) == {"task_loss", "noise"}
    assert not any(term.requires_grad for term in out.terms.values())
    ((out.loss - out.task_loss) / 0.7).backward()
    both = [(slope(z, w), x), (slope(w, z), changed)]
    weight = sum(s.T @ (PLACES[:, None] * e).sum(1) for s, e in both) / 6
    np.testing.assert_allclose(model.linear.weight.grad, weight, rtol=1e-7, atol=1e-12)
    # The table learns from the clean pass alone.
    table = PLACES[:, None] * (slope(z, w) @ model.linear.weight.detach().numpy())[:, None] / 6
    np.testing.assert_allclose(model.table.weight.grad[:30], table.reshape(30, 4), rtol=1e-7, atol=1e-12)


@separate
@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_noise_has_its_distribution_and_spares_padding(options, noise):
    model, inputs, drawn = Words(), batch(), []
    tokens = inputs["attention_mask"].bool().numpy()
    for _ in range(200):
        model.seen.clear(), model.gave.clear()
        R3F(epsilon=1e-5, noise=noise, **options)(model, inputs)
        x, changed = passes(model)[0]
        assert np.array_equal(x, model.table.weight.detach().numpy()[:30].reshape(6, 5, 4))
        assert np.array_equal(changed[~tokens], x[~tokens])
        drawn.append((changed - x)[tokens] * 1e5)
    z = np.concatenate(drawn).ravel()
    assert abs(z.mean()) < 0.02
    assert z.std() == pytest.approx(1 / math.sqrt(3) if noise == "uniform" else 1.0, rel=0.02)
    assert (np.abs(z).max() <= 1.0 + 1e-9) is np.bool_(noise == "uniform")
    assert len(np.unique(z)) > 0.99 * len(z)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_any_architecture(tiny_model, tiny_batch, architecture):
    """Without noise and with equal dropout there is no difference; else there is one."""
    model, inputs = tiny_model(architecture), tiny_batch()
    for consistency in (False, True):
        silent = R3F(epsilon=0, sync_dropout=True)(model, inputs, consistency=consistency)
        assert silent.terms["noise"].item() == 0.0
        for objective in (R3F(), R3F(epsilon=0.1, sync_dropout=True), R3F(epsilon=0)):
            out = objective(model, inputs, consistency=consistency)
            assert out.terms["noise"] > 0
            assert (out.consistency is not None) is consistency
            assert out.consistency is None or out.consistency > 0
    out.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_both_ways_to_make_the_passes_agree(tiny_model, tiny_batch):
    """Without dropout, one doubled forward, two forwards and three are the same."""
    model, inputs, found = tiny_model(dropout=0.0), tiny_batch(), []
    for sync in (False, True):
        for consistency in (False, True):
            torch.manual_seed(5)
            found.append(R3F(epsilon=0.2, sync_dropout=sync)(model, inputs, consistency=consistency))
    for out in found[1:]:
        torch.testing.assert_close(out.terms["noise"], found[0].terms["noise"], rtol=1e-3, atol=0)
        torch.testing.assert_close(out.task_loss, found[0].task_loss)
    assert found[0].terms["noise"] > 1e-6
    assert found[1].consistency.item() == pytest.approx(0.0, abs=1e-9)


def test_without_sync_dropout_it_is_nearly_r_drop(tiny_model, tiny_batch):
    """With the CE of the first pass: noise of 1e-5 is nothing beside dropout."""
    model, inputs = tiny_model(dropout=0.1), tiny_batch()
    torch.manual_seed(3)
    features = {name: value for name, value in inputs.items() if name != "labels"}
    torch.rand(8, 12, 32)  # what the noise draws
    dropped = RDrop(alpha=2.0)(model, inputs)
    torch.manual_seed(3)
    out = R3F(noise_weight=1.0)(model, {**features, "labels": inputs["labels"]})
    assert out.terms["noise"].item() == pytest.approx(dropped.terms["consistency"].item(), rel=1e-2)


def test_divergence_of_a_language_model_is_that_of_its_scored_tokens():
    model, inputs, gave = language_model(dropout=0.0), scored_texts(), []
    model.register_forward_hook(lambda module, args, output: gave.append(output.logits.detach().double().numpy()))
    out = R3F(epsilon=0.2)(model, inputs)
    following = np.array([[*row[1:], -100] for row in inputs["labels"].tolist()])
    expected = divergence(gave[0][:6][following != -100], gave[0][6:][following != -100]).mean()
    assert out.terms["noise"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("consistency", [False, True])
def test_with_a_weight_of_zero_it_is_cross_entropy(tiny_model, tiny_batch, consistency):
    found = []
    for objective in (R3F(noise_weight=0), CrossEntropy(passes=1)):
        torch.manual_seed(1)
        found.append(objective(tiny_model(), tiny_batch(), consistency=consistency))
    assert torch.equal(found[0].loss, found[1].loss)
    assert found[0].loss is found[0].task_loss
    assert found[0].consistency is found[1].consistency or found[0].consistency == found[1].consistency


@separate
@pytest.mark.parametrize("consistency", [False, True])
def test_distributed_training_is_the_same(tiny_model, tiny_batch, one_process, options, consistency):
    """Also where the wrapper looks for unused weights in each forward, as the Trainer has it do."""
    gradients = []
    for wrap in (lambda model: model, one_process):
        model = tiny_model()
        torch.manual_seed(3)
        wrapped = wrap(model)
        R3F(epsilon=0.1, **options)(wrapped, tiny_batch(), consistency=consistency).loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@separate
def test_regression_of_a_transformer(tiny_model, tiny_batch, options):
    out = R3F(epsilon=0.1, **options)(tiny_model(num_labels=1), tiny_batch(num_labels=1), consistency=True)
    assert out.loss.item() == pytest.approx((out.task_loss + out.terms["noise"]).item(), rel=1e-6)
    out.loss.backward()


@separate
def test_half_precision_model(tiny_model, tiny_batch, options):
    model = tiny_model().to(torch.bfloat16)
    out = R3F(epsilon=0.1, **options)(model, tiny_batch(), consistency=True)
    assert out.terms["noise"] > 0
    out.loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@separate
def test_lora_and_the_trainer(tmp_path, tiny_model, options):
    peft = pytest.importorskip("peft")
    models = []
    for _ in range(2):
        config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
        torch.manual_seed(0)  # of the adapters
        model = peft.get_peft_model(tiny_model(), config)
        args = arguments(tmp_path, max_steps=3, update_mask="rose", update_mask_kwargs={"order": "ensemble"})
        trainer = train(model, args, dataset(rows=24), objective=R3F(epsilon=0.1, **options))
        assert all(entry["noise"] > 0 for entry in logged(trainer))
        models.append(trainer.model)
    assert same(*models)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_weight": -1}, "noise_weight must be a finite number of at least 0, not -1"),
        ({"epsilon": float("nan")}, "epsilon must be a finite number"),
        ({"epsilon": float("inf")}, "epsilon must be a finite number"),
        ({"noise": "gaussian"}, "noise must be one of uniform, normal, not 'gaussian'"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
    ],
)
def test_options_outside_their_values(options, message):
    with pytest.raises(ValueError, match=message):
        R3F(**options)


def test_defaults_are_the_papers():
    assert (R3F().noise_weight, R3F().epsilon, R3F().noise, R3F().sync_dropout) == (1.0, 1e-5, "uniform", False)


def test_a_model_whose_embeddings_cannot_be_reached(tiny_batch):
    class Opaque(nn.Module):
        def forward(self, **features):
            return ModelOutput(logits=torch.zeros(8, 2))

    with pytest.raises(ValueError, match=r"Opaque has no get_input_embeddings\(\)"):
        R3F()(Opaque(), tiny_batch())
