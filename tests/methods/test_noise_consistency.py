"""Noise consistency: its formula, what the noisy copies are, and that they follow (seed, step, row)."""

import pytest
import torch
from tokenizers import processors
from transformers import DataCollatorWithPadding

from helpers import (
    arguments,
    dataset,
    language_model,
    logged,
    make_batch,
    make_model,
    make_tokenizer,
    same,
    trace_of,
    train,
)
from rosetune.augmentation import NoiseAugmentation
from rosetune.methods import OBJECTIVES, StatefulObjective
from rosetune.methods._noisy_rows import NoisyRows
from rosetune.methods.noise_consistency import NoiseConsistency


def noisy_rows(noises, seed=0, tokenizer=None):
    return NoisyRows(tokenizer or make_tokenizer(), NoiseAugmentation(noises, p=1.0, strength=[1, 1]), seed)


def test_the_loss_is_the_formula():
    model, batch = make_model(dropout=0.0), make_batch()
    objective = NoiseConsistency(alpha=0.7, noises=["repeated_letters", "homoglyphs"])
    objective.setup(model, tokenizer=make_tokenizer(), seed=3)
    objective.begin_step(model)
    out = objective(model, batch, consistency=False)
    features = {name: batch[name] for name in ("input_ids", "attention_mask")}
    noise = NoiseAugmentation(["repeated_letters", "homoglyphs"], p=1.0)
    noisy = NoisyRows(make_tokenizer(), noise, 3).features(model, features, 1)
    p, q = (model(**inputs).logits.softmax(-1) for inputs in (features, noisy))
    ce = -torch.stack([row[label].log() for row, label in zip(p, batch["labels"], strict=True)]).mean()
    kl = sum((a * (a / b).log()).sum() + (b * (b / a).log()).sum() for a, b in zip(p, q, strict=True)) / len(p)
    assert kl > 1e-6
    torch.testing.assert_close(out.task_loss, ce, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(out.terms["noise_consistency"], kl.detach(), rtol=1e-3, atol=1e-8)
    torch.testing.assert_close(out.loss, ce + 0.7 * kl, rtol=1e-5, atol=1e-7)
    assert out.consistency is None


def test_both_passes_carry_gradient_and_the_consistency_is_of_two_clean_passes():
    model, batch = make_model(), make_batch()
    objective = NoiseConsistency(noises=["upper_case"])  # unknown words all
    objective.setup(model, tokenizer=make_tokenizer())
    out = objective(model, batch, consistency=True)
    assert out.consistency.item() > 0
    assert out.terms.keys() == {"task_loss", "noise_consistency", "consistency"}
    unknown = model.get_input_embeddings().weight
    (gradient,) = torch.autograd.grad(out.loss, unknown)
    assert gradient[make_tokenizer().unk_token_id].abs().sum() > 0  # which no clean row holds
    assert NoiseConsistency(alpha=0.0)
    assert isinstance(objective, StatefulObjective)


def test_a_mask_may_rank_by_the_noise(tmp_path):
    model, batch = make_model(dropout=0.0), make_batch()
    objective = NoiseConsistency(alpha=0.0, noises=["repeated_letters"], risk="noise")
    objective.setup(model, tokenizer=make_tokenizer())
    out = objective(model, batch, consistency=True)
    assert out.terms.keys() == {"task_loss", "noise_consistency"}
    assert out.consistency.item() == out.terms["noise_consistency"].item() > 0
    assert out.loss.item() == out.task_loss.item()
    assert objective(model, batch, consistency=False).consistency is None
    # Without dropout ROSE has nothing else to rank by.
    mask = {"update_mask": "rose", "update_mask_kwargs": {"order": "first", "upper": 0.5, "trace": True}}
    trained = run(tmp_path, make_model(dropout=0.0), alpha=0.0, risk="noise", **mask)
    assert 0.3 < trace_of(trained).multipliers.mean() < 0.7
    with pytest.raises(ValueError, match="no dropout acts"):
        run(tmp_path, make_model(dropout=0.0), alpha=0.0, **mask)


def test_copies_are_the_rows_with_noise():
    tokenizer = make_tokenizer()
    batch = tokenizer(["ba be bi", "lo"], padding=True, return_tensors="pt")
    copies = noisy_rows(["repeated_letters"]).features(make_model(), dict(batch), 1)
    assert copies.keys() <= batch.keys()
    assert copies["input_ids"][1].tolist() == [tokenizer.unk_token_id, tokenizer.pad_token_id, tokenizer.pad_token_id]
    assert copies["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    same_rows = noisy_rows(["lower_case"]).features(make_model(), dict(batch), 1)
    assert torch.equal(same_rows["input_ids"], batch["input_ids"])


def test_an_unknown_word_stays_one_token():
    """It decodes to [UNK], whose letters are no word."""
    tokenizer = make_tokenizer()
    batch = tokenizer(["ba unheard be", "unheard", "ba unheard unheard"], padding=True, return_tensors="pt")
    unknown = batch["input_ids"] == tokenizer.unk_token_id
    assert unknown.sum() == 4
    for noise in ("repeated_letters", "homoglyphs"):
        copies = noisy_rows([noise]).features(make_model(), dict(batch), 1)
        assert copies["input_ids"].shape == batch["input_ids"].shape
        assert (copies["input_ids"][unknown] == tokenizer.unk_token_id).all()


def test_a_pair_stays_a_pair():
    class Reader:
        """Tokens are characters; [ opens, | stands between two texts and at the end."""

        cls_token_id, sep_token_id, model_max_length = ord("["), ord("|"), 10**30

        def decode(self, ids, clean_up_tokenization_spaces):
            return "".join(map(chr, ids))

        def __call__(self, *columns, padding=False, truncation=False, max_length=None, return_tensors=None):
            self.asked = [*columns], truncation
            if isinstance(columns[0], str):
                return {"input_ids": [ord(c) for c in f"[{'|'.join(columns)}|"]}
            return {"input_ids": torch.zeros(1)}

    reader = Reader()
    row = torch.tensor([[ord(c) for c in "[good film|bad|"]])
    noisy_rows(["upper_case"], tokenizer=reader).features(torch.nn.Linear(1, 1), {"input_ids": row}, 0)
    assert reader.asked == ([["GOOD FILM"], ["BAD"]], False)


# How tokenizers part one text ($A) and two: BERT, RoBERTa, XLNet, T5, Llama.
TEMPLATES = {
    "bert": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "roberta": ("[CLS] $A [SEP]", "[CLS] $A [SEP] [SEP] $B [SEP]"),
    "xlnet": ("$A [SEP] [CLS]", "$A [SEP] $B:1 [SEP]:1 [CLS]:2"),
    "t5": ("$A [SEP]", "$A [SEP] $B [SEP]"),
    "llama": ("[CLS] $A", "[CLS] $A [CLS] $B"),
}


def parting_tokenizer(name):
    tokenizer = make_tokenizer()
    single, pair = TEMPLATES[name]
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    made = processors.TemplateProcessing(single=single, pair=pair, special_tokens=special)
    tokenizer.backend_tokenizer.post_processor = made
    return tokenizer


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_empty_text_keeps_its_place(name):
    """Noise that changes nothing gives the very rows back, of pairs and of single texts, with and without padding."""
    tokenizer, unchanged = parting_tokenizer(name), noisy_rows(["lower_case"], tokenizer=parting_tokenizer(name))
    first, second = ("", "ba be", "", "bi"), ("ba be", "", "", "bo bu")
    batches = [(first[:n], second[:n]) for n in (1, 2, 3, 4)] + [(first[1:2], second[1:2]), (first[2:3], second[2:3])]
    for texts in (*batches, (first,), (second[1:2],)):
        batch = dict(tokenizer(*map(list, texts), padding=True, return_tensors="pt"))
        copies = unchanged.features(make_model(), batch, 1)
        assert copies.keys() == batch.keys()
        for key, value in batch.items():
            assert torch.equal(copies[key], value), (texts, key)
        alone = unchanged.features(make_model(), {"input_ids": batch["input_ids"]}, 1)
        assert torch.equal(alone["input_ids"], batch["input_ids"]), texts


def test_noise_meets_each_text_of_a_pair_where_it_stands():
    tokenizer = parting_tokenizer("bert")
    batch = tokenizer(["", "ba"], ["be bi", "bo"], padding=True, return_tensors="pt")
    copies = noisy_rows(["upper_case"], tokenizer=tokenizer).features(make_model(), dict(batch), 1)
    assert tokenizer.batch_decode(copies["input_ids"]) == [
        "[CLS] [SEP] [UNK] [UNK] [SEP]",
        "[CLS] [UNK] [SEP] [UNK] [SEP]",
    ]


def test_a_separator_within_a_text_is_no_second_text_of_the_others():
    tokenizer = parting_tokenizer("bert")
    batch = dict(tokenizer(["[SEP] be", "ba"], padding=True, return_tensors="pt"))
    copies = noisy_rows(["lower_case"], tokenizer=tokenizer).features(make_model(), batch, 1)
    assert tokenizer.batch_decode(copies["input_ids"]) == ["[CLS] be [SEP]", "[CLS] ba [SEP]"]


def test_noise_depends_on_seed_step_and_row_alone():
    tokenizer = make_tokenizer()
    batch = {name: value for name, value in make_batch(rows=6).items() if name != "labels"}

    def ids(seed, step, rows=slice(None)):
        part = {name: value[rows] for name, value in batch.items()}
        rng = NoisyRows(tokenizer, NoiseAugmentation(["leetspeak", "homoglyphs"], p=1.0), seed)
        copies = rng.features(make_model(), part, step)
        return [row[kept.bool()].tolist() for row, kept in zip(*copies.values(), strict=True)]

    assert ids(1, 1)[2:4] == ids(1, 1, slice(2, 4))
    assert len({str(ids(seed, step)) for seed, step in ((1, 1), (1, 2), (2, 1))}) == 3


def run(tmp_path, model, update_mask=None, update_mask_kwargs=None, **options):
    tokenizer = make_tokenizer()
    mask = {"update_mask": update_mask, "update_mask_kwargs": update_mask_kwargs}
    args = arguments(tmp_path, objective="noise_consistency", objective_kwargs=options, **mask)
    return train(model, args, dataset(), processing_class=tokenizer, data_collator=DataCollatorWithPadding(tokenizer))


def test_weight_zero_is_cross_entropy_without_dropout(tmp_path):
    plain = train(make_model(dropout=0.0), arguments(tmp_path), dataset(), processing_class=make_tokenizer())
    assert same(run(tmp_path, make_model(dropout=0.0), alpha=0.0).model, plain.model)


def test_training_draws_texts_and_copies_together(tmp_path):
    agreed = logged(run(tmp_path, make_model(dropout=0.0), alpha=20.0, noises=["upper_case"]))
    alone = logged(run(tmp_path, make_model(dropout=0.0), alpha=0.0, noises=["upper_case"]))
    assert agreed[-1]["noise_consistency"] < 0.2 * alone[-1]["noise_consistency"]


def test_refusals():
    model, batch = make_model(), make_batch()
    with pytest.raises(ValueError, match="unknown noise 'blur'"):
        NoiseConsistency(noises=["blur"])
    with pytest.raises(ValueError, match="call setup"):
        NoiseConsistency()(model, batch)
    with pytest.raises(ValueError, match="processing_class=tokenizer"):
        NoiseConsistency().setup(model)
    objective = OBJECTIVES["noise_consistency"]()
    objective.setup(model, tokenizer=make_tokenizer())
    with pytest.raises(ValueError, match="one label a text"):
        objective(language_model(), {**batch, "labels": batch["input_ids"]})
    with pytest.raises(ValueError, match="noise needs input_ids"):
        noisy_rows(None).features(model, {"inputs_embeds": torch.ones(1, 2, 3)}, 0)
