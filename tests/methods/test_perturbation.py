"""Changing the word embeddings, one ascent step, projections, repeated dropout."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from transformers import XLNetConfig, XLNetForSequenceClassification
from transformers.utils import ModelOutput

from helpers import ARCHITECTURES
from rosetune.methods._consistency import clean_pass
from rosetune.methods._perturbation import (
    DropoutState,
    ascend,
    embed,
    finite_rows,
    forward_changed,
    project,
    row_norm,
    token_mask,
    unwrap,
    word_embeddings,
)

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def features_of(batch):
    return {name: value for name, value in batch.items() if name != "labels"}


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_unwrap(tiny_model):
    model = tiny_model()
    assert unwrap(model) is model
    assert unwrap(nn.DataParallel(model)) is model
    assert unwrap(torch.compile(nn.DataParallel(model), backend="eager")) is model


@every_architecture
def test_changed_embeddings_are_what_the_model_would_do_with_them(tiny_model, tiny_batch, architecture):
    model = tiny_model(architecture, dropout=0.0)
    features = features_of(tiny_batch(lengths=[12] * 8))
    table = word_embeddings(model).weight
    assert torch.equal(embed(model, features), table[features["input_ids"]])
    changed = table[features["input_ids"]].detach() + 0.1 * normal(8, 12, 32).float()
    expected = model(inputs_embeds=changed, attention_mask=features["attention_mask"]).logits
    if architecture == "gpt2":  # which looks for the last word among the ids
        model.config.pad_token_id = None
        expected = torch.cat(
            [model(inputs_embeds=changed[i : i + 1], attention_mask=torch.ones(1, 12)).logits for i in range(8)]
        )
        model.config.pad_token_id = 0
    torch.testing.assert_close(forward_changed(model, features, lambda e: changed).logits, expected)
    plain = model(**features).logits
    assert not torch.allclose(plain, expected)
    assert torch.equal(forward_changed(model, features, lambda e: e).logits, plain)  # and the hook of before is gone


def test_gradients_flow_through_the_change(tiny_model, tiny_batch):
    model, features = tiny_model(dropout=0.0), features_of(tiny_batch())
    delta = torch.zeros(8, 12, 32, requires_grad=True)
    forward_changed(model, features, lambda e: e.detach() + delta).logits.sum().backward()
    assert delta.grad.abs().sum() > 0
    assert word_embeddings(model).weight.grad is None


def test_the_hook_goes_even_where_the_forward_fails(tiny_model, tiny_batch):
    model, features = tiny_model(dropout=0.0), features_of(tiny_batch())
    with pytest.raises(ZeroDivisionError):
        forward_changed(model, features, lambda e: e * (1 // 0))
    assert not word_embeddings(model)._forward_hooks


def test_embeddings_that_are_given_are_the_ones_that_change():
    class Sum(nn.Module):
        def forward(self, inputs_embeds):
            return ModelOutput(logits=inputs_embeds.sum(1))

    x = normal(3, 5, 2)
    assert torch.equal(embed(Sum(), {"inputs_embeds": x}), x)
    changed = forward_changed(Sum(), {"inputs_embeds": x}, lambda e: 2 * e).logits
    assert torch.equal(changed, 2 * x.sum(1))


class Unusual(nn.Module):
    """Looks its words up as often as it is told."""

    def __init__(self, times):
        super().__init__()
        self.embed, self.times = nn.Embedding(100, 4), times

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask):
        return ModelOutput(logits=sum(self.embed(input_ids).sum(1) for _ in range(self.times)))


def test_models_that_cannot_be_perturbed_say_why(tiny_batch):
    features = features_of(tiny_batch())
    with pytest.raises(ValueError, match=r"Linear has no get_input_embeddings\(\)"):
        forward_changed(nn.Linear(1, 1), features, lambda e: e)
    with pytest.raises(ValueError, match="Unusual does not call get_input_embeddings"):
        forward_changed(Unusual(0), features, lambda e: e)
    with pytest.raises(ValueError, match="Unusual looks its word embeddings up more than once"):
        forward_changed(Unusual(2), features, lambda e: e)
    assert forward_changed(Unusual(1), features, lambda e: e).logits.shape == (8, 4)
    xlnet = XLNetForSequenceClassification(XLNetConfig(vocab_size=100, d_model=8, n_layer=1, n_head=2, d_inner=8))
    with pytest.raises(ValueError, match=r"not in the order of \(batch, tokens\)"):
        forward_changed(xlnet, features, lambda e: e)


def test_token_mask():
    like = normal(2, 3, 4)
    mask = token_mask({"attention_mask": torch.tensor([[1, 1, 0], [1, 0, 0]])}, like)
    assert mask.tolist() == [[[1.0], [1.0], [0.0]], [[1.0], [0.0], [0.0]]]
    assert mask.dtype == like.dtype
    for features in ({}, {"attention_mask": torch.ones(2, 1, 3, 3)}):
        assert torch.equal(token_mask(features, like), torch.ones(2, 3, 1, dtype=like.dtype))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_ascent_and_projection_are_those_of_each_row(norm):
    delta, gradient = normal(4, 3, 2), 1e-9 * normal(4, 3, 2).flip(0)
    moved, stayed = ascend(delta, gradient, 0.5, norm)
    projected = project(moved, 0.7, norm)
    assert stayed == 0
    for row, (d, g) in enumerate(zip(delta.numpy(), gradient.numpy(), strict=True)):
        length = math.sqrt((g**2).sum()) if norm == "l2" else np.abs(g).max()
        expected = d + 0.5 * g / length
        assert row_norm(gradient, norm)[row].item() == pytest.approx(length, rel=1e-12)
        np.testing.assert_allclose(moved[row], expected, rtol=1e-12)
        if norm == "linf":
            nearest = np.minimum(np.maximum(expected, -0.7), 0.7)
        else:
            nearest = expected * min(1.0, 0.7 / math.sqrt((expected**2).sum()))
        np.testing.assert_allclose(projected[row], nearest, rtol=1e-12)
    inside = 0.01 * delta
    assert torch.equal(project(inside, 0.7, norm), inside)
    assert not project(torch.zeros(1, 2, 2), 0.7, norm).any()
    assert not project(delta, 0.0, norm).any()


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_rows_without_a_finite_gradient_or_with_none_stay(norm, bad):
    delta, gradient = normal(4, 3, 2), normal(4, 3, 2).flip(0)
    gradient[1, 2, 0] = bad
    gradient[3] = 0.0
    moved, stayed = ascend(delta, gradient, 0.5, norm)
    assert stayed == 1
    assert finite_rows(gradient).flatten().tolist() == [True, False, True, True]
    assert torch.equal(moved[[1, 3]], delta[[1, 3]])
    alone, _ = ascend(delta[[0, 2]], gradient[[0, 2]], 0.5, norm)
    assert torch.equal(moved[[0, 2]], alone)
    assert moved.isfinite().all()


@every_architecture
def test_dropout_again(tiny_model, tiny_batch, architecture):
    model, features = tiny_model(architecture, dropout=0.3), features_of(tiny_batch())
    torch.manual_seed(4)
    state = DropoutState(features)
    first, second = model(**features).logits, model(**features).logits
    after = torch.get_rng_state()
    with state.again():
        repeated = model(**features).logits
    assert torch.equal(first, repeated)
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), after)
    with state.again(enabled=False):
        assert not torch.equal(model(**features).logits, first)


def test_the_random_state_goes_on_after_a_failure():
    state = DropoutState({"input_ids": torch.zeros(1, 1)})
    torch.rand(3)
    after = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), state.again():
        torch.rand(1 // 0)
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize("apart", [False, True])
def test_clean_pass(tiny_model, tiny_batch, apart):
    model, features = tiny_model(dropout=0.3), features_of(tiny_batch())
    torch.manual_seed(4)
    alone = model(**features).logits
    torch.manual_seed(4)
    outputs, second = clean_pass(model, features, False, apart)
    assert second is None
    assert torch.equal(outputs.logits, alone)
    torch.manual_seed(4)
    outputs, second = clean_pass(model, features, True, apart)
    assert outputs.logits.shape == second.shape == alone.shape
    assert not torch.equal(outputs.logits, second)
    assert torch.equal(outputs.logits, alone) is apart
