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
    pair_agreement,
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
    steps, lengths, kept = over_time(trace([[1, 0], [1, 0], [0, 1], [0, 0], [0.5, 1]]), windows=2)
    assert steps.tolist() == [1, 4]
    assert lengths.tolist() == [3, 2]
    assert kept == pytest.approx(np.array([[2 / 3, 1 / 3], [0.25, 0.5]]))
    # A window of three steps weighs more than one of two.
    assert np.average(kept, axis=0, weights=lengths).tolist() == pytest.approx([2.5 / 5, 2 / 5])
    assert len(over_time(trace([[1, 0]] * 3))[0]) == 3


class TestPairs:
    def test_what_two_masks_have_in_common(self):
        one = trace([[1, 1, 0, 0], [1, 0.5, 0, 0], [1, 1, 0, 0]])
        other = trace([[1, 0, 1, 0], [1, 1, 0, 0]])
        found = pair_agreement(one, other)
        assert found.steps == 2
        # Differences 0, 1, 1, 0 and 0, 0.5, 0, 0.
        assert found.by_step == pytest.approx(1 - 2.5 / 8)
        exchanged = [
            np.mean([agreement(a, b[list(order)]) for order in itertools.permutations(range(4))])
            for a, b in zip(one.multipliers, other.multipliers, strict=False)
        ]
        assert found.by_chance == pytest.approx(np.mean(exchanged))
        # Kept 1, 5/6, 0, 0 and 1, 1/2, 1/2, 0: ranks 4, 3, 1.5, 1.5 and 4, 2.5, 2.5, 1.
        assert found.rank_correlation == pytest.approx(np.corrcoef([4, 3, 1.5, 1.5], [4, 2.5, 2.5, 1])[0, 1])

    def test_tensors_are_matched_by_name(self):
        one = trace([[1, 1, 0, 0], [1, 0.5, 0, 0]])
        order = [3, 1, 0, 2]
        other = MaskTrace(tuple(one.names[i] for i in order), one.sizes[order], one.multipliers[:, order])
        found = pair_agreement(one, other)
        assert (found.by_step, found.rank_correlation) == (1.0, pytest.approx(1.0))
        with pytest.raises(ValueError, match="not the same tensors"):
            pair_agreement(one, trace([[1, 1]]))

    def test_masks_that_keep_all_alike_have_no_ranks(self):
        assert np.isnan(pair_agreement(trace([[1, 1]]), trace([[1, 0]])).rank_correlation)


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
        for name in ("first", "again", "half", "second", "second_again"):
            assert (getattr(one, name) == getattr(two, name)).all()
        assert (one.first != one.again).all()
        assert one.second.shape == one.second_again.shape == (1, len(one.names))
        assert (one.second != one.second_again).any()
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
        assert found.second.shape == (7, len(found.names))
        assert found.second.mean(axis=1) == pytest.approx(np.full(7, 0.9), abs=0.05)
        assert found.second_again.mean(axis=1) == pytest.approx(np.full(7, 0.9), abs=0.05)

    def test_the_second_order_risk_follows_the_moment(self):
        """Eq. 4 written out, with the gradients of each batch; so little dropout does not act on them."""
        model, batches = make_model(dropout=0.1), [make_batch(6, seed=seed) for seed in (1, 2, 3)]
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 1e-9
        model.bert.encoder.layer[0].output.dropout.p = 0.01
        found = measure_risks(model, batches, seed=0)
        model.eval()
        gradients = []
        for batch in batches:
            model.zero_grad()
            model(**batch).loss.backward()
            gradients.append([dict(model.named_parameters())[name].grad.clone() for name in found.names])
        first = [0.1 * g for g in gradients[0]]
        second = [0.9 * m + 0.1 * g for m, g in zip(first, gradients[1], strict=True)]
        for row, (moments, now, correction) in enumerate([(first, gradients[1], 0.1), (second, gradients[2], 0.19)]):
            expected = [
                abs(0.1 * g.norm().item() / (m.norm().item() / correction) - 1)
                for g, m in zip(now, moments, strict=True)
            ]
            assert found.second[row] == pytest.approx(expected, abs=0.05)
            assert found.second_again[row] == pytest.approx(expected, abs=0.05)

    def test_nothing_is_touched(self, monkeypatch):
        model, batches = make_model(), [make_batch(6, seed=1), make_batch(6, seed=2)]
        model.bert.embeddings.eval()
        before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        modes = [module.training for module in model.modules()]
        monkeypatch.setattr(torch.cuda, "manual_seed_all", None)  # it would seed devices that the model is not on
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
