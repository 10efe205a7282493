"""The recipes against the published tables, typed in again from their sources."""

from dataclasses import fields
from typing import Any

import pytest

from rosetune.methods import OBJECTIVES, UPDATE_MASKS, build
from rosetune.recipes import load_recipe, recipe_names

TASKS = ("sst2", "rte", "qnli", "qqp")
MODELS = ("roberta-base", "roberta-large")

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
}
# Our own choice, within the grid of the ROSE paper.
VANILLA_RATES = {"roberta-base": 2e-5, "roberta-large": 1e-5}

SHARED = {"weight_decay": 0.01, "adam_beta1": 0.9, "adam_beta2": 0.98, "adam_epsilon": 1e-6, "max_grad_norm": 1.0}
DATA_AND_MODEL = {"task", "model_name_or_path", "max_length"}
METHOD = {"objective", "objective_kwargs", "update_mask", "update_mask_kwargs"}


def expected(method: str, model: str, task: str) -> dict[str, Any]:
    common = {"task": task, "model_name_or_path": f"FacebookAI/{model}", "max_length": 128, **SHARED}
    if method == "r-drop":
        batch, updates, warmup = R_DROP_TABLE[task]
        return common | {
            "objective": "r_drop",
            "objective_kwargs": {"alpha": 1.0},
            "learning_rate": 1e-5,
            "per_device_train_batch_size": batch,
            "max_steps": updates,
            "lr_scheduler_type": "polynomial",
            "warmup_steps": warmup,
        }
    common |= {
        "objective": "cross_entropy",
        "per_device_train_batch_size": 16 if task == "rte" else 32,
        "num_train_epochs": 10,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
    }
    if method == "vanilla":
        return common | {"learning_rate": VANILLA_RATES[model]}
    order = method.removeprefix("rose-")
    rate, per_cent = ROSE_TABLE[order, model][task]
    mask = {"order": order, "upper": per_cent / 100} | ({"gamma": 0.5} if order == "ensemble" else {})
    return common | {"learning_rate": rate, "update_mask": "rose", "update_mask_kwargs": mask}


def test_the_catalogue_is_complete() -> None:
    methods = ("rose-first", "rose-second", "rose-ensemble", "vanilla", "r-drop")
    assert recipe_names() == sorted(
        f"{method}/{model}/{task}" for method in methods for model in MODELS for task in TASKS
    )


@pytest.mark.parametrize("name", recipe_names())
def test_values_are_the_published_ones(name: str) -> None:
    recipe, published = load_recipe(name), expected(*name.split("/"))
    assert recipe == published
    # YAML 1.1 reads 1e-5 as text and 1.0 as a float: equality alone would not tell 10 from 10.0.
    assert {key: type(value) for key, value in recipe.items()} == {
        key: type(value) for key, value in published.items()
    }


@pytest.mark.parametrize("name", recipe_names())
def test_keys_are_those_of_a_config_file(name: str, tmp_path) -> None:
    from transformers import TrainingArguments

    trainers = {key: value for key, value in load_recipe(name).items() if key not in DATA_AND_MODEL | METHOD}
    assert trainers.keys() <= {field.name for field in fields(TrainingArguments)}
    args = TrainingArguments(output_dir=str(tmp_path), **trainers)
    assert {key: getattr(args, key) for key in trainers} == trainers


@pytest.mark.parametrize("name", recipe_names())
def test_methods_take_their_options(name: str) -> None:
    recipe = load_recipe(name)
    objective = build("objective", recipe["objective"], recipe.get("objective_kwargs"))
    assert type(objective) is OBJECTIVES[recipe["objective"]]
    if "update_mask" in recipe:
        mask = build("update_mask", recipe["update_mask"], recipe["update_mask_kwargs"])
        assert type(mask) is UPDATE_MASKS[recipe["update_mask"]]


def test_recipes_are_read_afresh() -> None:
    load_recipe("rose-first/roberta-base/rte")["update_mask_kwargs"]["upper"] = 1.0
    assert load_recipe("rose-first/roberta-base/rte")["update_mask_kwargs"]["upper"] == 0.8


def test_an_unknown_recipe_names_its_neighbours() -> None:
    with pytest.raises(
        ValueError, match=r"'rose-ensemble/roberta-base/rta': did you mean rose-ensemble/roberta-base/rte"
    ):
        load_recipe("rose-ensemble/roberta-base/rta")


@pytest.mark.parametrize("name", ["", "zzz", "../recipes/vanilla/roberta-base/rte", "vanilla/roberta-base/rte.yaml"])
def test_only_names_of_the_catalogue_load(name: str) -> None:
    with pytest.raises(ValueError, match="no recipe is called"):
        load_recipe(name)
