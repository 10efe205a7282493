"""Magma against its formula, written out in float64 with AdamW around it, and its control."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from rosetune import Magma, RandomStep, SelectiveAdamW

LR, DECAY, BETA1, BETA2, EPS = 0.05, 0.1, 0.9, 0.98, 1e-8
SHAPES = {"embeddings.word.weight": (5, 3), "layer.0.weight": (4, 3), "layer.0.bias": (4,), "head.weight": (2, 4)}
STEPS = 5


def parameters():
    generator = torch.Generator().manual_seed(0)
    return {n: nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64)) for n, s in SHAPES.items()}


def gradients():
    """Of the last tensor they turn against its momentum in the middle."""
    generator = torch.Generator().manual_seed(1)
    base = {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in SHAPES.items()}
    noise = [
        {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in SHAPES.items()} for _ in range(STEPS)
    ]
    return [
        {n: (-1 if n == "head.weight" and t >= 3 else 1) * g + 0.5 * noise[t][n] for n, g in base.items()}
        for t in range(STEPS)
    ]


def train(mask, steps):
    ps = parameters()
    optimizer = SelectiveAdamW(
        list(ps.items()), lr=LR, betas=(BETA1, BETA2), eps=EPS, weight_decay=DECAY, update_mask=mask
    )
    for step in steps:
        for name, p in ps.items():
            p.grad = step[name].clone()
        optimizer.step()
    return {n: p.detach() for n, p in ps.items()}, optimizer


def by_hand(steps, seed, p, aligned):
    """The plain loop: AdamW steps densely, and theta goes s z of the way."""
    theta = {n: v.detach().numpy().copy() for n, v in parameters().items()}
    m, v = ({n: np.zeros(s) for n, s in SHAPES.items()} for _ in range(2))
    s = dict.fromkeys(SHAPES, 0.5)
    targets = [n for n in SHAPES if "embed" not in n]
    taken = []
    for t, step in enumerate(steps, start=1):
        z = dict(zip(targets, np.random.default_rng([seed, t - 1]).random(len(targets)) < p, strict=True))
        for n in SHAPES:
            g = step[n].numpy()
            m[n] = BETA1 * m[n] + (1 - BETA1) * g
            v[n] = BETA2 * v[n] + (1 - BETA2) * g**2
            old = theta[n]
            new = old - LR * DECAY * old
            new = new - LR * (m[n] / (1 - BETA1**t)) / (np.sqrt(v[n] / (1 - BETA2**t)) + EPS)
            cosine = (m[n] * g).sum() / math.sqrt((m[n] ** 2).sum() * (g**2).sum())
            s[n] = 0.9 * s[n] + 0.1 / (1 + math.exp(-cosine / 2))
            share = 1.0 if n not in z else z[n] * (s[n] if aligned else 1.0)
            theta[n] = old + share * (new - old)
            taken.append(share)
    return theta, s, taken


@pytest.mark.parametrize(("kind", "aligned"), [(Magma, True), (RandomStep, False)])
@pytest.mark.parametrize("p", [0.5, 1.0])
def test_the_formula_over_five_steps(kind, aligned, p):
    mask = kind(p=p, seed=3)
    found, _ = train(mask, gradients())
    expected, s, taken = by_hand(gradients(), 3, p, aligned)
    assert p == 1.0 or {0.0} < {*taken}  # some stayed
    for name in SHAPES:
        # SelectiveAdamW takes the cosine in float32.
        np.testing.assert_allclose(found[name].numpy(), expected[name], rtol=0, atol=1e-9)
    if aligned:
        kept = mask.state_dict()["alignment"]
        assert kept == pytest.approx({n: value for n, value in s.items() if "embed" not in n}, abs=1e-7)
        assert kept["head.weight"] < kept["layer.0.weight"]  # one turns against its momentum, one goes along with it


def test_every_step_in_full_is_adamw_bit_for_bit():
    found, _ = train(RandomStep(p=1.0), gradients())
    plain, _ = train(None, gradients())
    assert all(torch.equal(found[n], plain[n]) for n in SHAPES)


def test_what_stays_stays_bit_for_bit_and_its_moments_are_those_of_adamw():
    mask, steps = RandomStep(p=0.5, seed=3), gradients()
    last_before, _ = train(copy.deepcopy(mask), steps[:-1])
    found, optimizer = train(mask, steps)
    _, plain = train(None, steps)
    drawn = np.random.default_rng([3, STEPS - 1]).random(3) < 0.5
    stays = [n for n, z in zip([n for n in SHAPES if "embed" not in n], drawn, strict=True) if not z]
    assert 0 < len(stays) < 3
    assert all(torch.equal(found[n], last_before[n]) for n in stays)
    for p, q in zip(*(o.param_groups[0]["params"] for o in (optimizer, plain)), strict=True):
        for moment in ("exp_avg", "exp_avg_sq", "step"):
            assert torch.equal(optimizer.state[p][moment], plain.state[q][moment])


def test_a_gradient_that_is_missing_or_zero_or_nan_leaves_the_alignment_a_number():
    mask, p = Magma(), nn.Parameter(torch.ones(3))
    optimizer = SelectiveAdamW([("layer.0.weight", p)], lr=LR, update_mask=mask)
    optimizer.step()
    assert mask.state_dict()["alignment"] == {}
    for value, expected in ((0.0, 0.5), (float("nan"), 0.5)):
        p.grad = torch.full((3,), value)
        optimizer.step()
        assert mask.state_dict()["alignment"]["layer.0.weight"] == expected
