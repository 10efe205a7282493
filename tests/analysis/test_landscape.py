import copy
import itertools
import random

import numpy as np
import pytest
import torch
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

import quadratic
from helpers import make_batch, make_model
from rosetune.analysis.batches import OVERHEAD, batch_cuts
from rosetune.analysis.directions import random_direction
from rosetune.analysis.interpolation import interpolate, interpolation_axis
from rosetune.analysis.landscape import landscape, landscape_rows
from rosetune.analysis.surface import Surface, grid_axis
from rosetune.analysis.weights import MeanLoss

H = quadratic.symmetric(np.linspace(-4.0, 9.0, quadratic.SIZE))


def a_quadratic() -> MeanLoss:
    return MeanLoss(quadratic.Quadratic(H), quadratic.batches(), quadratic.value)


def states():
    return torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()


def plain_loss(model, weights, batches):
    """Mean cross-entropy of a deep copy with other weights."""
    other = copy.deepcopy(model).eval()
    other.load_state_dict({**other.state_dict(), **weights})
    total = rows = 0
    for batch in batches:
        logits = other(**{n: v for n, v in batch.items() if n != "labels"}).logits.double()
        total += torch.nn.functional.cross_entropy(logits, batch["labels"], reduction="sum").item()
        rows += len(logits)
    return total / rows


class Scaleless(torch.nn.Module):
    """Its logits do not change when the filters are multiplied."""

    def __init__(self, filters):
        super().__init__()
        self.filters, self.out = filters, torch.nn.Linear(4, 2)

    def forward(self, x):
        h = self.filters(x)
        return {"logits": self.out(h / h.norm(dim=0))}


class TestQuadratic:
    @pytest.mark.parametrize("normalise", ["filter", "tensor"])
    def test_surface_and_curvature(self, normalise):
        of, alpha, beta = a_quadratic(), grid_axis(0.25, 5), grid_axis(0.2, 7)
        delta, eta = (random_direction(of, seed, normalise) for seed in (1, 2))
        surface = landscape(of, (delta, eta), alpha, beta)
        names = ["first", "second", "bias"]
        theta = np.concatenate([of.parts[n].numpy().ravel() for n in names])
        d, e = (
            np.concatenate([(x[n] if n in x.noise else torch.zeros(2)).double().numpy().ravel() for n in names])
            for x in (delta, eta)
        )
        slope = of.model.slope.numpy()
        for i, b in enumerate(beta):
            for j, a in enumerate(alpha):
                w = theta + a * d + b * e
                assert surface.loss[i, j] == pytest.approx(3 + slope @ w + w @ H @ w / 2, abs=1e-9)
        assert surface.centre == pytest.approx(3 + slope @ theta + theta @ H @ theta / 2, abs=1e-12)
        assert surface.curvature() == pytest.approx((d @ H @ d, e @ H @ e), rel=1e-6)
        assert np.isnan(surface.accuracy).all()
        assert d[-2:].any() == (normalise == "tensor")

    def test_rows_do_not_depend_on_each_other(self):
        of, alpha = a_quadratic(), grid_axis(0.25, 5)
        directions = random_direction(of, 1), random_direction(of, 2)
        whole = landscape(of, directions, alpha, alpha)
        for row, losses, _ in landscape_rows(of, directions, alpha, alpha, [3, 1]):
            assert (losses == whole.loss[row]).all()


def test_the_grid_has_the_model_on_it():
    assert grid_axis().tolist() == pytest.approx(np.linspace(-0.25, 0.25, 51).tolist())
    assert grid_axis()[25] == 0
    assert interpolation_axis().tolist() == pytest.approx(sorted([0, 1, *(-0.5 + 0.04 * i for i in range(51))]))
    assert {0.0, 1.0} <= {*interpolation_axis().tolist()}
    assert interpolation_axis(5).tolist() == [-0.5, 0.0, 0.5, 1.0, 1.5]


def test_what_is_read_off_a_surface():
    x = grid_axis(1.0, 3)
    loss = np.array([[3.0, 2.0, 3.0], [2.0, 1.0, 4.0], [3.0, 2.0, 3.0]])
    surface = Surface(x, x, loss, loss)
    assert surface.centre == 1
    assert surface.share_below(2.0) == pytest.approx(4 / 9)
    assert surface.curvature() == (4.0, 2.0)
    even = Surface(grid_axis(1.0, 2), x, loss[:, :2], loss)
    assert np.isnan([even.centre, *even.curvature()]).all()


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra", "deberta", "modernbert", "gpt2"])
def test_a_point_is_the_loss_of_a_model_with_those_weights(architecture):
    """Also for the embeddings, of which only the rows that are read are moved."""
    model = make_model(architecture)
    batches = [make_batch(6, seed=1), make_batch(3, length=5, seed=2)]
    of = MeanLoss(model, batches)
    delta, eta = random_direction(of, 1), random_direction(of, 2)
    surface = landscape(of, (delta, eta), np.array([-0.1, 0.2]), np.array([0.0, 0.3]))
    there = {}
    for name, p in model.named_parameters():
        if name not in delta.noise:
            assert p.dim() < 2
            continue
        d, e = (whole_direction(of, x, name) for x in (delta, eta))
        there[name] = p.detach() + 0.2 * d + 0.3 * e
    assert surface.loss[1, 1] == pytest.approx(plain_loss(model, there, batches), abs=1e-6)


def whole_direction(of, direction, name):
    whole = torch.zeros_like(of.whole(name))
    if name in of._read:
        whole[of._read[name]] = direction[name]
        return whole
    return direction[name]


class TestNothingIsTouched:
    def test_weights_modes_and_random_state(self):
        model, batch = make_model(), make_batch()
        model.classifier.eval()
        before, modes, random_before = copy.deepcopy(model.state_dict()), modes_of(model), states()
        of = MeanLoss(model, [batch])
        landscape(
            of, (random_direction(of, 1), random_direction(of, 2, "tensor")), grid_axis(0.2, 3), grid_axis(0.2, 3)
        )
        list(interpolate(of, make_model(seed=5), interpolation_axis(3)))
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
        assert modes == modes_of(model)
        assert all(p.grad is None for p in model.parameters())
        for a, b in zip(random_before, states(), strict=True):
            assert np.array_equal(np.asarray(a, dtype=object), np.asarray(b, dtype=object))


def modes_of(model):
    return [module.training for module in model.modules()]


class TestFilterNormalisation:
    def test_each_filter_is_as_long_as_its_weights(self):
        of = MeanLoss(make_model(), [make_batch()])
        direction = random_direction(of, 3)
        assert {name for name in of.parts if of.parts[name].dim() > 1} == {*direction.noise}
        for name in direction.noise:
            assert torch.allclose(
                direction[name].flatten(1).norm(dim=1), of.parts[name].flatten(1).norm(dim=1), rtol=1e-5
            )

    def test_a_rescaled_filter_sees_the_same_surface(self):
        """A unit whose output is normalised does not change when its weights are multiplied."""
        model, other = (Scaleless(torch.nn.Linear(5, 4, bias=False)).double() for _ in range(2))
        other.load_state_dict(model.state_dict())
        with torch.no_grad():
            other.filters.weight.mul_(torch.tensor([[0.01], [1.0], [7.0], [1000.0]]))
        x = torch.randn(6, 5).double()
        batch, grid = [{"x": x, "labels": torch.tensor([0, 1, 1, 0, 1, 0])}], grid_axis(0.5, 5)
        found = []
        for each, normalise in ((model, "filter"), (other, "filter"), (model, "tensor"), (other, "tensor")):
            of = MeanLoss(each, batch)
            directions = random_direction(of, 1, normalise), random_direction(of, 2, normalise)
            found.append(landscape(of, directions, grid, grid).loss)
        assert found[0] == pytest.approx(found[1], rel=1e-9)
        assert np.ptp(found[0]) > 1e-3
        assert np.abs(found[2] - found[3]).max() > 1e-3  # the whole tensor's norm sees the largest filter alone

    def test_the_filters_of_a_conv1d_are_its_columns(self):
        """GPT-2 keeps weights as (inputs, outputs): an output that is multiplied has its direction multiplied."""
        model, other = make_model("gpt2"), make_model("gpt2")
        name = "transformer.h.0.mlp.c_fc.weight"
        factors = torch.linspace(0.1, 9.0, 64)
        with torch.no_grad():
            dict(other.named_parameters())[name].mul_(factors)
        directions = [random_direction(MeanLoss(each, [make_batch()]), 1) for each in (model, other)]
        assert dict(model.named_parameters())[name].shape == (32, 64)
        assert torch.allclose(directions[1][name], directions[0][name] * factors, rtol=1e-4, atol=1e-7)
        norms = directions[0][name].norm(dim=0), dict(model.named_parameters())[name].norm(dim=0)
        assert torch.allclose(*norms, rtol=1e-4)
        rows = directions[0]["transformer.wpe.weight"].norm(dim=1), model.transformer.wpe.weight.norm(dim=1)
        assert torch.allclose(*rows, rtol=1e-4)  # an embedding of the same model has a filter a token

    def test_a_rescaled_output_of_a_conv1d_sees_the_same_surface(self):
        model, other = (Scaleless(Conv1D(4, 5)).double() for _ in range(2))
        other.load_state_dict(model.state_dict())
        with torch.no_grad():
            other.filters.weight.mul_(torch.tensor([0.01, 1.0, 7.0, 1000.0]))  # its biases are zeros
        batch = [{"x": torch.randn(6, 5).double(), "labels": torch.tensor([0, 1, 1, 0, 1, 0])}]
        grid, found = grid_axis(0.5, 5), []
        for each in (model, other):
            of = MeanLoss(each, batch)
            found.append(landscape(of, (random_direction(of, 1), random_direction(of, 2)), grid, grid).loss)
        assert found[0] == pytest.approx(found[1], rel=1e-9)
        assert np.ptp(found[0]) > 1e-3

    def test_a_zero_filter_stays_zero(self):
        model = make_model()
        with torch.no_grad():
            model.classifier.weight[1] = 0
        direction = random_direction(MeanLoss(model, [make_batch()]), 1)
        assert not direction["classifier.weight"][1].any()
        assert direction["classifier.weight"][0].any()
        assert all(torch.isfinite(direction[name]).all() for name in direction.noise)

    def test_tied_weights_move_together(self):
        class Tied(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False)
                self.b.weight = self.a.weight

            def forward(self, x):
                return {"logits": self.b(torch.tanh(self.a(x)))}

        model, x = Tied(), torch.randn(4, 3)
        of = MeanLoss(model, [{"x": x, "labels": torch.tensor([0, 1, 2, 0])}])
        direction = random_direction(of, 1)
        assert [*direction.noise] == ["a.weight"]
        moved = (model.a.weight + 0.4 * direction["a.weight"]).detach()
        expected = torch.nn.functional.cross_entropy(torch.tanh(x @ moved.T) @ moved.T, torch.tensor([0, 1, 2, 0]))
        (loss,) = landscape(of, (direction, direction), np.array([0.4]), np.array([0.0])).loss[0]
        assert loss == pytest.approx(expected.item(), abs=1e-6)

    def test_a_tied_embedding_is_moved_as_a_whole(self):
        """Its other user reads all of its rows."""
        model = make_model("gpt2")
        model.score_of_words = torch.nn.Linear(32, 100, bias=False)
        model.score_of_words.weight = model.get_input_embeddings().weight
        of = MeanLoss(model, [make_batch()])
        assert of.parts["transformer.wte.weight"].shape == (100, 32)

    def test_lora_moves_adapters_and_head_alone(self):
        peft = pytest.importorskip("peft")
        config = peft.LoraConfig(r=2, target_modules=["query"], modules_to_save=["classifier"], task_type="SEQ_CLS")
        model = peft.get_peft_model(make_model(), config)
        of = MeanLoss(model, [make_batch()])
        direction = random_direction(of, 1)
        assert direction.noise
        assert all("lora_" in name or "classifier" in name for name in direction.noise)
        for name in direction.noise:
            assert ("lora_B" in name) == (not direction[name].any())  # it starts at zero
        losses = landscape(of, (direction, direction), np.array([0.0, 0.5]), np.array([0.0])).loss[0]
        assert losses[0] == of.measure().loss
        assert losses[0] != losses[1]


class TestInterpolation:
    def test_its_ends_are_the_models(self):
        a, b, batches = make_model(seed=1), make_model(seed=2), [make_batch(6, seed=1), make_batch(2, seed=2)]
        of = MeanLoss(a, batches)
        found = list(interpolate(of, b, np.array([0.0, 0.3, 1.0])))
        assert found[0] == of.measure()
        assert found[2] == MeanLoss(b, batches).measure()
        mixed = {n: 0.7 * x + 0.3 * y for (n, x), y in zip(a.named_parameters(), b.parameters(), strict=True)}
        assert found[1].loss == pytest.approx(plain_loss(a, mixed, batches), abs=1e-6)

    def test_accuracy(self):
        model, batch = make_model(), make_batch(16)
        with torch.no_grad():
            logits = functional_call(model.eval(), {}, (), {n: v for n, v in batch.items() if n != "labels"}).logits
        right = (logits.argmax(1) == batch["labels"]).double().mean().item()
        assert MeanLoss(model, [batch]).measure().accuracy == right

    def test_other_architectures_are_refused(self):
        of = MeanLoss(make_model(), [make_batch()])
        with pytest.raises(ValueError, match=r"not the same tensors \(.*two models of one architecture"):
            list(interpolate(of, make_model(num_hidden_layers=1), np.array([0.0])))


def test_what_is_never_written_of_a_copy_is_never_read(monkeypatch):
    of, axis = MeanLoss(make_model(), [make_batch(6)]), np.array([0.0, 0.2])
    directions = random_direction(of, 0), random_direction(of, 1)
    expected = landscape(of, directions, axis, axis)
    monkeypatch.setattr(torch, "empty_like", lambda like: torch.full_like(like, torch.nan))
    found = landscape(of, directions, axis, axis)
    assert np.isfinite(found.loss).all()
    assert np.array_equal(found.loss, expected.loss)


class TestBatches:
    def test_threads_change_nothing(self):
        """Batches that share the threads, and weights that are put in place for all of them at once."""
        model, batches = (
            make_model(),
            [make_batch(rows, length, seed=rows) for rows, length in ((3, 12), (2, 9), (4, 5))],
        )
        of = MeanLoss(model, batches)
        moved = {name: weight.detach() + 0.1 for name, weight in model.named_parameters()}
        alone = of.measure(moved)
        assert alone.loss == pytest.approx(plain_loss(model, moved, batches), abs=1e-6)
        torch.set_num_threads(2)
        try:
            assert of.measure(moved) == alone
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(1)

    def test_cuts_are_the_best_ones(self):
        """Against every way to cut."""
        lengths = [40, 39, 22, 22, 21, 7, 7, 6, 5]

        def cost(cuts):
            return sum((stop - start) * lengths[start] + OVERHEAD for start, stop in cuts)

        ways = []
        for inner in itertools.product((False, True), repeat=len(lengths) - 1):
            ends = [0, *(i + 1 for i, cut in enumerate(inner) if cut), len(lengths)]
            cuts = [*itertools.pairwise(ends)]
            if all(stop - start <= 4 for start, stop in cuts):
                ways.append(cuts)
        found = batch_cuts(lengths, 4)
        assert found in ways
        assert cost(found) == min(map(cost, ways))
        assert batch_cuts([], 4) == []
        assert batch_cuts([9] * 5, 2) == [(0, 1), (1, 3), (3, 5)]


def test_nothing_to_look_at():
    with pytest.raises(ValueError, match="no row"):
        MeanLoss(make_model(), [])
    with pytest.raises(ValueError, match="no trainable weight"):
        MeanLoss(make_model().requires_grad_(False), [make_batch()])
