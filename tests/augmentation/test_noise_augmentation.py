"""Noisy rows: how many, of which noise, and the same again for the same seed, epoch and row."""

import copy
import pickle
from collections import Counter
from multiprocessing.reduction import ForkingPickler
from random import Random

import pytest
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

import tiny_run
from helpers import arguments, make_tokenizer
from rosetune import AugmentedDataset, NoiseAugmentation, RobustTrainer
from rosetune.robustness.disguises import INVISIBLE
from rosetune.robustness.noise import NOISES

WORDS = [a + b for a in "bdfg" for b in "aeio"]
TEXT = "an unforgettable picture about ordinary people"


class Letters:
    """A tokenizer whose tokens are characters, so that a test reads what the model sees."""

    model_max_length = 500

    def __call__(self, *columns, truncation):
        assert truncation is True
        if isinstance(columns[0], str):
            return {"input_ids": [ord(c) for c in " | ".join(columns)]}
        return {"input_ids": [self(*row, truncation=True)["input_ids"] for row in zip(*columns, strict=True)]}


def rows(augmentation, seed=0, n=400, columns=("text",)):
    data = Dataset.from_dict({**{name: [TEXT] * n for name in columns}, "label": [i % 2 for i in range(n)]})
    return AugmentedDataset(data, columns, Letters(), augmentation, seed=seed)


def texts(dataset):
    return ["".join(map(chr, dataset[row]["input_ids"])) for row in range(len(dataset))]


def test_a_share_of_the_rows_is_noisy():
    for p in (0.0, 0.25, 0.5, 1.0):
        noisy = sum(text != TEXT for text in texts(rows(NoiseAugmentation(["upper_case"], p=p, strength=[1, 1]))))
        assert noisy / 400 == pytest.approx(p, abs=4 * (p * (1 - p) / 400) ** 0.5)


def test_noises_and_strengths_are_those_that_were_named():
    found = Counter(texts(rows(NoiseAugmentation(["upper_case", "random_case"], p=1.0, strength=[1, 1]))))
    assert found[TEXT.upper()] == pytest.approx(200, abs=40)
    assert {text.lower() for text in found} == {TEXT}
    shares = [
        sum(a != b for a, b in zip(text.split(), TEXT.split(), strict=True)) / 6
        for text in texts(rows(NoiseAugmentation(["upper_case"], p=1.0, strength=[0.2, 0.4])))
    ]
    assert sum(shares) / len(shares) == pytest.approx(0.3, abs=0.04)


def test_without_names_all_noises_are_drawn():
    drawn = Counter(
        NoiseAugmentation(p=1.0, strength=[1, 1]).noisy(["Well-acted, I say"], Random(i))[0] for i in range(999)
    )
    signs = {
        "upper_case": lambda text: text == "WELL-ACTED, I SAY",
        "punctuation_dropped": lambda text: text == "Wellacted I say",
        "punctuation_doubled": lambda text: text == "Well--acted,, I say",
        "homoglyphs": lambda text: any("\u0370" <= c < "\u0590" for c in text),
        "invisible_characters": lambda text: any(c in INVISIBLE for c in text),
        "spaced_letters": lambda text: "W e l l" in text,
        "leetspeak": lambda text: "@" in text or "4ct" in text or "|" in text,
    }
    for name, sign in signs.items():
        share = sum(n for text, n in drawn.items() if sign(text)) / 999
        assert share == pytest.approx(1 / len(NOISES), abs=0.05), name


def test_each_epoch_and_seed_draws_anew_and_the_same_again():
    augmentation = NoiseAugmentation(["typing", "leetspeak"], p=0.5)
    dataset, epochs = rows(augmentation, n=60), []
    for epoch in (0, 1, 2):
        dataset.set_epoch(epoch)
        epochs.append(texts(dataset))
    assert len({*map(tuple, epochs)}) == 3
    again = rows(augmentation, n=60)
    again.set_epoch(1)
    assert "".join(map(chr, again[17]["input_ids"])) == epochs[1][17]  # whatever was asked for before
    assert texts(again) == epochs[1]
    other = rows(augmentation, seed=1, n=60)
    other.set_epoch(1)
    assert texts(other) != epochs[1]
    assert [again[row]["labels"] for row in range(4)] == again["labels"][:4] == [0, 1, 0, 1]


def test_both_texts_of_a_pair_get_the_same_noise():
    for text in texts(
        rows(NoiseAugmentation(["upper_case", "lower_case"], p=1.0, strength=[1, 1]), 0, 40, ("a", "b"))
    ):
        first, second = text.split(" | ")
        assert first == second


def test_without_an_augmentation_rows_are_the_tokenizers(tmp_path):
    tokenizer = make_tokenizer()
    data = Dataset.from_dict({"text": ["a b", "c"], "label": [1, 0]})
    dataset = AugmentedDataset(data, ["text"], tokenizer)
    whole = tokenizer(["a b", "c"], truncation=True)
    assert [dataset[row] for row in (0, 1)] == [
        {**{name: column[row] for name, column in whole.items()}, "labels": label} for row, label in ((0, 1), (1, 0))
    ]
    assert dataset.column_names == [*whole, "labels"]
    with pytest.raises(ValueError, match="no column 'sentence'; it has text, label"):
        AugmentedDataset(data, ["sentence"], tokenizer)


def test_a_trainer_script_sees_other_rows_in_each_epoch(tmp_path, tiny_model):
    csv = tiny_run.write_csv(tmp_path / "my.csv", rows=16).read_text().splitlines()[1:]
    data = Dataset.from_dict(
        {"text": [line.split(",")[0] for line in csv], "label": [int(line.endswith("good")) for line in csv]}
    )
    tokenizer, seen = make_tokenizer(), []

    class Spy(NoiseAugmentation):
        def __call__(self, texts, tokenizer, rng):
            seen.append(tuple(self.noisy(texts, rng)))
            return tokenizer(*texts, truncation=True)

    dataset = AugmentedDataset(data, ["text"], tokenizer, Spy(["typing"], p=1.0, strength=[1.0, 1.0]))
    args = arguments(tmp_path, num_train_epochs=2, max_steps=-1, per_device_train_batch_size=8)
    trainer = RobustTrainer(
        tiny_model("bert"), args, train_dataset=dataset, data_collator=DataCollatorWithPadding(tokenizer)
    )
    trainer.train()
    first, second = seen[:16], seen[16:32]
    assert len(seen) == 32
    assert len({*first} & {*second}) < 4


def test_workers_that_outlive_an_epoch_hear_of_the_next(tmp_path):
    """Those draw what fresh workers draw, and what a loader without workers draws."""
    augmentation = NoiseAugmentation(["typing", "leetspeak"], p=0.5)

    def epochs(**options):
        dataset = rows(augmentation, n=30)
        loader, found = DataLoader(dataset, batch_size=5, collate_fn=list, **options), []
        for epoch in (0, 1, 4):
            dataset.set_epoch(epoch)
            found.append([row["input_ids"] for batch in loader for row in batch])
        return found

    lasting = epochs(num_workers=2, persistent_workers=True)
    assert lasting[0] != lasting[1] != lasting[2] != lasting[0]
    assert lasting == epochs(num_workers=2) == epochs()


def test_a_worker_that_is_started_afresh_hears_of_the_epoch_and_a_copy_does_not():
    """A worker that is no fork gets the rows by the pickler of its process; another copy has epochs of its own."""
    dataset = rows(NoiseAugmentation(["typing"], p=0.5), n=30)
    worker = pickle.loads(ForkingPickler.dumps(dataset))
    others = [copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))]
    before = texts(dataset)
    dataset.set_epoch(1)
    assert texts(worker) == texts(dataset) != before
    assert [texts(other) for other in others] == [before, before]
    others[0].set_epoch(1)
    assert texts(pickle.loads(ForkingPickler.dumps(others[0]))) == texts(dataset)


def test_a_resumed_training_with_lasting_workers_sees_what_the_uninterrupted_one_saw(tmp_path, tiny_model):
    data = Dataset.from_dict({"text": [f"{word} be da" for word in WORDS], "label": [0, 1] * 8})
    tokenizer, seen = make_tokenizer(), []

    class Watched(RobustTrainer):
        def training_step(self, model, inputs, *more):
            seen.append(inputs["input_ids"].tolist())
            return super().training_step(model, inputs, *more)

    def trained(resume=None, **options):
        seen.clear()
        dataset = AugmentedDataset(data, ["text"], tokenizer, NoiseAugmentation(["upper_case"], p=0.5), seed=1)
        args = arguments(tmp_path, max_steps=8, per_device_train_batch_size=4, **options)
        Watched(
            tiny_model("bert"), args, train_dataset=dataset, data_collator=DataCollatorWithPadding(tokenizer)
        ).train(resume_from_checkpoint=resume)
        return list(seen)

    lasting = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    whole = trained(save_strategy="steps", save_steps=2, **lasting)
    assert whole == trained()
    assert whole[6:] == trained(str(tmp_path / "checkpoint-6"), **lasting)


def test_named_in_the_arguments_it_needs_texts(tmp_path, tiny_model):
    data = Dataset.from_dict({"input_ids": [[2, 3]], "labels": [0]})
    with pytest.raises(ValueError, match=r"augmentation 'noise' changes texts.*AugmentedDataset"):
        RobustTrainer(tiny_model("bert"), arguments(tmp_path, augmentation="noise"), train_dataset=data)
    with pytest.raises(ValueError, match="name the augmentation as well"):
        arguments(tmp_path, augmentation_kwargs={"p": 0.5})
    with pytest.raises(ValueError, match="did you mean 'noise'"):
        arguments(tmp_path, augmentation="noises")
    with pytest.raises(ValueError, match="unknown noise 'blur'"):
        arguments(tmp_path, augmentation="noise", augmentation_kwargs={"noises": ["blur"]})
    with pytest.raises(ValueError, match=r"unknown noise 'leetspeek'; did you mean leetspeak\?"):
        arguments(tmp_path, augmentation="noise", augmentation_kwargs={"noises": ["leetspeek"]})
