"""ROSE's sketched norms: without bias, linear, the exact mask up to the noise of another dropout draw, resumable."""

import logging
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from helpers import make_batch, make_model
from rosetune import CrossEntropy, FreeLB, RDrop, Rose, SelectiveAdamW
from rosetune.methods._sketch import layer_gradients
from rosetune.methods._targets import LAYER_PARAMETERS, select_targets

DRAWS = 60


def masked(model, **options):
    rose = Rose("first", upper=0.5, **options)
    return rose, SelectiveAdamW(model.named_parameters(), lr=1e-3, update_mask=rose)


def observe(model, rose, optimizer, batch, draw, objective=None):
    """One micro-batch, with this dropout draw."""
    torch.manual_seed(draw)
    out = (objective or CrossEntropy())(model, batch, consistency=True)
    task_loss = None if out.task_loss is out.loss else out.task_loss
    rose.observe(optimizer, consistency=out.consistency, task_loss=task_loss)
    out.loss.backward()


def norms(model, batch, draw=0, **options):
    """The first-order risks, by name."""
    rose, optimizer = masked(model, **options)
    observe(model, rose, optimizer, batch, draw)
    found = rose._observation.norms("consistency").double()
    names = [name for name, _ in select_targets(optimizer, rose.target_parameters)]
    return dict(zip(names, found.tolist(), strict=True))


@pytest.mark.parametrize(("architecture", "depth"), [("bert", "num_hidden_layers"), ("gpt2", "n_layer")])
def test_the_squared_norm_is_without_bias(architecture, depth):
    """Of linear layers and of GPT-2's Conv1D; everything else is exact."""
    model, batch = make_model(architecture, **{depth: 1}).double(), make_batch(rows=4)
    targets = LAYER_PARAMETERS + "|word_embeddings|wte"
    exact = norms(model, batch, target_parameters=targets)
    draws = [norms(model, batch, target_parameters=targets, sketch=8, seed=seed) for seed in range(DRAWS)]
    weights = dict(model.named_parameters())
    sketched = 0
    for name, norm in exact.items():
        squares = np.array([draw[name] ** 2 for draw in draws])
        if weights[name].dim() == 1 or "embed" in name or "wte" in name:
            np.testing.assert_allclose(squares, norm**2, rtol=1e-9, atol=1e-30)
            continue
        sketched += 1
        error = squares.std(ddof=1) / math.sqrt(DRAWS)
        assert error < 0.1 * norm**2
        assert abs(squares.mean() - norm**2) < 4 * error
        assert squares.std() > 0
    assert sketched >= 4


def test_more_columns_are_nearer():
    model, batch = make_model().double(), make_batch()
    exact = norms(model, batch)
    off = {}
    for columns in (2, 32):
        draws = [norms(model, batch, sketch=columns, seed=seed) for seed in range(10)]
        off[columns] = np.mean([abs(draw[n] / exact[n] - 1) for draw in draws for n in exact if "Norm" not in n])
    assert off[32] < off[2] / 2  # sqrt(32 / 2) = 4 in the limit


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_sketches_of_micro_batches_add_up(architecture):
    """Two halves are one batch: the sums of the sketches, not of their norms."""
    model = make_model(architecture, dropout=0.0).double()
    noise = torch.Generator().manual_seed(0)
    scale = 1 + 0.5 * torch.randn(8, 12, 32, generator=noise, dtype=torch.float64)  # in dropout's place, row by row
    whole, rows = make_batch(lengths=[12] * 8), []
    embedding = model.get_input_embeddings()
    embedding.register_forward_hook(lambda module, inputs, output: output * scale[rows])
    risks = []
    for parts in ([[0, 1, 2, 3]], [[0, 1], [2, 3]]):
        rose, optimizer = masked(model, sketch=4, seed=1)
        for part in parts:
            rows[:] = [*part, *[row + 4 for row in part]]
            observe(model, rose, optimizer, {name: x[part] for name, x in whole.items()}, 0)
        risks.append(rose._observation.norms("consistency"))
        optimizer.zero_grad()
    torch.testing.assert_close(*risks, rtol=1e-9, atol=0)


def test_a_micro_batch_that_shares_no_backward_pass_adds_to_those_that_do():
    """Ignored labels leave rows without a gradient; their exact gradient is projected alike."""
    model = make_model().double()
    ignoring = make_batch(seed=1)
    ignoring["labels"][:3] = -100
    rose, optimizer = masked(model, sketch=4)
    observe(model, rose, optimizer, make_batch(seed=0), 0)
    observe(model, rose, optimizer, ignoring, 1)
    found = rose._observation.norms("consistency")
    expected = None
    for draw, batch in enumerate((make_batch(seed=0), ignoring)):
        torch.manual_seed(draw)
        kl = CrossEntropy()(model, batch, consistency=True).consistency
        parts = torch.autograd.grad(kl, [p for _, p in select_targets(optimizer, rose.target_parameters)])
        parts = [g @ rose._project(g.shape[1], g) if g.dim() == 2 else g for g in parts]
        expected = parts if expected is None else [a + b for a, b in zip(expected, parts, strict=True)]
    torch.testing.assert_close(found, torch.stack([g.norm() / 2 for g in expected]), rtol=1e-9, atol=0)


def jaccard(a, b):
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "distilbert", "modernbert"])
def test_the_mask_is_the_exact_one_up_to_another_dropout_draw(architecture):
    model, agreement, floor = make_model(architecture), [], []

    def kept(batch, draw, **options):
        risks = norms(model, batch, draw, **options)
        return set(sorted(risks, key=risks.__getitem__)[: len(risks) // 2])

    for seed in range(8):
        batch = make_batch(seed=seed)
        exact = kept(batch, seed)
        agreement.append(jaccard(exact, kept(batch, seed, sketch=16, seed=seed)))
        floor.append(jaccard(exact, kept(batch, seed + 100)))
    assert np.mean(agreement) >= np.mean(floor) - 0.05
    assert np.mean(agreement) > 0.6  # by chance 0.33


def test_what_is_held_is_small():
    model = make_model().double()
    rose, optimizer = masked(model, sketch=4)
    for seed in range(2):
        observe(model, rose, optimizer, make_batch(seed=seed), seed)
    rose._observation.norms("consistency")
    sizes = {tuple(tensor.shape) for tensor in rose._observation._sums["consistency"]}
    assert sizes == {(32, 4), (64, 4), (32,)}


@pytest.mark.parametrize(
    ("architecture", "num_labels", "objective"),
    [("bert", 3, CrossEntropy), ("gpt2", 3, RDrop), ("deberta", 2, CrossEntropy), ("bert", 2, FreeLB)],
)
def test_a_backward_pass_without_weight_gradients(architecture, num_labels, objective):
    """More labels, weights that also act beside the batch, and a loss from other passes: sketched all the same."""
    model = make_model(architecture, num_labels=num_labels).double()
    rose, optimizer = masked(model, sketch=4)
    for seed in range(2):
        observe(model, rose, optimizer, make_batch(seed=seed, num_labels=num_labels), seed, objective())
    found = rose._observation.norms("consistency")
    expected = None
    targets = select_targets(optimizer, rose.target_parameters)
    for seed in range(2):
        torch.manual_seed(seed)
        out = objective()(model, make_batch(seed=seed, num_labels=num_labels), consistency=True)
        parts = torch.autograd.grad(out.consistency, [p for _, p in targets])
        expected = parts if expected is None else [a + b for a, b in zip(expected, parts, strict=True)]
    for norm, gradient, (name, _) in zip(found, expected, targets, strict=True):
        gradient = gradient.t() if "c_" in name else gradient  # GPT-2's Conv1D holds (in, out)
        if gradient.dim() == 2 and "embed" not in name:
            gradient = gradient @ rose._project(gradient.shape[1], gradient)
        torch.testing.assert_close(norm, gradient.norm() / 2, rtol=1e-9, atol=1e-12)


def test_what_cannot_be_sketched_is_exact_and_the_log_says_so(caplog):
    caplog.set_level(logging.INFO, "rosetune")
    model, batch = make_model().double(), make_batch()
    model.activation_checkpointing_enable({"use_reentrant": False})
    assert norms(model, batch, sketch=4) == pytest.approx(norms(model, batch), rel=1e-12)
    assert "are not sketched but exact: activations are recomputed" in caplog.text


@pytest.mark.parametrize("layer", [0, 1])
def test_a_tensor_that_enters_otherwise_is_exact_and_the_others_are_sketched(layer, caplog):
    """Its own layer lies below, or above, those that the backward pass is looked at in."""
    caplog.set_level(logging.INFO, "rosetune")
    model = make_model().double()
    weight_norm(model.bert.encoder.layer[layer].intermediate.dense)
    pattern = r"\.layer\.\d+\..+(weight|original[01])$"
    rose, optimizer = masked(model, sketch=4, target_parameters=pattern)
    observe(model, rose, optimizer, make_batch(), 0)
    names = [name for name, _ in select_targets(optimizer, pattern)]
    found = dict(zip(names, rose._observation.norms("consistency"), strict=True))
    torch.manual_seed(0)
    kl = CrossEntropy()(model, make_batch(), consistency=True).consistency
    targets = select_targets(optimizer, pattern)
    gradients = torch.autograd.grad(kl, [p for _, p in targets])
    for (name, _), gradient in zip(targets, gradients, strict=True):
        if gradient.dim() == 2 and "original" not in name:
            gradient = gradient @ rose._project(gradient.shape[1], gradient)
        torch.testing.assert_close(found[name], gradient.norm(), rtol=1e-9, atol=1e-12)
    assert f"2 of {len(targets)} gradients that rank are not sketched but exact: a target tensor enters" in caplog.text
    sizes = {tuple(tensor.shape) for tensor in rose._observation._sums["consistency"]}
    assert (32, 4) in sizes


def test_the_gain_of_an_rms_norm():
    """Against autograd; there is no architecture with one among those of the other tests."""
    torch.manual_seed(0)
    norm, layer = nn.RMSNorm(6).double(), nn.Linear(6, 2).double()
    nn.init.normal_(norm.weight)
    loss = layer(norm(torch.randn(3, 5, 6, dtype=torch.float64)).relu()).square().sum()
    taken = layer_gradients(loss, [norm.weight, layer.weight], None)
    assert taken.whole == {}
    expected = torch.autograd.grad(loss, [norm.weight, layer.weight])
    for found, gradient in zip(taken.found, expected, strict=True):
        torch.testing.assert_close(found, gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("order", "objective"), [("first", CrossEntropy), ("ensemble", RDrop)])
def test_three_steps_and_three_after_loading_are_six(order, objective):
    def run(model, optimizer, steps):
        for step in steps:
            observe(model, optimizer.update_mask, optimizer, make_batch(seed=step), step, objective())
            optimizer.step()
            optimizer.zero_grad()

    def fresh(model, seed=5):
        rose = Rose(order, upper=0.5, sketch=4, seed=seed, trace=True)
        return SelectiveAdamW(model.named_parameters(), lr=1e-3, update_mask=rose)

    whole, half = make_model(), make_model()
    uninterrupted, first, second = fresh(whole), fresh(half), fresh(half)
    run(whole, uninterrupted, range(6))
    run(half, first, range(3))
    second.load_state_dict(first.state_dict())
    run(half, second, range(3, 6))
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), half.parameters(), strict=True))
    traces = [optimizer.update_mask.trace.multipliers for optimizer in (uninterrupted, second)]
    np.testing.assert_array_equal(*traces)
    with pytest.raises(ValueError, match=r"other options \(seed: 5 there, 6 here"):
        fresh(half, seed=6).load_state_dict(first.state_dict())


def test_a_state_without_a_sketch_is_still_read():
    model = make_model()
    saved = SelectiveAdamW(model.named_parameters(), update_mask=Rose("first")).state_dict()
    del saved["update_mask"]["options"]["sketch"]  # as it was saved before there were sketches
    SelectiveAdamW(model.named_parameters(), update_mask=Rose("first")).load_state_dict(saved)
    with pytest.raises(ValueError, match=r"sketch: 0 there, 16 here"):
        SelectiveAdamW(model.named_parameters(), update_mask=Rose("first", sketch=16)).load_state_dict(saved)


@pytest.mark.parametrize("options", [{"sketch": -1}, {"sketch": 1.5}, {"seed": -1}])
def test_options(options):
    with pytest.raises(ValueError, match="must be a whole number of at least 0"):
        Rose(**options)
