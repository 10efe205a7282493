"""The configuration of a run: its identity, the folder and the names that follow, and its file."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from rosetune.runs.config import DEFAULT_SEED, RUN_DEFAULTS, RunConfig
from rosetune.runs.identity import folder_name
from rosetune.runs.sets import KINDS
from rosetune.runs.values import RunError, differences


def config(**options: Any) -> RunConfig:
    return RunConfig(**{"task": "sst2", "model_name_or_path": "demo", **options})


def identity(**options: Any) -> dict[str, Any]:
    training = {"learning_rate": 1e-5, **options.pop("training", {})}
    loaded = {"task": "sst2", "text_columns": ["sentence"], "fingerprint": "f"}
    defaults = {"weight_decay": 0.0, "per_device_train_batch_size": 8}
    return config(**options, training=training).identity(**loaded, defaults=defaults)


# --- identity -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "same",
    [
        {"output_dir": "elsewhere", "data_dir": "glue", "sets": "clean"},
        {"training": {"logging_steps": 5, "save_steps": 5, "report_to": "wandb", "run_name": "x"}},
        {"training": {"disable_tqdm": True, "dataloader_num_workers": 2, "hub_token": "secret"}},
        {"training": {"weight_decay": 0.0, **RUN_DEFAULTS}},
        {"training": {"update_mask_kwargs": None}, "max_length": "128"},
        {"training": {"learning_rate": 1e-5, "weight_decay": 0}},
        {"given": False, "drop_empty": False, "model_kwargs": {}, "trained_layers": None},
        {"training": {"averaging": None, "averaging_kwargs": None}},
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
        {"validation_from_train": 0.1},
        {"training": {"seed": 3}},
        {"training": {"per_device_train_batch_size": 8}},  # the Trainer's default, not ours
        {"training": {"dataloader_drop_last": True}},
        {"training": {"update_mask": "rose"}},
        {"task_type": "regression"},
        {"drop_empty": True},
        {"model_kwargs": {"classifier_dropout": 0.0}},
        {"given": True},
        {"trained_layers": 0},
        {"trained_layers": 2},
        {"training": {"averaging": "ema"}},
        {"training": {"averaging": "pretrained"}},
    ],
)
def test_what_changes_the_result_changes_the_hash(other: dict[str, Any]) -> None:
    assert identity(**other) != identity()
    assert len(differences(identity(), identity(**other))) == 1


def test_what_is_saved_counts_where_it_is_averaged() -> None:
    mean = {"averaging": "checkpoints"}
    assert identity(training={**mean, "save_steps": 5}) != identity(training=mean)
    assert identity(training={**mean, "save_total_limit": 9}) == identity(training=mean)


def test_data_and_number_of_processes_count() -> None:
    loaded = {"task": "sst2", "text_columns": ["sentence"], "fingerprint": "f", "defaults": {}}
    before = config().identity(**loaded)
    changed = {"task": "my", "text_columns": ["other"], "fingerprint": "g", "processes": 2}
    assert all(config().identity(**{**loaded, name: value}) != before for name, value in changed.items())


def test_options_that_came_later_leave_earlier_identities_as_they_are() -> None:
    """What ``run.json`` of the version before holds; a new name in it would make every finished run another one."""
    assert identity() == {
        "task": "sst2",
        "text_columns": ["sentence"],
        "data_fingerprint": "f",
        "model_name_or_path": "demo",
        "max_length": 128,
        "max_train_samples": None,
        "validation_from_train": None,
        "processes": 1,
        "training": {"learning_rate": 1e-5},
    }


def test_a_file_among_the_options_counts_by_its_contents(tmp_path: Path) -> None:
    """Also where it has moved; and config.yaml finds it from anywhere."""
    here, moved = tmp_path / "here.json", tmp_path / "elsewhere" / "moved.json"
    moved.parent.mkdir()
    for path in (here, moved):
        path.write_text('{"fine": ["good"]}')

    def options(path: Path) -> dict[str, Any]:
        return {"training": {"objective": "rift", "objective_kwargs": {"synonyms": str(path)}}}

    assert identity(**options(here)) == identity(**options(moved))
    moved.write_text('{"fine": ["warm"]}')
    assert identity(**options(here)) != identity(**options(moved))
    relative = config(**options(Path(os.path.relpath(moved))))
    assert yaml.safe_load(relative.as_yaml())["objective_kwargs"] == {"synonyms": str(moved)}


@pytest.mark.parametrize("name", ["deepspeed", "fsdp_config", "accelerator_config"])
def test_a_training_argument_that_is_a_file_counts_by_its_contents(name: str, tmp_path: Path) -> None:
    here, moved = tmp_path / "here.json", tmp_path / "moved.json"
    for path in (here, moved):
        path.write_text('{"zero_optimization": {"stage": 2}}')

    def of(value: Any) -> dict[str, Any]:
        return identity(training={name: value})["training"]

    assert of(str(here)) == of(str(moved))
    moved.write_text('{"zero_optimization": {"stage": 3}}')
    assert of(str(here)) != of(str(moved))
    assert of({"stage": 2})[name] == {"stage": 2}  # given in place
    assert of("gone.json")[name] == "gone.json"
    relative = config(training={name: os.path.relpath(here)})
    assert yaml.safe_load(relative.as_yaml())[name] == str(here)


def test_no_word_is_taken_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a schedule, where a file of that name lies here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linear").write_text("")
    assert identity(training={"lr_scheduler_type": "linear"})["training"]["lr_scheduler_type"] == "linear"


def test_the_hash_of_a_plain_identity_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the folder in which a finished run is found again."""
    monkeypatch.chdir(tmp_path)
    digest = hashlib.sha256(json.dumps(identity(), sort_keys=True).encode()).hexdigest()[:12]
    assert config().folder(identity()) == Path(f"runs/sst2/vanilla/seed-42-{digest}")
    assert digest == "afc1ad3ab772"


def test_a_folder_with_a_model_counts_by_its_weights(tmp_path: Path) -> None:
    """And not by what else lies in it, or by where it lies."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "config.json").write_text("{}")
    a, b = (identity(model_name_or_path=str(tmp_path / name)) for name in "ab")
    assert a == b
    assert a["model_name_or_path"].startswith("sha256:")
    (tmp_path / "b" / "README.md").write_text("about it")
    assert identity(model_name_or_path=str(tmp_path / "b")) == a
    (tmp_path / "b" / "model.safetensors").write_bytes(b"others")
    assert identity(model_name_or_path=str(tmp_path / "b")) != a


def test_saving_counts_where_it_decides_what_can_be_chosen() -> None:
    chooses = identity(validation_from_train=0.1)
    assert identity(validation_from_train=0.1, training={"save_steps": 5}) != chooses
    assert identity(validation_from_train=0.1, training={"logging_steps": 5}) == chooses


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("training", "name"),
    [
        ({}, "vanilla"),
        ({"augmentation": "noise", "augmentation_kwargs": {"p": 0.75}}, "noise"),
        ({"averaging": "pretrained"}, "pretrained-0.5"),
        ({"averaging": "checkpoints", "averaging_kwargs": {"last": 3}, "update_mask": "magma"}, "magma+checkpoints-3"),
        ({"averaging": "ema", "averaging_kwargs": {"decay": 0.999}, "augmentation": "noise"}, "noise+ema-0.999"),
        ({"objective": "freelb", "objective_kwargs": {"variant": "++"}}, "freelb++"),
        (
            {"augmentation": "subword_dropout", "objective": "r_drop", "update_mask": "rose"},
            "r-drop+rose-ensemble+subword-dropout",
        ),
        ({"objective_kwargs": {"label_smoothing": 0.1}}, "label-smoothing-0.1"),
        ({"objective_kwargs": {"passes": 2}, "update_mask": "rose"}, "passes-2+rose-ensemble"),
        ({"objective": "freelb", "objective_kwargs": {"variant": "huggingface"}}, "freelb-huggingface"),
        ({"objective": "r_drop", "update_mask": "child_tuning"}, "r-drop+child-tuning-d"),
        ({"update_mask": "child_tuning", "update_mask_kwargs": {"mode": "F"}}, "child-tuning-f"),
        ({"update_mask": "rose", "update_mask_kwargs": {"order": "first"}}, "rose-first"),
        ({"update_mask": "rose", "update_mask_kwargs": None}, "rose-ensemble"),
    ],
)
def test_a_control_does_not_pass_for_the_baseline(training: dict[str, Any], name: str) -> None:
    assert config(training=training).method() == name


def test_a_given_model_has_no_method_of_ours() -> None:
    assert config(given=True).method() == "given"


def test_default_folders(tmp_path: Path) -> None:
    named = config(training={"update_mask": "rose", "objective": "r_drop", "seed": 7})
    folder = named.folder({"task": "user/set:part"})
    assert folder.parts[:3] == ("runs", "user-set-part", "r-drop+rose-ensemble")
    seed, digest = folder.parts[3].rsplit("-", 1)
    assert (seed, len(digest)) == ("seed-7", 12)
    assert named.folder({"task": "user/set:part"}) == folder
    assert named.folder({"task": "user/set:part", "max_length": 64}).parts[3] != folder.parts[3]
    assert config(output_dir="~/mine").folder({"task": "x"}) == Path("~/mine").expanduser()
    (tmp_path / "my data.csv").write_text("")
    assert folder_name(str(tmp_path / "my data.csv")) == "my-data"
    assert folder_name("../..") == "task"


def test_the_seed() -> None:
    assert config().seed == DEFAULT_SEED
    assert config(training={"seed": 3.0}).seed == 3


# --- its file -----------------------------------------------------------------------------------------------------


def test_secrets_are_not_written_down() -> None:
    text = config(training={"hub_token": "secret", "seed": 1}).as_yaml()
    assert "secret" not in text
    assert "seed: 1" in text


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """From any folder; where the run lies is not part of it."""
    (tmp_path / "my.csv").write_text("text,label\n")
    (tmp_path / "model").mkdir()
    first = config(
        task=str(tmp_path / "my.csv"),
        model_name_or_path=str(tmp_path / "model"),
        text_columns="a,b",
        drop_empty="true",
        validation_from_train="0.1",
        model_kwargs='{"classifier_dropout": 0.0}',
        sets="advglue,clean",
        output_dir="runs/x",
        training={"seed": 3, "learning_rate": 1e-5, "update_mask": "rose", "update_mask_kwargs": '{"upper": 0.6}'},
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text(first.as_yaml(), encoding="utf-8")
    again = RunConfig.read(tmp_path / "run")
    first.output_dir = None
    assert again == first
    assert again.sets == ("clean", "advglue")  # in the order in which they are evaluated
    assert again.data_options() == {"text_columns": ("a", "b"), "drop_empty": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the config file .*config.yaml"),
        ("a: [", "config.yaml, line 1 is not valid YAML"),
        ("- task", "must hold a mapping"),
        ("task: sst2\n", "config.yaml is no run's configuration .*model_name_or_path"),
        ("task: sst2\nmodel_name_or_path: demo\nmax_length: 0\n", "max_length must be"),
    ],
)
def test_a_damaged_file(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RunError, match=message):
        RunConfig.read(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 0}, "max_length must be a whole number of at least 1, not 0"),
        ({"max_length": "many"}, "max_length must be a whole number"),
        ({"max_length": True}, "max_length must be a whole number"),
        ({"max_train_samples": 1.5}, "max_train_samples must be a whole number"),
        ({"validation_from_train": 1}, r"validation_from_train must lie in \(0, 1\), not 1"),
        ({"validation_from_train": "nan"}, "validation_from_train must lie"),
        ({"sets": "clean,dirty"}, f"sets must name some of {', '.join(KINDS)}, not dirty"),
        ({"sets": []}, "sets must name some of"),
        ({"text_columns": 5}, "text_columns must be names such as a,b, not 5"),
        ({"task": 5}, "task must be text, not 5"),
        ({"task_type": "ranking"}, "task_type must be classification or regression, not 'ranking'"),
        ({"drop_empty": "perhaps"}, "drop_empty must be true or false, not 'perhaps'"),
        ({"model_kwargs": "[1]"}, "model_kwargs must be a JSON object"),
        ({"training": {"update_mask_kwargs": "{"}}, "update_mask_kwargs must be a JSON object"),
        ({"training": {"objective_kwargs": "[1]"}}, "objective_kwargs must be a JSON object"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        config(**options)


def test_every_option_says_what_it_is() -> None:
    fields = {name: field for name, field in RunConfig.__dataclass_fields__.items() if name != "training"}
    assert all(field.metadata["help"] for field in fields.values())


def test_a_folder_of_the_version_before_is_found_again(tmp_path, monkeypatch):
    """It was called by the hash alone, and its method perhaps otherwise."""
    monkeypatch.chdir(tmp_path)
    own = config(training={"objective": "r_drop", "seed": 3})
    identity = {"task": "x", "training": own.training}
    new = own.folder(identity)
    old = new.parents[1] / "r_drop" / new.name.removeprefix("seed-3-")
    old.mkdir(parents=True)
    assert own.folder(identity) == old
    assert own.folder({**identity, "max_length": 64}).name.startswith("seed-3-")


def test_of_a_run_its_model_counts_and_nothing_else(tmp_path):
    """The folder of a run stands for the model in it, which more evaluations leave as it is."""
    run, model = tmp_path / "run", tmp_path / "run/model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"1")

    def of(folder):
        own = config(model_name_or_path=str(folder))
        return own.identity(task="x", text_columns=("a",), fingerprint="f", defaults={})["model_name_or_path"]

    before = of(run)
    (run / "metrics.json").write_text("{}")
    assert of(run) == before == of(model)
    (model / "model.safetensors").write_bytes(b"2")
    assert of(run) != before
