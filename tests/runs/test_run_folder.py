"""A run as it lies in its folder: opened, found, read part by part in both layouts, and named where it is damaged."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import yaml

from made_runs import ROSE, make_rows, outcomes, write_attack, write_json, write_lines, write_run
from rosetune.runs import files
from rosetune.runs.run import Run, RunError, find_runs

SETS = {"clean": outcomes(6, 2), "typos_1": outcomes(4, 4)}
STEPS = {10: {"clean": outcomes(4, 4), "typos_1": outcomes(3, 5)}, 9: {"clean": outcomes(2, 6)}}


# --- opened -------------------------------------------------------------------------------------------------------


def test_what_a_run_is(tmp_path):
    run = write_run(tmp_path / "a", SETS, {**ROSE, "seed": 3}, metrics=True)
    assert (run.method, run.seed, run.task, run.labels) == ("rose-ensemble", 3, "my", ("bad", "good"))
    assert str(run) == str(tmp_path / "a")
    assert run.sets() == ["clean", "typos_1"]
    assert run.metrics["sets"]["clean"]["accuracy"] == 0.75
    assert run.rows("clean") == make_rows("clean", SETS["clean"])
    assert (run.timing, run.environment, run.log, run.trace_file, run.steps, run.attacks) == ({}, {}, [], None, {}, {})


def test_files_that_only_a_training_leaves(tmp_path):
    run = write_run(tmp_path / "a", SETS)
    write_json(run.folder / "timing.json", {"steps": 2})
    write_json(run.folder / "environment.json", {"device": "cpu"})
    write_lines(run.folder / "log.jsonl", [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}])
    (run.folder / "mask_trace.npz").write_bytes(b"")
    assert run.timing == {"steps": 2}
    assert run.environment == {"device": "cpu"}
    assert [line["loss"] for line in run.log] == [0.5, 0.25]
    assert run.trace_file == run.folder / "mask_trace.npz"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics.json", None, r"no finished run \(no metrics.json\): start or resume it with `rosetune train`"),
        ("metrics.json", "", r"metrics.json is damaged .*: evaluate again: `rosetune evaluate .*/a`"),
        ("metrics.json", '{"sets": {"cl', r"metrics.json is damaged .*: evaluate again"),
        ("metrics.json", "[1]", "metrics.json holds no metrics: evaluate again"),
        ("metrics.json", '{"accuracy": 1}', "metrics.json holds no metrics: evaluate again"),
        ("run.json", None, r"is no run \(no run.json\): give a folder that `rosetune train` wrote"),
        ("run.json", "{", r"run.json is damaged .*: restore it, or train the run anew and remove .*/a$"),
        ("run.json", '{"task": "my"}', "run.json is not a run of rosetune: restore it, or train the run anew"),
        ("config.yaml", None, r"a has no config.yaml: restore it, or train the run anew and remove .*/a$"),
        ("config.yaml", "a: [", "config.yaml, line 1 is not valid YAML"),
        ("config.yaml", "a: 1", "config.yaml is no run's configuration"),
    ],
)
def test_what_cannot_be_opened_says_why_and_what_to_do(tmp_path, name, text, message):
    folder = write_run(tmp_path / "a", SETS).folder
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(RunError, match=message) as caught:
        Run.open(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_metrics_of_another_program_are_no_run_to_evaluate_again(tmp_path):
    (tmp_path / "metrics.json").write_text('{"loss": 0.1}')
    with pytest.raises(RunError, match=r"is no run \(no run.json\): give a folder that `rosetune train` wrote"):
        Run.open(tmp_path)


def test_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(RunError, match=f"there is no folder {path}: give the folder of a finished run"):
            Run.open(path)


def test_metrics_without_labels(tmp_path):
    run = write_run(tmp_path / "a", SETS)
    write_json(run.folder / "metrics.json", {"sets": {}})
    with pytest.raises(RunError, match="names no labels; evaluate again"):
        _ = Run.open(run.folder).labels


def test_each_part_is_read_once_and_only_when_it_is_asked_for(tmp_path, monkeypatch):
    folder = write_run(tmp_path / "a", SETS, steps=STEPS, end=10).folder
    read: list[Path] = []

    def counted(path, remedy):
        read.append(Path(path))
        return read_lines(path, remedy)

    read_lines = files.read_lines
    monkeypatch.setattr(files, "read_lines", counted)
    run = Run.open(folder)
    assert run.sets() == ["clean", "typos_1"]
    assert list(run.steps) == [9, 10]
    assert read == []
    for _ in range(2):
        assert len(run.rows("clean")) == 8
        assert len(run.rows("clean", 9)) == 8
    assert read == [folder / "predictions/clean.jsonl", folder / "predictions/step-9/clean.jsonl"]


# --- rows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [False, True], ids=["a file each", "the version before"])
class TestBothLayouts:
    def test_sets_and_rows(self, tmp_path, before):
        run = write_run(tmp_path / "a", {"typos_1": SETS["typos_1"], "clean": SETS["clean"]}, before=before)
        assert (run.folder / "predictions.jsonl").is_file() is before
        assert run.sets() == ["clean", "typos_1"]
        assert {name: run.rows(name) for name in run.sets()} == {n: make_rows(n, right) for n, right in SETS.items()}

    def test_checkpoints(self, tmp_path, before):
        run = write_run(tmp_path / "a", SETS, steps={9: STEPS[9], 11: STEPS[10]}, end=10, before=before)
        assert run.steps == {
            9: {"epoch": 0.09, "end": False},
            10: {"epoch": 0.1, "end": True},
            11: {"epoch": 0.11, "end": False},
        }
        assert list(run.steps) == [9, 10, 11]
        assert [run.sets(step) for step in run.steps] == [["clean"], ["clean", "typos_1"], ["clean", "typos_1"]]
        assert run.rows("clean", 9) == make_rows("clean", STEPS[9]["clean"])
        assert run.rows("clean", 10) is run.rows("clean")  # the end's rows are the run's own
        with pytest.raises(RunError, match="was not evaluated on typos_1"):
            run.rows("typos_1", 9)

    def test_what_it_was_not_evaluated_on(self, tmp_path, before):
        run = write_run(tmp_path / "a", SETS, before=before)
        for name, step in (("advglue", None), ("attack:pwws", None), ("clean", 7)):
            with pytest.raises(RunError, match=f"was not evaluated on {name}: `rosetune evaluate` or"):
                run.rows(name, step)

    def test_a_truncated_file(self, tmp_path, before):
        run = write_run(tmp_path / "a", SETS, before=before)
        file = run.folder / ("predictions.jsonl" if before else "predictions/clean.jsonl")
        file.write_bytes(file.read_bytes()[:-20])
        with pytest.raises(RunError, match=f"{file} is damaged .*: remove it and evaluate again"):
            run.rows("clean")

    @pytest.mark.parametrize("line", ["[1]", '{"id": "1"}', '{"set": "clean", "id": "1", "gold": "bad"}'])
    def test_a_line_that_is_no_prediction(self, tmp_path, before, line):
        run = write_run(tmp_path / "a", SETS, before=before)
        file = run.folder / ("predictions.jsonl" if before else "predictions/clean.jsonl")
        file.write_text(file.read_text() + line + "\n")
        with pytest.raises(RunError, match=f"{file} is damaged .*: remove it and evaluate again"):
            run.rows("clean")


def test_a_new_file_goes_before_the_old_one(tmp_path):
    """As a kill leaves it, while a folder of the version before is brought up to date."""
    run = write_run(tmp_path / "a", SETS, before=True)
    write_lines(run.folder / "predictions/clean.jsonl", make_rows("clean", outcomes(8)))
    assert run.sets() == ["clean", "typos_1"]
    assert all(row["prediction"] == row["gold"] for row in run.rows("clean"))
    assert run.rows("typos_1") == make_rows("typos_1", SETS["typos_1"])


@pytest.mark.parametrize("text", ["{", "[1]", '{"epoch": 1}'])
def test_a_damaged_checkpoint_is_named(tmp_path, text):
    run = write_run(tmp_path / "a", SETS, steps=STEPS, end=10)
    (run.folder / "predictions/step-9/step.json").write_text(text)
    with pytest.raises(RunError, match=r"step-9/step.json is .*: remove its folder"):
        _ = run.steps


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path):
    run = write_run(tmp_path / "a", SETS)
    write_json(run.folder / "predictions/step-best/step.json", {"epoch": 1, "end": True})
    with pytest.raises(RunError, match=r"step-best/step.json is of no evaluated checkpoint: remove its folder"):
        _ = run.steps


# --- attacks ------------------------------------------------------------------------------------------------------


def test_the_rows_of_an_attack(tmp_path):
    run = write_run(tmp_path / "a", SETS)
    write_attack(run, ["failed", "success", "skipped"], about={"originals": {"0": "o1", "1": "o1"}})
    header, results = run.attacks["pwws"]
    assert (header["budget"], header["recipe"], header["rows"], header["finished"]) == (100, "pwws", 3, True)
    assert "originals" not in header
    assert [result["original_id"] for result in results] == ["o1", "o1", None]
    assert run.sets() == ["clean", "typos_1", "attack:pwws"]
    rows = run.rows("attack:pwws")
    assert [(row["id"], row["gold"], row["prediction"]) for row in rows] == [
        ("0", "robust", "robust"),
        ("1", "robust", "broken"),
        ("2", "robust", "wrong"),
    ]
    assert [row.get("original_id") for row in rows] == ["o1", "o1", None]
    assert [row["label"] for row in rows] == [0, 1, 0]


def test_an_attack_that_is_not_finished_is_no_set(tmp_path):
    run = write_run(tmp_path / "a", SETS)
    write_attack(run, ["failed", "success"], rows=3)
    assert run.attacks["pwws"][0]["finished"] is False
    assert run.sets() == ["clean", "typos_1"]
    with pytest.raises(RunError, match="was not evaluated on attack:pwws"):
        run.rows("attack:pwws")


def test_a_line_that_was_being_written_does_not_count(tmp_path):
    run = write_run(tmp_path / "a", SETS)
    write_attack(run, ["failed", "success"])
    file = run.folder / "attacks/pwws.jsonl"
    file.write_text(file.read_text()[:-30])
    header, results = run.attacks["pwws"]
    assert (len(results), header["finished"]) == (1, False)


def test_a_foreign_file_among_the_attacks_is_named(tmp_path):
    run = write_run(tmp_path / "a", SETS)
    write_lines(run.folder / "attacks/notes.jsonl", [{"my": "notes"}])
    with pytest.raises(RunError, match=r"notes.jsonl is no file of an attack: .*; remove it and attack again"):
        run.sets()


# --- found --------------------------------------------------------------------------------------------------------


def test_found_by_folder_by_pattern_and_below_a_folder(tmp_path, monkeypatch):
    for name in ("b/1", "a/1", "a/2"):
        write_run(tmp_path / "runs" / name, SETS)
    write_run(tmp_path / "runs/a/1/controls/vanilla", SETS)
    (tmp_path / "runs/unfinished").mkdir()
    (tmp_path / "runs/notes.txt").write_text("not a run")
    monkeypatch.chdir(tmp_path)
    everything = ["runs/a/1", "runs/a/1/controls/vanilla", "runs/a/2", "runs/b/1"]
    assert sorted(map(str, find_runs("runs"))) == everything
    assert sorted(map(str, find_runs("runs/**"))) == everything
    assert list(map(str, find_runs("runs/*/1"))) == ["runs/a/1", "runs/b/1"]
    assert list(map(str, find_runs(["runs/b/1", Path("runs/a/2"), "runs/b/1/"]))) == ["runs/b/1", "runs/a/2"]
    assert list(map(str, find_runs(tmp_path / "runs/a/1"))) == [str(tmp_path / "runs/a/1")]


def test_a_name_with_brackets_is_a_name(tmp_path):
    run = write_run(tmp_path / "a[1]", SETS)
    assert find_runs(str(run.folder)) == [run]


def test_what_is_damaged_is_named_and_left_out(tmp_path):
    good = write_run(tmp_path / "good", SETS)
    for name, file, text in (
        ("truncated", "metrics.json", '{"labels": ["ba'),
        ("foreign", "metrics.json", '{"accuracy": 0.9}'),
        ("headless", "run.json", "[]"),
        ("torn", "config.yaml", "task: [my"),
    ):
        (write_run(tmp_path / name, SETS).folder / file).write_text(text)
    write_json(tmp_path / "other-tool/metrics.json", {"sets": {}})
    said: list[str] = []
    assert find_runs(tmp_path, said.append) == [good]
    assert [Path(line.split(" is left out: ")[0]).name for line in said] == [
        *("foreign", "headless", "other-tool", "torn", "truncated"),
    ]
    assert all("\n" not in line for line in said)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert find_runs(tmp_path) == [good]
    assert [str(warning.message) for warning in caught] == said
    assert caught[0].filename == __file__


def test_a_pattern_without_a_run_is_named(tmp_path):
    """And a folder that is not there as such: it may be mistyped."""
    good = write_run(tmp_path / "good", SETS)
    (tmp_path / "empty").mkdir()
    said: list[str] = []
    assert find_runs([tmp_path / "godo", tmp_path / "empty", f"{tmp_path}/x*", good.folder], said.append) == [good]
    assert said == [
        f"there is no folder {tmp_path / 'godo'}",
        f"there is no finished run in {tmp_path / 'empty'}",
        f"there is no finished run in {tmp_path}/x*",
    ]
    with pytest.raises(RunError, match=f"there is no folder {tmp_path / 'godo'}"):
        find_runs(tmp_path / "godo")


def test_the_version_before_is_found_too(tmp_path):
    old = write_run(tmp_path / "old", SETS, before=True)
    [found] = find_runs(tmp_path)
    assert found == old
    assert found.rows("clean") == make_rows("clean", SETS["clean"])


def test_a_moved_run_is_the_same_run(tmp_path):
    run = write_run(tmp_path / "a", SETS, ROSE, steps=STEPS, end=10)
    shutil.move(run.folder, tmp_path / "b")
    moved = Run.open(tmp_path / "b")
    assert (moved.method, moved.identity, moved.steps) == ("rose-ensemble", run.identity, Run(tmp_path / "b").steps)
    assert moved.rows("clean", 9) == make_rows("clean", STEPS[9]["clean"])
    assert json.loads((tmp_path / "b/run.json").read_text()) == moved.identity
    assert yaml.safe_load((tmp_path / "b/config.yaml").read_text())["update_mask"] == "rose"


def test_a_step_that_is_not_there_has_no_sets(tmp_path):
    run = write_run(tmp_path / "a", {"clean": outcomes(3, 1)}, steps={10: {"clean": outcomes(2, 2)}}, end=20)
    assert (run.sets(10), run.sets(20), run.sets(7)) == (["clean"], ["clean"], [])
    with pytest.raises(RunError, match="was not evaluated on clean"):
        run.rows("clean", 7)


def test_a_status_that_no_attack_has_is_named(tmp_path):
    run = write_run(tmp_path / "a", {"clean": outcomes(3, 1)})
    write_attack(run, ["failed", "success"])
    file = run.folder / "attacks/pwws.jsonl"
    file.write_text(file.read_text().replace('"success"', '"won"'))
    with pytest.raises(ValueError, match="text '1' has the status 'won'"):
        run.rows("attack:pwws")


def test_the_folder_of_a_study_is_told_from_a_killed_run(tmp_path: Path) -> None:
    write_run(tmp_path / "study" / "plain", {"clean": outcomes(3, 1)})
    with pytest.raises(RunError, match=r"study is no finished run .*: give a run in it, such as .*study/plain$"):
        Run.open(tmp_path / "study")
