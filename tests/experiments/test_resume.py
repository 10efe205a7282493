"""A kill at any moment changes nothing: a run that goes on comes to the same bytes."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tiny_run
from rosetune.experiments import callbacks, evaluate, folder, opened, training
from rosetune.experiments.along import evaluate_along
from rosetune.experiments.checkpoints import newest_checkpoint
from rosetune.experiments.train import train_run
from rosetune.runs.config import RUN_DEFAULTS, RunConfig
from rosetune.runs.run import Run
from tiny_run import Killed, Library, silent

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
    # Three steps an epoch: the run goes on in the middle of the second one.
    "noise": {
        "augmentation": "noise",
        "per_device_train_batch_size": 40,
        "train_sampling_strategy": "group_by_length",
    },
    "noise-consistency": {"objective": "noise_consistency", "objective_kwargs": {"noises": ["ocr", "homoglyphs"]}},
    "subword-dropout+rose": {**ROSE, "augmentation": "subword_dropout", "augmentation_kwargs": {"rate": 0.5}},
    "magma+ema": {"update_mask": "magma", "averaging": "ema"},
    "r-drop+rose": {**ROSE, "objective": "r_drop", "update_mask_kwargs": {"trace": True}},
}


def method(library: Library, name: str) -> dict[str, Any]:
    chosen = METHODS[name]
    if "synonyms" in chosen.get("objective_kwargs", {}):
        kwargs = {**chosen["objective_kwargs"], "synonyms": str(library.home / "synonyms.json")}
        return {**chosen, "objective_kwargs": kwargs}
    return chosen


def clean(library: Library, folder: Path, training: dict[str, Any] | None = None, **options: Any) -> RunConfig:
    return tiny_run.config(library.home, str(folder), training=training, **{"sets": ("clean",), **options})


def finished(library: Library, name: str) -> dict[str, bytes]:
    """Of the uninterrupted run."""
    return tiny_run.contents(library.run(name, method(library, name)))


def dying_at(step: int) -> Callable[..., None]:
    """A clock that dies at the end of a step, before anything is logged or saved there; 0 dies no more."""
    tick = callbacks.StepTimer.on_step_end

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        tick(self, args, state, control, **kwargs)
        if state.global_step == step:
            raise Killed

    return on_step_end


@pytest.fixture
def die(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunConfig, int], None]:
    """Train a run and die at a step."""

    def call(config: RunConfig, step: int) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(callbacks.StepTimer, "on_step_end", dying_at(step))
            with pytest.raises(Killed):
                train_run(config, silent)

    return call


def raise_killed(*args: Any, **kwargs: Any) -> None:
    raise Killed


# Of a mask, an objective and an augmentation with a state, one; `test_method_contract` resumes every method without a
# folder.
QUICK = ("rose-ensemble", "rift", "noise")
EACH = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in METHODS]


@pytest.mark.parametrize("name", EACH)
def test_killed_twice_is_uninterrupted(name: str, library: Library, tmp_path: Path, die: Any) -> None:
    config = clean(library, tmp_path / "run", method(library, name))
    for step in (3, 5):
        die(config, step)
    lines: list[str] = []
    assert tiny_run.contents(train_run(config, lines.append)) == finished(library, name)
    assert lines == ["resuming from checkpoint-4"]


def test_log_and_timing_are_those_of_all_steps(library: Library, tmp_path: Path, die: Any) -> None:
    """The log grows while the run trains; steps that are taken again count once."""
    config = clean(library, tmp_path / "run")
    assert [entry["step"] for entry in Run.open(library.run("vanilla")).log] == [2, 3, 4, 6]
    logs = []
    for step in (3, 5):
        die(config, step)
        logs.append([entry["step"] for entry in Run(tmp_path / "run").log])
    assert logs == [[2], [2, 3, 4]]  # the third step's line comes after it
    kept = json.loads((tmp_path / "run/checkpoint-4/trainer_state.json").read_text())
    seconds = kept["stateful_callbacks"]["StepTimer"]["attributes"]["seconds"]
    assert len(seconds) == 4
    run = Run.open(train_run(config, silent))
    assert [entry["step"] for entry in run.log] == [2, 3, 4, 6]
    assert (run.timing["steps"], run.timing["resumed_from"]) == (6, "checkpoint-4")
    assert run.timing["training_seconds"] > sum(seconds) > 0


def test_the_log_is_there_while_it_trains(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, list[int]] = {}

    def on_step_begin(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._start = 0.0
        seen[state.global_step] = [entry["step"] for entry in Run(tmp_path / "run").log]

    monkeypatch.setattr(callbacks.StepTimer, "on_step_begin", on_step_begin)
    train_run(clean(library, tmp_path / "run"), silent)
    assert seen == {0: [], 1: [], 2: [2], 3: [2, 3], 4: [2, 3, 4], 5: [2, 3, 4]}


def test_a_checkpoint_without_times_is_gone_on_from(library: Library, tmp_path: Path, die: Any) -> None:
    """As the version before wrote them."""
    config = clean(library, tmp_path / "run", METHODS["rose-ensemble"])
    die(config, 5)
    path = tmp_path / "run/checkpoint-4/trainer_state.json"
    state = json.loads(path.read_text())
    del state["stateful_callbacks"]["StepTimer"]
    path.write_text(json.dumps(state))
    assert tiny_run.contents(train_run(config, silent)) == finished(library, "rose-ensemble")
    assert Run.open(tmp_path / "run").timing["steps"] == 2


# --- half-written checkpoints -------------------------------------------------------------------------------------


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
def killed_at_5(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints 2 and 4 and nothing else: the older one goes when the newer one is whole, and here it stays."""
    run = tmp_path_factory.mktemp("killed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RUN_DEFAULTS, "save_total_limit", 2)
        patch.setattr(callbacks.StepTimer, "on_step_end", dying_at(5))
        with pytest.raises(Killed):
            train_run(clean(library, run, METHODS["rose-ensemble"]), silent)
    return run


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_half_written_checkpoint_is_passed_over(damage: str, killed_at_5: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(killed_at_5, run)
    assert newest_checkpoint(run) == run / "checkpoint-4"
    DAMAGES[damage](run / "checkpoint-4")
    assert newest_checkpoint(run) == run / "checkpoint-2"
    assert not (run / "checkpoint-4").exists()
    DAMAGES[damage](run / "checkpoint-2")
    assert newest_checkpoint(run) is None


@pytest.mark.parametrize("broken", [[], ["checkpoint-4"], ["checkpoint-2", "checkpoint-4"]])
def test_a_run_goes_on_from_what_is_whole(
    broken: list[str], library: Library, killed_at_5: Path, tmp_path: Path
) -> None:
    run = library.copy(killed_at_5, tmp_path / "run")
    for name in broken:
        (run / name / "optimizer.pt").unlink()
    if not broken:  # all else that a kill may leave or not have come to
        shutil.copytree(run / "checkpoint-4", run / "model.partial")
        (run / "metrics.json.partial").write_text("{")
        (run / "predictions").mkdir()
        (run / "predictions/clean.jsonl.partial").write_text('{"set": "cl')
        (run / "config.yaml").unlink()
        (run / "environment.json").unlink()
        with (run / "log.jsonl").open("a") as log:
            log.write('{"step": 5, "lo')
    lines: list[str] = []
    train_run(clean(library, run, METHODS["rose-ensemble"]), lines.append)
    said = [line for line in lines if line.startswith("resuming")]
    assert said == (["resuming from checkpoint-4"], ["resuming from checkpoint-2"], [])[len(broken)]
    assert tiny_run.contents(run) == finished(library, "rose-ensemble")
    assert not [*run.glob("checkpoint-*"), *run.rglob("*.partial")]


def test_checkpoints_of_another_number_of_processes_do_not_count(killed_at_5: Path, tmp_path: Path) -> None:
    shutil.copytree(killed_at_5, tmp_path / "run")
    assert newest_checkpoint(tmp_path / "run", processes=1) == tmp_path / "run/checkpoint-4"
    assert newest_checkpoint(tmp_path / "run", processes=2) is None


# --- killed elsewhere ---------------------------------------------------------------------------------------------

STAGES: dict[str, tuple[Any, str]] = {
    "before run.json": (folder, "write_json"),
    "before config.yaml": (folder, "write_text"),
    "before log.jsonl": (callbacks, "write_json_lines"),
    "before the last log.jsonl": (training, "write_json_lines"),
    "before timing.json": (training, "write_json"),
    "before model/": (training, "save_trained"),
    "before predictions/clean.jsonl": (evaluate, "write_json_lines"),
    "before predictions/clean.json": (evaluate, "write_json"),
    "before metrics.json": (evaluate, "write_text"),
}


def test_killed_at_every_stage_of_a_run(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step lies inside an epoch, from where the Trainer would take another."""
    config = clean(library, tmp_path / "run", METHODS["rose-ensemble"])
    for module, name in STAGES.values():
        with monkeypatch.context() as patch:
            patch.setattr(module, name, raise_killed)
            with pytest.raises(Killed):
                train_run(config, silent)
    assert tiny_run.contents(train_run(config, silent)) == finished(library, "rose-ensemble")


def test_killed_after_a_last_step_that_ends_an_epoch(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that was learned is taken from the last checkpoint, the trace of the masks as well."""
    epoch = {**METHODS["rose-ensemble"], "max_steps": -1, "num_train_epochs": 1, "save_steps": 6}
    config = clean(library, tmp_path / "run", epoch)
    with monkeypatch.context() as patch:
        patch.setattr(training, "save_trained", raise_killed)
        with pytest.raises(Killed):
            train_run(config, silent)
    lines: list[str] = []
    train_run(config, lines.append)
    assert lines == ["resuming from checkpoint-12"]
    assert tiny_run.contents(tmp_path / "run") == tiny_run.contents(library.run("epoch", epoch))


def test_a_killed_evaluation_keeps_what_it_has(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_run.config(library.home, str(tmp_path / "run"), training={"max_steps": 1})
    predicted: list[int] = []

    def predict(model: Any, tokenizer: Any, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        predicted.append(len(dataset))
        if len(predicted) == 4:  # after the rows for a threshold, the clean set and the first with typing errors
            raise Killed
        return original(model, tokenizer, dataset, *args, **kwargs)

    original = opened.predict
    monkeypatch.setattr(opened, "predict", predict)
    with pytest.raises(Killed):
        train_run(config, silent)
    assert Run(tmp_path / "run").sets() == ["clean", "typos_1"]
    before = tiny_run.snapshot(tmp_path / "run/predictions")
    known = json.loads(before.pop(str(tmp_path / "run/predictions/fingerprints.json"))[1])
    train_run(config, silent)
    assert known.items() < json.loads((tmp_path / "run/predictions/fingerprints.json").read_text()).items()
    assert len(predicted) == 4 + 1  # the set that was killed, again
    assert before.items() <= tiny_run.snapshot(tmp_path / "run/predictions").items()
    assert list(tiny_run.metrics(tmp_path / "run")["sets"]) == ["clean", "typos_1", "typos_2"]


@pytest.mark.slow  # test_evaluate_along stops it before each file of a step
def test_an_evaluation_of_checkpoints_that_is_killed_after_each_file(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = library.run("kept", {"save_total_limit": 9})
    whole, run = library.copy(kept, tmp_path / "whole"), library.copy(kept, tmp_path / "run")
    evaluate_along(whole, ("noise",), silent)
    sessions = 0

    def one_file_and_no_more(write: Callable[..., None]) -> Callable[..., None]:
        def call(path: Path, value: Any) -> None:
            written.append(path)
            if len(written) == 2:
                raise Killed
            write(path, value)

        return call

    for name in ("write_json", "write_json_lines"):
        monkeypatch.setattr(evaluate, name, one_file_and_no_more(getattr(evaluate, name)))
    while sessions < 50:
        written: list[Path] = []
        try:
            evaluate_along(run, ("noise",), silent)
            break
        except Killed:
            sessions += 1
    # The end's two sets, what each was made of, and their mark; the end's step; nine of each of two checkpoints.
    assert sessions == 5 + 1 + 2 * 9 - 1
    assert tiny_run.contents(run) == tiny_run.contents(whole)
    assert Run.open(run).steps.keys() == {2, 4, 6}


def test_resume_across_epochs_and_odd_steps(library: Library, tmp_path: Path, die: Any) -> None:
    """6 steps of two batches an epoch; killed within the second one, whose first checkpoint ends the first one."""
    epochs = {"max_steps": -1, "num_train_epochs": 2.0, "save_steps": 3, "logging_steps": 5}
    chosen = {**METHODS["r-drop+rose"], **epochs, "gradient_accumulation_steps": 2}
    config = clean(library, tmp_path / "run", chosen)
    for step in (8, 11):
        die(config, step)
    train_run(config, silent)
    assert tiny_run.contents(tmp_path / "run") == tiny_run.contents(library.run("epochs", chosen))


def test_the_best_checkpoint_on_the_cut_is_reported_and_survives_a_kill(
    library: Library, tmp_path: Path, die: Any
) -> None:
    steps = {"learning_rate": 2e-2, "save_steps": 2, "max_steps": 10, "save_total_limit": 10}
    options = {"validation_from_train": 0.25}
    lines: list[str] = []
    run = train_run(clean(library, tmp_path / "chosen", steps, **options), lines.append)
    accuracies = {entry["step"]: entry["eval_accuracy"] for entry in Run(run).log if "eval_accuracy" in entry}
    best = max(accuracies, key=lambda step: accuracies[step])
    assert list(accuracies) == [2, 4, 6, 8, 10]
    assert len(set(accuracies.values())) > 1
    assert best < 8, "the test needs a best checkpoint that is not the last"
    assert lines[-1] == f"reporting step {best} of 10, accuracy {accuracies[best]:.4f} on the held-out share"
    reported, saved = (load_file(run / name / "model.safetensors") for name in ("model", f"checkpoint-{best}"))
    assert all(torch.equal(reported[name], saved[name]) for name in saved)

    config = clean(library, tmp_path / "killed", steps, **options)
    for step in (best + 1, 9):
        die(config, step)
    shutil.move(tmp_path / "killed", tmp_path / "moved")  # the Trainer notes an absolute path
    config.output_dir = str(tmp_path / "moved")
    train_run(config, silent)
    assert tiny_run.contents(tmp_path / "moved") == tiny_run.contents(run)


def test_a_checkpoint_that_the_clock_asks_for(
    library: Library, tmp_path: Path, die: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has said when: a short run saves nothing, a long one beside a log line, and neither at the end."""

    def by_the_clock(name: str) -> RunConfig:
        config = clean(library, tmp_path / name, METHODS["rose-first"])
        return dataclasses.replace(config, training={n: v for n, v in config.training.items() if n != "save_steps"})

    die(by_the_clock("short"), 5)
    assert not [*(tmp_path / "short").glob("checkpoint-*")]
    short, lines = train_run(by_the_clock("short"), silent), list[str]()
    monkeypatch.setattr(callbacks, "CHECKPOINT_SECONDS", 0)
    die(by_the_clock("long"), 5)
    assert [path.name for path in (tmp_path / "long").glob("checkpoint-*")] == ["checkpoint-3"]
    saved: list[int] = []
    monkeypatch.setattr(callbacks.TimedCheckpoint, "on_save", lambda *args, **_: saved.append(args[2].global_step))
    long = train_run(by_the_clock("long"), lines.append)
    assert lines[0] == "resuming from checkpoint-3"
    assert saved == []
    assert [entry["step"] for entry in Run.open(long).log] == [3, 6]
    assert tiny_run.contents(long) == tiny_run.contents(short)
    assert not [*long.glob("checkpoint-*")]
