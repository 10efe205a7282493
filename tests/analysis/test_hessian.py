import copy
import dataclasses
import re

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import ArpackError

import quadratic
from helpers import make_batch, make_model
from rosetune.analysis.directions import random_direction
from rosetune.analysis.hessian import Hessian
from rosetune.analysis.weights import MeanLoss
from rosetune.experiments.analysis_options import AnalysisOptions
from rosetune.methods._targets import NORM_PARAMETERS


def hessian_of(eigenvalues) -> Hessian:
    model = quadratic.Quadratic(quadratic.symmetric(np.asarray(eigenvalues)))
    return Hessian(MeanLoss(model, quadratic.batches(), quadratic.value))


SPREAD = np.linspace(-3.0, 5.0, quadratic.SIZE)


def test_a_product_is_that_of_the_matrix():
    found = hessian_of(SPREAD)
    v = np.random.default_rng(3).standard_normal(quadratic.SIZE)
    assert found.times(torch.tensor(v)).numpy() == pytest.approx(quadratic.symmetric(SPREAD) @ v, abs=1e-12)


@pytest.mark.parametrize(
    "eigenvalues",
    [
        SPREAD,
        np.array([-6.999, *np.linspace(-2.0, 2.0, quadratic.SIZE - 2), 7.0]),  # power iteration hardly moves
        np.array([-9.0, *np.linspace(-2.0, 2.0, quadratic.SIZE - 2), 7.0]),  # and here finds -9
        np.linspace(-5.0, -1.0, quadratic.SIZE),
    ],
)
def test_the_largest_eigenvalue(eigenvalues):
    assert hessian_of(eigenvalues).top_eigenvalue() == pytest.approx(max(eigenvalues), abs=1e-4)


def test_what_has_not_converged_names_options_that_there_are(monkeypatch):
    monkeypatch.setattr("rosetune.analysis.hessian.RESTARTS", 1)
    with pytest.raises(ValueError, match="not found in 1 restarts") as caught:
        hessian_of(SPREAD).top_eigenvalue(tolerance=1e-15, vectors=3)
    named = re.findall(r"--(\w+)", str(caught.value))
    assert named
    assert {*named} <= {field.name for field in dataclasses.fields(AnalysisOptions)}


def test_of_a_hessian_of_zeros_the_eigenvalue_is_zero():
    assert hessian_of(np.zeros(quadratic.SIZE)).top_eigenvalue() == 0.0


def test_a_loss_that_is_not_finite_has_no_hessian():
    model = quadratic.Quadratic(np.full((quadratic.SIZE, quadratic.SIZE), np.nan))
    found = Hessian(MeanLoss(model, quadratic.batches(), quadratic.value))
    for ask in (found.top_eigenvalue, found.trace):
        with pytest.raises(ValueError, match="is not a finite number") as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_another_failure_of_the_search_is_one_line(monkeypatch):
    def fails(*args, **options):
        raise ArpackError(-8)

    monkeypatch.setattr("scipy.sparse.linalg.eigsh", fails)
    with pytest.raises(ValueError, match=r"the largest eigenvalue was not found \(ARPACK error -8.*another --seed"):
        hessian_of(SPREAD).top_eigenvalue()


def test_the_trace_lies_within_its_error():
    found = hessian_of(SPREAD).trace(samples=200)
    assert found.standard_error == pytest.approx(found.samples.std(ddof=1) / np.sqrt(200))
    assert abs(found.value - SPREAD.sum()) < 3 * found.standard_error
    # The variance of Hutchinson's estimate is 2 sum of the squares beside the diagonal.
    h = quadratic.symmetric(SPREAD)
    expected = np.sqrt(2 * ((h**2).sum() - (np.diag(h) ** 2).sum()) / 200)
    assert found.standard_error == pytest.approx(expected, rel=0.2)


def test_the_trace_of_a_diagonal_is_exact():
    model = quadratic.Quadratic(np.diag(SPREAD))
    found = Hessian(MeanLoss(model, quadratic.batches(), quadratic.value)).trace(samples=2)
    assert found.value == pytest.approx(SPREAD.sum(), abs=1e-10)
    assert found.standard_error == pytest.approx(0.0, abs=1e-10)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("architecture", ["bert", "deberta", "gpt2"])
def test_against_curvlinops(architecture):
    curvlinops = pytest.importorskip("curvlinops")
    model = make_model(architecture, attn_implementation="eager").double().eval()
    batches = [make_batch(5, seed=1), make_batch(3, length=6, seed=2)]
    # curvlinops 3.0.1 on torch 2.13 is off in the gains of LayerNorms, as differences of gradients say (below).
    for name, p in model.named_parameters():
        p.requires_grad_(not re.search(NORM_PARAMETERS, name))
    of = MeanLoss(model, batches)
    whole = {name: p for name, p in model.named_parameters() if p.requires_grad}

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, inputs):
            return self.model(**inputs).logits

    data = [({n: v for n, v in b.items() if n != "labels"}, b["labels"]) for b in batches]
    reference = curvlinops.HessianLinearOperator(
        Logits(),
        torch.nn.CrossEntropyLoss(reduction="mean"),
        list(whole.values()),
        data,
        batch_size_fn=lambda inputs: len(inputs["input_ids"]),
        check_deterministic=False,
    )
    vectors = {name: torch.randn_like(p) for name, p in whole.items()}
    expected = reference @ torch.cat([v.flatten() for v in vectors.values()])
    expected = dict(zip(whole, expected.split([p.numel() for p in whole.values()]), strict=True))
    found = Hessian(of).times(torch.cat([of.part(name, v).flatten() for name, v in vectors.items()]))
    pieces = found.split([part.numel() for part in of.parts.values()])
    for name, piece in zip(of.parts, pieces, strict=True):
        there = of.part(name, expected[name].view_as(whole[name])).flatten()
        assert torch.allclose(piece, there, atol=1e-9), name


@pytest.mark.parametrize("architecture", ["bert", "deberta", "gpt2", "modernbert"])
def test_a_product_is_a_difference_of_gradients(architecture):
    model = make_model(architecture, attn_implementation="eager").double()
    batches = [make_batch(5, seed=1), make_batch(3, length=6, seed=2)]
    of = MeanLoss(model, batches)
    vectors = {name: torch.randn_like(part) for name, part in of.parts.items()}
    gradients = {}
    for step in (1e-4, -1e-4, 2e-4, -2e-4):
        parts = {name: (part + step * vectors[name]).requires_grad_() for name, part in of.parts.items()}
        sum(of.terms(parts)).backward()
        gradients[step] = torch.cat([part.grad.flatten() for part in parts.values()])
    found = Hessian(of).times(torch.cat([v.flatten() for v in vectors.values()]))
    near, far = gradients[1e-4] - gradients[-1e-4], gradients[2e-4] - gradients[-2e-4]
    assert torch.allclose(found, (8 * near - far) / 12e-4, atol=1e-6 * float(found.abs().max()))


def test_along_a_direction_it_is_the_curvature_of_the_surface():
    found = hessian_of(SPREAD)
    direction = random_direction(found._of, 4)
    flat = torch.cat([*(direction[n].flatten() for n in ("first", "second")), torch.zeros(2)]).double().numpy()
    assert found.along(direction) == pytest.approx(flat @ quadratic.symmetric(SPREAD) @ flat, rel=1e-9)


def test_nothing_is_touched():
    model = make_model(attn_implementation="eager")
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()
    found = Hessian(MeanLoss(model, [make_batch()]))
    found.top_eigenvalue(tolerance=1e-2)
    found.trace(samples=2)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_fused_attention_has_no_second_derivative():
    of = MeanLoss(make_model(attn_implementation="sdpa"), [make_batch(lengths=[12] * 8)])
    with pytest.raises(ValueError, match=r'cannot be differentiated twice .*attn_implementation="eager"'):
        Hessian(of).trace(samples=2)
