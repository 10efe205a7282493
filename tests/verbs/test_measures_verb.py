"""`rosetune evaluate` with a class to find and a column of groups, on runs that were trained without either."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_run
from command_line import one_line
from rosetune._files import read_json_lines
from rosetune.experiments import opened
from rosetune.experiments.given import evaluate_file
from rosetune.experiments.quick import finished_as
from rosetune.runs.config import RunConfig
from rosetune.runs.measures import Measures
from rosetune.runs.run import Run
from tiny_run import Library

LANGUAGES = ("de", "", "en")


@pytest.fixture
def run(library: Library, tmp_path: Path) -> Path:
    return library.copy(library.learned(), tmp_path / "run")


def with_languages(source: Path, to: Path) -> Path:
    """The same texts and labels, with a third column that has holes."""
    with source.open(newline="") as file, to.open("w", newline="") as other:
        head, *rows = csv.reader(file)
        languages = [[*row, LANGUAGES[i % 3]] for i, row in enumerate(rows)]
        csv.writer(other).writerows([[*head, "language"], *languages])
    return to


def test_what_is_measured_without_being_asked_for(run: Path, library: Library) -> None:
    clean = tiny_run.metrics(run)["sets"]["clean"]
    found = clean["detection"]
    assert found["positive_label"] == "good"
    assert (found["threshold"]["chosen_on"], found["threshold"]["false_positive_rate"]) == ("validation", 0.01)
    rows = read_json_lines(run / "predictions/validation/validation.jsonl")
    reported = {row["id"] for row in Run.open(run).rows("clean")}
    assert not reported & {row["id"] for row in rows}  # ids are numbers of rows in one file
    odds = [row["logits"][1] - row["logits"][0] for row in rows if row["gold"] == "bad"]
    assert found["threshold"]["log_odds"] == pytest.approx(max(odds))
    assert [part["band"] for part in clean["lengths"]] == ["up to 8"]
    assert clean["lengths"][0]["n"] == clean["n"]  # each text has eight words
    assert "groups" not in clean
    assert (run / "model/ROBUSTNESS.md").is_file()
    assert "validation" not in Run.open(run).sets()


def test_groups_and_another_class_of_a_run_that_is_there(
    run: Path, library: Library, tmp_path: Path, rosetune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = with_languages(library.home / "my.csv", tmp_path / "languages.csv")
    asked = ("--group_column", "language", "--positive_label", "bad", "--false_positive_rate", 0.2)
    words = ("evaluate", run, "--task", data, "--sets", "clean,noise", *asked)
    code, out, err = rosetune(*words)
    assert (code, err) == (0, "")
    assert "Telling bad from the rest" in out
    assert "(missing)" in out
    sets = tiny_run.metrics(run)["sets"]
    for name in ("clean", "typos_1"):
        groups = {part["group"]: part["n"] for part in sets[name]["groups"]["groups"]}
        ids = [int(row["id"]) for row in Run.open(run).rows(name)]
        counted = {name or "(missing)": sum(LANGUAGES[i % 3] == name for i in ids) for name in LANGUAGES}
        assert groups == {name: n for name, n in counted.items() if n}
        thresholds = {json.dumps(m["detection"]["threshold"]) for m in sets.values()}
        assert len(thresholds) == 1  # carried to each set as it is
    assert sets["clean"]["detection"]["positive_label"] == "bad"

    # Later calls keep what was asked for, and predict nothing.
    monkeypatch.setattr(opened, "predict", None)
    before = tiny_run.snapshot(run)
    assert rosetune("evaluate", run, "--sets", "clean,noise")[1] == out
    assert rosetune(*words)[1] == out
    assert tiny_run.snapshot(run) == before


def test_a_further_file_is_split_by_its_own_column(run: Path, library: Library, tmp_path: Path) -> None:
    plain = tiny_run.write_csv(tmp_path / "plain.csv", rows=30, seed=5)
    other = with_languages(plain, tmp_path / "other.csv")
    evaluate_file(run, str(other), tiny_run.silent, measures=Measures(group_column="language"))
    found = tiny_run.metrics(run)["sets"]["file_other"]["groups"]
    assert found["column"] == "language"
    assert [(part["group"], part["n"]) for part in found["groups"]] == [("de", 10), ("en", 10), ("(missing)", 10)]


def test_what_cannot_be_measured_is_one_line(run: Path, library: Library, tmp_path: Path, rosetune: Any) -> None:
    before = tiny_run.snapshot(run)
    call = ("evaluate", run)
    one_line(rosetune(*call, "--positive_label", "god"), "'god' is no label of the data: did you mean good?")
    one_line(rosetune(*call, "--group_column", "language"), "my.csv has no column 'language'")
    one_line(rosetune(*call, "--false_positive_rate", "1.5"), "false_positive_rate must lie in (0, 1)")
    one_line(rosetune(*call, "--along_training", "--group_column", "x"), "in a call of its own")
    other = tiny_run.write_csv(tmp_path / "other.csv", rows=10)
    one_line(rosetune(*call, "--test_file", other, "--group_column", "language"), "other.csv has no column 'language'")
    assert tiny_run.snapshot(run) == before
    train = ("train", "--task", library.home / "my.csv", "--model_name_or_path", library.home / "model")
    one_line(rosetune(*train, "--positive_label", "god", "--output_dir", tmp_path / "new"), "did you mean good?")
    one_line(rosetune(*train, "--group_column", "lang", "--output_dir", tmp_path / "new"), "has no column 'lang'")
    assert not (tmp_path / "new").exists()


def test_the_options_are_no_part_of_what_a_run_is(run: Path, library: Library, tmp_path: Path) -> None:
    about: dict[str, Any] = {"task": "t", "text_columns": ["text"], "fingerprint": "f", "defaults": {}}
    plain = RunConfig(task="my.csv", model_name_or_path="m")
    asked = RunConfig(
        task="my.csv", model_name_or_path="m", positive_label="good", false_positive_rate=0.05, group_column="language"
    )
    assert plain.identity(**about) == asked.identity(**about)
    assert not {"positive_label", "group_column"} & {*plain.identity(**about)}
    assert RunConfig.from_options({"task": "my.csv", "model_name_or_path": "m"}).as_yaml() == plain.as_yaml()
    config, identity = RunConfig.read(run), Run.open(run).identity
    from rosetune.experiments.data import load_data

    data = load_data(config)
    assert finished_as(run, identity, config, data)
    config.positive_label = "bad"
    assert not finished_as(run, identity, config, data)  # so that `train` measures it


def test_a_held_out_share_of_the_training_rows_chooses_where_nothing_else_can(
    library: Library, tmp_path: Path
) -> None:
    """With a validation file and no test file the validation rows are reported."""
    from rosetune.experiments.data import load_data
    from rosetune.experiments.measured import threshold_rows
    from rosetune.experiments.training_rows import training_rows

    valid = tiny_run.write_csv(tmp_path / "valid.csv", rows=20, seed=9)
    config = tiny_run.config(library.home, "chooses", validation_file=str(valid))
    data = load_data(config)
    assert threshold_rows(config, data) is None
    config.validation_from_train = 0.2
    found = threshold_rows(config, data)
    assert found is not None
    kept, held_out = training_rows(config, data, config.seed)
    assert found[0] == "held_out"
    assert held_out is not None
    assert found[1]["id"][:] == held_out["id"][:]
    assert not {*found[1]["text"][:]} & {*kept["text"][:]}
    config.label_noise = 0.1
    assert threshold_rows(config, data) is None  # its labels are wrong on purpose
    assert np.size(found[1]["id"][:]) > 0
