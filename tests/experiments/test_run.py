"""The configuration of a run: what decides its identity, its folder and its name, and values out of range."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import tiny_run
from rosetune.runs.config import RunConfig
from rosetune.runs.values import RunError


def identity(**options: Any) -> dict[str, Any]:
    training = {"learning_rate": 1e-5, **options.pop("training", {})}
    config = RunConfig(**{"task": "sst2", "model_name_or_path": "demo", **options}, training=training)
    loaded = {"task": "sst2", "text_columns": ["sentence"], "fingerprint": "f"}
    return config.identity(**loaded, defaults={"weight_decay": 0.0, "per_device_train_batch_size": 8})


@pytest.mark.parametrize(
    "same",
    [
        {"output_dir": "elsewhere", "data_dir": "glue", "sets": "clean"},
        {"training": {"logging_steps": 5, "save_steps": 5, "report_to": "wandb", "run_name": "x"}},
        {"training": {"disable_tqdm": True, "dataloader_num_workers": 2, "hub_token": "secret"}},
        {"training": {"weight_decay": 0.0, "per_device_train_batch_size": 32}},
        {"training": {"update_mask_kwargs": None}, "max_length": "128"},
    ],
)
def test_what_does_not_change_the_result_does_not_change_the_hash(same: dict[str, Any]) -> None:
    assert identity(**same) == identity()


@pytest.mark.parametrize(
    "other",
    [
        {"max_length": 64},
        {"model_name_or_path": "FacebookAI/roberta-base"},
        {"max_train_samples": 10},
        {"training": {"seed": 3}},
        {"training": {"per_device_train_batch_size": 8}},  # the Trainer's default, not ours
        {"training": {"update_mask": "rose"}},
    ],
)
def test_what_changes_the_result_changes_the_hash(other: dict[str, Any]) -> None:
    assert identity(**other) != identity()


def test_a_file_among_the_options_counts_by_its_contents(tmp_path: Path) -> None:
    """Also where it has moved; and config.yaml finds it from anywhere."""

    def options(path: Path) -> dict[str, Any]:
        return {"training": {"objective": "rift", "objective_kwargs": {"synonyms": str(path)}}}

    synonyms = tiny_run.write_synonyms(tmp_path / "synonyms.json")
    moved = tiny_run.write_synonyms(tmp_path / "elsewhere.json")
    assert identity(**options(synonyms)) == identity(**options(moved))
    moved.write_text('{"fine": ["warm"]}')
    assert identity(**options(synonyms)) != identity(**options(moved))
    relative = RunConfig("sst2", "demo", **options(Path(os.path.relpath(moved))))
    assert yaml.safe_load(relative.as_yaml())["objective_kwargs"] == {"synonyms": str(moved)}


def test_saving_counts_where_it_decides_what_can_be_chosen() -> None:
    chooses = identity(validation_from_train=0.1)
    assert identity(validation_from_train=0.1, training={"save_steps": 5}) != chooses
    assert identity(validation_from_train=0.1, training={"logging_steps": 5}) == chooses


@pytest.mark.parametrize(
    ("training", "name"),
    [
        ({}, "vanilla"),
        ({"objective_kwargs": {"label_smoothing": 0.1}}, "label-smoothing-0.1"),
        ({"objective_kwargs": {"passes": 2}, "update_mask": "rose"}, "passes-2+rose-ensemble"),
        ({"objective": "freelb", "objective_kwargs": {"variant": "huggingface"}}, "freelb-huggingface"),
        ({"objective": "r_drop", "update_mask": "child_tuning"}, "r-drop+child-tuning-d"),
    ],
)
def test_a_control_does_not_pass_for_the_baseline(training: dict[str, Any], name: str) -> None:
    assert RunConfig("sst2", "demo", training=training).method() == name


def test_default_folders() -> None:
    config = RunConfig("sst2", "demo", training={"update_mask": "rose", "objective": "r_drop"})
    folder = config.folder({"task": "user/set:part"})
    assert folder.parts[:3] == ("runs", "user-set-part", "r-drop+rose-ensemble")
    assert re.fullmatch(r"seed-42-[0-9a-f]{12}", folder.parts[3])
    assert config.method() == "r-drop+rose-ensemble"
    assert RunConfig("sst2", "demo").method() == "vanilla"


def test_secrets_are_not_written_down() -> None:
    text = RunConfig("sst2", "demo", training={"hub_token": "secret", "seed": 1}).as_yaml()
    assert "secret" not in text
    assert "seed: 1" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 0}, "max_length must be a whole number of at least 1, not 0"),
        ({"max_length": "many"}, "max_length must be a whole number"),
        ({"max_length": True}, "max_length must be a whole number"),
        ({"max_train_samples": 1.5}, "max_train_samples must be a whole number"),
        ({"validation_from_train": 1}, r"validation_from_train must lie in \(0, 1\), not 1"),
        ({"validation_from_train": "nan"}, "validation_from_train must lie"),
        ({"sets": "clean,dirty"}, "sets must name some of clean, noise, noise_curve, advglue, not dirty"),
        ({"sets": []}, "sets must name some of"),
        ({"text_columns": 5}, "text_columns must be names such as a,b, not 5"),
        ({"task": 5}, "task must be text, not 5"),
        ({"training": {"update_mask_kwargs": "{"}}, "update_mask_kwargs must be a JSON object"),
        ({"training": {"objective_kwargs": "[1]"}}, "objective_kwargs must be a JSON object"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        RunConfig(**{"task": "sst2", "model_name_or_path": "demo", **options})
