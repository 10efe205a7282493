"""Cross-entropy and R-Drop against their formulas written out again."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from transformers.utils import ModelOutput

from rosetune import CrossEntropy, RDrop
from rosetune.methods import build
from rosetune.methods._consistency import symmetric_kl, two_passes


class TwoFaced(nn.Module):
    """A linear classifier whose second half of the batch sees scaled inputs, in the place of dropout."""

    def __init__(self, labels=3, scale=0.5):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, labels).double()
        self.scale, self.calls = scale, 0

    def forward(self, inputs_embeds):
        self.calls += 1
        x = inputs_embeds.clone()
        if len(x) == 12:
            x[6:] *= self.scale
        return ModelOutput(logits=self.linear(x))


def batch(labels=3):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(6, generator=generator, dtype=torch.float64) if labels == 1 else torch.arange(6) % labels
    return {"inputs_embeds": x, "labels": y}


def by_hand(model, inputs):
    """CE of both passes and KL in both directions, in plain numpy."""
    w, b = model.linear.weight.detach().numpy(), model.linear.bias.detach().numpy()
    x, y = inputs["inputs_embeds"].numpy(), inputs["labels"].numpy()
    probabilities = []
    for scale in (1.0, model.scale):
        z = (x * scale) @ w.T + b
        e = np.exp(z - z.max(1, keepdims=True))
        probabilities.append(e / e.sum(1, keepdims=True))
    p, q = probabilities
    ce = [-np.log(d[np.arange(6), y]).mean() for d in probabilities]
    kl = [(a * np.log(a / c)).sum(1).mean() for a, c in ((p, q), (q, p))]
    return ce, kl


def test_cross_entropy_takes_one_pass_unless_a_consistency_is_asked_for():
    model, inputs = TwoFaced(), batch()
    ce, kl = by_hand(model, inputs)
    out = CrossEntropy()(model, inputs, consistency=False, backward=None)
    assert out.loss.item() == pytest.approx(ce[0], abs=1e-12)
    assert out.loss is out.task_loss
    assert out.consistency is None
    out = CrossEntropy()(model, inputs, consistency=True, backward=None)
    assert out.loss.item() == pytest.approx(sum(ce) / 2, abs=1e-12)
    assert out.consistency.item() == pytest.approx(sum(kl), abs=1e-12)
    assert out.outputs.logits.shape == (6, 3)
    out = CrossEntropy(passes=1)(model, inputs, consistency=True, backward=None)
    assert out.loss.item() == pytest.approx(ce[0], abs=1e-12)
    assert out.consistency.item() == pytest.approx(sum(kl), abs=1e-12)
    out = CrossEntropy(passes=2)(model, inputs, consistency=False, backward=None)
    assert out.loss.item() == pytest.approx(sum(ce) / 2, abs=1e-12)
    assert out.consistency is None
    assert model.calls == 4


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 5.0])
def test_r_drop(alpha):
    model, inputs = TwoFaced(), batch()
    ce, kl = by_hand(model, inputs)
    out = RDrop(alpha=alpha)(model, inputs, consistency=True, backward=None)
    assert out.loss.item() == pytest.approx(sum(ce) / 2 + alpha / 2 * sum(kl), abs=1e-12)
    assert out.task_loss.item() == pytest.approx(sum(ce) / 2, abs=1e-12)
    assert out.consistency.item() == pytest.approx(sum(kl), abs=1e-12)
    assert set(out.terms) == {"task_loss", "consistency"}
    assert all(not term.requires_grad for term in out.terms.values())


def test_both_arguments_of_the_kl_carry_gradient():
    a = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    b = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(symmetric_kl, (a, b))
    assert symmetric_kl(a, b).item() == pytest.approx(symmetric_kl(b, a).item(), abs=1e-15)
    f = nn.functional
    directions = [
        f.kl_div(q.log_softmax(-1), p.log_softmax(-1), log_target=True, reduction="batchmean")
        for p, q in ((a, b), (b, a))
    ]
    assert symmetric_kl(a, b).item() == pytest.approx(sum(directions).item(), abs=1e-12)


def test_the_kl_of_half_precision_logits_is_taken_in_single_precision():
    a = torch.tensor([[8.0, 0.0]], dtype=torch.bfloat16)
    b = torch.tensor([[8.0625, 0.0]], dtype=torch.bfloat16)
    exact = symmetric_kl(a.double(), b.double()).item()
    assert symmetric_kl(a, b).item() == pytest.approx(exact, rel=1e-3)


def test_regression_takes_squared_errors():
    model, inputs = TwoFaced(labels=1), batch(labels=1)
    first = model(inputs["inputs_embeds"]).logits[:, 0]
    second = model(inputs["inputs_embeds"] * 0.5).logits[:, 0]
    mse = [((z - inputs["labels"]) ** 2).mean().item() for z in (first, second)]
    gap = ((first - second) ** 2).mean().item()
    out = RDrop(alpha=2.0)(model, inputs, consistency=True, backward=None)
    assert out.loss.item() == pytest.approx(sum(mse) / 2 + 2.0 * gap, abs=1e-12)


def test_smoothing_and_class_weights():
    model, inputs = TwoFaced(), batch()
    logits, y = model(inputs["inputs_embeds"]).logits.detach(), inputs["labels"]
    log_p = logits.log_softmax(-1)
    smooth = (-0.8 * log_p[torch.arange(6), y] - 0.2 * log_p.mean(-1)).mean()
    out = CrossEntropy(label_smoothing=0.2)(model, inputs, consistency=False, backward=None)
    assert out.loss.item() == pytest.approx(smooth.item(), abs=1e-12)
    weights = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    weighted = -(weights[y] * log_p[torch.arange(6), y]).sum() / weights[y].sum()
    out = CrossEntropy(class_weights=[1.0, 2.0, 5.0])(model, inputs, consistency=False, backward=None)
    assert out.loss.item() == pytest.approx(weighted.item(), abs=1e-12)
    with pytest.raises(ValueError, match="2 entries for 3 labels"):
        CrossEntropy(class_weights=[1.0, 2.0])(model, inputs, consistency=False, backward=None)


def test_two_passes_of_a_transformer_differ_by_dropout_alone(tiny_model, tiny_batch):
    inputs = {k: v for k, v in tiny_batch().items() if k != "labels"}
    noisy = two_passes(tiny_model(dropout=0.1), inputs)
    assert not torch.allclose(noisy[0], noisy[1])
    calm = two_passes(tiny_model(dropout=0.0), inputs)
    torch.testing.assert_close(calm[0], calm[1])
    torch.testing.assert_close(calm[0], tiny_model(dropout=0.0)(**inputs).logits)


def test_without_dropout_r_drop_refuses(tiny_model, tiny_batch):
    with pytest.raises(ValueError, match="no dropout acts"):
        RDrop()(tiny_model(dropout=0.0), tiny_batch(), consistency=False, backward=None)


def test_build_names_what_is_wrong():
    with pytest.raises(ValueError, match="unknown objective 'rdrop'"):
        build("objective", "rdrop")
    with pytest.raises(ValueError, match="has no option 'beta'"):
        build("objective", "r_drop", {"beta": 1})
    with pytest.raises(ValueError, match="must be JSON"):
        build("update_mask", "rose", "{upper: 1}")
    with pytest.raises(ValueError, match="alpha"):
        build("objective", "r_drop", {"alpha": -1})
    assert build("objective", "r_drop", '{"alpha": 0.3}').alpha == 0.3
    assert math.isclose(build("objective", "r_drop", None, label_smoothing=0.1).label_smoothing, 0.1)
    assert build("update_mask", "random", {"seed": 3}, seed=5).seed == 3
