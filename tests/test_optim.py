"""SelectiveAdamW against torch.optim.AdamW and against Algorithm 1 written out again in float64."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from rosetune import SelectiveAdamW

KERNELS = [{"foreach": False, "fused": False}, {"foreach": True}, {"fused": True}, {}]
SHAPES = [(5, 3), (7,), (4, 4), (1,)]


class GivenMask:
    """An update mask that plays back a list of multipliers per step."""

    needs: frozenset = frozenset()

    def __init__(self, steps, freezes_update=True):
        self.steps, self.freezes_update, self.at = steps, freezes_update, 0

    def observe(self, optimizer, *, consistency=None, task_loss=None):
        pass

    def __call__(self, optimizer):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.at += 1
        return dict(zip(parameters, self.steps[self.at - 1], strict=True))

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


def parameters(dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in SHAPES]


def named(ps):
    return [
        {"params": [(f"p{i}", p) for i, p in enumerate(ps[:2])], "weight_decay": 0.1},
        {"params": [(f"p{i + 2}", p) for i, p in enumerate(ps[2:])], "weight_decay": 0.0},
    ]


def gradients(steps, dtype=torch.float32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(shape, generator=generator, dtype=dtype) for shape in SHAPES] for _ in range(steps)]


def run(optimizer, ps, grads):
    for step in grads:
        for p, g in zip(ps, step, strict=True):
            p.grad = None if g is None else g.clone()
        optimizer.step()


def algorithm_1(thetas, grads, masks, lr, betas, eps, decays, freezes_update=True):
    """Algorithm 1 of the paper, tensor by tensor, in numpy float64."""
    thetas = [t.detach().numpy().astype(np.float64).copy() for t in thetas]
    ms = [np.zeros_like(t) for t in thetas]
    vs = [np.zeros_like(t) for t in thetas]
    for t, (step, mask) in enumerate(zip(grads, masks, strict=True), start=1):
        for i, g in enumerate(step):
            g = g.numpy().astype(np.float64)
            big_m = mask[i].numpy() if isinstance(mask[i], torch.Tensor) else mask[i]
            g = big_m * g + (1 - big_m) * ms[i] if freezes_update else big_m * g
            ms[i] = betas[0] * ms[i] + (1 - betas[0]) * g
            vs[i] = betas[1] * vs[i] + (1 - betas[1]) * g * g
            m_hat, v_hat = ms[i] / (1 - betas[0] ** t), vs[i] / (1 - betas[1] ** t)
            update = m_hat / (np.sqrt(v_hat) + eps) + decays[i] * thetas[i]
            thetas[i] = thetas[i] - lr * update * (big_m if freezes_update else 1.0)
    return thetas, ms, vs


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("mask", [None, "float", "tensor"])
def test_a_mask_of_ones_is_bitwise_adamw(kernel, mask):
    ours, theirs = parameters(), parameters()
    ones = {"float": [1.0] * 4, "tensor": [torch.ones(s) for s in SHAPES]}
    update_mask = None if mask is None else GivenMask([ones[mask]] * 12)
    a = SelectiveAdamW(named(ours), lr=0.01, betas=(0.8, 0.95), update_mask=update_mask, **kernel)
    groups = [{**g, "params": [p for _, p in g["params"]]} for g in named(theirs)]
    b = torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.95), **kernel)
    run(a, ours, gradients(12))
    run(b, theirs, gradients(12))
    for p, q in zip(ours, theirs, strict=True):
        assert torch.equal(p, q)
        assert torch.equal(a.state[p]["exp_avg"], b.state[q]["exp_avg"])
        assert torch.equal(a.state[p]["exp_avg_sq"], b.state[q]["exp_avg_sq"])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("zero", [0.0, "tensor"])
@pytest.mark.parametrize("gradient", ["random", "nan", "none"])
def test_a_mask_of_zeros_freezes_bitwise(kernel, zero, gradient):
    ps = parameters()
    before = [p.detach().clone() for p in ps]
    masks = [[torch.zeros(s) if zero == "tensor" else 0.0 for s in SHAPES]] * 3
    optimizer = SelectiveAdamW(named(ps), lr=0.1, update_mask=GivenMask([[1.0] * 4, *masks]), **kernel)
    first, *rest = gradients(4)
    run(optimizer, ps, [first])
    moved = [p.detach().clone() for p in ps]
    moments = [optimizer.state[p]["exp_avg"].clone() for p in ps]
    spoilt = {"random": lambda g: g, "nan": lambda g: g * float("nan"), "none": lambda g: None}[gradient]
    run(optimizer, ps, [[spoilt(g) for g in step] for step in rest])
    for p, start, after, m in zip(ps, before, moved, moments, strict=True):
        assert not torch.equal(start, after)
        assert torch.equal(p, after)
        torch.testing.assert_close(optimizer.state[p]["exp_avg"], m, rtol=1e-6, atol=0)
        assert optimizer.state[p]["step"].item() == 4
        # v_4 = beta2^3 v_1 + (1 - beta2^3) m^2, with v_1 = 0.001 g^2
        v = 0.999**3 * 0.001 * (m / 0.1) ** 2 + (1 - 0.999**3) * m**2
        torch.testing.assert_close(optimizer.state[p]["exp_avg_sq"], v, rtol=1e-4, atol=1e-12)


def test_a_tensor_frozen_from_the_start_without_gradient_has_advanced_state():
    ps = parameters()
    optimizer = SelectiveAdamW(named(ps), lr=0.1, update_mask=GivenMask([[0.0] * 4] * 2))
    run(optimizer, ps, [[None] * 4] * 2)
    assert [optimizer.state[p]["step"].item() for p in ps] == [2] * 4
    assert all(p.grad is None for p in ps)


@pytest.mark.parametrize("freezes_update", [True, False])
@pytest.mark.parametrize("kind", ["float", "tensor"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_random_masks_follow_algorithm_1(kernel, kind, freezes_update):
    ps = parameters(torch.float64)
    start = [p.detach().clone() for p in ps]
    rng = np.random.default_rng(3)
    levels = [0.0, 0.3, 0.5, 0.7, 1.0]

    def draw(shape):
        values = rng.choice(levels, size=shape if kind == "tensor" else None)
        return torch.tensor(values) if kind == "tensor" else float(values)

    masks = [[draw(shape) for shape in SHAPES] for _ in range(20)]
    grads = gradients(20, torch.float64)
    optimizer = SelectiveAdamW(named(ps), lr=0.02, update_mask=GivenMask(masks, freezes_update), **kernel)
    run(optimizer, ps, grads)
    decays = [0.1, 0.1, 0.0, 0.0]
    thetas, ms, vs = algorithm_1(start, grads, masks, 0.02, (0.9, 0.999), 1e-8, decays, freezes_update)
    for p, theta, m, v in zip(ps, thetas, ms, vs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), theta, rtol=0, atol=1e-10)
        np.testing.assert_allclose(optimizer.state[p]["exp_avg"].numpy(), m, rtol=0, atol=1e-10)
        np.testing.assert_allclose(optimizer.state[p]["exp_avg_sq"].numpy(), v, rtol=0, atol=1e-10)


def test_the_gradient_itself_is_left_as_it_was():
    ps = parameters()
    optimizer = SelectiveAdamW(named(ps), update_mask=GivenMask([[0.5, 0.0, torch.full((4, 4), 0.3), 1.0]]))
    grads = gradients(1)
    run(optimizer, ps, grads)
    assert all(torch.equal(p.grad, g) for p, g in zip(ps, grads[0], strict=True))


def test_state_round_trip_continues_bitwise():
    masks = [[0.0, 1.0, 0.5, 1.0], [1.0, 0.0, 0.5, 0.3]] * 3
    grads = gradients(6)
    ps, qs = parameters(), parameters()
    whole = SelectiveAdamW(named(ps), lr=0.01, update_mask=GivenMask(masks))
    run(whole, ps, grads)
    first = SelectiveAdamW(named(qs), lr=0.01, update_mask=GivenMask(masks))
    run(first, qs, grads[:3])
    second = SelectiveAdamW(named(qs), lr=0.01, update_mask=GivenMask(masks))
    second.load_state_dict(first.state_dict())
    run(second, qs, grads[3:])
    assert all(torch.equal(p, q) for p, q in zip(ps, qs, strict=True))


def test_state_without_a_mask_is_refused_beside_a_mask():
    ps = parameters()
    plain = SelectiveAdamW(named(ps))
    masked = SelectiveAdamW(named(ps), update_mask=GivenMask([]))
    with pytest.raises(ValueError, match="saved with update mask none"):
        masked.load_state_dict(plain.state_dict())


@pytest.mark.parametrize(
    ("multiplier", "message"), [(1.5, r"\[0, 1\]"), (float("nan"), r"\[0, 1\]"), (torch.ones(2), "shape")]
)
def test_a_mask_out_of_range_or_shape_is_an_error(multiplier, message):
    ps = parameters()
    optimizer = SelectiveAdamW(named(ps), update_mask=GivenMask([[multiplier] * 4]))
    with pytest.raises(ValueError, match=message):
        run(optimizer, ps, gradients(1))


def test_density_counts_tensors_and_scalars():
    ps = parameters()
    optimizer = SelectiveAdamW(named(ps), update_mask=GivenMask([[1.0, 0.0, 0.5, 0.0]]))
    run(optimizer, ps, gradients(1))
    assert optimizer.density == {"tensors": 1.5 / 4, "scalars": (15 + 0.5 * 16) / 39}


def test_clip_grad_norm_remembers_its_coefficient():
    ps = parameters()
    optimizer = SelectiveAdamW(named(ps))
    for p, g in zip(ps, gradients(1)[0], strict=True):
        p.grad = g.clone()
    norm = torch.cat([g.flatten() for g in gradients(1)[0]]).norm()
    assert torch.allclose(optimizer.clip_grad_norm_(1.0), norm)
    assert optimizer.clip_coefficient == pytest.approx(1.0 / norm.item(), rel=1e-4)
    optimizer.step()
    assert optimizer.clip_coefficient == 1.0


def test_a_closure_is_evaluated():
    ps = parameters()
    optimizer = SelectiveAdamW(named(ps), lr=0.1, update_mask=GivenMask([[1.0] * 4]))

    def closure():
        optimizer.zero_grad()
        loss = sum(p.square().sum() for p in ps)
        loss.backward()
        return loss

    before = sum(p.detach().square().sum() for p in ps)
    assert torch.equal(optimizer.step(closure), before)
    assert sum(p.detach().square().sum() for p in ps) < before


def test_copies_and_pickles_keep_the_mask():
    for copied in (copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        ps = parameters()
        optimizer = copied(SelectiveAdamW(named(ps), lr=0.1, update_mask=GivenMask([[0.0, 1.0, 1.0, 0.0]])))
        qs = [p for group in optimizer.param_groups for p in group["params"]]
        before = [q.detach().clone() for q in qs]
        run(optimizer, qs, gradients(1))
        assert [torch.equal(q, b) for q, b in zip(qs, before, strict=True)] == [True, False, False, True]


def test_a_name_is_no_mask():
    with pytest.raises(TypeError, match="must be a mask"):
        SelectiveAdamW(named(parameters()), update_mask="rose")
