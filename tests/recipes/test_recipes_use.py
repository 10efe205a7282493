"""What a recipe is used for: its keys, its methods' options, the command line, its comments."""

import json
import re
from dataclasses import fields
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest

from rosetune.experiments.options import make_config
from rosetune.methods import OBJECTIVES, UPDATE_MASKS, build
from rosetune.recipes import load_recipe, recipe_names

DATA_AND_MODEL = {"task", "text_columns", "label_column", "model_name_or_path", "max_length"}
METHOD = {"objective", "objective_kwargs", "update_mask", "update_mask_kwargs"}
NAMES = {"order", "mode", "variant"}  # say which method it is
# One recipe of each method, and of FreeLB's both variants.
SAMPLE = [*{name.split("/")[0]: name for name in recipe_names()}.values(), "freelb/albert-xxlarge-v2/sst2"]


@cache
def text_of(name: str) -> str:
    return files("rosetune.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


@pytest.fixture
def synonyms(tmp_path: Path) -> str:
    path = tmp_path / "synonyms.json"
    path.write_text(json.dumps({"film": ["movie"]}), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", recipe_names())
def test_keys_are_those_of_a_config_file(name: str, tmp_path: Path) -> None:
    from transformers import TrainingArguments

    trainers = {key: value for key, value in load_recipe(name).items() if key not in DATA_AND_MODEL | METHOD}
    assert trainers.keys() <= {field.name for field in fields(TrainingArguments)}
    args = TrainingArguments(output_dir=str(tmp_path), **trainers)
    assert {key: getattr(args, key) for key in trainers} == trainers


@pytest.mark.parametrize("name", recipe_names())
def test_methods_take_their_options(name: str, synonyms: str) -> None:
    recipe = load_recipe(name)
    users = {"synonyms": synonyms} if recipe["objective"] == "rift" else {}
    objective = build("objective", recipe["objective"], recipe.get("objective_kwargs", {}) | users)
    assert type(objective) is OBJECTIVES[recipe["objective"]]
    if "update_mask" in recipe:
        mask = build("update_mask", recipe["update_mask"], recipe.get("update_mask_kwargs"))
        assert type(mask) is UPDATE_MASKS[recipe["update_mask"]]


@pytest.mark.parametrize("name", SAMPLE)
def test_the_command_line_reads_what_the_file_says(name: str) -> None:
    recipe, config = load_recipe(name), make_config(recipe=name)
    own = {key: getattr(config, key) for key in DATA_AND_MODEL & recipe.keys()}
    assert {**own, **config.training} == recipe | {key: tuple(recipe[key]) for key in {"text_columns"} & own.keys()}


def test_a_user_adds_the_synonyms_to_what_the_recipe_of_rift_has(synonyms: str) -> None:
    name = "rift/bert-base-uncased/imdb"
    config = make_config(recipe=name, options={"objective_kwargs": json.dumps({"synonyms": synonyms})})
    assert config.training["objective_kwargs"] == load_recipe(name)["objective_kwargs"] | {"synonyms": synonyms}


def test_the_recipe_of_rift_says_that_it_needs_synonyms() -> None:
    recipe = load_recipe("rift/bert-base-uncased/imdb")
    with pytest.raises(ValueError, match="synonyms"):
        build("objective", "rift", recipe["objective_kwargs"])
    assert """--objective_kwargs '{"synonyms": """ in text_of("rift/bert-base-uncased/imdb")


@pytest.mark.parametrize("name", recipe_names())
def test_every_value_has_a_source_that_the_header_explains(name: str) -> None:
    text = text_of(name)
    header, _, body = text.partition("\n\n")
    assert f"--recipe {name} " in header
    assert f"--output_dir runs/{name.replace('/', '-')}" in header
    explained = set(re.findall(r"\[([a-z-]+)\]", header))
    for line in body.splitlines():
        value, _, comment = line.partition("#")
        tags = set(re.findall(r"\[([a-z-]+)\]", comment))
        assert tags <= explained, line
        key, _, given = map(str.strip, value.partition(":"))
        if given and key not in DATA_AND_MODEL | METHOD | NAMES:
            assert tags or "a choice" in comment, f"no source: {line}"


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
