"""Every method on every architecture, built small from its configuration: it trains, or it refuses with a reason."""

import re

import numpy as np
import pytest
import torch
from transformers import DataCollatorWithPadding

from helpers import ARCHITECTURES, arguments, dataset, gradient_is_rounding, logged, make_tokenizer, train
from method_cases import MASKS, method
from rosetune.mask_trace import MaskTrace
from rosetune.methods import OBJECTIVES
from rosetune.methods._targets import LAYER_WEIGHTS

# Which need a pooled state, and which dropout: everything else must work everywhere.
POOLED = ("match_tuning", "rift", "latent_adversarial")
NEEDS_DROPOUT = ("r_drop",)


def run(tmp_path, model, **kwargs):
    tokenizer = make_tokenizer()
    args = arguments(tmp_path, max_steps=3, **kwargs)
    collator = DataCollatorWithPadding(tokenizer)
    return train(model, args, dataset(rows=24), processing_class=tokenizer, data_collator=collator)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objectives(tmp_path, tiny_model, synonyms, architecture, objective):
    model = tiny_model(architecture)
    before = [p.detach().clone() for p in model.parameters()]
    if architecture == "gpt2" and objective in POOLED:
        with pytest.raises(ValueError, match="no pooled state"):
            run(tmp_path, model, **method(objective, "none", synonyms))
        return
    trainer = run(tmp_path, model, **method(objective, "none", synonyms))
    assert all(np.isfinite(entry["loss"]) for entry in logged(trainer))
    layers = [
        torch.equal(p, b)
        for (name, p), b in zip(model.named_parameters(), before, strict=True)
        if re.search(r"\.\d+\.", name) and not gradient_is_rounding(name)
    ]
    assert not any(layers)  # the gradient reaches every layer


def trace_of(model, path):
    """A trace of three steps on this architecture that lets every second weight through."""
    targets = [(name, p.numel()) for name, p in model.named_parameters() if re.search(LAYER_WEIGHTS, name)]
    names, sizes = zip(*targets, strict=True)
    MaskTrace(names, np.array(sizes), np.tile(np.arange(len(names)) % 2, (3, 1)).astype(np.float32)).save(path)
    return str(path)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("mask", [name for name in MASKS if name != "none"])
def test_update_masks(tmp_path, tiny_model, synonyms, architecture, mask):
    model, options = tiny_model(architecture), method("cross_entropy", mask, synonyms)
    if mask == "replay":
        options["update_mask_kwargs"] = {"trace": trace_of(model, tmp_path / "trace.npz")}
    trainer = run(tmp_path, model, **options)
    entries = logged(trainer)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert all("mask_density_tensors" in entry for entry in entries)
    if not mask.startswith("child_tuning-F"):
        assert all(0 <= entry["mask_density_scalars"] <= 1 for entry in entries)
    assert entries[-1]["mask_density_scalars"] != 1


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_model_without_dropout_is_refused_only_where_dropout_is_needed(
    tmp_path,
    tiny_model,
    synonyms,
    objective,
):
    arguments_of = method(objective, "none", synonyms)
    if objective in NEEDS_DROPOUT:
        with pytest.raises(ValueError, match="no dropout acts"):
            run(tmp_path, tiny_model(dropout=0.0), **arguments_of)
        return
    run(tmp_path, tiny_model(dropout=0.0), **arguments_of)
    with pytest.raises(ValueError, match="no dropout acts"):
        run(tmp_path, tiny_model(dropout=0.0), **method(objective, "rose-first", synonyms))
