"""Rose: the kept set for chosen risks, all orders against Algorithm 1 written out again, observation and errors."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from helpers import ARCHITECTURES
from rosetune import Rose, SelectiveAdamW
from rosetune.methods._targets import LAYER_WEIGHTS, select_targets

BETAS, EPS, LR, DECAY = (0.9, 0.98), 1e-8, 0.01, 0.05


class Layers(nn.Module):
    """Five linear maps in numbered layers, of different sizes, and a head that is never masked."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        widths = [3, 4, 2, 5, 3, 2]
        self.layer = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(widths))
        self.head = nn.Linear(2, 2)
        self.double()

    def forward(self, x, noise):
        for i, layer in enumerate(self.layer):
            x = torch.tanh(layer(x)) * (noise if i == 2 else 1.0)
        return self.head(x)


def optimizer_for(model, rose, **kwargs):
    options = {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY} | kwargs
    return SelectiveAdamW(model.named_parameters(), update_mask=rose, **options)


def losses(model, step):
    """A task loss and a consistency loss that differ from step to step, with noise that depends on the step alone."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 2, (6,), generator=generator)
    a, b = model(x, 0.2 + 0.3 * (step % 3)), model(x, 1.5)
    p, q = a.softmax(-1), b.softmax(-1)
    kl = ((p * (p / q).log()).sum(-1) + (q * (q / p).log()).sum(-1)).mean()
    # Any loss will do in the consistency's place; this part makes the ranking move from step to step.
    moving = torch.rand(5, generator=generator, dtype=torch.float64)
    kl = kl + sum(c * layer.weight.square().sum() for c, layer in zip(moving, model.layer, strict=True))
    return nn.functional.cross_entropy(a, y), kl


def reference(model, order, upper, gamma, steps, corrected=False):
    """Algorithm 1 in numpy, with the masks of Eqs. 2 to 5; gradients from autograd one tensor at a time."""
    names = [n for n, _ in model.named_parameters()]
    targets = [n for n in names if n.startswith("layer.") and n.endswith("weight")]
    m = {n: np.zeros(p.shape) for n, p in model.named_parameters()}
    v = {n: np.zeros(p.shape) for n, p in model.named_parameters()}
    remaining = dict.fromkeys(names, 1.0)
    history = []

    def lowest(risk):
        count = math.floor(upper * len(targets) + 1e-9)
        ranked = sorted(targets, key=lambda n: risk[n])
        return {n: 1.0 if n in ranked[:count] else 0.0 for n in targets}

    for t in range(1, steps + 1):
        ce, kl = losses(model, t)
        weights = dict(model.named_parameters())
        g_kl = {n: torch.autograd.grad(kl, weights[n], retain_graph=True)[0].numpy() for n in targets}
        g = dict(zip(names, (x.numpy() for x in torch.autograd.grad(ce, list(model.parameters()))), strict=True))
        first = lowest({n: np.sqrt((g_kl[n] ** 2).sum()) for n in targets})
        if t == 1:
            second = dict.fromkeys(targets, 1.0)
        else:
            risk = {}
            for n in targets:
                norm_g, norm_m = np.linalg.norm(g[n]), np.linalg.norm(m[n])
                if norm_m == 0:
                    risk[n] = 0.0
                elif corrected:
                    risk[n] = abs(norm_g / (norm_m / (1 - remaining[n])) - 1)
                else:
                    risk[n] = abs((1 - BETAS[0]) * norm_g / norm_m - 1)
            second = lowest(risk)
        both = {n: gamma * first[n] + (1 - gamma) * second[n] for n in targets}
        mask = {"first": first, "second": second, "ensemble": both}[order]
        history.append([mask[n] for n in targets])
        with torch.no_grad():
            for n, p in model.named_parameters():
                big_m = mask.get(n, 1.0)
                remaining[n] *= 1 - (1 - BETAS[0]) * big_m
                g_new = big_m * g[n] + (1 - big_m) * m[n]
                m[n] = BETAS[0] * m[n] + (1 - BETAS[0]) * g_new
                v[n] = BETAS[1] * v[n] + (1 - BETAS[1]) * g_new**2
                m_hat, v_hat = m[n] / (1 - BETAS[0] ** t), v[n] / (1 - BETAS[1] ** t)
                theta = p.numpy()
                p.copy_(torch.from_numpy(theta - LR * (m_hat / (np.sqrt(v_hat) + EPS) + DECAY * theta) * big_m))
    return model, np.array(history)


@pytest.mark.parametrize("kernel", [{"foreach": False}, {"foreach": True}, {"fused": True}])
@pytest.mark.parametrize(
    ("order", "second_order"),
    [
        ("first", "paper"),
        ("second", "paper"),
        ("ensemble", "paper"),
        ("second", "corrected"),
        ("ensemble", "corrected"),
    ],
)
def test_twenty_steps_follow_the_paper(order, second_order, kernel):
    rose = Rose(order, upper=0.6, gamma=0.3, second_order=second_order, trace=True)
    model = Layers()
    optimizer = optimizer_for(model, rose, **kernel)
    for step in range(1, 21):
        ce, kl = losses(model, step)
        if "consistency" in rose.needs:
            rose.observe(optimizer, consistency=kl)
        ce.backward()
        optimizer.step()
        optimizer.zero_grad()
    expected, history = reference(Layers(), order, 0.6, 0.3, 20, corrected=second_order == "corrected")
    np.testing.assert_allclose(rose.trace.multipliers, history, atol=1e-7)
    assert len(np.unique(history, axis=0)) > 3  # the masks do move
    for p, q in zip(model.parameters(), expected.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=0, atol=1e-10)


def kept_for(gradient_norms, **options):
    """The tensors that Rose-First keeps where the KL gradients have these norms."""
    parameters = [(f"layer.{i}.weight", nn.Parameter(torch.zeros(2, 2))) for i in range(len(gradient_norms))]
    rose = Rose("first", **options)
    optimizer = SelectiveAdamW(parameters, update_mask=rose)
    direction = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    rose.observe(
        optimizer,
        consistency=sum((n * direction * p).sum() for n, (_, p) in zip(gradient_norms, parameters, strict=True)) + 1,
    )
    mask = rose(optimizer)
    return [i for i, (_, p) in enumerate(parameters) if mask[p] == 1.0]


@pytest.mark.parametrize(
    ("risks", "options", "kept"),
    [
        ([5.0, 1.0, 3.0, 2.0, 4.0], {"upper": 0.6}, [1, 2, 3]),
        ([5.0, 1.0, 3.0, 2.0, 4.0], {"upper": 0.6, "keep": "highest"}, [0, 2, 4]),
        ([1.0, 1.0, 1.0, 1.0], {"upper": 0.5}, [0, 1]),
        ([1.0, 1.0, 1.0, 1.0], {"upper": 0.5, "keep": "highest"}, [0, 1]),
        ([2.0, 1.0, 1.0, 1.0], {"upper": 0.5}, [1, 2]),
        ([3.0], {"upper": 1.0}, [0]),
        ([3.0, 1.0, 2.0], {"upper": 1.0}, [0, 1, 2]),
        ([4.0, 3.0, 2.0, 1.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0], {"upper": 0.7}, [0, 1, 2, 3, 4, 5, 6]),
        ([0.0, 2.0, 1.0], {"upper": 0.34}, [0]),
        ([float("nan"), 2.0, 1.0], {"upper": 0.67}, [1, 2]),
        ([float("nan"), 2.0, 1.0], {"upper": 0.67, "keep": "highest"}, [1, 2]),
        ([float("inf"), 2.0, float("nan")], {"upper": 0.67}, [0, 1]),
    ],
)
@pytest.mark.parametrize("reduce", ["gradients", "norms"])
def test_the_kept_set(risks, options, kept, reduce):
    assert kept_for(risks, reduce=reduce, **options) == kept


def test_a_nan_risk_is_logged(caplog):
    kept_for([float("nan"), 1.0], upper=0.5)
    assert "1 of 2 first-order risks are NaN" in caplog.text


@pytest.mark.parametrize("share", [i / 10 for i in range(1, 11)])
def test_the_count_is_that_of_equation_3(share):
    n = 96
    assert len(kept_for(list(range(n)), upper=share)) == sum(i / n <= share + 1e-12 for i in range(1, n + 1))


def test_rms_divides_by_the_size():
    small, large = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(200))
    for normalize, kept in (("norm", small), ("rms", large)):
        rose = Rose("first", upper=0.5, normalize=normalize)
        optimizer = SelectiveAdamW([("layer.0.weight", small), ("layer.1.weight", large)], update_mask=rose)
        # Every scalar of the large tensor has half the gradient of those of the small one: norms 1.41 and 7.07.
        rose.observe(optimizer, consistency=small.sum() + 0.5 * large.sum() + 1)
        assert [p for p, m in rose(optimizer).items() if m == 1.0] == [kept]


def test_gradients_are_averaged_before_the_norm_and_norms_after():
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    for reduce, kept in (("gradients", a), ("norms", b)):
        rose = Rose("first", upper=0.5, reduce=reduce)
        optimizer = SelectiveAdamW([("layer.0.weight", a), ("layer.1.weight", b)], update_mask=rose)
        a.grad = b.grad = None
        # a's gradients cancel over the micro-batches (mean 0, mean norm 5), b's do not (mean 1, mean norm 1).
        for sign in (1, -1):
            rose.observe(optimizer, consistency=(5 * sign * a + b).sum() + 1)
            a.grad = b.grad = torch.ones(1)  # as the backward pass of the micro-batch leaves them
        assert [p for p, m in rose(optimizer).items() if m == 1.0] == [kept]


def test_grad_is_left_alone_by_an_observation():
    model, rose = Layers(), Rose("first")
    optimizer = optimizer_for(model, rose)
    ce, kl = losses(model, 1)
    rose.observe(optimizer, consistency=kl)
    assert all(p.grad is None for p in model.parameters())
    ce.backward()
    seen = [p.grad.clone() for p in model.parameters()]
    fresh = Layers()
    losses(fresh, 1)[0].backward()
    assert all(torch.equal(g, p.grad) for g, p in zip(seen, fresh.parameters(), strict=True))


def test_ensemble_takes_two_thresholds_and_four_multipliers():
    model, rose = Layers(), Rose("ensemble", upper=(0.4, 0.8), gamma=0.3, trace=True)
    optimizer = optimizer_for(model, rose)
    for step in range(1, 8):
        ce, kl = losses(model, step)
        rose.observe(optimizer, consistency=kl)
        ce.backward()
        optimizer.step()
        optimizer.zero_grad()
    trace = rose.trace.multipliers
    assert set(np.unique(trace.round(6))) <= {0.0, np.float32(0.3), np.float32(0.7), 1.0}
    # 2 of 5 by the first mask, 4 of 5 by the second from the second step on, all 5 of it in the first.
    np.testing.assert_allclose(trace.sum(1), [0.3 * 2 + 0.7 * 5] + [0.3 * 2 + 0.7 * 4] * 6, atol=1e-5)


def test_second_order_follows_the_task_gradient_in_the_units_of_the_moments():
    """R-Drop + ROSE: .grad is the aggregate's, the risk the task's, scaled as clipping scaled .grad."""
    masks = {}
    for clip in (None, 0.01):
        model, rose = Layers(), Rose("second", upper=0.6, trace=True)
        optimizer = optimizer_for(model, rose)
        for step in range(1, 6):
            ce, kl = losses(model, step)
            rose.observe(optimizer, task_loss=ce)
            (ce + 20 * kl).backward()
            if clip:
                norm = optimizer.clip_grad_norm_(clip)
                coefficient = min(1.0, clip / (norm.item() + 1e-6))
            else:
                coefficient = 1.0
            beta, risks = BETAS[0], []
            for name, p in select_targets(optimizer, LAYER_WEIGHTS):
                if step > 1:
                    (g,) = torch.autograd.grad(losses(model, step)[0], p)
                    risks.append(
                        (
                            abs((1 - beta) * coefficient * g.norm() / optimizer.state[p]["exp_avg"].norm() - 1).item(),
                            name,
                        )
                    )
            optimizer.step()
            optimizer.zero_grad()
            if step > 1:
                kept = {name for _, name in sorted(risks)[:3]}
                assert {n for n, m in zip(rose.trace.names, rose.trace.multipliers[-1], strict=True) if m} == kept
        masks[clip] = rose.trace.multipliers
    assert masks[None].shape == masks[0.01].shape


def test_risk_task_ranks_by_the_gradient_of_the_step():
    model, rose = Layers(), Rose("first", upper=0.4, risk="task")
    assert rose.needs == {"task_loss"}
    optimizer = optimizer_for(model, rose)
    ce, _ = losses(model, 1)
    ce.backward()
    mask = rose(optimizer)
    norms = sorted((p.grad.norm().item(), n) for n, p in select_targets(optimizer, LAYER_WEIGHTS))
    names = {p: n for n, p in model.named_parameters()}
    assert {names[p] for p, m in mask.items() if m} == {n for _, n in norms[:2]}


def test_start_step_updates_everything_before():
    model, rose = Layers(), Rose("first", upper=0.4, start_step=2, trace=True)
    optimizer = optimizer_for(model, rose)
    for step in range(1, 5):
        ce, kl = losses(model, step)
        rose.observe(optimizer, consistency=kl)
        ce.backward()
        optimizer.step()
        optimizer.zero_grad()
    np.testing.assert_array_equal(rose.trace.multipliers.sum(1), [5, 5, 2, 2])


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_step_that_a_gradient_scaler_skips_discards_its_observation(set_to_none):
    def train(spoilt):
        model, rose = Layers(), Rose("first", upper=0.4, trace=True)
        optimizer, scaler = optimizer_for(model, rose), torch.amp.GradScaler("cpu", init_scale=4.0)
        for step in range(1, 6):
            ce, kl = losses(model, step)
            if step == spoilt:
                rose.observe(optimizer, consistency=1e6 * losses(model, 9)[1])
                scaler.scale(ce * float("inf")).backward()
            else:
                rose.observe(optimizer, consistency=kl)
                scaler.scale(ce).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none)
        return rose.trace.multipliers

    masks = train(spoilt=3)
    assert len(masks) == 4
    np.testing.assert_array_equal(masks[:2], train(spoilt=None)[:2])
    # The mask after the skipped step is that of step 4's own observation, on the weights of step 2.
    model, rose = Layers(), Rose("first", upper=0.4)
    optimizer = optimizer_for(model, rose)
    for step in (1, 2):
        ce, kl = losses(model, step)
        rose.observe(optimizer, consistency=kl)
        ce.backward()
        optimizer.step()
        optimizer.zero_grad()
    rose.observe(optimizer, consistency=losses(model, 4)[1])
    np.testing.assert_array_equal(masks[2], list(rose(optimizer).values()))


def test_several_observations_before_one_backward_pass_are_averaged():
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    rose = Rose("first", upper=0.5)
    optimizer = SelectiveAdamW([("layer.0.weight", a), ("layer.1.weight", b)], update_mask=rose)
    for sign in (1, -1):
        rose.observe(optimizer, consistency=(5 * sign * a + b).sum() + 1)
    assert [p for p, m in rose(optimizer).items() if m == 1.0] == [a]


def test_parameters_that_are_not_trained_are_no_targets():
    model, rose = Layers(), Rose("second", upper=0.5, trace=True)
    for p in model.layer[:3].parameters():
        p.requires_grad_(False)
    optimizer = optimizer_for(model, rose)
    for step in range(1, 4):
        losses(model, step)[0].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert rose.trace.names == ("layer.3.weight", "layer.4.weight")


def test_state_of_other_options_is_refused():
    saved = Rose("second", upper=0.4).state_dict()
    with pytest.raises(ValueError, match=r"other options \(order: 'second'"):
        Rose("first", upper=0.4).load_state_dict(saved)


def test_one_gradient_for_two_tensors_is_summed_once():
    a, b, c = (nn.Parameter(torch.ones(1)) for _ in range(3))
    rose = Rose("first", upper=0.34)
    optimizer = SelectiveAdamW([(f"layer.{i}.weight", p) for i, p in enumerate((a, b, c))], update_mask=rose)
    for scale in (1.0, 2.0, 3.0):
        rose.observe(optimizer, consistency=scale * (a + b).sum() + 6.5 * c.sum() / 3 * 2)
    # Sums over the micro-batches: 6 for a and b, 13 for c.
    assert [p for p, m in rose(optimizer).items() if m == 1.0] == [a]


@pytest.mark.parametrize("order", ["first", "second", "ensemble"])
@pytest.mark.parametrize("second_order", ["paper", "corrected"])
def test_three_steps_and_three_after_loading_are_six(order, second_order):
    def train(model, optimizer, steps):
        for step in steps:
            ce, kl = losses(model, step)
            if "consistency" in optimizer.update_mask.needs:
                optimizer.update_mask.observe(optimizer, consistency=kl)
            ce.backward()
            optimizer.step()
            optimizer.zero_grad()

    def fresh():
        return Rose(order, upper=0.4, second_order=second_order, start_step=1, trace=True)

    whole = Layers()
    whole_optimizer = optimizer_for(whole, fresh())
    train(whole, whole_optimizer, range(1, 7))
    half = Layers()
    first = optimizer_for(half, fresh())
    train(half, first, range(1, 4))
    second = optimizer_for(half, fresh())
    second.load_state_dict(first.state_dict())
    train(half, second, range(4, 7))
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), half.parameters(), strict=True))
    np.testing.assert_array_equal(whole_optimizer.update_mask.trace.multipliers, second.update_mask.trace.multipliers)


def test_errors_say_what_to_do():
    model = Layers()
    _, kl = losses(model, 1)
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        Rose(upper=0.0)
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        Rose(upper=(0.5, 1.2))
    with pytest.raises(ValueError, match="first, second"):
        Rose(upper=(0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match="order must be one of"):
        Rose(order="third")
    with pytest.raises(ValueError, match="gamma"):
        Rose(gamma=1.5)
    with pytest.raises(ValueError, match="not a regular expression"):
        Rose(target_parameters="layer[")
    for rose, options, message in (
        (Rose("first", target_parameters="nothing"), {"consistency": kl}, "matches none of the 12"),
        (Rose("first"), {}, "consistency=True"),
        (Rose("first"), {"consistency": kl * 0}, "no dropout acts"),
    ):
        with pytest.raises(ValueError, match=message):
            rose.observe(optimizer_for(model, rose), **options)
    rose = Rose("first", upper=0.1)
    optimizer = optimizer_for(model, rose)
    rose.observe(optimizer, consistency=kl)
    with pytest.raises(ValueError, match="keeps none of the 5"):
        rose(optimizer)
    rose = Rose("ensemble")
    with pytest.raises(ValueError, match="without having observed"):
        rose(optimizer_for(model, rose))
    unnamed = SelectiveAdamW(model.parameters(), update_mask=Rose("second"))
    with pytest.raises(ValueError, match="named_parameters"):
        unnamed.step()


def test_a_later_consistency_of_zero_is_no_error():
    """A confident model in bf16 can give the same logits twice; only the first micro-batch tells a missing dropout."""
    model, rose = Layers(), Rose("first")
    optimizer = optimizer_for(model, rose)
    rose.observe(optimizer, consistency=losses(model, 1)[1])
    rose(optimizer)
    rose.observe(optimizer, consistency=losses(model, 2)[1] * 0)
    assert sum(rose(optimizer).values()) == 3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_default_targets_are_the_layer_weights_of_any_architecture(tiny_model, architecture):
    model = tiny_model(architecture)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=Rose("second"))
    names = {name for name, _ in select_targets(optimizer, LAYER_WEIGHTS)}
    weights = {n for n, _ in model.named_parameters() if n.endswith("weight") and any(f".{i}." in n for i in range(2))}
    assert names == weights
    assert len(names) >= 8
    if architecture == "roberta":  # the authors' own test
        assert names == {n for n, _ in model.named_parameters() if "layer" in n and "weight" in n}
