"""The recipes against the published tables, typed in again from their sources."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from rosetune.recipes import load_recipe, recipe_names

TASKS = ("sst2", "rte", "qnli", "qqp")
MODELS = ("roberta-base", "roberta-large")
ELSEWHERE = {
    "bert-large-cased": "google-bert/bert-large-cased",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "albert-xxlarge-v2": "albert/albert-xxlarge-v2",
}

# README of jiangllan/ROSE: learning rate and --upper in per cent.
ROSE_TABLE = {
    ("first", "roberta-base"): {"qnli": (2e-5, 70), "qqp": (2e-5, 70), "rte": (4e-5, 80), "sst2": (2e-5, 60)},
    ("first", "roberta-large"): {"qnli": (3e-5, 50), "qqp": (2e-5, 70), "rte": (1e-5, 80), "sst2": (4e-5, 70)},
    ("second", "roberta-base"): {"qnli": (1e-5, 40), "qqp": (1e-4, 60), "rte": (4e-5, 60), "sst2": (1e-4, 30)},
    ("second", "roberta-large"): {"qnli": (1e-5, 50), "qqp": (1e-5, 60), "rte": (2e-5, 50), "sst2": (1e-5, 50)},
    ("ensemble", "roberta-base"): {"qnli": (1e-5, 90), "qqp": (5e-5, 75), "rte": (4e-5, 80), "sst2": (5e-5, 40)},
    ("ensemble", "roberta-large"): {"qnli": (1e-5, 30), "qqp": (1e-5, 80), "rte": (1e-5, 85), "sst2": (1e-5, 70)},
}
# README of dropreg/R-Drop: batch, updates, warm-up.
R_DROP_TABLE = {
    "sst2": (32, 20935, 1256),
    "rte": (8, 2036, 122),
    "qnli": (32, 33112, 1986),
    "qqp": (32, 113272, 28318),
    "mnli": (32, 123873, 7432),
    "mrpc": (16, 2296, 137),
    "cola": (16, 5336, 320),
}
# fairseq-RoBERTa/launch/FreeLB/*-fp32-clip.sh of zhuchen03/FreeLB (of RTE the lines that are commented out):
# adv_lr, steps, init_mag, max_norm; batch, update_freq, updates, warm-up.
FREELB_FAIRSEQ = {
    "sst2": (1e-1, 2, 1.0, 6e-1, 8, 4, 20935, 1256),
    "rte": (6e-2, 3, 1.6e-1, 1.4e-1, 2, 8, 2036, 122),
    "qnli": (7.5e-2, 2, 1.5e-1, 1.5e-1, 2, 16, 33112, 1986),
    "qqp": (2e-1, 2, 3.2e-1, 7e-1, 32, 1, 113272, 28318),
}
# huggingface-transformers/launch/run_glue.sh there, where a norm of 0 is none: adv_lr, steps, init_mag, max_norm;
# batch, accumulation, updates, warm-up, learning rate.
FREELB_HUGGINGFACE = {
    "sst2": (1e-1, 2, 6e-1, None, 32, 1, 20935, 1256, 1e-5),
    "rte": (1e-1, 3, 0.0, None, 32, 1, 800, 200, 3e-5),
    "qnli": (5e-2, 3, 1e-1, None, 8, 4, 33112, 1986, 1e-5),
    "qqp": (2e-1, 3, 3.2e-1, 7e-1, 128, 1, 14000, 1000, 5e-5),
}
# rift_train.sh and opts.py of dongxinshuai/RIFT-NeurIPS2021: weights of KL and mutual information, batch, length.
RIFT_TABLE = {"imdb": (10.0, 0.1, 32, 300), "snli": (5.0, 0.7, 120, 80)}
# The paper's grid as recalled. It sums both cross-entropies where rosetune averages them: half its alpha is the same.
R_DROP_PAPER = (0.1, 0.5, 1.0)
# Our own choice, within the grid of the ROSE paper.
VANILLA_RATES = {"roberta-base": 2e-5, "roberta-large": 1e-5}
LAYER_NORM_RATES = {"roberta-base": 2e-4, "roberta-large": 1e-4}
TWICE = {"roberta-base": 4e-5, "roberta-large": 2e-5}


def adamw(decay: float, beta2: float, eps: float, clip: float) -> dict[str, float]:
    moments = {"adam_beta1": 0.9, "adam_beta2": beta2, "adam_epsilon": eps}
    return {"weight_decay": decay, **moments, "max_grad_norm": clip}


def like_rose(task: str, rate: float) -> dict[str, Any]:
    """Section 3.3 of the ROSE paper and its scripts; baselines and controls differ from it in the method."""
    return {
        **adamw(0.01, 0.98, 1e-6, 1.0),
        "objective": "cross_entropy",
        "learning_rate": rate,
        "per_device_train_batch_size": 16 if task == "rte" else 32,
        "num_train_epochs": 10,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
    }


def rose(method: str, model: str, task: str) -> dict[str, Any]:
    order = method.split("-")[-1]
    rate, per_cent = ROSE_TABLE[order, model][task]
    mask = {"order": order, "upper": per_cent / 100} | ({"gamma": 0.5} if order == "ensemble" else {})
    return like_rose(task, rate) | {"update_mask": "rose", "update_mask_kwargs": mask}


def r_drop(method: str, model: str, task: str) -> dict[str, Any]:
    batch, updates, warmup = R_DROP_TABLE[task]
    return {
        **adamw(0.01, 0.98, 1e-6, 1.0),
        "objective": "r_drop",
        "objective_kwargs": {"alpha": R_DROP_PAPER[-1] / 2},
        "learning_rate": 1e-5,
        "per_device_train_batch_size": batch,
        "max_steps": updates,
        "lr_scheduler_type": "polynomial",
        "warmup_steps": warmup,
    }


def r_drop_rose(method: str, model: str, task: str) -> dict[str, Any]:
    """Section 3.5 of the ROSE paper: learning rate and threshold as in ROSE, all else as in R-Drop."""
    of_rose = rose(method, model, task)
    taken = {name: of_rose[name] for name in ("learning_rate", "update_mask", "update_mask_kwargs")}
    return r_drop(method, model, task) | taken


def child_tuning(method: str, model: str, task: str) -> dict[str, Any]:
    mask = {"update_mask": "child_tuning", "update_mask_kwargs": {"mode": method[-1].upper(), "reserve": 0.3}}
    if model != "bert-large-cased":
        return like_rose(task, VANILLA_RATES[model]) | mask
    # ChildTuning/run.sh of alibaba/AliceMind.
    script = {"learning_rate": 4e-5, "num_train_epochs": 3, "warmup_steps": 0.1}
    return like_rose(task, 0.0) | adamw(0.01, 0.999, 1e-8, 1.0) | mask | script


def smart(method: str, model: str, task: str) -> dict[str, Any]:
    """The paper's values as recalled, within its grids; optimizer of namisan/mt-dnn."""
    kwargs = {
        **{"adversarial_weight": 1.0, "bregman_weight": 1.0, "momentum": [0.99, 0.999]},
        **{"epsilon": 1e-5, "noise_std": 1e-5, "step_size": 1e-3, "steps": 1},
    }
    return {
        **like_rose(task, VANILLA_RATES[model]),
        **adamw(0.0, 0.999, 1e-6, 1.0),
        "objective": "smart",
        "objective_kwargs": kwargs,
        "num_train_epochs": 6,
        "warmup_steps": 0.1,
    }


def freelb(method: str, model: str, task: str) -> dict[str, Any]:
    if model == "albert-xxlarge-v2":
        step, steps, start, norm, batch, accumulation, updates, warmup, rate = FREELB_HUGGINGFACE[task]
        attention = 0.1 if task in ("rte", "qqp") else 0.0
        dropout = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": attention}
        optimizer, variant = adamw(0.01, 0.999, 1e-8, 1.0), {"variant": "huggingface", "norm": "l2"}
    else:
        step, steps, start, norm, batch, accumulation, updates, warmup = FREELB_FAIRSEQ[task]
        optimizer, variant, rate = adamw(0.1, 0.999, 1e-6, 0.0), {"variant": "fairseq"}, 1e-5
        dropout = {"classifier_dropout": 0.0}
    return {
        **optimizer,
        "model_kwargs": dropout,
        "max_length": 512,
        "objective": "freelb",
        "objective_kwargs": {**variant, "adv_lr": step, "steps": steps, "init_magnitude": start, "max_norm": norm},
        "learning_rate": rate,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "max_steps": updates,
        "lr_scheduler_type": "linear",
        "warmup_steps": warmup,
    }


def rift(method: str, model: str, task: str) -> dict[str, Any]:
    kl, information, batch, length = RIFT_TABLE[task]
    return {
        **adamw(2e-4, 0.999, 1e-6, 0.0),
        "task": f"stanfordnlp/{task}",
        "text_columns": ["text"] if task == "imdb" else ["premise", "hypothesis"],
        "label_column": "label",
        "max_length": length,
        "objective": "rift",
        "objective_kwargs": {
            **{"clean_weight": 1.0, "kl_weight": kl, "mi_weight": information, "temperature": 0.2},
            **{"steps": 10, "step_size": 1.0, "sparsity": 15.0, "max_candidates": 10, "balanced_batches": True},
            "segment": "all" if task == "imdb" else "second",
        },
        "learning_rate": 2e-5,
        "per_device_train_batch_size": batch,
        "num_train_epochs": 20,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 0.1,
    }


def freelb_plus_plus(method: str, model: str, task: str) -> dict[str, Any]:
    """Defaults of RockyLzy/TextDefender; ten steps as recalled, and the optimizer as we chose."""
    of_imdb = {"task": "stanfordnlp/imdb", "text_columns": ["text"], "label_column": "label", "max_length": 256}
    return {
        **(of_imdb if task == "imdb" else {}),
        "objective": "freelb",
        "objective_kwargs": {
            **{"variant": "++", "steps": 10, "adv_lr": 0.03, "init_magnitude": 0.05, "max_norm": None, "norm": "l2"},
            "sync_dropout": False,
        },
        "learning_rate": 2e-5,
        "per_device_train_batch_size": 32,
        "num_train_epochs": 10,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
    }


def r3f(method: str, model: str, task: str) -> dict[str, Any]:
    """examples/rxf/README.md of facebookresearch/fairseq."""
    return {
        **adamw(0.1, 0.98, 1e-6, 0.0),
        "model_kwargs": {"classifier_dropout": 0.0},
        "max_length": 512,
        "objective": "r3f",
        "objective_kwargs": {"noise_weight": 0.7, "epsilon": 1e-5, "noise": "uniform"},
        "learning_rate": 1e-5,
        "per_device_train_batch_size": 8,
        "max_steps": 3120,
        "lr_scheduler_type": "linear",
        "warmup_steps": 187,
    }


def plain(method: str, model: str, task: str) -> dict[str, Any]:
    """The baseline, and what is all our own choice beside it."""
    rates = {"layer-norm-only": LAYER_NORM_RATES, "magma": TWICE, "random-step": TWICE}.get(method, VANILLA_RATES)
    rate = 1e-3 if method.endswith("top-0") else rates[model]
    latent = {"layers": 0, "epsilon": 0.4, "step_size": 0.2, "steps": 3}
    changes: dict[str, dict[str, Any]] = {
        "vanilla": {},
        "label-smoothing": {"objective_kwargs": {"label_smoothing": 0.1}},
        "layer-norm-only": {"update_mask": "layer_norm_only"},
        "match-tuning": {"objective": "match_tuning", "objective_kwargs": {"temperature": "spread"}},
        "magma": {"update_mask": "magma", "update_mask_kwargs": {"p": 0.5, "temperature": 2.0, "smoothing": 0.9}},
        "random-step": {"update_mask": "random_step", "update_mask_kwargs": {"p": 0.5}},
        "vanilla+top-0": {"trained_layers": 0},
        "latent-adversarial+top-0": {
            **{"objective": "latent_adversarial", "objective_kwargs": latent},
            "trained_layers": 0,
        },
    }
    return like_rose(task, rate) | changes[method]


Values = Callable[[str, str, str], dict[str, Any]]
GRID = [(model, task) for model in MODELS for task in TASKS]
# Each method: what its recipes must hold, and for which models and tasks there is one.
CATALOGUE: dict[str, tuple[Values, list[tuple[str, str]]]] = {
    **{f"rose-{order}": (rose, GRID) for order in ("first", "second", "ensemble")},
    **{f"r-drop+rose-{order}": (r_drop_rose, GRID) for order in ("first", "second", "ensemble")},
    **dict.fromkeys(("vanilla", "label-smoothing", "layer-norm-only", "match-tuning"), (plain, GRID)),
    "r-drop": (r_drop, [(model, task) for model in MODELS for task in R_DROP_TABLE]),
    **dict.fromkeys(("magma", "random-step", "vanilla+top-0", "latent-adversarial+top-0"), (plain, GRID)),
    "freelb++": (freelb_plus_plus, [("bert-base-uncased", "imdb"), *(("roberta-base", task) for task in TASKS)]),
    "child-tuning-d": (child_tuning, [*GRID, ("bert-large-cased", "rte")]),
    "child-tuning-f": (child_tuning, GRID),
    "smart": (smart, GRID),
    "freelb": (freelb, [*GRID, *(("albert-xxlarge-v2", task) for task in TASKS)]),
    "r3f": (r3f, [("roberta-large", "rte")]),
    "rift": (rift, [(model, task) for model in ("bert-base-uncased", "roberta-base") for task in ("imdb", "snli")]),
}


def test_the_catalogue_is_complete() -> None:
    assert recipe_names() == sorted(
        f"{method}/{model}/{task}" for method, (_, pairs) in CATALOGUE.items() for model, task in pairs
    )


def test_every_alpha_of_r_drop_lies_on_the_papers_grid_in_the_papers_form() -> None:
    alphas = {load_recipe(name)["objective_kwargs"]["alpha"] for name in recipe_names() if name.startswith("r-drop")}
    assert {2 * alpha for alpha in alphas} <= {*R_DROP_PAPER}


@pytest.mark.parametrize("name", recipe_names())
def test_values_are_the_published_ones(name: str) -> None:
    method, model, task = name.split("/")
    common = {
        "task": task,
        "model_name_or_path": ELSEWHERE.get(model, f"FacebookAI/{model}"),
        "max_length": 128,
    }
    recipe, published = load_recipe(name), common | CATALOGUE[method][0](method, model, task)
    assert recipe == published
    # YAML 1.1 reads 1e-5 as text and 1.0 as a float: equality alone would not tell 10 from 10.0.
    assert json.dumps(recipe, sort_keys=True) == json.dumps(published, sort_keys=True)
