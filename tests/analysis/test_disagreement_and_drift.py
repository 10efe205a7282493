import copy

import numpy as np
import pytest
import torch

from helpers import make_batch, make_model
from rosetune.analysis.disagreement import dropout_disagreement
from rosetune.analysis.drift import drift
from rosetune.analysis.layers import drift_by_layer, kind_of, layer_of, order_of_layers


class TestDisagreement:
    def test_it_is_the_share_of_rows_that_differ(self):
        model, batches = make_model(dropout=0.4), [make_batch(40, seed=1), make_batch(30, seed=2)]
        found = dropout_disagreement(model, batches, pairs=2, seed=7)
        torch.manual_seed(7)
        differ = []
        with torch.no_grad():
            for _ in range(2):
                for batch in batches:
                    inputs = {n: v for n, v in batch.items() if n != "labels"}
                    differ.append((model(**inputs).logits.argmax(1) != model(**inputs).logits.argmax(1)).numpy())
        rows = np.concatenate(differ).reshape(2, 70)
        assert (found.rows == rows).all()
        assert 0 < found.share == rows.mean() < 1
        assert found.standard_error == pytest.approx(rows.mean(axis=0).std(ddof=1) / np.sqrt(70))

    @pytest.mark.parametrize("training", [True, False])
    def test_nothing_is_touched(self, training, monkeypatch):
        model = make_model().train(training)
        model.register_module("norm", torch.nn.BatchNorm1d(3).train())
        before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        modes = [module.training for module in model.modules()]
        # No device that the model is not on is seeded, nor is it asked for its state.
        for device in (torch.cuda, torch.mps):
            for name in ("manual_seed", "manual_seed_all", "get_rng_state", "set_rng_state"):
                monkeypatch.setattr(device, name, None, raising=False)
        dropout_disagreement(model, [make_batch()])
        assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
        assert torch.equal(state, torch.get_rng_state())
        assert modes == [module.training for module in model.modules()]

    def test_what_is_refused(self):
        with pytest.raises(ValueError, match="no dropout acts"):
            dropout_disagreement(make_model(dropout=0.0), [make_batch()])
        with pytest.raises(ValueError, match="one output predicts no labels"):
            dropout_disagreement(make_model(num_labels=1), [make_batch(num_labels=1)])


class TestDrift:
    def test_distances(self):
        before = make_model()
        after = copy.deepcopy(before)
        with torch.no_grad():
            after.bert.encoder.layer[1].output.dense.weight += 0.5
        found = drift(after, before, fresh={"classifier.weight", "classifier.bias"})
        assert set(found.absent) == {"classifier.weight", "classifier.bias"}
        moved = dict(zip(found.names, found.distance, strict=True))
        name = "bert.encoder.layer.1.output.dense.weight"
        weight = dict(before.named_parameters())[name]
        assert moved.pop(name) == pytest.approx(0.5 * weight.numel() ** 0.5, rel=1e-6)
        assert not any(moved.values())
        layers = drift_by_layer(found.names, found.distance, found.norm)
        assert list(layers) == ["embeddings", "0", "1", "pooler"]  # the head has nothing to be compared with
        size = sum(p.double().square().sum().item() for n, p in before.named_parameters() if ".layer.1." in n) ** 0.5
        assert layers["1"] == pytest.approx(0.5 * weight.numel() ** 0.5 / size, rel=1e-6)

    def test_other_models_are_refused(self):
        with pytest.raises(ValueError, match="share no tensor"):
            drift(make_model("bert"), make_model("gpt2"))


@pytest.mark.parametrize(
    ("name", "layer", "kind"),
    [
        ("bert.encoder.layer.11.attention.self.query.weight", "11", "attention.self.query.weight"),
        ("distilbert.transformer.layer.0.ffn.lin1.bias", "0", "ffn.lin1.bias"),
        ("transformer.h.3.mlp.c_fc.weight", "3", "mlp.c_fc.weight"),
        ("roberta.embeddings.LayerNorm.weight", "embeddings", "LayerNorm.weight"),
        ("transformer.wte.weight", "embeddings", "wte.weight"),
        ("classifier.dense.weight", "head", "dense.weight"),
        ("bert.pooler.dense.weight", "pooler", "dense.weight"),
        ("pooler.dense.bias", "pooler", "dense.bias"),
    ],
)
def test_layer_and_kind(name, layer, kind):
    assert (layer_of(name), kind_of(name)) == (layer, kind)


def test_layers_go_from_the_embeddings_to_the_head():
    layers = ["head", "10", "pooler", "9", "embeddings", "10"]
    assert order_of_layers(layers) == ["embeddings", "9", "10", "pooler", "head"]
