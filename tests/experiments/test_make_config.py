"""Options from recipe, file and command line: which of them wins, and what is said of a wrong one."""

from pathlib import Path
from typing import Any

import pytest

from rosetune.experiments.options import make_config
from rosetune.recipes import load_recipe
from rosetune.runs.values import RunError


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_command_line_wins_over_the_file_over_the_recipe(tmp_path: Path) -> None:
    recipe = "rose-ensemble/roberta-base/rte"
    file = write(tmp_path / "c.yaml", "learning_rate: 1e-5\nmax_length: 64\nseed: 7\ntask: sst2\nadam_beta2: null\n")
    options, arguments = {"max_length": "32", "data_dir": "glue"}, ["--seed", "9", "--bf16"]
    config = make_config(recipe=recipe, config_file=file, options=options, arguments=arguments)
    published = load_recipe(recipe)
    assert (config.task, config.max_length, config.data_dir) == ("sst2", 32, "glue")
    assert config.model_name_or_path == published["model_name_or_path"]
    assert config.training["learning_rate"] == 1e-5  # a string for YAML
    assert config.training["seed"] == 9
    assert config.training["bf16"] is True
    assert config.training["num_train_epochs"] == published["num_train_epochs"]
    assert "adam_beta2" not in config.training  # null takes the recipe's value back
    assert config.training["update_mask_kwargs"] == published["update_mask_kwargs"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"update_mask_kwargs": '{"trace": true, "upper": 0.5}'}, ("rose", {"upper": 0.5, "trace": True})),
        ({"update_mask": "rose", "update_mask_kwargs": '{"gamma": 1}'}, ("rose", {"gamma": 1})),
        ({"update_mask": "random"}, ("random", None)),
        ({"update_mask": "random", "update_mask_kwargs": '{"upper": 0.1}'}, ("random", {"upper": 0.1})),
        ({"update_mask": "none"}, (None, None)),
        ({"augmentation": "noise", "augmentation_kwargs": '{"p": 0.75}'}, ("rose", {})),
        ({"averaging": "none", "trained_layers": "0"}, ("rose", {})),
    ],
)
def test_options_of_a_method_stay_with_their_method(options: dict[str, str], expected: tuple[Any, Any]) -> None:
    config = make_config(recipe="rose-ensemble/roberta-base/rte", options=options)
    mask, kwargs = expected
    kept = {"order": "ensemble", "upper": 0.8, "gamma": 0.5} if mask == "rose" else {}
    assert config.training.get("update_mask") == mask
    assert config.training.get("update_mask_kwargs") == (None if kwargs is None else {**kept, **kwargs})


def test_a_mapping_in_yaml_and_json_on_the_command_line_are_the_same(tmp_path: Path) -> None:
    base = "task: demo\nmodel_name_or_path: demo\nupdate_mask: rose\nsave_strategy: no\nreport_to: none\n"
    file = write(tmp_path / "c.yaml", base + "update_mask_kwargs:\n  order: first\n  upper: 1.0\n")
    words = ["--update_mask_kwargs={'order': 'first', 'upper': 1}".replace("'", '"')]
    from_file = make_config(config_file=file)
    from_words = make_config(config_file=write(tmp_path / "d.yaml", base), arguments=words)
    assert from_file == from_words
    assert from_file.training["update_mask_kwargs"] == {"order": "first", "upper": 1}
    assert from_file.training["save_strategy"] == "no"  # which YAML reads as false


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate: 1.0", "c.yaml: unknown option lerning_rate: did you mean learning_rate?"),
        ("learning_rate: fast", "c.yaml: learning_rate must be a number, not 'fast'"),
        ("learning_rate: -1", "c.yaml: learning_rate must be at least 0, not -1.0"),
        ("learning_rate: {a: 1}", "c.yaml: learning_rate must be a number, not "),
        ("lr_scheduler_type: liner", "c.yaml: lr_scheduler_type: "),
        ("max_length: long", "max_length must be a whole number of at least 1, not 'long'"),
        ("text_columns: 3", "text_columns must be names such as a,b, not 3"),
        ("update_mask_kwargs: rose", "update_mask_kwargs must be a JSON object"),
        ("update_mask_kwargs: [1, 2]", "c.yaml: update_mask_kwargs must be a JSON object"),
        ("learning_rate: [1, 2]", "c.yaml: learning_rate takes one value, not [1, 2]"),
        ("sst2", "must hold a mapping of options"),
        ("a: [1", "c.yaml, line 1 is not valid YAML"),
        ("a: 1\n\tb: 2", "c.yaml, line 2 is not valid YAML"),
        ("5: 6", "c.yaml: unknown option 5"),
    ],
)
def test_errors_in_a_config_file_name_the_key(text: str, message: str, tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", text)
    with pytest.raises(RunError) as caught:
        make_config(config_file=file, options={"task": "demo", "model_name_or_path": "demo"})
    assert message in str(caught.value)
