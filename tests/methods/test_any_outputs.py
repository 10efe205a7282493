"""Models that return a dict or a tuple, and checkpointing that forbids gradients of one's own."""

import pytest
import torch
from torch import nn
from transformers import DataCollatorWithPadding, Trainer
from transformers.utils import ModelOutput

from helpers import ROSES, arguments, dataset, make_model, make_tokenizer, same, train, write_synonyms
from rosetune import RobustTrainer
from rosetune._torch import forward, logits_of
from rosetune.methods import OBJECTIVES

CHILD = {"update_mask": "child_tuning"}
MASKS = {"none": {}, "rose": {"update_mask": "rose", "update_mask_kwargs": ROSES["ensemble"]}, "child_tuning": CHILD}
PAIRS = [*((name, "none") for name in OBJECTIVES), ("cross_entropy", "rose"), ("cross_entropy", "child_tuning")]


class Own(nn.Module):
    """A module of a user's own around a classifier: ``kind`` is what its forward returns."""

    def __init__(self, kind):
        super().__init__()
        self.inner, self.kind = make_model(), kind
        self.config = self.inner.config

    def get_input_embeddings(self):
        return self.inner.get_input_embeddings()

    def forward(self, input_ids, attention_mask=None, labels=None):
        logits = self.inner(input_ids=input_ids, attention_mask=attention_mask).logits
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return {"dict": {"loss": loss, "logits": logits}, "tuple": (loss, logits), "tensor": logits}[self.kind]


def model_of(kind):
    return make_model(return_dict=False) if kind == "return_dict=False" else Own(kind)


def run(tmp_path, model, objective="cross_entropy", mask="none", **kwargs):
    options = {"rift": {"synonyms": write_synonyms(tmp_path), "steps": 1}, "smart": {"epsilon": 0.05}}.get(objective)
    args = arguments(tmp_path, objective=objective, objective_kwargs=options, max_steps=3, **MASKS[mask], **kwargs)
    tokenizer = make_tokenizer()
    return train(model, args, dataset(), processing_class=tokenizer, data_collator=DataCollatorWithPadding(tokenizer))


@pytest.mark.parametrize("kind", ["dict", "tuple", "return_dict=False"])
@pytest.mark.parametrize(("objective", "mask"), PAIRS)
def test_the_outputs_may_be_of_any_kind(tmp_path, kind, objective, mask):
    model = model_of(kind)
    trained = run(tmp_path, model, objective, mask).model
    plain = run(tmp_path, make_model(), objective, mask).model
    assert same(getattr(trained, "inner", trained), plain)


@pytest.mark.parametrize("kind", ["dict", "tuple", "return_dict=False"])
def test_as_with_the_trainer(tmp_path, kind):
    args = arguments(tmp_path, max_steps=3)
    trained, losses = [], []
    for cls in (RobustTrainer, Trainer):
        trainer = cls(model_of(kind), args, train_dataset=dataset())
        trainer.train()
        trained.append(trainer.model)
        losses.append(trainer.evaluate(dataset())["eval_loss"])
    assert same(*trained)
    assert losses[0] == losses[1]


def test_where_the_logits_are():
    logits, loss, hidden = torch.randn(4, 2), torch.tensor(0.5), (torch.randn(4, 3, 8),)
    for outputs in (
        {"loss": loss, "logits": logits},
        ModelOutput(loss=loss, logits=logits),
        (loss, logits, hidden),
        (None, logits),
        (logits, hidden),
        [logits],
    ):
        assert logits_of(outputs) is logits
    without = {"Tensor": logits, "dict with scores": {"scores": logits}, "tuple": (loss,), "None": None}
    for what, outputs in without.items():
        with pytest.raises(ValueError, match=f"the model returned a {what}.* without logits: let its forward return"):
            logits_of(outputs)
    with pytest.raises(ValueError, match="returned a Tensor without logits"):
        forward(Own("tensor"), {"input_ids": torch.ones(2, 3, dtype=torch.long)})


REENTRANT = {"activation_checkpointing": True, "activation_checkpointing_kwargs": {"use_reentrant": True}}


@pytest.mark.parametrize(
    ("objective", "mask"),
    [("smart", "none"), ("cross_entropy", "rose"), ("cross_entropy", "child_tuning")],
)
def test_reentrant_checkpointing_is_refused_in_one_line_where_it_cannot_work(tmp_path, objective, mask):
    with pytest.raises(ValueError, match=r"checkpointing:? give .*'use_reentrant': False\}") as caught:
        run(tmp_path, make_model(), objective, mask, **REENTRANT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "smart"])
def test_and_changes_nothing_elsewhere(tmp_path, objective):
    assert same(*(run(tmp_path, make_model(), objective, **more).model for more in ({}, REENTRANT)))
