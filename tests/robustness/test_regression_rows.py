import json
import math

import numpy as np
import pytest
from datasets import Dataset

from rosetune.robustness.rows import compare_rows, paired_errors, prediction_rows, set_metrics
from rosetune.robustness.statistics import difference_of_errors, estimate

GOLD = [0.0, 2.5, 5.0, -1.0, None, float("nan")]
OUTPUT = np.array([[0.5], [2.0], [4.0], [0.0], [1.0], [1.0]], dtype=np.float32)


def rows(gold=GOLD, output=OUTPUT, name="clean", **columns):
    return prediction_rows(name, Dataset.from_dict({"label": gold, **columns}), np.asarray(output), ())


def test_gold_and_prediction_are_numbers():
    found = rows()
    assert found[0] == {"set": "clean", "id": 0, "gold": 0.0, "prediction": 0.5, "logits": [0.5]}
    assert [row["gold"] for row in found] == [0.0, 2.5, 5.0, -1.0, None, None]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    whole = rows([1, 2], [[1.0], [2.0]])
    assert [type(row["gold"]) for row in whole] == [float, float]


def test_metrics_by_hand():
    metrics = set_metrics(rows(), ())
    own = estimate([0.25, 0.25, 1.0, 1.0])
    assert list(metrics) == ["n", "mse", "low", "high", "pearson", "spearman", "constant"]
    assert (metrics["n"], metrics["mse"]) == (4, pytest.approx(0.625))
    assert (metrics["low"], metrics["high"]) == (own.low, own.high)
    mean = 6.5 / 4
    assert metrics["constant"]["value"] == pytest.approx(mean)
    assert metrics["constant"]["mse"] == pytest.approx(sum((x - mean) ** 2 for x in GOLD[:4]) / 4)
    assert metrics["pearson"] == pytest.approx(np.corrcoef(GOLD[:4], OUTPUT[:4, 0])[0, 1])
    # In the order -1, 0, 2.5, 5 the predictions 0, 0.5, 2, 4 rise too.
    assert metrics["spearman"] == pytest.approx(1.0)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_rows_of_one_original_are_drawn_together():
    rng = np.random.default_rng(0)
    gold, output = np.repeat(rng.normal(size=10), 6), np.repeat(rng.normal(size=(10, 1)), 6, axis=0)
    originals = {"original_id": [f"o{i // 6}" for i in range(60)]}
    plain, clustered = (set_metrics(rows(gold, output, **columns), ()) for columns in ({}, originals))
    assert clustered["high"] - clustered["low"] > 1.5 * (plain["high"] - plain["low"])


def test_compared_by_squared_errors():
    rng = np.random.default_rng(1)
    gold = rng.normal(size=80)
    near, far = (rows(gold, (gold + rng.normal(0, spread, 80))[:, None]) for spread in (0.3, 0.9))
    found = compare_rows(far, near[::-1])
    errors = [[(row["prediction"] - row["gold"]) ** 2 for row in side] for side in (far, near)]
    assert found == difference_of_errors(*errors)
    assert (found.verdict, compare_rows(near, far).verdict) == (1, -1)
    assert found.a.value == pytest.approx(set_metrics(far, ())["mse"])
    assert paired_errors(far, near) == (errors, None)


def test_refusals():
    with pytest.raises(ValueError, match=r"\(2, 3\) do not fit 2 rows"):
        rows([1.0, 2.0], np.zeros((2, 3)))
    with pytest.raises(ValueError, match="is no number"):
        rows(["high"], [[1.0]])
    with pytest.raises(ValueError, match="is no number"):
        rows([math.inf], [[1.0]])
    with pytest.raises(ValueError, match="are not finite"):
        rows([1.0], [[math.nan]])
    with pytest.raises(ValueError, match="holds labels"):
        set_metrics([{"set": "clean", "id": 0, "gold": "yes", "prediction": "no", "logits": [1.0, 0.0]}], ())
    with pytest.raises(ValueError, match="no row has a gold label"):
        set_metrics(rows([None], [[1.0]]), ())
    with pytest.raises(ValueError, match="other labels"):
        set_metrics(rows(), ("no", "yes"))
