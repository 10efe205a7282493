"""A run on disk: its files, its identity, and that a kill at any moment changes nothing."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rosetune.experiments.config import RunConfig, RunError
from rosetune.experiments.sets import load_data
from safetensors.torch import load_file

import tiny_run
from rosetune.data.tables import DataError
from rosetune.experiments import evaluate, training
from rosetune.experiments import train as run
from rosetune.experiments.checkpoints import newest_checkpoint
from rosetune.experiments.evaluate import evaluate_again, read_predictions
from rosetune.experiments.train import train_run
from rosetune.experiments.training import Training, training_arguments

ROSE = {"update_mask": "rose"}
METHODS: dict[str, dict[str, Any]] = {
    "vanilla": {},
    "rose-first": {**ROSE, "update_mask_kwargs": {"order": "first", "trace": True}},
    "rose-second": {**ROSE, "update_mask_kwargs": {"order": "second"}},
    "rose-ensemble": {**ROSE, "update_mask_kwargs": {"order": "ensemble", "trace": True}},
    "rose-corrected": {**ROSE, "update_mask_kwargs": {"order": "second", "second_order": "corrected", "trace": True}},
    "random": {"update_mask": "random"},
    "child-tuning-d": {"update_mask": "child_tuning"},
    "smart": {"objective": "smart"},
    "freelb+rose": {**ROSE, "objective": "freelb", "objective_kwargs": {"start_step": 2}},
    "rift": {"objective": "rift", "objective_kwargs": {"synonyms": "synonyms.json", "steps": 2}},
    "r_drop+rose": {**ROSE, "objective": "r_drop", "update_mask_kwargs": {"trace": True}},
}


class Killed(BaseException):
    """No library catches it."""


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with tiny_run.quick():
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    tiny_run.write_csv(folder / "my.csv")
    tiny_run.write_model(folder / "model")
    METHODS["rift"]["objective_kwargs"]["synonyms"] = str(tiny_run.write_synonyms(folder / "synonyms.json"))
    return folder


@pytest.fixture(scope="module")
def finished(home: Path) -> Callable[[str], Path]:
    """The uninterrupted run of a method, trained once."""

    def get(method: str) -> Path:
        if not (home / method / "metrics.json").is_file():
            train_run(clean(home, method, METHODS[method]), report=_silent)
        return home / method

    return get


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Die at the end of this step, before anything is logged or saved there; 0 dies no more."""

    def set_step(step: int) -> None:
        def on_step_end(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == step:
                raise Killed

        monkeypatch.setattr(training._StepTimer, "on_step_end", on_step_end)

    return set_step


def _silent(line: str) -> None:
    pass


def clean(home: Path, folder: str, training: dict[str, Any] | None = None, **options: Any) -> RunConfig:
    return tiny_run.config(home, folder, training=training, **{"sets": ("clean",), **options})


def die(config: RunConfig) -> None:
    with pytest.raises(Killed):
        train_run(config, report=_silent)


def raise_killed(*args: Any, **kwargs: Any) -> None:
    raise Killed


# --- the files of a run -----------------------------------------------------------------------------------------


def test_a_run_writes_its_files_and_is_the_same_again(home: Path) -> None:
    method = {**METHODS["rose-ensemble"], "num_train_epochs": 1.0, "max_steps": -1}
    for folder in ("once", "twice"):
        train_run(tiny_run.config(home, folder, training=method), report=_silent)
    names = {path.name for path in (home / "once").iterdir()}
    assert names == {*tiny_run.SAME, "environment.json", "timing.json", "model"}
    assert tiny_run.contents(home / "once") == tiny_run.contents(home / "twice")
    sets = tiny_run.metrics(home / "once")["sets"]
    assert list(sets) == ["clean", "typos_1", "typos_2"]
    rows = read_predictions(home / "once")
    assert {name: len(part) for name, part in rows.items()} == {name: m["n"] for name, m in sets.items()}
    assert rows["clean"][0].keys() == {"set", "id", "gold", "prediction", "logits"}
    timing = json.loads((home / "once/timing.json").read_text())
    assert timing["steps"] == 12
    assert timing["resumed_from"] is None


def test_another_seed_is_another_run(home: Path, finished: Callable[[str], Path]) -> None:
    train_run(clean(home, "seed-2", {"seed": 2}), report=_silent)
    assert tiny_run.contents(home / "seed-2") != tiny_run.contents(finished("vanilla"))


def test_the_log_counts_every_step_once(finished: Callable[[str], Path]) -> None:
    log = [json.loads(line) for line in (finished("rose-ensemble") / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [2, 3, 4, 6]  # every third, and where a checkpoint is
    assert all({"loss", "consistency", "mask_density_tensors"} <= entry.keys() for entry in log)
    assert "runtime" not in json.dumps(log)


def test_checkpoints_stay_where_a_limit_is_given(home: Path) -> None:
    train_run(clean(home, "kept", {"save_total_limit": 1}), report=_silent)
    assert [path.name for path in (home / "kept").glob("checkpoint-*")] == ["checkpoint-6"]
    train_run(clean(home, "kept"), report=_silent)  # finished: nothing is touched
    assert (home / "kept/checkpoint-6").is_dir()


def test_the_config_of_a_run_starts_it_again(
    home: Path, finished: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rosetune.experiments.options import make_config

    monkeypatch.chdir(home)
    relative = clean(home, "relative", METHODS["rose-first"], task="my.csv", model_name_or_path="model")
    train_run(relative, report=_silent)
    monkeypatch.chdir("/")
    options = {"output_dir": str(home / "from-config")}
    train_run(make_config(config_file=str(home / "relative/config.yaml"), options=options), report=_silent)
    expected = tiny_run.contents(finished("rose-first"))
    assert tiny_run.contents(home / "relative") == tiny_run.contents(home / "from-config") == expected


# --- killed and resumed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_killed_twice_is_uninterrupted(
    method: str, home: Path, finished: Callable[[str], Path], kill_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = clean(home, f"{method}-killed", METHODS[method])
    for step in (3, 5):
        kill_at(step)
        die(config)
    kill_at(0)
    lines: list[str] = []
    folder = train_run(config, report=lines.append)
    assert lines == ["resuming from checkpoint-4"]
    assert tiny_run.contents(folder) == tiny_run.contents(finished(method))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# What a kill may leave of checkpoint-4, beside a whole checkpoint-2.
DAMAGES: dict[str, Callable[[Path], Any]] = {
    "optimizer truncated": lambda folder: truncate(folder / "optimizer.pt"),
    "optimizer missing": lambda folder: (folder / "optimizer.pt").unlink(),
    "scheduler empty": lambda folder: (folder / "scheduler.pt").write_bytes(b""),
    "random state missing": lambda folder: (folder / "rng_state.pth").unlink(),
    "trainer state truncated": lambda folder: truncate(folder / "trainer_state.json"),
    "weights truncated": lambda folder: truncate(folder / "model.safetensors"),
    "weights missing": lambda folder: (folder / "model.safetensors").unlink(),
    "empty": lambda folder: [path.unlink() for path in folder.iterdir()],
}


@pytest.fixture(scope="module")
def killed_at_5(home: Path) -> Path:
    """Checkpoints 2 and 4 and nothing else."""

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 5:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training._StepTimer, "on_step_end", on_step_end)
        die(clean(home, "killed-at-5", METHODS["rose-ensemble"]))
    return home / "killed-at-5"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_half_written_checkpoint_is_passed_over(damage: str, killed_at_5: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(killed_at_5, folder)
    assert newest_checkpoint(folder) == folder / "checkpoint-4"
    DAMAGES[damage](folder / "checkpoint-4")
    assert newest_checkpoint(folder) == folder / "checkpoint-2"
    assert not (folder / "checkpoint-4").exists()
    DAMAGES[damage](folder / "checkpoint-2")
    assert newest_checkpoint(folder) is None


@pytest.mark.parametrize("broken", [[], ["checkpoint-4"], ["checkpoint-2", "checkpoint-4"]])
def test_a_run_goes_on_from_what_is_whole(
    broken: list[str], home: Path, killed_at_5: Path, finished: Callable[[str], Path]
) -> None:
    folder = home / f"broken-{len(broken)}"
    shutil.copytree(killed_at_5, folder)
    for name in broken:
        (folder / name / "optimizer.pt").unlink()
    if not broken:  # all else that a kill may leave or not have come to
        shutil.copytree(folder / "checkpoint-4", folder / "model.partial")
        (folder / "metrics.json.partial").write_text("{")
        (folder / "predictions.jsonl.partial").write_text('{"set": "cl')
        (folder / "config.yaml").unlink()
        (folder / "environment.json").unlink()
    lines: list[str] = []
    train_run(clean(home, folder.name, METHODS["rose-ensemble"]), report=lines.append)
    assert lines == (["resuming from checkpoint-4"], ["resuming from checkpoint-2"], [])[len(broken)]
    assert tiny_run.contents(folder) == tiny_run.contents(finished("rose-ensemble"))
    assert not list(folder.glob("checkpoint-*")) + list(folder.glob("*.partial"))


STAGES: dict[str, tuple[Any, str]] = {
    "before run.json": (run, "write_json"),
    "before config.yaml": (run, "write_text"),
    "before log.jsonl": (training, "write_json_lines"),
    "before timing.json": (training, "write_json"),
    "before model/": (training, "save_trained"),
    "before predictions.jsonl": (evaluate, "write_json_lines"),
    "before metrics.json": (evaluate, "write_json"),
}


def test_killed_at_every_stage_of_a_run(
    home: Path, finished: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step lies inside an epoch, from where the Trainer would take another."""
    config = clean(home, "stages", METHODS["rose-ensemble"])
    for module, name in STAGES.values():
        with monkeypatch.context() as patch:
            patch.setattr(module, name, raise_killed)
            die(config)
    folder = train_run(config, report=_silent)
    assert tiny_run.contents(folder) == tiny_run.contents(finished("rose-ensemble"))


def test_killed_after_a_last_step_that_ends_an_epoch(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was learned is taken from the last checkpoint, the trace of the masks as well."""
    epoch = {**METHODS["rose-ensemble"], "max_steps": -1, "num_train_epochs": 1, "save_steps": 6}
    config = clean(home, "epoch-killed", epoch)
    with monkeypatch.context() as patch:
        patch.setattr(training, "save_trained", raise_killed)
        die(config)
    lines: list[str] = []
    folder = train_run(config, report=lines.append)
    assert lines == ["resuming from checkpoint-12"]
    assert tiny_run.contents(folder) == tiny_run.contents(train_run(clean(home, "epoch", epoch), report=_silent))


def test_a_killed_evaluation_keeps_what_it_has(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_run.config(home, "evaluation-killed", training={"max_steps": 1})
    predicted: list[int] = []

    def predict(model: Any, tokenizer: Any, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        predicted.append(len(dataset))
        if len(predicted) == 3:
            raise Killed
        return original(model, tokenizer, dataset, *args, **kwargs)

    original = evaluate.predict
    monkeypatch.setattr(evaluate, "predict", predict)
    die(config)
    assert list(read_predictions(home / "evaluation-killed")) == ["clean"]
    train_run(config, report=_silent)
    assert len(predicted) == 3 + 2  # both sets of typing errors again, the clean one not
    assert list(tiny_run.metrics(home / "evaluation-killed")["sets"]) == ["clean", "typos_1", "typos_2"]


def test_resume_across_epochs_and_odd_steps(home: Path, kill_at: Any) -> None:
    """6 steps of two batches an epoch; killed within the second one, whose first checkpoint ends the first one."""
    epochs = {"max_steps": -1, "num_train_epochs": 2.0, "save_steps": 3, "logging_steps": 5}
    method = {**METHODS["r_drop+rose"], **epochs, "gradient_accumulation_steps": 2}
    config = clean(home, "epochs-killed", method)
    for step in (8, 11):
        kill_at(step)
        die(config)
    kill_at(0)
    folder = train_run(config, report=_silent)
    reference = train_run(clean(home, "epochs", method), report=_silent)
    assert tiny_run.contents(folder) == tiny_run.contents(reference)


def test_checkpoints_of_another_number_of_processes_do_not_count(killed_at_5: Path, tmp_path: Path) -> None:
    shutil.copytree(killed_at_5, tmp_path / "run")
    assert newest_checkpoint(tmp_path / "run", processes=1) == tmp_path / "run/checkpoint-4"
    assert newest_checkpoint(tmp_path / "run", processes=2) is None


SIGKILLED = """
import io, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import conftest, tiny_run
import torch, transformers.modeling_utils as modeling
from rosetune.experiments.train import train_run

home, folder = Path(sys.argv[2]), str(Path(sys.argv[2], "sigkilled"))
torch.set_num_threads(1)
left = [0]

def event():
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def hook(name, args):
    writes = name == "open" and isinstance(args[1], str) and args[1][:1] in "wax"
    if (writes or name in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")) and folder in str(args[0]):
        event()

def halved(save):
    def half_then_whole(value, path, *args, **kwargs):
        save(value, path, *args, **kwargs)
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[: len(whole) // 2])
        event()
        Path(path).write_bytes(whole)
    return half_then_whole

torch.save, modeling.safe_save_file = halved(torch.save), halved(modeling.safe_save_file)
sys.addaudithook(hook)
training = {"update_mask": "rose", "update_mask_kwargs": {"order": "ensemble", "trace": True}}
config = tiny_run.config(home, "sigkilled", training=training, sets=("clean",))
for moment in range(2, 1000, 11):
    child = os.fork()
    if child == 0:
        left[0] = moment
        train_run(config, report=lambda line: None)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(moment, status, flush=True)
    if status != -signal.SIGKILL:
        sys.exit(status)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_sigkill_at_many_moments_of_writing(home: Path, finished: Callable[[str], Path]) -> None:
    """A process that kills itself at its n-th file operation, with the file half written; n grows till it ends."""
    command = [sys.executable, "-c", SIGKILLED, str(Path(tiny_run.__file__).parent), str(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" -9\n") >= 4
    assert tiny_run.contents(home / "sigkilled") == tiny_run.contents(finished("rose-ensemble"))


# --- which folder is whose ---------------------------------------------------------------------------------------


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def test_a_finished_run_is_left_alone(home: Path, finished: Callable[[str], Path]) -> None:
    folder = finished("rose-ensemble")
    before = snapshot(folder)
    lines: list[str] = []
    train_run(clean(home, "rose-ensemble", METHODS["rose-ensemble"]), report=lines.append)
    # How it is written down, and a default that is spelled out, are no other run.
    same = {**METHODS["rose-ensemble"], "save_steps": 5, "run_name": "x", "weight_decay": 0.0, "report_to": "none"}
    train_run(clean(home, "rose-ensemble", same), report=lines.append)
    assert lines == [f"{folder} is finished; nothing to do"] * 2
    assert snapshot(folder) == before


def test_another_configuration_is_refused(home: Path, finished: Callable[[str], Path]) -> None:
    folder = finished("vanilla")
    before = snapshot(folder)
    with pytest.raises(RunError, match="another configuration") as caught:
        train_run(clean(home, "vanilla", {"seed": 2, "update_mask": "rose"}, max_length=32), report=_silent)
    assert 'max_length: 128 there, 32 here; seed: 1 there, 2 here; update_mask: the default there, "rose" here' in str(
        caught.value
    )
    assert snapshot(folder) == before


def test_other_data_or_another_model_under_the_same_name_is_refused(home: Path, tmp_path: Path) -> None:
    tiny_run.write_csv(tmp_path / "my.csv")
    tiny_run.write_model(tmp_path / "model")
    train_run(clean(tmp_path, "run", {"max_steps": 1}), report=_silent)
    tiny_run.write_model(tmp_path / "model", seed=1)
    with pytest.raises(RunError, match=r"model_name_or_path: \"sha256:"):
        train_run(clean(tmp_path, "run", {"max_steps": 1}), report=_silent)
    tiny_run.write_model(tmp_path / "model")
    tiny_run.write_csv(tmp_path / "my.csv", seed=1)
    with pytest.raises(RunError, match="data_fingerprint"):
        train_run(clean(tmp_path, "run", {"max_steps": 1}), report=_silent)
    with pytest.raises(RunError, match=r"the data of .*my.csv is not what .* was trained on"):
        evaluate_again(tmp_path / "run", ("noise",))


@pytest.mark.parametrize("foreign", ["notes.txt", "run.json"])
def test_a_foreign_folder_is_refused(foreign: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / foreign).write_text("[1]")
    with pytest.raises(RunError, match="choose another --output_dir"):
        train_run(clean(home, str(tmp_path)), report=_silent)
    assert [path.name for path in tmp_path.iterdir()] == [foreign]


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/rosetune"])
def test_a_folder_that_cannot_be_written(folder: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write a run to .*; choose another --output_dir"):
        train_run(clean(home, str(tmp_path / folder)), report=_silent)


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


def test_a_file_among_the_options_counts_by_its_contents(home: Path, tmp_path: Path) -> None:
    """Also where it has moved; and config.yaml finds it from anywhere."""

    def options(path: Path) -> dict[str, Any]:
        return {"training": {"objective": "rift", "objective_kwargs": {"synonyms": str(path)}}}

    moved = tiny_run.write_synonyms(tmp_path / "elsewhere.json")
    assert identity(**options(home / "synonyms.json")) == identity(**options(moved))
    moved.write_text('{"fine": ["warm"]}')
    assert identity(**options(home / "synonyms.json")) != identity(**options(moved))
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
        ({"objective_kwargs": {"label_smoothing": 0.1}}, "label_smoothing-0.1"),
        ({"objective_kwargs": {"passes": 2}, "update_mask": "rose"}, "passes-2+rose-ensemble"),
        ({"objective": "freelb", "objective_kwargs": {"variant": "huggingface"}}, "freelb-huggingface"),
        ({"objective": "r_drop", "update_mask": "child_tuning"}, "r_drop+child_tuning-D"),
    ],
)
def test_a_control_does_not_pass_for_the_baseline(training: dict[str, Any], name: str) -> None:
    assert RunConfig("sst2", "demo", training=training).method() == name


def test_default_folders(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig("sst2", "demo", training={"update_mask": "rose", "objective": "r_drop"})
    folder = config.folder({"task": "user/set:part"})
    assert folder.parts[:3] == ("runs", "user-set-part", "r_drop+rose-ensemble")
    assert len(folder.parts[3]) == 12
    assert config.method() == "r_drop+rose-ensemble"
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


# --- choosing a checkpoint --------------------------------------------------------------------------------------


def test_the_best_checkpoint_on_the_cut_is_reported_and_survives_a_kill(home: Path, kill_at: Any) -> None:
    steps = {"learning_rate": 2e-2, "save_steps": 2, "max_steps": 10, "save_total_limit": 10}
    options = {"validation_from_train": 0.25}
    lines: list[str] = []
    folder = train_run(clean(home, "chosen", steps, **options), report=lines.append)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    accuracies = {entry["step"]: entry["eval_accuracy"] for entry in log if "eval_accuracy" in entry}
    best = max(accuracies, key=lambda step: accuracies[step])
    assert list(accuracies) == [2, 4, 6, 8, 10]
    assert len(set(accuracies.values())) > 1
    assert best < 8, "the test needs a best checkpoint that is not the last"
    assert lines == [f"reporting step {best} of 10, accuracy {accuracies[best]:.4f} on the held-out share"]
    reported, saved = (load_file(folder / name / "model.safetensors") for name in ("model", f"checkpoint-{best}"))
    assert all(torch.equal(reported[name], saved[name]) for name in saved)

    config = clean(home, "chosen-killed", steps, **options)
    for step in (best + 1, 9):
        kill_at(step)
        die(config)
    kill_at(0)
    shutil.move(home / "chosen-killed", home / "chosen-moved")  # the Trainer notes an absolute path
    config.output_dir = str(home / "chosen-moved")
    train_run(config, report=_silent)
    moved, uninterrupted = tiny_run.contents(home / "chosen-moved"), tiny_run.contents(folder)
    assert moved == uninterrupted


def test_choosing_at_the_end_of_epochs(home: Path) -> None:
    epochs = {"max_steps": -1, "num_train_epochs": 2, "save_strategy": "epoch", "save_total_limit": 2}
    lines: list[str] = []
    train_run(clean(home, "chosen-epochs", epochs, validation_from_train=0.5), report=lines.append)
    assert len(list((home / "chosen-epochs").glob("checkpoint-*"))) == 2
    assert lines[0].startswith("reporting step ")


def test_no_training_at_all(home: Path, finished: Callable[[str], Path]) -> None:
    """A fine-tuned model is evaluated as it is."""
    start = finished("vanilla")
    train_run(
        clean(home, "as-it-is", {"max_steps": -1, "num_train_epochs": 0}, model_name_or_path=str(start)), _silent
    )
    before, after = (load_file(folder / "model/model.safetensors") for folder in (start, home / "as-it-is"))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_nothing_is_chosen_on_what_is_reported(home: Path) -> None:
    config = clean(home, "unused", validation_from_train=0.25)
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
        ({"lerning_rate": 1.0}, "unknown training argument 'lerning_rate'"),
        ({"update_mask": "rose", "update_mask_kwargs": {"upper": 1.5}}, r"upper must be a finite number in \(0, 1\]"),
        ({"update_mask": "rosee"}, "unknown update_mask 'rosee'"),
        ({"update_mask": "rose", "update_mask_kwargs": {"uper": 0.5}}, "has no option 'uper'"),
    ],
)
def test_training_arguments_are_checked_before_any_work(home: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_run(clean(home, "never", given, task=str(home / "is-not-read.csv")))
    assert not (home / "never").exists()


def test_an_unknown_metric_for_the_choice(home: Path) -> None:
    config = clean(home, "never", {"metric_for_best_model": "f2"}, validation_from_train=0.5)
    with pytest.raises(RunError, match="metric_for_best_model must be one of accuracy, f1, mcc, loss, not 'f2'"):
        train_run(config)


# --- what cannot be trained -------------------------------------------------------------------------------------


def test_a_model_without_dropout(home: Path) -> None:
    tiny_run.write_model(home / "dry", dropout=0.0)
    config = clean(home, "dry-run", METHODS["rose-first"], model_name_or_path=str(home / "dry"))
    with pytest.raises(ValueError, match="no dropout acts anywhere in it"):
        train_run(config)
    assert not (home / "dry-run").exists()  # the same folder serves another attempt


def test_a_checkpoint_of_another_architecture(home: Path) -> None:
    from safetensors.torch import save_file

    shutil.copytree(home / "model", home / "other")
    renamed = {f"other.{name}": value for name, value in load_file(home / "model/model.safetensors").items()}
    save_file(renamed, home / "other/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RunError, match=r"holds 0 of the \d+ weights of a BertForSequenceClassification"):
        train_run(clean(home, "never", model_name_or_path=str(home / "other")))


@pytest.mark.parametrize("name", ["nobody/nothing", "./nowhere", "/nowhere/at/all"])
def test_a_model_that_is_not_there(name: str, home: Path) -> None:
    with pytest.raises(RunError, match=r"cannot load|there is no folder"):
        train_run(clean(home, f"no-model-{len(name)}", model_name_or_path=name))


def test_adversarial_data_is_asked_for_before_training(home: Path) -> None:
    with pytest.raises(DataError, match="AdvGLUE has no data for the task 'my'"):
        train_run(clean(home, "never", sets="clean,advglue"))
    assert not (home / "never").exists()


def test_a_run_is_a_model_to_start_from(home: Path, finished: Callable[[str], Path]) -> None:
    train_run(clean(home, "further", {"max_steps": 1}, model_name_or_path=str(finished("vanilla"))), report=_silent)
    assert (home / "further/metrics.json").is_file()


def test_texts_longer_than_the_model_can_read_are_cut(home: Path, tmp_path: Path) -> None:
    rows = [f"{'the film ' * 50}{i},{('good', 'bad')[i % 2]}\n" for i in range(40)]
    (tmp_path / "long.csv").write_text("text,label\n" + "".join(rows))
    config = clean(home, "long", {"max_steps": 1}, task=str(tmp_path / "long.csv"), max_length=1000)
    train_run(config, report=_silent)
    assert json.loads((home / "long/model/tokenizer_config.json").read_text())["model_max_length"] == 64


# --- several processes ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_write_one_run(home: Path) -> None:
    arguments = ["--nproc_per_node", "2", "-m", "rosetune", "train", "--task", str(home / "my.csv")]
    arguments += ["--model_name_or_path", str(home / "model"), "--output_dir", str(home / "two"), "--sets", "clean"]
    arguments += ["--max_steps", "3", "--per_device_train_batch_size", "4", "--save_steps", "2", "--use_cpu", "true"]
    arguments += ["--update_mask", "rose", "--seed", "1"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("clean") == 1, done.stdout
    identity = json.loads((home / "two/run.json").read_text())
    assert identity["processes"] == 2
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert again.stdout.count("nothing to do") == 1, again.stderr
