"""A run from its configuration to its files: what it writes, what it may choose, what cannot be trained."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import tiny_run
from rosetune.data.sources import load_task
from rosetune.data.tables import DataError
from rosetune.experiments.data import load_data
from rosetune.experiments.evaluate import evaluate_again
from rosetune.experiments.options import make_config
from rosetune.experiments.train import run_all, train_run
from rosetune.experiments.training import Training, training_arguments
from rosetune.runs.config import RunConfig
from rosetune.runs.run import Run
from rosetune.runs.values import RunError
from tiny_run import Library, silent

ENSEMBLE = {"update_mask": "rose", "update_mask_kwargs": {"order": "ensemble", "trace": True}}
FIRST = {"update_mask": "rose", "update_mask_kwargs": {"order": "first", "trace": True}}


def clean(library: Library, folder: Path | str, training: dict[str, Any] | None = None, **options: Any) -> RunConfig:
    return tiny_run.config(library.home, str(folder), training=training, **{"sets": ("clean",), **options})


# --- the files of a run -----------------------------------------------------------------------------------------


def test_a_run_writes_its_files_and_is_the_same_again(library: Library, tmp_path: Path) -> None:
    method = {**ENSEMBLE, "num_train_epochs": 1.0, "max_steps": -1}
    for folder in ("once", "twice"):
        train_run(tiny_run.config(library.home, str(tmp_path / folder), training=method), silent)
    names = {path.name for path in (tmp_path / "once").iterdir()}
    assert names == {*tiny_run.SAME, "environment.json", "timing.json", "model", "predictions"}
    files = {path.name for path in (tmp_path / "once/predictions").iterdir()}
    own = {"clean.json", "noise.json", "fingerprints.json", "features.json", "shared.json", "validation"}
    assert files == {"clean.jsonl", "typos_1.jsonl", "typos_2.jsonl", *own}
    assert tiny_run.contents(tmp_path / "once") == tiny_run.contents(tmp_path / "twice")
    run = Run.open(tmp_path / "once")
    assert list(run.metrics["sets"]) == ["clean", "typos_1", "typos_2"]
    assert {name: len(run.rows(name)) for name in run.sets()} == {n: m["n"] for n, m in run.metrics["sets"].items()}
    assert run.rows("clean")[0].keys() == {"set", "id", "gold", "prediction", "logits"}
    assert (run.timing["steps"], run.timing["rows"], run.timing["resumed_from"]) == (12, 96, None)


def test_another_seed_is_another_run(library: Library) -> None:
    one, two = library.run("vanilla"), library.run("vanilla-2", {"seed": 2})
    assert tiny_run.contents(two)["model/model.safetensors"] != tiny_run.contents(one)["model/model.safetensors"]


def test_the_log_counts_every_step_once(library: Library) -> None:
    log = Run.open(library.run("rose-ensemble", ENSEMBLE)).log
    assert [entry["step"] for entry in log] == [2, 3, 4, 6]  # every third, and where a checkpoint is
    assert all({"loss", "consistency", "mask_density_tensors"} <= entry.keys() for entry in log)
    assert "runtime" not in json.dumps(log)


def test_checkpoints_stay_where_a_limit_is_given(library: Library, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    train_run(clean(library, folder, {"save_total_limit": 1}), silent)
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-6"]
    train_run(clean(library, folder), silent)  # finished: nothing is touched
    assert (folder / "checkpoint-6").is_dir()


def test_the_config_of_a_run_starts_it_again(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library.home)
    relative = clean(library, tmp_path / "relative", FIRST, task="my.csv", model_name_or_path="model")
    train_run(relative, silent)
    monkeypatch.chdir("/")
    options = {"output_dir": str(tmp_path / "from-config")}
    again = make_config(config_file=str(tmp_path / "relative/config.yaml"), options=options)
    assert run_all([again], silent) == [tmp_path / "from-config"]
    expected = tiny_run.contents(library.run("rose-first", FIRST))
    assert tiny_run.contents(tmp_path / "relative") == tiny_run.contents(tmp_path / "from-config") == expected


def test_what_was_read_is_said_at_the_start(library: Library, tmp_path: Path) -> None:
    lines: list[str] = []
    train_run(clean(library, tmp_path / "run", {"max_steps": 1}), lines.append)
    assert lines[0].startswith("my: ")
    assert any(line.startswith("training labels: bad ") for line in lines)


def test_of_a_subset_the_rows_that_are_trained_on_are_said(library: Library) -> None:
    """Every text of the data counts as seen that is trained on, and no other."""
    config = clean(library, library.home / "subset", {"max_steps": 1}, max_train_samples=7, validation_from_train=0.4)
    data = load_task(str(library.home / "my.csv"))
    train = data.splits["train"]
    data = dataclasses.replace(data, splits={**data.splits, "validation": train})
    summary = Training(config, data, training_arguments(config)).summary
    first = summary.lines()[0]
    assert first.startswith(f"my: 4 of {len(train)} training, {len(train)} validation, "), first
    assert sum(summary.labels["train"].values()) == 4
    shared = f"4 of {len(train)} validation texts also occur in the training data"
    assert [line.split(":")[0] for line in summary.warnings if "also occur" in line] == [shared]
    assert any("fewer than 5 training rows" in line for line in summary.warnings)


# --- choosing a checkpoint --------------------------------------------------------------------------------------


def test_choosing_at_the_end_of_epochs(library: Library, tmp_path: Path) -> None:
    epochs = {"max_steps": -1, "num_train_epochs": 2, "save_strategy": "epoch", "save_total_limit": 2}
    lines: list[str] = []
    train_run(clean(library, tmp_path / "run", epochs, validation_from_train=0.5), lines.append)
    assert len(list((tmp_path / "run").glob("checkpoint-*"))) == 2
    assert lines[-1].startswith("reporting step ")


def test_no_training_at_all(library: Library, tmp_path: Path) -> None:
    """The head of a pre-trained model would stay random; of a fine-tuned one, evaluate makes a run as it is."""
    nothing = {"max_steps": -1, "num_train_epochs": 0}
    with pytest.raises(RunError, match=r"num_train_epochs=0 trains nothing.*rosetune evaluate --model_name_or_path"):
        train_run(clean(library, tmp_path / "as-it-is", nothing), silent)
    with pytest.raises(RunError, match=r"max_steps=0 trains nothing.*rosetune evaluate --model_name_or_path"):
        train_run(clean(library, tmp_path / "as-it-is", {"max_steps": 0}), silent)
    assert not (tmp_path / "as-it-is").exists()
    train_run(clean(library, tmp_path / "steps", {"max_steps": 1, "num_train_epochs": 0}), silent)
    assert json.loads((tmp_path / "steps/timing.json").read_text())["steps"] == 1  # steps go before epochs


def test_nothing_is_chosen_on_what_is_reported(library: Library, tmp_path: Path) -> None:
    config = clean(library, tmp_path / "unused", validation_from_train=0.25)
    data = load_data(config)
    trainer = Training(config, data, training_arguments(config)).trainer
    tokenizer = trainer.processing_class
    held_out, trained = (
        {tokenizer.decode(ids, skip_special_tokens=True) for ids in dataset["input_ids"]}
        for dataset in (trainer.eval_dataset, trainer.train_dataset)
    )
    own, reported = (
        set(data.splits["train"]["text"]),
        set(data.clean[1]["text"]) | set(data.splits["validation"]["text"]),
    )
    assert held_out | trained == own
    assert not held_out & trained
    assert not held_out & reported
    assert len(held_out) == round(0.25 * len(own))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"load_best_model_at_end": True}, "choosing a checkpoint needs validation_from_train"),
        ({"eval_strategy": "steps"}, "choosing a checkpoint needs validation_from_train"),
        ({"resume_from_checkpoint": "x"}, "a run resumes by itself"),
        ({"save_only_model": True}, "save_only_model leaves checkpoints that a killed run cannot go on from"),
        ({"lerning_rate": 1.0}, "unknown training argument 'lerning_rate'"),
        ({"update_mask": "rose", "update_mask_kwargs": {"upper": 1.5}}, r"upper must be a finite number in \(0, 1\]"),
        ({"update_mask": "rosee"}, "unknown update_mask 'rosee'"),
        ({"update_mask": "rose", "update_mask_kwargs": {"uper": 0.5}}, "has no option 'uper'"),
    ],
)
def test_training_arguments_are_checked_before_any_work(
    library: Library, tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train_run(clean(library, tmp_path / "never", given, task=str(tmp_path / "is-not-read.csv")))
    assert not (tmp_path / "never").exists()


def test_an_unknown_metric_for_the_choice(library: Library, tmp_path: Path) -> None:
    config = clean(library, tmp_path / "never", {"metric_for_best_model": "f2"}, validation_from_train=0.5)
    with pytest.raises(RunError, match="metric_for_best_model must be one of accuracy, f1, mcc, loss, not 'f2'"):
        train_run(config)


# --- what cannot be trained -------------------------------------------------------------------------------------


def test_a_model_without_dropout(library: Library, tmp_path: Path) -> None:
    tiny_run.write_model(tmp_path / "dry", dropout=0.0)
    config = clean(library, tmp_path / "dry-run", FIRST, model_name_or_path=str(tmp_path / "dry"))
    with pytest.raises(ValueError, match="no dropout acts anywhere in it"):
        train_run(config, silent)
    assert not (tmp_path / "dry-run").exists()  # the same folder serves another attempt


def test_a_checkpoint_of_another_architecture(library: Library, tmp_path: Path) -> None:
    shutil.copytree(library.home / "model", tmp_path / "other")
    weights = load_file(library.home / "model/model.safetensors")
    renamed = {f"other.{name}": value for name, value in weights.items()}
    save_file(renamed, tmp_path / "other/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RunError, match=r"holds 0 of the \d+ weights of a BertForSequenceClassification"):
        train_run(clean(library, tmp_path / "never", model_name_or_path=str(tmp_path / "other")), silent)
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("name", ["nobody/nothing", "./nowhere", "/nowhere/at/all"])
def test_a_model_that_is_not_there(name: str, library: Library, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot load|there is no folder"):
        train_run(clean(library, tmp_path / "run", model_name_or_path=name), silent)
    assert not (tmp_path / "run").exists()


def test_adversarial_data_is_asked_for_before_training(library: Library, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="AdvGLUE has no data for the task 'my'"):
        train_run(clean(library, tmp_path / "never", sets="clean,advglue"))
    assert not (tmp_path / "never").exists()


def test_a_run_is_a_model_to_start_from(library: Library, tmp_path: Path) -> None:
    start = str(library.run("vanilla"))
    train_run(clean(library, tmp_path / "further", {"max_steps": 1}, model_name_or_path=start), silent)
    assert (tmp_path / "further/metrics.json").is_file()


def test_texts_longer_than_the_model_can_read_are_cut(library: Library, tmp_path: Path) -> None:
    rows = [f"{'the film ' * 50}{i},{('good', 'bad')[i % 2]}\n" for i in range(40)]
    (tmp_path / "long.csv").write_text("text,label\n" + "".join(rows))
    config = clean(library, tmp_path / "run", {"max_steps": 1}, task=str(tmp_path / "long.csv"), max_length=1000)
    lines: list[str] = []
    train_run(config, lines.append)
    assert json.loads((tmp_path / "run/model/tokenizer_config.json").read_text())["model_max_length"] == 64
    # [CLS] and [SEP], 100 words, and the number, of which the tokenizer knows nothing.
    n = len(load_task(str(tmp_path / "long.csv")).splits["train"])
    assert (
        f"warning: {n} of {n} training texts are cut at 64 tokens (the most that the model takes); the longest has 103"
        in lines
    )
    assert "clean: 4 of 4 texts are cut at 64 tokens; the longest has 103" in lines  # of 40, a tenth


# --- several processes ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_write_one_run(library: Library, tmp_path: Path) -> None:
    arguments = ["--nproc_per_node", "2", "-m", "rosetune", "train", "--task", str(library.home / "my.csv")]
    arguments += ["--model_name_or_path", str(library.home / "model"), "--output_dir", str(tmp_path / "two")]
    arguments += ["--max_steps", "3", "--per_device_train_batch_size", "4", "--save_steps", "2", "--use_cpu", "true"]
    arguments += ["--sets", "clean", "--update_mask", "rose", "--seed", "1"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("clean") == 1, done.stdout
    identity = json.loads((tmp_path / "two/run.json").read_text())
    assert identity["processes"] == 2
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert again.stderr.count("nothing to do") == 1, again.stderr


# --- training data altered on purpose ----------------------------------------------------------------------------


def test_a_run_on_held_out_rows_reports_training_rows_alone(library: Library, tmp_path: Path) -> None:
    config = clean(library, tmp_path / "run", held_out=0.25)
    run = Run.open(train_run(config, silent))
    own, reported = load_data(config), load_data(clean(library, tmp_path / "other"))
    held = own.splits["validation"]
    assert [row["id"] for row in run.rows("clean")] == held["id"][:]
    assert set(held["id"]) <= set(reported.splits["train"]["id"])
    assert set(own.splits) == {"train", "validation"}
    assert run.identity["held_out"] == 0.25
    with pytest.raises(RunError, match="leave advglue"):
        evaluate_again(run.folder, "advglue")


def test_wrong_and_rare_labels_change_what_is_trained_on_and_the_identity(library: Library, tmp_path: Path) -> None:
    plain = Run.open(library.run("vanilla"))
    assert not {"held_out", "label_noise", "imbalance"} & plain.identity.keys()
    for option in ({"label_noise": 0.3}, {"imbalance": 0.3}):
        config = clean(library, tmp_path / next(iter(option)), **option)
        run = Run.open(train_run(config, silent))
        assert run.identity["data_fingerprint"] == plain.identity["data_fingerprint"]
        assert run.identity | option == run.identity
        assert run.rows("clean")[0]["gold"] == plain.rows("clean")[0]["gold"]


@pytest.mark.parametrize(
    "option", [{"held_out": 0}, {"held_out": 1.5}, {"held_out": -1}, {"label_noise": 1}, {"imbalance": 0}]
)
def test_shares_out_of_range_are_refused(library: Library, tmp_path: Path, option: dict[str, float]) -> None:
    with pytest.raises(RunError, match=next(iter(option))):
        clean(library, tmp_path / "run", **option)


def test_a_run_trained_on_normalised_texts_keeps_that(library: Library, tmp_path: Path) -> None:
    """Training texts with zero-width characters are those without; what goes on from its checkpoint reads alike."""
    from rosetune.experiments.models import load_trained

    plain = (library.home / "my.csv").read_text(encoding="utf-8")
    disguised = tmp_path / "disguised.csv"
    disguised.write_text(plain.replace("il", "i\u200bl").replace("er", "e\u2060r"), encoding="utf-8")
    kept = {"training": {"save_total_limit": 1}, "sets": ("clean",)}
    configs = [
        tiny_run.config(library.home, str(tmp_path / "plain"), **kept),
        tiny_run.config(library.home, str(tmp_path / "own"), task=str(disguised), normalize="invisible", **kept),
    ]
    runs = [Path(train_run(config, silent)) for config in configs]
    assert (runs[0] / "model/model.safetensors").read_bytes() == (runs[1] / "model/model.safetensors").read_bytes()
    assert Run.open(runs[1]).method == "vanilla+normalize"
    for folder in (runs[1] / "model", next(runs[1].glob("checkpoint-*"))):
        _, tokenizer, _ = load_trained(folder)
        assert tokenizer.normalization == ("invisible",)
