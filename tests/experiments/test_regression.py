"""Regression from a file to a comparison: the number that is trained is the number that is judged."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr

import tiny_run
from command_line import one_line
from rosetune.experiments.train import train_run
from rosetune.runs.compare import compare
from rosetune.runs.run import Run
from tiny_run import BAD, GOOD, PLAIN, Library, silent


@pytest.fixture(scope="module")
def home(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A label of a fraction: half a point for each good word, less for each bad one."""
    folder = tmp_path_factory.mktemp("regression")
    (folder / "model").symlink_to(library.home / "model")
    rng = np.random.default_rng(0)
    with (folder / "my.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _ in range(160):
            words = [str(word) for word in rng.choice((*GOOD, *BAD, *PLAIN), 8, replace=False)]
            writer.writerow([" ".join(words), sum((w in GOOD) - (w in BAD) for w in words) / 2 + 0.25])
    return folder


def trained(home: Path, name: str, **training: Any) -> Run:
    steps = {"max_steps": 40, "learning_rate": 5e-3, "save_steps": 20, **training}
    return Run.open(train_run(tiny_run.config(home, name, task_type="regression", training=steps), silent))


def test_its_metrics_are_those_of_its_rows(home: Path) -> None:
    run = trained(home, "plain")
    gold, predicted = (np.array([row[key] for row in run.rows("clean")]) for key in ("gold", "prediction"))
    metrics = run.metrics["sets"]["clean"]
    assert (run.labels, metrics["n"]) == ((), len(gold))
    assert metrics["mse"] == pytest.approx(((gold - predicted) ** 2).mean())
    assert metrics["pearson"] == pytest.approx(pearsonr(gold, predicted).statistic)
    assert metrics["constant"]["mse"] == pytest.approx(gold.var())
    assert metrics["mse"] < metrics["constant"]["mse"]


@pytest.mark.parametrize("method", [{"update_mask": "rose"}, {"objective": "r_drop"}])
def test_methods_train_on_numbers_and_compare(home: Path, method: dict[str, Any]) -> None:
    plain, other = trained(home, "plain"), trained(home, next(iter(method.values())), **method)
    d = compare([plain], [other])["clean"]
    assert d.value == pytest.approx(plain.metrics["sets"]["clean"]["mse"] - other.metrics["sets"]["clean"]["mse"])


def test_fractions_are_asked_about_and_words_refused(
    home: Path, library: Library, tmp_path: Path, rosetune: Any
) -> None:
    words = ("train", "--model_name_or_path", home / "model", "--output_dir", tmp_path / "run")
    one_line(rosetune(*words, "--task", home / "my.csv"), "--task_type regression")
    one_line(rosetune(*words, "--task", library.home / "my.csv", "--task_type", "regression"), "is no number")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_is_chosen_by_its_squared_error(home: Path) -> None:
    said: list[str] = []
    config = tiny_run.config(
        home,
        "chosen",
        task_type="regression",
        validation_from_train=0.2,
        training={"max_steps": 20, "learning_rate": 5e-3, "save_steps": 5},
    )
    train_run(config, said.append)
    (line,) = [line for line in said if line.startswith("reporting")]
    assert ", mse " in line


def test_no_attack_on_a_number(home: Path, rosetune: Any) -> None:
    run = trained(home, "plain")
    one_line(rosetune("attack", run.folder, "--attack", "deepwordbug"), "is a regression")


def test_no_curve_over_training_of_a_number(library: Library, home: Path, tmp_path: Path, rosetune: Any) -> None:
    """Refused before anything is evaluated for it, whichever run it is."""
    folders = {"number": trained(home, "plain").folder, "label": library.learned()}
    number, label = (library.copy(run, tmp_path / name) for name, run in folders.items())
    before = {run: tiny_run.snapshot(run) for run in (number, label)}
    for runs in ((number,), (label, number)):
        words = ("evaluate", *runs, "--along_training", "--sets", "clean,noise")
        one_line(rosetune(*words), f"{number} is a regression: a curve over training needs accuracies")
    one_line(rosetune("evaluate", label, "--along_training", "--sets", "noise"), "keeps no checkpoints")
    assert {run: tiny_run.snapshot(run) for run in (number, label)} == before
