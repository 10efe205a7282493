"""What a recipe is used for: its keys, its methods' options, the command line, its comments."""

import json
import re
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from rosetune.experiments.options import make_config
from rosetune.methods import OBJECTIVES, UPDATE_MASKS, build
from rosetune.recipes import load_recipe, recipe_names, recipe_text

DATA_AND_MODEL = {"task", "text_columns", "label_column", "model_name_or_path", "model_kwargs", "max_length"} | {
    "trained_layers"
}
METHOD = {"objective", "objective_kwargs", "update_mask", "update_mask_kwargs"}
NAMES = {"task", "objective", "update_mask", "order", "mode", "variant"}  # say which recipe it is
METHODS = sorted({name.split("/")[0] for name in recipe_names()})
# One recipe of each method, and of FreeLB's both variants.
SAMPLE = [*{name.split("/")[0]: name for name in recipe_names()}.values(), "freelb/albert-xxlarge-v2/sst2"]


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
    assert """--objective_kwargs '{"synonyms": """ in recipe_text("rift/bert-base-uncased/imdb")


@pytest.mark.parametrize("name", recipe_names())
def test_every_value_has_a_source_that_the_header_explains(name: str) -> None:
    header, _, body = recipe_text(name).partition("\n\n")
    assert f"--recipe {name} " in header
    assert f"--output_dir runs/{name.replace('/', '-')}" in header
    explained = set(re.findall(r"\[([a-z-]+)\]", header))
    for line in body.splitlines():
        value, _, comment = line.partition("#")
        tags = set(re.findall(r"\[([a-z-]+)\]", comment))
        assert tags <= explained, line
        key, _, given = map(str.strip, value.partition(":"))
        if given and key not in NAMES:
            assert tags, f"no source: {line}"


@pytest.mark.parametrize("name", recipe_names())
def test_the_text_of_a_recipe_is_a_config_file(name: str) -> None:
    assert yaml.safe_load(recipe_text(name)) == load_recipe(name)


def test_a_comment_goes_with_its_value_and_a_later_layer_wins() -> None:
    text = recipe_text("freelb/albert-xxlarge-v2/rte")
    assert "  init_magnitude: 0.0  # [launch]: the first pass is a clean one\n" in text
    assert "# The checkpoint's own config has no dropout in either.\nmodel_kwargs:\n  hidden_dropout_prob: 0.1" in text
    assert "fairseq-RoBERTa/launch" in text.partition("\n\n")[0]
    assert "0.16" not in text  # what RoBERTa has there
    assert "RoBERTa-base" not in text  # a note on another model


@pytest.mark.parametrize("method", METHODS)
def test_no_layer_says_again_what_one_below_it_says(method: str) -> None:
    file = yaml.safe_load(files("rosetune.recipes").joinpath(f"{method}.yaml").read_text(encoding="utf-8"))
    shared, tasks = flat(file.pop("shared")), {task: flat(own) for task, own in file.pop("tasks", {}).items()}
    for own in tasks.values():
        assert not own.items() & shared.items()
    for model in file.values():
        of_model = flat(model.pop("shared", {}))
        assert not of_model.items() & shared.items()
        for task, own in model.items():
            assert not flat(own).items() & (shared | tasks.get(task, {}) | of_model).items()
        if len(model) > 1:  # what all tasks of a model have stands in its shared part
            assert not set.intersection(*(set(flat(own).items()) for own in model.values()))


def flat(options: dict[str, Any], above: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """The values of nested options by path, as JSON."""
    values = {}
    for key, value in options.items():
        values |= flat(value, (*above, key)) if isinstance(value, dict) else {(*above, key): json.dumps(value)}
    return values


@pytest.mark.parametrize("order", ["first", "second", "ensemble"])
def test_an_old_spelling_loads_and_names_the_new_one(order: str) -> None:
    with pytest.warns(FutureWarning, match=rf"is called r-drop\+rose-{order}/roberta-base/rte now"):
        old = load_recipe(f"r-drop-rose-{order}/roberta-base/rte")
    assert old == load_recipe(f"r-drop+rose-{order}/roberta-base/rte")


def test_a_recipe_with_columns_moves_to_a_named_task(tmp_path: Path) -> None:
    config = make_config(recipe="rift/bert-base-uncased/snli", options={"task": "SST-2"})
    assert (config.text_columns, config.label_column) == (None, None)
    file = tmp_path / "run.yaml"
    file.write_text(
        "task: my.csv\ntext_columns: a,b\ntest_file: test.csv\nmodel_name_or_path: demo\n", encoding="utf-8"
    )
    config = make_config(config_file=str(file), options={"task": "rte"})
    assert (config.text_columns, config.test_file, config.model_name_or_path) == (None, None, "demo")


def test_a_users_fields_of_the_model_join_those_of_the_recipe() -> None:
    config = make_config(recipe="freelb/roberta-base/rte", options={"model_kwargs": '{"hidden_dropout_prob": 0.2}'})
    assert config.model_kwargs == {"classifier_dropout": 0.0, "hidden_dropout_prob": 0.2}


def test_columns_stay_where_the_data_are_a_users() -> None:
    config = make_config(recipe="rift/bert-base-uncased/snli", options={"task": "snli_labelled"})
    assert (config.text_columns, config.label_column) == (("premise", "hypothesis"), "label")
    # Given at one place they contradict each other, which loading says.
    config = make_config(options={"task": "rte", "text_columns": "a,b", "model_name_or_path": "demo"})
    assert config.text_columns == ("a", "b")


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
