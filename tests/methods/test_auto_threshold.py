"""``upper="auto"``: the rule in exact fractions, the masks that follow from it, its log, its trace and its state."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from rosetune import Rose, SelectiveAdamW
from rosetune._auto_threshold import auto_count
from rosetune.mask_trace import MaskTrace
from rosetune.methods._ranking import kept

BETAS = (0.9, 0.98)


class Layers(nn.Module):
    """Four linear maps in numbered layers and a head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.ModuleList(nn.Linear(i, o) for i, o in ((3, 5), (5, 2), (2, 6), (6, 4)))
        self.head = nn.Linear(4, 2)
        self.double()

    def forward(self, x, noise):
        for i, layer in enumerate(self.layer):
            x = torch.tanh(layer(x)) * (noise if i == 1 else 1.0)
        return self.head(x)


def losses(model, step):
    """A task loss, and one in the consistency's place whose gradients move from step to step."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 2, (6,), generator=generator)
    sway = torch.rand(4, generator=generator, dtype=torch.float64)
    consistency = sum(c * layer.weight.square().sum() for c, layer in zip(sway, model.layer, strict=True))
    return nn.functional.cross_entropy(model(x, 0.5 + 0.2 * (step % 3)), y), consistency


def lowest_half(risks):
    """Indices of the lowest risks that hold at most half of the sum of squares, at least one; exact."""
    order = sorted(range(len(risks)), key=lambda i: risks[i])
    squares = [Fraction(risks[i]) ** 2 for i in order]
    fits = [k for k in range(len(risks) + 1) if 2 * sum(squares[:k]) <= sum(squares)]
    return set(order[: max(1, *fits)])


@pytest.mark.parametrize(
    ("risks", "count"),
    [
        ([1.0, 1.0, 1.0, 1.0], 2),
        ([1.0, 1.0, 1.0, 1.0, 1.0], 2),
        ([1.0, 1.0, 1.0, 10.0], 3),
        ([4.0, 3.0], 1),
        ([7.0, 5.0, 4.0, 1.0], 3),  # 1 + 16 + 25 = 42 of 91
        ([7.0], 1),
        ([0.0, 0.0, 0.0], 3),
        ([0.0, 0.0, 5.0], 2),
        ([math.nan, 1.0, 1.0], 1),
        ([math.inf, 1.0, 2.0], 1),
        ([math.nan, math.inf], 1),
    ],
)
def test_risks_by_hand(risks, count):
    assert auto_count(risks) == count
    assert auto_count([1e-20 * risk for risk in risks]) == count


def test_any_risks_against_exact_fractions():
    rng = np.random.default_rng(0)
    for n in (2, 3, 10, 96):
        for spread in (0.01, 1.0, 4.0):
            risks = np.exp(spread * rng.standard_normal(n)).tolist()
            assert auto_count(risks) == len(lowest_half(risks))


def train(model, optimizer, steps):
    for step in steps:
        task, consistency = losses(model, step)
        if "consistency" in optimizer.update_mask.needs:
            optimizer.update_mask.observe(optimizer, consistency=consistency)
        task.backward()
        optimizer.step()
        optimizer.zero_grad()


def optimizer_for(model, **options):
    rose = Rose(**{"trace": True, "upper": "auto", **options})
    return SelectiveAdamW(model.named_parameters(), lr=0.02, betas=BETAS, update_mask=rose)


@pytest.mark.parametrize("upper", ["auto", ("auto", 0.5), (0.5, "auto")])
@pytest.mark.parametrize("order", ["first", "second", "ensemble"])
def test_the_masks_are_those_of_the_rule(order, upper):
    model, gamma = Layers(), 0.3
    optimizer = optimizer_for(model, order=order, gamma=gamma, upper=upper)
    first_upper, second_upper = (upper, upper) if upper == "auto" else upper
    counts = set()
    for step in range(1, 13):
        task, consistency = losses(model, step)
        weights = [layer.weight for layer in model.layer]
        first_risks = [g.norm().item() for g in torch.autograd.grad(consistency, weights, retain_graph=True)]
        gradients = [g.norm().item() for g in torch.autograd.grad(task, weights, retain_graph=True)]
        moments = [optimizer.state[w]["exp_avg"].norm().item() if step > 1 else 0.0 for w in weights]
        second_risks = [abs(0.1 * g / m - 1) if m else 0.0 for g, m in zip(gradients, moments, strict=True)]
        half = [{*sorted(range(4), key=lambda i, r=risks: r[i])[:2]} for risks in (first_risks, second_risks)]
        first = lowest_half(first_risks) if first_upper == "auto" else half[0]
        second = lowest_half(second_risks) if second_upper == "auto" else half[1]
        second = second if step > 1 else {0, 1, 2, 3}
        if "consistency" in optimizer.update_mask.needs:
            optimizer.update_mask.observe(optimizer, consistency=consistency)
        task.backward()
        optimizer.step()
        optimizer.zero_grad()
        share = {"first": (1.0, 0.0), "second": (0.0, 1.0), "ensemble": (gamma, 1 - gamma)}[order]
        expected = [share[0] * (i in first) + share[1] * (i in second) for i in range(4)]
        trace = optimizer.update_mask.trace
        np.testing.assert_allclose(trace.multipliers[-1], expected, atol=1e-7)
        chosen = {}
        if first_upper == "auto" and order != "second":
            chosen["first"] = len(first) / 4
        if second_upper == "auto" and order != "first":
            chosen["second"] = len(second) / 4
        assert {n: s for n, s in optimizer.density.items() if n in ("first", "second")} == chosen
        np.testing.assert_array_equal(trace.chosen[-1], [chosen.get(n, math.nan) for n in ("first", "second")])
        counts |= set(chosen.values())
    if chosen:
        assert len(counts) > 1  # the rule does follow the risks


def test_the_reversed_ranking_keeps_as_many():
    lowest, highest = optimizer_for(Layers(), order="first"), optimizer_for(Layers(), order="first", keep="highest")
    for optimizer in (lowest, highest):
        model = Layers()
        _, consistency = losses(model, 1)
        optimizer = SelectiveAdamW(model.named_parameters(), update_mask=optimizer.update_mask)
        optimizer.update_mask.observe(optimizer, consistency=consistency)
        optimizer.update_mask(optimizer)
    a, b = (optimizer.update_mask.trace.multipliers[0] for optimizer in (lowest, highest))
    assert a.sum() == b.sum()
    assert (a != b).any()


@pytest.mark.parametrize("order", ["first", "second", "ensemble"])
def test_a_resumed_training_is_an_uninterrupted_one(order):
    whole, half = Layers(), Layers()
    whole_optimizer, first = (
        optimizer_for(whole, order=order, start_step=1),
        optimizer_for(half, order=order, start_step=1),
    )
    train(whole, whole_optimizer, range(1, 9))
    train(half, first, range(1, 5))
    second = optimizer_for(half, order=order, start_step=1)
    second.load_state_dict(first.state_dict())
    train(half, second, range(5, 9))
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), half.parameters(), strict=True))
    a, b = whole_optimizer.update_mask.trace, second.update_mask.trace
    np.testing.assert_array_equal(a.multipliers, b.multipliers)
    np.testing.assert_array_equal(a.chosen, b.chosen)
    assert np.isnan(a.chosen[0]).all()  # before start_step there is nothing to choose


def test_a_trace_with_chosen_shares_is_read_back(tmp_path):
    model = Layers()
    optimizer = optimizer_for(model)
    train(model, optimizer, range(1, 4))
    optimizer.update_mask.trace.save(tmp_path / "mask_trace.npz")
    read = MaskTrace.load(tmp_path)
    np.testing.assert_array_equal(read.chosen, optimizer.update_mask.trace.chosen)
    assert read.chosen.shape == (3, 2)
    fixed = optimizer_for(model, upper=0.6)
    train(model, fixed, range(1, 3))
    fixed.update_mask.trace.save(tmp_path / "fixed.npz")
    assert MaskTrace.load(tmp_path / "fixed.npz").chosen is None


@pytest.mark.parametrize("upper", ["automatic", "0.6", ("auto", "half"), ("auto", 0.5, 0.5), ("auto", 1.5)])
def test_other_words_are_refused(upper):
    with pytest.raises(ValueError, match=r"upper must be"):
        Rose(upper=upper)


def test_a_state_of_another_threshold_is_refused():
    auto, fixed = Rose(upper="auto"), Rose(upper=0.6)
    with pytest.raises(ValueError, match="upper"):
        fixed.load_state_dict(auto.state_dict())


@pytest.mark.parametrize("highest", [False, True])
@pytest.mark.parametrize("odd", [math.inf, math.nan])
def test_a_risk_that_is_not_finite_is_not_kept_while_another_can_be(odd, highest):
    """Of 1, 2, 3, 4 the two lowest hold 5 of 30, the three lowest 14: three are kept, whichever end is."""
    risks = [1.0, odd, 2.0, 3.0, 4.0]
    finite = [True, False, True, True, False] if not highest else [False, False, True, True, True]
    assert kept(5, risks, "auto", highest=highest, what="first-order", step=1) == finite
    assert kept(5, [odd] * 5, "auto", highest=highest, what="first-order", step=1) == [True] + 4 * [False]


def test_an_infinite_risk_is_the_highest_of_a_share():
    risks = [1.0, math.inf, 2.0, 3.0]
    assert kept(4, risks, 0.5, highest=True, what="first-order", step=1) == [False, True, False, True]
