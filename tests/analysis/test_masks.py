import copy
import itertools

import numpy as np
import pytest
import torch

from helpers import make_batch, make_model
from rosetune.analysis.masks import (
    agreement,
    agreement_by_lag,
    by_layer_and_kind,
    chance_agreement,
    kept_by,
    over_time,
)
from rosetune.analysis.risks import measure_risks
from rosetune.mask_trace import MaskTrace
from rosetune.methods._targets import kept_count


def trace(multipliers) -> MaskTrace:
    m = np.asarray(multipliers, dtype=np.float32)
    names = tuple(f"encoder.layer.{i // 2}.{('query', 'key')[i % 2]}.weight" for i in range(m.shape[1]))
    return MaskTrace(names, np.arange(1, m.shape[1] + 1), m)


@pytest.mark.parametrize("upper", [0.1, 0.3, 0.6, 0.7, 1.0])
def test_as_many_are_kept_as_rose_keeps(upper):
    risk = np.random.default_rng(0).random(10)
    kept = kept_by(risk, upper)
    assert kept.sum() == kept_count(upper, 10)
    assert sorted(risk[kept == 1]) == sorted(risk)[: kept_count(upper, 10)]
    risk[np.argmin(risk)] = np.nan
    assert kept_by(risk, 0.9)[np.isnan(risk)] == 0


def test_agreement_and_chance():
    a, b = np.array([1.0, 1, 0, 0]), np.array([1.0, 0, 1, 0])
    assert agreement(a, b) == 0.5
    assert agreement(a, a) == 1.0
    masks = np.array([[1, 1, 1, 0, 0], [0.5, 1.0, 0.0, 1.0, 0.5]])
    exchanged = [[agreement(m, m[list(order)]) for order in itertools.permutations(range(5))] for m in masks]
    assert chance_agreement(masks) == pytest.approx(np.mean(exchanged))
    assert chance_agreement(masks[:1]) == pytest.approx(1 - 2 * 0.6 * 0.4)


def test_agreement_by_lag():
    found = agreement_by_lag(trace([[1, 0], [0, 1], [1, 0], [0, 1]]), [1, 2, 3, 4])
    assert found[:3].tolist() == [0, 1, 0]
    assert np.isnan(found[3])


def test_over_time():
    steps, kept = over_time(trace([[1, 0], [1, 0], [0, 1], [0, 0]]), windows=2)
    assert steps.tolist() == [1, 3]
    assert kept.tolist() == [[1, 0], [0, 0.5]]
    assert len(over_time(trace([[1, 0]] * 3))[0]) == 3


def test_by_layer_and_kind():
    kinds, layers, table = by_layer_and_kind(trace([[1, 0, 1]]).names, np.array([1.0, 0.25, 0.5]))
    assert (kinds, layers) == (["query.weight", "key.weight"], ["0", "1"])
    assert table[0].tolist() == [1.0, 0.5]
    assert table[1, 0] == 0.25
    assert np.isnan(table[1, 1])


class TestRisks:
    def test_the_first_order_risk_is_the_norm_of_the_kl_gradient(self):
        """Eqs. 1 and 2, written out, with the same draw of dropout."""
        model, batches = make_model(), [make_batch(6, seed=1), make_batch(6, seed=2)]
        found = measure_risks(model, batches, seed=3)
        torch.manual_seed(3)
        inputs = {n: torch.cat([v, v]) for n, v in batches[0].items() if n != "labels"}
        p, q = model(**inputs).logits.softmax(-1).split(6)
        kl = ((p * (p / q).log()).sum(-1) + (q * (q / p).log()).sum(-1)).mean()
        kl.backward()
        expected = [dict(model.named_parameters())[name].grad.norm().item() for name in found.names]
        assert found.first[0] == pytest.approx(expected, rel=1e-3)
        assert all(name.endswith("weight") and ".layer." in name for name in found.names)
        norms = [dict(model.named_parameters())[name].norm().item() for name in found.names]
        assert found.norms == pytest.approx(norms, rel=1e-5)

    def test_draws_differ_and_seeds_do_not(self):
        model, batches = make_model(), [make_batch(6, seed=1), make_batch(6, seed=2)]
        one, two = measure_risks(model, batches, seed=3), measure_risks(model, batches, seed=3)
        for name in ("first", "again", "half", "second"):
            assert (getattr(one, name) == getattr(two, name)).all()
        assert (one.first != one.again).all()
        assert (one.first != measure_risks(model, batches, seed=4).first).all()

    def test_the_second_order_risk_of_a_steady_gradient(self):
        """|| (1 - beta1) g || / || m || - 1 with m = g is 0.9 (beta1 = 0.9)."""
        model, batch = make_model(dropout=0.1), make_batch(6)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 1e-9  # so little that it does not act on the gradient, but is there
        model.config.attention_probs_dropout_prob = 0.0
        model.bert.encoder.layer[0].output.dropout.p = 0.1
        found = measure_risks(model, [batch] * 8, seed=0)
        assert found.second.mean() == pytest.approx(0.9, abs=0.05)

    def test_nothing_is_touched(self):
        model, batches = make_model(), [make_batch(6, seed=1), make_batch(6, seed=2)]
        model.bert.embeddings.eval()
        before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        modes = [module.training for module in model.modules()]
        measure_risks(model, batches)
        assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
        assert torch.equal(state, torch.get_rng_state())
        assert modes == [module.training for module in model.modules()]
        assert all(p.grad is None for p in model.parameters())

    def test_what_is_refused(self):
        with pytest.raises(ValueError, match="at least two batches"):
            measure_risks(make_model(), [make_batch(4)])
        with pytest.raises(ValueError, match="no dropout acts"):
            measure_risks(make_model(dropout=0.0), [make_batch(4)] * 2)
        with pytest.raises(ValueError, match="matches no trainable tensor"):
            measure_risks(make_model(), [make_batch(4)] * 2, target_parameters="nothing")
