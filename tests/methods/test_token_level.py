"""Language models, taggers and regression heads under R-Drop and ROSE-First."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForTokenClassification, DataCollatorForLanguageModeling

from formulas import log_softmax
from helpers import (
    arguments,
    dataset,
    language_model,
    logged,
    make_batch,
    make_model,
    make_tokenizer,
    scored_texts,
    trace_of,
    train,
    write_synonyms,
)
from rosetune import CrossEntropy, RDrop


def tagger(labels=5, dropout=0.1):
    return make_model(num_labels=labels, dropout=dropout, head=AutoModelForTokenClassification)


def by_hand(first, second, targets, mask):
    """Mean cross-entropy of both passes and both KL, token by token; targets and mask as lists of rows."""
    ce, kl = [[], []], [[], []]
    for row, words in enumerate(targets):
        for place, word in enumerate(words):
            if word == -100:
                continue
            p, q = log_softmax(first[row, place]), log_softmax(second[row, place])
            ce[0].append(-p[word])
            ce[1].append(-q[word])
            if mask[row][place]:
                kl[0].append((np.exp(p) * (p - q)).sum())
                kl[1].append((np.exp(q) * (q - p)).sum())
    return [np.mean(x) for x in ce], [np.mean(x) for x in kl]


def passes(model, batch, seed):
    """The logits of both halves of the doubled batch, as the objective draws them."""
    torch.manual_seed(seed)
    features = {k: torch.cat([v, v]) for k, v in batch.items() if k != "labels"}
    logits = model(**features).logits.detach().double().numpy()
    return logits[: len(logits) // 2], logits[len(logits) // 2 :]


@pytest.mark.parametrize("padding", ["-100", "words"])
def test_r_drop_of_a_language_model(padding):
    """Targets are the next words. A user who leaves the padding's labels in gets them scored, as transformers does,
    but never a divergence over padding."""
    model, batch = language_model(), scored_texts()
    if padding == "words":
        batch["labels"] = batch["input_ids"]
    first, second = passes(model, batch, seed=3)
    following = [[*row[1:], -100] for row in batch["labels"].tolist()]
    real = [[*row[1:], 0] for row in batch["attention_mask"].tolist()]
    ce, kl = by_hand(first, second, following, real)
    torch.manual_seed(3)
    out = RDrop(alpha=0.7)(model, batch, consistency=True)
    assert out.loss.item() == pytest.approx(sum(ce) / 2 + 0.35 * sum(kl), rel=1e-5)
    assert out.consistency.item() == pytest.approx(sum(kl), rel=1e-4)


def test_r_drop_of_a_tagger_does_not_shift():
    model, batch = tagger(), make_batch(rows=6)
    batch["labels"] = (batch["input_ids"] % 5).masked_fill(batch["attention_mask"] == 0, -100)
    first, second = passes(model, batch, seed=3)
    ce, kl = by_hand(first, second, batch["labels"].tolist(), batch["attention_mask"].tolist())
    torch.manual_seed(3)
    out = RDrop()(model, batch, consistency=True)
    assert out.loss.item() == pytest.approx(sum(ce) / 2 + 0.5 * sum(kl), rel=1e-5)


@pytest.mark.parametrize("make", [language_model, tagger])
def test_cross_entropy_is_the_models_own(make):
    model, batch = make(dropout=0.0), scored_texts()
    if make is tagger:
        batch["labels"] = batch["labels"].where(batch["labels"] < 0, batch["labels"] % 5)
    assert CrossEntropy()(model, batch).loss.item() == pytest.approx(model(**batch).loss.item(), rel=1e-6)


def test_cross_entropy_knows_a_language_model_under_lora():
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["c_attn"], fan_in_fan_out=True)
    model, batch = peft.get_peft_model(language_model(dropout=0.0), config), scored_texts()
    assert CrossEntropy()(model, batch).loss.item() == pytest.approx(model(**batch).loss.item(), rel=1e-6)


OBJECTIVES = ("cross_entropy", "r_drop", "smart", "freelb", "r3f")


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("order", ["first", "ensemble"])
def test_rose_trains_a_language_model(tmp_path, objective, order):
    data = Dataset.from_dict(
        {"input_ids": [[w for w in row if w] for row in make_batch(rows=16)["input_ids"].tolist()]}
    )
    mask = {"update_mask": "rose", "update_mask_kwargs": {"order": order, "upper": 0.5, "trace": True}}
    args = arguments(tmp_path, max_steps=12, learning_rate=3e-3, objective=objective, **mask)
    tokenizer = make_tokenizer()
    collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    trainer = train(language_model(), args, data, data_collator=collator, processing_class=tokenizer)
    losses = [entry["loss"] for entry in logged(trainer)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    multipliers = trace_of(trainer).multipliers
    assert 0 < multipliers.mean() < 1
    before = trainer.evaluate(data)["eval_loss"]
    assert np.isfinite(before)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_rose_trains_a_regression(tmp_path, tiny_model, objective):
    """The consistency of a regression is the squared difference of the two passes."""
    mask = {"update_mask": "rose", "update_mask_kwargs": {"order": "first", "upper": 0.5, "trace": True}}
    args = arguments(tmp_path, max_steps=20, learning_rate=1e-3, objective=objective, **mask)
    data = dataset(rows=32, num_labels=1)
    trainer = train(tiny_model(num_labels=1), args, data)
    losses = [entry["loss"] for entry in logged(trainer)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert 0 < trace_of(trainer).multipliers.mean() < 1


@pytest.mark.parametrize("objective", ["match_tuning", "rift", "noise_consistency"])
def test_what_needs_whole_texts_says_so(tmp_path, objective):
    options = {"synonyms": write_synonyms(tmp_path)} if objective == "rift" else None
    args = arguments(tmp_path, objective=objective, objective_kwargs=options)
    with pytest.raises(ValueError, match=r"no pooled state|one class label a row|one label a text"):
        train(
            language_model(),
            args,
            Dataset.from_dict({k: v.tolist() for k, v in scored_texts().items()}),
            processing_class=make_tokenizer(),
        )


def test_a_batch_without_any_scored_token_has_no_divergence():
    batch = {**scored_texts(), "labels": torch.full((6, 12), -100)}
    out = CrossEntropy(passes=2)(language_model(), batch, consistency=True)
    assert out.consistency.item() == 0.0


def test_shapes_that_do_not_fit_are_named(tiny_model):
    batch = {**make_batch(), "labels": torch.zeros(8, 2)}
    with pytest.raises(ValueError, match=r"got \(8, 2\) and \(8, 2\)"):
        CrossEntropy()(tiny_model(), batch)
