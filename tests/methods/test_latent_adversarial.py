"""Latent adversarial training against its formula, and the freezing that goes with it."""

import numpy as np
import pytest
import torch

from helpers import ARCHITECTURES, make_batch, make_model
from rosetune import freeze_below
from rosetune.methods.cross_entropy import CrossEntropy
from rosetune.methods.latent_adversarial import LatentAdversarial

RADIUS, LENGTH, STEPS = 0.3, 0.2, 3


def pooled_of(model, batch):
    """The pooled state of a BERT without dropout, and its head."""
    hidden = model.bert(batch["input_ids"], batch["attention_mask"]).pooler_output
    return hidden.detach().double().numpy(), model.classifier


def by_hand(h, head, labels, norm):
    """The last delta by the chain rule on a linear head."""
    w, b = head.weight.detach().double().numpy(), head.bias.detach().double().numpy()
    delta, losses = np.zeros_like(h), []

    def loss(z):
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        return -np.log(p[np.arange(len(z)), labels]).mean(), p

    for _ in range(STEPS):
        value, p = loss((h + delta) @ w.T + b)
        losses.append(value)
        g = ((p - np.eye(w.shape[0])[labels]) / len(h)) @ w
        for row in range(len(h)):
            length = np.abs(g[row]).max() if norm == "linf" else np.sqrt((g[row] ** 2).sum())
            delta[row] += LENGTH * g[row] / length
            if norm == "linf":
                delta[row] = np.clip(delta[row], -RADIUS, RADIUS)
            else:
                delta[row] *= min(1.0, RADIUS / np.sqrt((delta[row] ** 2).sum()))
    return loss((h + delta) @ w.T + b)[0], losses[0]


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_pooled_state_is_perturbed_by_the_formula(norm):
    model, batch = make_model(dropout=0.0, num_labels=3), make_batch(num_labels=3)
    objective = LatentAdversarial(epsilon=RADIUS, step_size=LENGTH, steps=STEPS, norm=norm)
    out = objective(model, batch, consistency=False, backward=None)
    expected, clean = by_hand(*pooled_of(model, batch), batch["labels"].numpy(), norm)
    assert out.loss.item() == pytest.approx(expected, abs=1e-5)
    assert out.terms["first_pass"].item() == pytest.approx(clean, abs=1e-5)
    assert expected > clean + 1e-3
    logits = model(batch["input_ids"], batch["attention_mask"]).logits
    torch.testing.assert_close(out.outputs.logits, logits)
    out.loss.backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if "embeddings" in n)


def test_a_layer_is_perturbed_within_the_radius_and_padding_is_not():
    """What enters the last layer in the last pass against the first; the loss is that of the model from there on."""
    model, batch = make_model(dropout=0.0), make_batch(lengths=[12, 3, 5, 12, 7, 8, 9, 4])
    seen = []
    last = model.bert.encoder.layer[1]
    watch = last.attention.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    out = LatentAdversarial(layers=1, epsilon=RADIUS, step_size=0.25)(model, batch, consistency=False, backward=None)
    watch.remove()
    assert len(seen) == 4
    padding = batch["attention_mask"] == 0
    deltas = [h - seen[0] for h in seen]
    assert padding.any()
    assert all(delta[padding].abs().max() == 0 for delta in deltas)
    lengths = [delta.flatten(1).norm(dim=1) for delta in deltas]
    torch.testing.assert_close(lengths[1], torch.full((8,), 0.25), atol=1e-4, rtol=0)
    torch.testing.assert_close(lengths[3], torch.full((8,), RADIUS), atol=1e-4, rtol=0)
    assert out.loss > out.terms["first_pass"]
    replace = last.register_forward_pre_hook(lambda module, args: (seen[3], *args[1:]))
    again = model(**batch).loss
    replace.remove()
    assert out.loss.item() == pytest.approx(again.item(), abs=1e-6)


def test_all_passes_have_one_dropout():
    """With next to no perturbation the last pass is the first one."""
    objective = LatentAdversarial(epsilon=1e-6, step_size=1e-6)
    out = objective(make_model(dropout=0.3), make_batch(), consistency=True, backward=None)
    assert out.loss.item() == pytest.approx(out.terms["first_pass"].item(), abs=1e-5)
    assert out.consistency > 1e-5


def test_a_row_whose_gradient_is_no_number_stays():
    model, batch = make_model(dropout=0.0), make_batch()
    seen = []

    def spoil(module, args, output):
        seen.append(args[0].detach())
        output.register_hook(lambda g: torch.cat([g[:1] * float("nan"), g[1:]]))

    watch = model.classifier.register_forward_hook(spoil)
    out = LatentAdversarial(steps=2)(model, batch, consistency=False, backward=None)
    watch.remove()
    assert out.terms["nonfinite_ascent"] == 2
    assert torch.equal(seen[-1][0], seen[0][0])
    assert not torch.equal(seen[-1][1], seen[0][1])
    assert torch.isfinite(out.loss)


def test_layers_that_the_model_has_not_are_refused():
    with pytest.raises(ValueError, match="layers=3, but the model has 2"):
        LatentAdversarial(layers=3)(make_model(), make_batch(), consistency=False, backward=None)
    with pytest.raises(ValueError, match="the model has 2 layers"):
        freeze_below(make_model(), 3)


# --- freezing -----------------------------------------------------------------------------------------------------

BELOW = ("embed", "wte", "wpe", "layer.0.", "layers.0.", ".h.0.", "encoder.LayerNorm")
LAST = ("layer.1.", "layers.1.", ".h.1.")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("trained", [0, 1, 2])
def test_what_lies_below_is_frozen(architecture, trained):
    model = make_model(architecture)
    kept = freeze_below(model, trained)
    assert kept == [n for n, p in model.named_parameters() if p.requires_grad]
    for name, p in model.named_parameters():
        frozen = BELOW[:3] + BELOW[-1:] if trained == 2 else BELOW if trained == 1 else (*BELOW, *LAST)
        assert p.requires_grad is not any(part in name for part in frozen), name
    loss = CrossEntropy()(model, make_batch(), consistency=False, backward=None).loss
    loss.backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == {*kept}


def test_layers_that_share_their_weights_are_refused():
    from transformers import AlbertConfig, AlbertForSequenceClassification

    sizes = {"hidden_size": 16, "embedding_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    model = AlbertForSequenceClassification(AlbertConfig(vocab_size=20, num_hidden_layers=3, **sizes))
    with pytest.raises(ValueError, match="share their weights"):
        freeze_below(model, 1)
