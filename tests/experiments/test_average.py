"""Averagings that act after training: a run that differs in them alone takes the weights of a finished one."""

import dataclasses
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_run
from rosetune.averaging import PretrainedInterpolation
from rosetune.experiments import training
from rosetune.experiments.average import AVERAGED, place_of, wait_and_train, without_averaging
from rosetune.experiments.data import load_data
from rosetune.experiments.lock import locked
from rosetune.experiments.train import train_run
from rosetune.runs.config import RunConfig
from rosetune.runs.identity import identity_hash
from rosetune.runs.run import Run
from rosetune.runs.values import RunError
from tiny_run import Library, silent

PRETRAINED = {"averaging": "pretrained"}
MEAN = {"averaging": "checkpoints", "averaging_kwargs": {"last": 2}}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and a model without a head, as pre-trained ones are."""
    home = tmp_path_factory.mktemp("averaged")
    tiny_run.write_csv(home / "my.csv")
    model = tiny_run.write_model(home / "model")
    body = {name: value for name, value in weights(model).items() if name.startswith("bert.")}
    save_file(body, model / "model.safetensors", {"format": "pt"})
    return home


def averaged(home: Path, folder: str, averaging: dict[str, Any], **more: Any) -> RunConfig:
    return tiny_run.config(home, folder, training={**averaging, **more}, sets=("clean",))


def never(*args: Any, **kwargs: Any) -> None:
    raise AssertionError("it trains again")


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.Training, "run", never)


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    """The run that all others take their weights from; it keeps its checkpoints."""
    return train_run(averaged(home, "trained", {}, save_total_limit=3), silent)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_the_line_is_walked_without_training_again(home: Path, trained: Path, no_training: None, alpha: float) -> None:
    lines: list[str] = []
    options = {**PRETRAINED, "averaging_kwargs": {"alpha": alpha}}
    run = Run.open(train_run(averaged(home, f"alpha-{alpha}", options), lines.append))
    assert f"the weights are made of those of {trained}" in lines
    start, tuned, found = (weights(folder) for folder in (home / "model", trained / "model", run.folder / "model"))
    assert found.keys() == tuned.keys()
    for name, value in tuned.items():
        expected = value
        if name in start:
            expected = alpha * value.double() + (1 - alpha) * start[name].double()
        torch.testing.assert_close(found[name].double(), expected.double(), rtol=0, atol=1e-7 if alpha == 0.25 else 0)
    about = json.loads((run.folder / AVERAGED).read_text())
    assert about["run"] == str(trained.resolve())
    assert about["identity"] == identity_hash(Run.open(trained).identity)
    assert {"classifier.weight", "classifier.bias"} == {*about["kept"]} == tuned.keys() - start.keys()
    assert run.log == Run.open(trained).log
    if alpha == 1.0:
        assert run.rows("clean") == Run.open(trained).rows("clean")


def test_a_repetition_does_nothing_and_the_curve_of_training_stands_beside(
    home: Path, trained: Path, no_training: None, rosetune: Any
) -> None:
    folder = train_run(averaged(home, "alpha", PRETRAINED), silent)
    lines: list[str] = []
    before = tiny_run.snapshot(folder)
    train_run(averaged(home, "alpha", PRETRAINED), lines.append)
    assert lines == [f"{folder} is finished; nothing to do"]
    assert tiny_run.snapshot(folder) == before
    code, out, err = rosetune("evaluate", "--along_training", trained, folder, "--sets", "noise", "--json")
    assert code == 0, err
    assert str(folder) in out
    assert [*Run.open(trained).steps] == [2, 4, 6]


def test_the_mean_of_the_last_checkpoints(home: Path, trained: Path, no_training: None) -> None:
    run = train_run(averaged(home, "mean", MEAN), silent)
    files = [weights(trained / f"checkpoint-{step}") for step in (4, 6)]
    for name, value in weights(run / "model").items():
        mean = (files[0][name].double() + files[1][name].double()) / 2
        torch.testing.assert_close(value.double(), mean, rtol=0, atol=1e-7)
    assert json.loads((run / AVERAGED).read_text())["steps"] == [4, 6]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({**MEAN, "averaging_kwargs": {"last": 4}}, "keeps 3 of the 4 checkpoints .*--save_total_limit 4"),
        ({**MEAN, "save_steps": 1}, "saved its checkpoints otherwise .*save_steps: 2.*save_steps: 1"),
        ({**MEAN, "save_total_limit": 1}, "needs the last 2, save_total_limit keeps 1"),
        ({**MEAN, "save_strategy": "no"}, "leave out save_strategy"),
    ],
)
def test_what_cannot_be_averaged_is_said_in_one_line_and_leaves_nothing(
    home: Path, trained: Path, no_training: None, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(RunError, match=said):
        train_run(averaged(home, "refused", options), silent)
    assert not (home / "refused").exists()
    assert not (home / "refused-unaveraged").exists()


def test_a_chosen_checkpoint_and_a_mean_exclude_each_other(home: Path) -> None:
    config = dataclasses.replace(averaged(home, "refused", MEAN), validation_from_train=0.2)
    with pytest.raises(RunError, match="leave one of the two out"):
        train_run(config, silent)


def test_the_run_below_is_trained_where_it_is_not_there(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default beside every other run; it keeps as many checkpoints as are averaged."""
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(averaged(home, "", MEAN, max_steps=2, save_steps=1), output_dir=None)
    run = train_run(config, silent)
    assert run.parent == Path("runs/my/checkpoints-2")
    (below,) = Path("runs/my/vanilla").iterdir()
    assert sorted(path.name for path in below.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]
    assert {path.name for path in Path("runs/my").iterdir()} == {"vanilla", "checkpoints-2"}
    about = json.loads((run / AVERAGED).read_text())
    assert (about["run"], about["steps"]) == (str(below.resolve()), [1, 2])


def test_where_the_run_below_is_looked_for(home: Path, trained: Path, tmp_path: Path) -> None:
    """In a plan's layout where the plan has it; beside a folder that was given by its identity, else by a name."""
    config = averaged(home, "own", PRETRAINED)
    averaging = PretrainedInterpolation()
    source = without_averaging(config, averaging)
    identity, of_source = {"task": "my", "training": PRETRAINED}, {"task": "my", "training": {}}
    plan = dataclasses.replace(config, output_dir=None).folder(identity, tmp_path)
    planned = dataclasses.replace(config, output_dir=str(plan))
    assert plan.parent == tmp_path / "my" / "pretrained-0.5"
    assert place_of(planned, source, (identity, of_source)).parent == tmp_path / "my" / "vanilla"
    assert place_of(config, source, (identity, of_source)) == home / "own-unaveraged"
    assert place_of(config, source, (identity, Run.open(trained).identity)) == trained
    (home / "damaged").mkdir()
    (home / "damaged" / "run.json").write_text("{")
    assert place_of(config, source, (identity, Run.open(trained).identity)) == trained


def test_frozen_layers_stay_as_they_were_pretrained(library: Library) -> None:
    run = library.run("top-1", trained_layers=1)
    start, tuned = weights(library.home / "model"), weights(run / "model")
    moved = {name for name in start if not torch.equal(start[name], tuned[name])}
    assert moved
    assert not [name for name in moved if "embeddings" in name or "layer.0." in name]
    assert {name.partition("layer.")[2][:1] for name in moved if "layer." in name} == {"1"}
    assert Run.open(run).method == "vanilla+top-1"


def test_a_run_below_that_another_process_trains_is_waited_for(home: Path, trained: Path) -> None:
    """The lock of a process at work is real; it is given back while the second one waits."""
    source = without_averaging(averaged(home, "x", PRETRAINED), PretrainedInterpolation())
    source = dataclasses.replace(source, output_dir=str(trained))
    data, lines = load_data(source), list[str]()
    with ExitStack() as holder:
        holder.enter_context(locked(trained))

        def report(line: str) -> None:
            lines.append(line)
            holder.close()

        assert wait_and_train(source, train_run, data, report) == trained
    assert lines == [
        f"waiting for {trained}, which another process trains",
        f"{trained} is finished; nothing to do",
    ]
