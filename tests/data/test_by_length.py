"""Batches of one length: what a sampler owes, and its way through the Trainer."""

import numpy as np
import pytest
from datasets import Dataset

from helpers import arguments, dataset
from rosetune import CrossEntropy, RobustTrainer
from rosetune.data.by_length import GroupedByLength, grouped_sampler

LENGTHS = np.random.default_rng(0).integers(3, 60, 1003).tolist()


def padded(order, batch):
    """Tokens of an epoch with padding."""
    parts = [order[start : start + batch] for start in range(0, len(order), batch)]
    return sum(len(part) * max(LENGTHS[row] for row in part) for part in parts)


@pytest.mark.parametrize("batch", [1, 8, 16, 400, 2000])
def test_each_row_comes_once_and_little_is_padded(batch):
    order = list(GroupedByLength(LENGTHS, batch, seed=1))
    assert sorted(order) == list(range(len(LENGTHS)))
    assert len(GroupedByLength(LENGTHS, batch)) == len(LENGTHS)
    if batch in (8, 16):
        assert padded(order, batch) < 1.15 * sum(LENGTHS)
        assert padded(np.random.default_rng(1).permutation(len(LENGTHS)), batch) > 1.5 * sum(LENGTHS)


def test_batches_do_not_come_by_length():
    """Else the length would fall while the learning rate does."""
    order = list(GroupedByLength(LENGTHS, 8, seed=1))
    means = [np.mean([LENGTHS[row] for row in order[start : start + 8]]) for start in range(0, 1000, 8)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3
    steps = np.sign(np.diff(means))
    assert 0.3 < (steps > 0).mean() < 0.7


def test_epochs_differ_and_come_again():
    sampler = GroupedByLength(LENGTHS, 8, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert first != second
    assert {*map(frozenset, np.split(np.array(first[:1000]), 125))} != {
        *map(frozenset, np.split(np.array(second[:1000]), 125))
    }
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(GroupedByLength(LENGTHS, 8, seed=4)) != first


def test_rows_without_tokens_are_refused():
    with pytest.raises(ValueError, match="need rows with input_ids"):
        grouped_sampler(Dataset.from_dict({"pixels": [[1], [2]]}), 2, 0)


def test_the_trainer_takes_it_with_the_rows_of_a_step(tmp_path, tiny_model):
    data = dataset()
    seeds = {"seed": 5, "data_seed": 7}
    args = arguments(tmp_path, train_sampling_strategy="group_by_length", gradient_accumulation_steps=2, **seeds)
    loader = RobustTrainer(tiny_model(), args, train_dataset=data).get_train_dataloader()
    rows = args.train_batch_size * 2
    expected = [*GroupedByLength([len(row["input_ids"]) for row in data], rows, seed=7)]
    seen = [ids.tolist() for batch in loader for ids in batch["input_ids"]]
    wanted = [data[row]["input_ids"] for row in expected]
    for ids, whole in zip(seen, wanted, strict=True):
        assert ids[: len(whole)] == list(whole)


def test_it_does_not_go_with_balanced_classes(tmp_path, tiny_model):
    objective = CrossEntropy()
    objective.balanced_batches = True
    args = arguments(tmp_path, train_sampling_strategy="group_by_length")
    trainer = RobustTrainer(tiny_model(), args, train_dataset=dataset(), objective=objective)
    with pytest.raises(ValueError, match="either as many rows of every class or texts of one length"):
        trainer.get_train_dataloader()
