"""The examples do what they say, with a small model in the place of MiniLM."""

import copy
import runpy
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from helpers import dataset, make_batch, make_tokenizer, write_synonyms
from rosetune.methods import OBJECTIVES, build

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_the_plain_loop_trains_under_the_mask(tiny_model):
    train = runpy.run_path(str(EXAMPLES / "plain_loop.py"))["train"]
    before = tiny_model(dropout=0.1)
    batches = DataLoader(dataset(rows=8).with_format("torch"), batch_size=8, collate_fn=default_collate)
    after = train(copy.deepcopy(before), batches, lr=1e-2)
    # In its first step Adam moves every scalar that has a gradient by the learning rate, times the multiplier; the
    # second-order mask is all ones then, and the first-order one keeps floor(0.6 * 16) = 9 of the 16 targets.
    moved = {}
    for (name, p), q in zip(before.named_parameters(), after.parameters(), strict=True):
        moved[name] = ((q - p).abs().max() / 1e-2).item()
    targets = [size for name, size in moved.items() if ".layer." in name and name.endswith("weight")]
    assert sum(size == pytest.approx(1.0, abs=0.1) for size in targets) == 9
    assert sum(size == pytest.approx(0.5, abs=0.1) for size in targets) == 7
    assert all(moved[name] == pytest.approx(1.0, abs=0.1) for name in ("classifier.weight", "bert.pooler.dense.bias"))


# Every objective under ROSE, and the plain one under each kind of mask.
PAIRS = [
    *((objective, "rose") for objective in OBJECTIVES),
    ("cross_entropy", None),
    ("cross_entropy", "child_tuning"),
]
OTHERS = [(objective, mask) for objective in OBJECTIVES for mask in (None, "child_tuning")]
SLOW = [pytest.param(*pair, marks=pytest.mark.slow) for pair in OTHERS if pair not in PAIRS]


@pytest.mark.parametrize(("objective", "mask"), [*PAIRS, *SLOW])
def test_the_loop_for_any_method_trains(tiny_model, tmp_path, objective, mask):
    """Two micro-batches a step: the loss falls, and nothing is left of a step for the next."""
    train = runpy.run_path(str(EXAMPLES / "any_method.py"))["train"]
    data = make_batch(rows=16)
    half = [{name: values[rows] for name, values in data.items()} for rows in (slice(0, 8), slice(8, 16))]
    options = {"synonyms": write_synonyms(tmp_path), "steps": 2} if objective == "rift" else None
    torch.manual_seed(0)
    model = tiny_model(dropout=0.05)
    losses = train(
        model,
        [half] * 8,
        build("objective", objective, options),
        None if mask is None else build("update_mask", mask),
        make_tokenizer(),
        lr=1e-2,
    )
    assert sum(losses[-3:]) < sum(losses[:3])
    assert all(torch.isfinite(p).all() for p in model.parameters())
