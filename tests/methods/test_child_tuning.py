"""Child-Tuning against numpy: what F draws, which scalars D keeps, and that its pass over the data leaves no trace."""

import copy
import io
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from transformers.utils import ModelOutput

from helpers import ARCHITECTURES, StopAt, arguments, dataset, logged, same, train
from rosetune import SelectiveAdamW
from rosetune.methods import PreparedMask, child_tuning
from rosetune.methods._fisher import keep_top
from rosetune.methods.child_tuning import ChildTuning

LABELS = 3


class Linear(nn.Module):
    """z = layer.0(x) + head(x): a candidate matrix and bias, and a head that is none."""

    def __init__(self, dropout=0.0):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layer, self.head = nn.ModuleList([nn.Linear(4, LABELS)]), nn.Linear(4, LABELS)
        self.dropout, self.norm = nn.Dropout(dropout), nn.BatchNorm1d(4, affine=False)
        for parameter in self.double().parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)

    def forward(self, x, normalise=False):
        x = self.dropout(self.norm(x) if normalise else x)
        return ModelOutput(logits=self.layer[0](x) + self.head(x))


def batches(sizes=(6, 6, 3)):
    generator = torch.Generator().manual_seed(1)
    return [
        {
            "x": 3 * torch.randn(size, 4, generator=generator, dtype=torch.float64),
            "labels": torch.randint(LABELS, (size,), generator=generator),
        }
        for size in sizes
    ]


def optimizer_for(mask, model=None, **kwargs):
    return SelectiveAdamW((Linear() if model is None else model).named_parameters(), update_mask=mask, **kwargs)


def prepared(model=None, data=None, **options):
    model = Linear() if model is None else model
    mask = ChildTuning(**options)
    optimizer = optimizer_for(mask, model)
    mask.prepare(optimizer, model, batches() if data is None else data)
    return mask, optimizer


def multipliers(mask, optimizer):
    group = optimizer.param_groups[0]
    names = dict(zip(group["params"], group["param_names"], strict=True))
    return {names[parameter]: m for parameter, m in mask(optimizer).items()}


def fisher_by_hand(model, data, fisher, clip):
    """The mean squared gradient of the cross-entropy of a linear classifier, in numpy: matrix and bias of layer 0."""
    total = sum(p.detach().numpy() for p in (model.layer[0].weight, model.head.weight))
    bias = sum(p.detach().numpy() for p in (model.layer[0].bias, model.head.bias))
    parts = []
    for batch in data:
        x, y = batch["x"].numpy(), batch["labels"].numpy()
        z = x @ total.T + bias
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        wrong = p - np.eye(LABELS)[y]
        if fisher == "batch":
            parts.append((wrong.T @ x / len(x), wrong.mean(0)))
        else:
            parts.extend((np.outer(w, r), w) for w, r in zip(wrong, x, strict=True))
    squares = []
    for gradients in parts:
        factors = [1.0 if clip is None else min(1.0, clip / (np.sqrt((g**2).sum()) + 1e-6)) for g in gradients]
        squares.append([(f * g) ** 2 for f, g in zip(factors, gradients, strict=True)])
    return [np.mean([s[i] for s in squares], axis=0) for i in range(2)]


# ---- D: the Fisher proxy and the percentile


@pytest.mark.parametrize("fisher", ["batch", "example"])
@pytest.mark.parametrize("clip", [1.0, 0.05, None])
@pytest.mark.parametrize("reserve", [0.1, 0.3, 0.5, 1.0])
def test_d_keeps_what_numpy_would(fisher, clip, reserve):
    model, data = Linear(), batches()
    values = fisher_by_hand(model, data, fisher, clip)
    threshold = np.percentile(np.concatenate([v.ravel() for v in values]), 100 * (1 - reserve))
    mask, optimizer = prepared(model, data, fisher=fisher, fisher_clip=clip, reserve=reserve)
    got = multipliers(mask, optimizer)
    assert list(got) == ["layer.0.weight", "layer.0.bias"]  # the head is updated in full
    for m, value in zip(got.values(), values, strict=True):
        assert m.dtype == torch.bool
        np.testing.assert_array_equal(m.numpy(), value >= threshold)


def test_the_choices_above_are_told_apart():
    """Batch, example and clipping give other sets, so that the test before this one tests them."""
    variants = [("batch", 1.0), ("batch", None), ("example", 1.0), ("example", None)]
    values = [
        np.concatenate([v.ravel() for v in fisher_by_hand(Linear(), batches(), *variant)]) for variant in variants
    ]
    assert len({tuple(v >= np.percentile(v, 50)) for v in values}) == len(variants)


def test_the_fisher_values_themselves():
    model, data = Linear(), batches()
    for fisher in ("batch", "example"):
        got = child_tuning.diagonal_fisher(
            model, list(model.layer.parameters()), data, per_example=fisher == "example", clip=1.0
        )
        for a, b in zip(got, fisher_by_hand(model, data, fisher, 1.0), strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-5)


def tensors(values, parts):
    return list(torch.tensor(np.asarray(values, dtype=np.float32)).tensor_split(parts))


def kinds_of_values():
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 10, 257, 1001):
        yield rng.random(n) ** 8
        yield 10.0 ** rng.uniform(-44, 38, n)  # from denormal to nearly too large
        yield rng.integers(0, 4, n)  # many ties
        yield np.where(rng.random(n) < 0.8, 0.0, rng.random(n))  # mostly zero
        yield np.zeros(n)
        yield np.full(n, 0.7)
        yield 1.0 + rng.integers(0, 3, n) * 2.0**-23  # next to each other


@pytest.mark.parametrize("reserve", [0.1, 0.25, 0.3, 0.5, 0.9, 1.0])
def test_counting_finds_the_percentile(reserve):
    for values in kinds_of_values():
        for parts in (1, 3):
            split = tensors(values, parts)
            whole = np.concatenate([t.numpy() for t in split]).astype(np.float64)
            expected = whole >= np.percentile(whole, 100 - 100 * reserve)
            np.testing.assert_array_equal(torch.cat(keep_top(split, reserve)).numpy(), expected)


@pytest.mark.parametrize("reserve", ["0.07", "0.29", "0.71", "0.3"])
def test_the_percentile_is_not_moved_by_binary_fractions(reserve):
    """The interpolation in exact arithmetic; floating point takes (101 - 1)(1 - 0.71) for a little more than 29."""
    for n in (1, 2, 11, 101, 301):
        x = np.sort(np.random.default_rng(n).random(n, dtype=np.float32))
        position = (n - 1) * (1 - Fraction(reserve))
        low = int(position)
        a, b = Fraction(float(x[low])), Fraction(float(x[min(low + 1, n - 1)]))
        threshold = a + (position - low) * (b - a)
        expected = [Fraction(float(v)) >= threshold for v in x]
        assert torch.cat(keep_top(tensors(x, 2), float(reserve))).tolist() == expected


def test_shapes_strides_and_empty_tensors():
    values = [torch.rand(5, 7).t(), torch.zeros(0), torch.rand(()), torch.rand(2, 3, 4)[:, ::2]]
    masks = keep_top(values, 0.5)
    assert [m.shape for m in masks] == [v.shape for v in values]
    whole = np.concatenate([v.numpy().ravel() for v in values])
    expected = whole >= np.percentile(whole.astype(np.float64), 50)
    np.testing.assert_array_equal(np.concatenate([m.numpy().ravel() for m in masks]), expected)


def test_ties_that_keep_too_much_are_logged(caplog):
    keep_top(tensors(np.arange(1000), 2), 0.3)
    assert not caplog.records
    assert all(m.all() for m in keep_top(tensors([0.0] * 900 + [1.0] * 100, 2), 0.3))
    assert "100.0 % of the 1000 candidate scalars are kept instead of 30.0 %" in caplog.text


# ---- D: the pass over the data


def test_batches_that_are_not_finite_are_left_out(caplog):
    data = batches()
    expected = multipliers(*prepared(data=data[1:]))
    data[0]["x"][2, 1] = torch.nan
    got = multipliers(*prepared(data=data))
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    assert "1 of 3 batches had a gradient that is not finite" in caplog.text
    caplog.clear()
    prepared(data=data, fisher="example")
    assert "1 of 15 examples" in caplog.text
    with pytest.raises(ValueError, match="none of the 1 batches"):
        prepared(data=data[:1])


def test_without_data_or_with_another_model_it_refuses():
    with pytest.raises(ValueError, match="got no batch"):
        prepared(data=[])
    mask = ChildTuning()
    with pytest.raises(ValueError, match=r"named_parameters\(\) the optimizer was given"):
        mask.prepare(optimizer_for(mask), Linear(), batches())
    assert not mask.prepared
    with pytest.raises(ValueError, match="matches none"):
        prepared(target_parameters="nothing")
    with pytest.raises(ValueError, match="column of labels"):
        prepared(data=[{"x": torch.zeros(2, 4)}])


def test_prepare_leaves_everything_as_it_was():
    model = Linear(dropout=0.5).eval()
    model.dropout.train()
    model.layer[0].weight.grad = torch.ones(LABELS, 4, dtype=torch.float64)
    before, gradient = copy.deepcopy(model), model.layer[0].weight.grad.clone()
    state = torch.get_rng_state()
    prepared(model, [{**batch, "normalise": True} for batch in batches()])
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]
    for name, tensor in before.state_dict().items():  # with the running means of the BatchNorm
        assert torch.equal(model.state_dict()[name], tensor)
    assert torch.equal(model.layer[0].weight.grad, gradient)
    assert all(p.grad is None for name, p in model.named_parameters() if name != "layer.0.weight")


def test_dropout_is_on_even_if_the_model_came_in_eval_mode():
    def kept(seed):
        torch.manual_seed(seed)
        return torch.cat([m.flatten() for m in multipliers(*prepared(Linear(dropout=0.5).eval())).values()]).tolist()

    with torch.random.fork_rng():
        assert len({tuple(kept(seed)) for seed in range(8)}) > 1
        assert kept(3) == kept(3)


def test_the_pass_works_under_no_grad():
    with torch.no_grad():
        inside = multipliers(*prepared())
    outside = multipliers(*prepared())
    assert all(torch.equal(inside[name], outside[name]) for name in outside)


def test_progress_and_the_number_of_batches(capsys):
    """A generator, which has no length, is read no further than was asked for."""
    data = iter(batches(sizes=(4,) * 5))
    mask, optimizer = prepared(data=data, fisher_batches=2)
    assert len(list(data)) == 3
    captured = capsys.readouterr()
    assert "Fisher pass: 100%" in captured.err
    assert "2/2" in captured.err
    assert captured.out == ""
    first_two = multipliers(*prepared(data=batches(sizes=(4,) * 5)[:2]))
    assert all(torch.equal(m, first_two[name]) for name, m in multipliers(mask, optimizer).items())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_candidates_are_the_parameters_of_the_layers(tiny_model, tiny_batch, monkeypatch, architecture):
    """Told from the module tree: whatever the list of the two layers holds, under one percentile."""
    values, real = [], child_tuning.diagonal_fisher
    monkeypatch.setattr(child_tuning, "diagonal_fisher", lambda *a, **k: values.extend(real(*a, **k)) or values)
    model = tiny_model(architecture)
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == 2]
    inside = {id(p) for stack in stacks for p in stack.parameters()}
    mask, optimizer = prepared(model, [tiny_batch()])
    got = mask(optimizer)
    assert {id(p) for p in got} == inside
    threshold = np.percentile(torch.cat([v.flatten() for v in values]).double().numpy(), 70)  # at which values may tie
    for m, value in zip(got.values(), values, strict=True):
        assert torch.equal(m, value.double() >= threshold)


# ---- F


def f_optimizer(mask, order=1):
    square = (200, 200)
    shapes = {"embed.weight": (300, 200), "layer.0.weight": square, "layer.1.weight": square, "head.bias": (3,)}
    named = [(name, nn.Parameter(torch.zeros(shape))) for name, shape in shapes.items()]
    for _, parameter in named:
        parameter.grad = torch.ones_like(parameter)
    return SelectiveAdamW(named[::order], update_mask=mask)


@pytest.mark.parametrize("reserve", [0.2, 0.3, 1.0])
def test_f_is_a_bernoulli_of_mean_one(reserve):
    mask = ChildTuning("F", reserve)
    got = multipliers(mask, f_optimizer(mask))
    assert set(got) == {"embed.weight", "layer.0.weight", "layer.1.weight", "head.bias"}
    values = torch.cat([m.flatten() for m in got.values()])
    assert set(values.tolist()) <= {0.0, (torch.tensor(1.0) / reserve).item()}
    deviation = np.sqrt((1 - reserve) / reserve / len(values))
    assert values.double().mean().item() == pytest.approx(1.0, abs=4 * deviation + 1e-6)
    if reserve < 1.0:  # independent from tensor to tensor and from step to step
        again = multipliers(mask, f_optimizer(mask))
        for a, b in ((got["layer.0.weight"], got["layer.1.weight"]), (got["embed.weight"], again["embed.weight"])):
            assert abs(np.corrcoef(a.flatten(), b.flatten())[0, 1]) < 4 / np.sqrt(a.numel())


def test_f_depends_on_seed_step_and_name_alone():
    def draws(mask, steps, order=1):
        optimizer = f_optimizer(mask, order)
        return [{name: m.tolist() for name, m in multipliers(mask, optimizer).items()} for _ in range(steps)]

    state = torch.get_rng_state()
    expected = draws(ChildTuning("F", seed=7), 4)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        assert draws(ChildTuning("F", seed=7), 4, order=-1) == expected
    assert draws(ChildTuning("F", seed=8), 1) != expected[:1]
    half = ChildTuning("F", seed=7)
    assert draws(half, 2) == expected[:2]
    resumed = ChildTuning("F", seed=7)
    resumed.load_state_dict(half.state_dict())
    assert draws(resumed, 2) == expected[2:]


def test_f_needs_no_preparation_and_no_gradient():
    mask = ChildTuning("F")
    assert isinstance(mask, PreparedMask)
    assert mask.prepared
    optimizer = optimizer_for(mask)
    mask.prepare(optimizer, None, None)
    assert mask(optimizer) == {}
    optimizer.step()


# ---- the step


@pytest.mark.parametrize("mode", ["D", "F"])
def test_a_step_is_adamw_on_masked_gradients(mode):
    model = Linear()
    reference = copy.deepcopy(model)
    options = {"lr": 1e-2, "weight_decay": 0.1}
    mask = ChildTuning(mode, 0.5)
    optimizer = optimizer_for(mask, model, **options)
    mask.prepare(optimizer, model, batches())
    draws = ChildTuning(mode, 0.5)
    draws.load_state_dict(mask.state_dict())
    plain = torch.optim.AdamW(reference.parameters(), **options)
    generator = torch.Generator().manual_seed(3)
    for _ in range(10):
        for p, q in zip(model.parameters(), reference.parameters(), strict=True):
            p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            q.grad = p.grad.clone()
        masks = draws(optimizer)
        for p, q in zip(model.parameters(), reference.parameters(), strict=True):
            q.grad *= masks.get(p, 1.0)
        optimizer.step()
        plain.step()
    assert same(model, reference)
    if mode == "D":  # where the mask is zero, only the decay has acted
        kept = masks[model.layer[0].weight]
        start = Linear().layer[0].weight[~kept]
        torch.testing.assert_close(model.layer[0].weight[~kept], start * (1 - 1e-3) ** 10)


def test_a_nan_gradient_under_a_zero_stays_outside():
    model = Linear()
    mask, optimizer = prepared(model)
    zero = ~multipliers(mask, optimizer)["layer.0.weight"]
    model.layer[0].weight.grad = torch.where(zero, torch.nan, 1.0).double()
    optimizer.step()
    assert torch.isfinite(model.layer[0].weight).all()
    assert optimizer.density["scalars"].item() == pytest.approx(5 / 15)  # of 15 scalars floor(0.3 x 14) + 1


# ---- the state


def test_an_unprepared_mask_says_how_to_prepare_it():
    mask = ChildTuning()
    optimizer = optimizer_for(mask)
    with pytest.raises(ValueError, match=r"mask\.prepare\(optimizer, model, batches\)"):
        optimizer.step()
    other = ChildTuning()
    other.load_state_dict(mask.state_dict())
    assert not other.prepared


def test_the_mask_survives_a_checkpoint():
    model = Linear()
    model.scale = nn.Parameter(torch.ones((), dtype=torch.float64))  # without dimensions
    options = {"target_parameters": "layer|scale"}
    model.forward = lambda x: ModelOutput(logits=model.scale * (model.layer[0](x) + model.head(x)))
    mask, optimizer = prepared(model, **options)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert [bits.dtype for bits in state["update_mask"]["mask"]["bits"]] == [torch.uint8] * 3
    assert sum(bits.numel() for bits in state["update_mask"]["mask"]["bits"]) == 1 + 2 + 1  # 1, 12 and 3 bits
    loaded = ChildTuning(**options)
    fresh = optimizer_for(loaded, model)
    fresh.load_state_dict(state)
    expected = multipliers(mask, optimizer)
    copies = [loaded, copy.deepcopy(mask), pickle.loads(pickle.dumps(mask))]
    for other in copies:
        assert other.prepared
        got = multipliers(other, fresh)
        assert list(got) == list(expected)
        assert all(torch.equal(got[name], m) for name, m in expected.items())
    loaded.load_state_dict(ChildTuning(**options).state_dict())
    assert not loaded.prepared


def test_a_mask_of_other_tensors_or_options_is_refused():
    state = prepared()[0].state_dict()
    mask = ChildTuning()
    mask.load_state_dict(state)
    wide = Linear()
    wide.layer[0] = nn.Linear(5, LABELS)
    with pytest.raises(ValueError, match=r"layer\.0\.weight is \(3, 4\) in the mask and \(3, 5\) in the optimizer"):
        mask(optimizer_for(mask, wide))
    deep = Linear()
    deep.layer.append(nn.Linear(4, LABELS))
    with pytest.raises(ValueError, match=r"layer\.1\.weight is not there in the mask"):
        mask(optimizer_for(mask, deep))
    frozen = Linear()
    frozen.layer[0].bias.requires_grad_(False)
    with pytest.raises(ValueError, match=r"layer\.0\.bias is \(3,\) in the mask and not there in the optimizer"):
        mask(optimizer_for(mask, frozen))
    for options in ({"reserve": 0.2}, {"mode": "F"}, {"fisher": "example"}):
        with pytest.raises(ValueError, match="other options"):
            ChildTuning(**options).load_state_dict(state)
    ChildTuning(seed=3).load_state_dict(state)  # D draws nothing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "E"}, "mode must be one of D, F"),
        ({"reserve": 0.0}, "reserve"),
        ({"reserve": 1.1}, "reserve"),
        ({"reserve": float("nan")}, "reserve"),
        ({"fisher": "rows"}, "fisher must be"),
        ({"fisher_clip": 0.0}, "fisher_clip"),
        ({"fisher_batches": 0}, "fisher_batches"),
        ({"target_parameters": "["}, "not a regular expression"),
        ({"mode": "F", "fisher": "example"}, "belong to mode D"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ChildTuning(**options)


# ---- under the Trainer


@pytest.mark.parametrize("options", [{"mode": "D"}, {"mode": "F"}])
def test_a_killed_and_resumed_run_looks_at_the_data_once(tmp_path, tiny_model, monkeypatch, options):
    passes = []
    real = child_tuning.diagonal_fisher
    monkeypatch.setattr(child_tuning, "diagonal_fisher", lambda *a, **k: passes.append(1) or real(*a, **k))
    saving = {"save_strategy": "steps", "save_steps": 3, "gradient_accumulation_steps": 2}
    mask, data = ChildTuning(**options), dataset()
    once = options["mode"] == "D"
    whole = train(tiny_model(), arguments(tmp_path / "whole", **saving), data, update_mask=mask)
    assert len(passes) == once
    with pytest.raises(KeyboardInterrupt):
        train(tiny_model(), arguments(tmp_path / "cut", **saving), data, update_mask=mask, callbacks=[StopAt(4)])
    assert len(passes) == 2 * once
    resumed = train(
        tiny_model(seed=9),
        arguments(tmp_path / "cut", **saving),
        data,
        update_mask=mask,
        resume=str(tmp_path / "cut" / "checkpoint-3"),
    )
    assert len(passes) == 2 * once
    assert same(whole.model, resumed.model)
    assert logged(whole) == logged(resumed)
    assert logged(whole)[0]["mask_density_scalars"] == pytest.approx(0.3 if once else 1.0, abs=0.02)


@pytest.mark.parametrize("options", [{"mode": "D", "fisher_batches": 2}, {"mode": "D"}, {"mode": "F"}])
def test_with_nothing_masked_it_is_plain_training(tmp_path, tiny_model, options):
    """Neither the pass over the data nor the draws change the order of the data or the dropout of the training."""
    data = dataset()
    masked = train(tiny_model(), arguments(tmp_path), data, update_mask=ChildTuning(**options, reserve=1.0))
    assert same(masked.model, train(tiny_model(), arguments(tmp_path), data).model)


def test_what_d_masks_stays_without_decay(tmp_path, tiny_model):
    before = dict(tiny_model().named_parameters())
    trainer = train(tiny_model(), arguments(tmp_path, weight_decay=0.0), dataset(), update_mask=ChildTuning())
    mask = trainer.optimizer.optimizer.update_mask
    kept = multipliers_of_groups(mask, trainer.optimizer.optimizer)
    for name, parameter in trainer.model.named_parameters():
        moved = parameter != before[name]
        if name in kept:
            assert torch.equal(moved & ~kept[name], torch.zeros_like(moved))
        else:
            assert moved.any()
    assert sum((p != before[n])[kept[n]].sum() for n, p in trainer.model.named_parameters() if n in kept) > 0


def multipliers_of_groups(mask, optimizer):
    names = {p: n for g in optimizer.param_groups for p, n in zip(g["params"], g["param_names"], strict=True)}
    return {names[p]: m for p, m in mask(optimizer).items()}
