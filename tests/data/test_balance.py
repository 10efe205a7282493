"""Class-balanced batches: the sampler, and its way through the Trainer."""

from collections import Counter

import numpy as np
import pytest

from helpers import arguments, dataset
from rosetune import CrossEntropy, RobustTrainer
from rosetune.data.balance import ClassBalancedSampler


@pytest.mark.parametrize(("labels", "batch"), [([0] * 40 + [1] * 8, 8), ([0, 1, 2] * 9, 6), ([5, 9] * 6 + [9], 4)])
def test_every_batch_has_as_many_rows_of_each_class(labels, batch):
    order = list(ClassBalancedSampler(labels, batch, seed=1))
    assert len(order) == len(labels)
    for start in range(0, len(order) - batch + 1, batch):
        counts = Counter(labels[i] for i in order[start : start + batch])
        assert set(counts.values()) == {batch // len(set(labels))}


def test_a_class_is_gone_through_whole_before_it_repeats():
    labels = [0] * 40 + [1] * 8
    order = list(ClassBalancedSampler(labels, 8, seed=1))
    small = [i for i in order if labels[i] == 1]
    assert len(small) == 24
    for start in range(0, 24, 8):
        assert sorted(small[start : start + 8]) == list(range(40, 48))
    assert len({i for i in order if labels[i] == 0}) == 24


def test_epochs_differ_and_come_again():
    sampler = ClassBalancedSampler([0, 1] * 20, 4, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert first != second
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(ClassBalancedSampler([0, 1] * 20, 4, seed=4)) != first


def test_too_small_batches_are_refused():
    with pytest.raises(ValueError, match="batches of 2 rows cannot hold all 3 classes"):
        ClassBalancedSampler([0, 1, 2], 2)


class Balanced(CrossEntropy):
    """Cross-entropy that asks for balanced batches, and remembers the labels it got."""

    balanced_batches = True

    def __call__(self, model, inputs, **kwargs):
        self.__dict__.setdefault("seen", []).append(inputs["labels"].tolist())
        return super().__call__(model, inputs, **kwargs)


def test_the_trainer_gives_them_to_an_objective_that_asks(tmp_path, tiny_model):
    data = dataset()
    skewed = data.map(lambda row, i: {"labels": int(i % 6 == 0)}, with_indices=True)
    objective = Balanced()
    args = arguments(tmp_path, max_steps=12)  # two epochs
    RobustTrainer(tiny_model(), args, train_dataset=skewed, objective=objective).train()
    assert [sum(labels) for labels in objective.seen] == [4] * 12
    epochs = np.array(objective.seen).reshape(2, -1)
    assert epochs.shape == (2, 48)


def test_a_dataset_without_labels_is_refused(tmp_path, tiny_model):
    data = dataset().rename_column("labels", "target")
    trainer = RobustTrainer(tiny_model(), arguments(tmp_path), train_dataset=data, objective=Balanced())
    with pytest.raises(ValueError, match="with a column of labels"):
        trainer.train()
