"""Models at equal clean accuracy: which checkpoint stands beside another run, and how far it is off."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_runs import ROSE, number_rows, outcomes, write_run
from rosetune.experiments.along import evaluate_along
from rosetune.experiments.analysis_options import AnalysisOptions
from rosetune.experiments.analyze import analyse
from rosetune.experiments.subjects import Subject, clean_accuracy, equal_accuracy
from rosetune.report.analyses import analysis_grid, as_json
from rosetune.runs.analysed import Analysis
from rosetune.runs.run import Run, RunError


def predict_right(file: Path, right: int) -> None:
    """Let so many of the predictions that lie there be right, the first ones, and all others wrong."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    labels = sorted({row["gold"] for row in rows})
    for i, row in enumerate(rows):
        row["prediction"] = row["gold"] if i < right else next(label for label in labels if label != row["gold"])
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_checkpoint_of_that_accuracy_is_looked_at_too(library: Any, tmp_path: Path, capsys: Any) -> None:
    kept = library.copy(library.run("kept", {"save_total_limit": 9}), tmp_path / "kept")
    rose = library.copy(library.run("rose-default", {"update_mask": "rose"}), tmp_path / "rose")
    options = AnalysisOptions(examples=12, points=3, equal_accuracy=True)
    with pytest.raises(RunError, match=r"no checkpoint of .* was evaluated: .*--along_training"):
        analyse("landscape", [str(kept), str(rose)], options)
    evaluate_along(kept, ("clean",), lambda line: None)
    n = len(Run.open(kept).rows("clean"))
    for folder, right in (("kept/predictions/step-2", 1), ("kept/predictions/step-4", n // 2)):
        predict_right(tmp_path / folder / "clean.jsonl", right)
    predict_right(kept / "predictions" / "clean.jsonl", n)
    predict_right(rose / "predictions" / "clean.jsonl", n // 2)
    found = analyse("landscape", [str(kept), str(rose)], options)
    assert [a.about["settings"]["step"] for a in found] == [None, None, 4]
    accuracies = [1.0, n // 2 / n, n // 2 / n]
    assert [a.about["clean_accuracy"] for a in found] == pytest.approx(accuracies)
    assert [one["figures"]["clean_accuracy"] for one in as_json(found)] == pytest.approx(accuracies)
    assert "points" not in capsys.readouterr().err
    # What an earlier version left does not tell: it is as known now.
    about = {name: value for name, value in found[0].about.items() if name != "clean_accuracy"}
    Analysis(found[0].path, about, found[0].arrays).write()
    assert analyse("landscape", [str(kept), str(rose)], options)[0].about["clean_accuracy"] == 1.0


@pytest.fixture
def plain(tmp_path: Path) -> Run:
    """Right in 25, 80 and, at its end, 90 of a hundred."""
    steps = {2: {"clean": outcomes(25, 75)}, 4: {"clean": outcomes(80, 20)}}
    run = write_run(tmp_path / "plain", {"clean": outcomes(90, 10)}, steps=steps, end=6)
    for step in steps:
        (run.folder / f"checkpoint-{step}").mkdir()
    return run


@pytest.mark.parametrize(
    ("right", "off"),
    [(80, None), (79, None), (81, None), (78, "+2.0"), (83, "-3.0")],
)
def test_a_nearest_checkpoint_that_is_not_near_is_said(
    right: int, off: str | None, plain: Run, tmp_path: Path
) -> None:
    rose = write_run(tmp_path / "rose", {"clean": outcomes(right, 100 - right)}, ROSE)
    told: list[str] = []
    found = equal_accuracy([Subject(plain), Subject(rose)], told.append)
    assert [subject.step for subject in found] == [None, None, 4]
    assert [clean_accuracy(subject) for subject in found] == pytest.approx([0.9, right / 100, 0.8])
    assert len(told) == (off is not None)
    if off is not None:
        assert told[0].startswith(f"{plain}@4 is the nearest in clean accuracy to {rose}, and is off by {off} points")
        assert "\n" not in told[0]


def test_a_regression_has_no_accuracy(tmp_path: Path) -> None:
    """Whatever its checkpoints predict, none of them is equal."""
    rows = {"clean": number_rows("clean", [1.0, 2.0], [1.5, 2.5])}
    runs = [write_run(tmp_path / name, rows, labels=(), steps={2: rows}, end=6) for name in ("one", "other")]
    with pytest.raises(RunError, match="is a regression, which has no accuracy: leave out --equal_accuracy"):
        equal_accuracy([Subject(run) for run in runs])
    assert clean_accuracy(Subject(runs[0])) is None


def test_where_nobody_knows_there_is_no_column() -> None:
    about = {"kind": "hessian", "method": "m", "run_seed": 1, "name": "r", "task": "t", "settings": {}}
    arrays = {name: np.array(1.0) for name in ("loss", "top", "trace", "trace_error")}
    unknown, known = (Analysis(Path(), {**about, "clean_accuracy": x}, arrays) for x in (None, 0.5))
    assert "clean accuracy" not in analysis_grid("", ["a"], [unknown]).columns
    grid = analysis_grid("", ["a", "b"], [unknown, known])
    at = grid.columns.index("clean accuracy")
    assert [row[at] for row in grid.rows if row] == ["-", "50.0"]
