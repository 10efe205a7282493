"""`rosetune evaluate` on runs: more sets, moved data, a further file."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import tiny_run
from command_line import one_line
from rosetune.experiments import evaluate, opened
from rosetune.runs.normalized import normalized_baseline
from rosetune.runs.run import Run
from tiny_run import Library


@pytest.fixture
def run(library: Library, tmp_path: Path) -> Path:
    return library.copy(library.learned(), tmp_path / "run")


def test_evaluate_adds_sets_and_predicts_nothing_again(
    run: Path, library: Library, tmp_path: Path, rosetune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = library.copy(library.learned(), tmp_path / "other")
    before = tiny_run.snapshot(run / "predictions")
    code, out, err = rosetune("evaluate", run, other, "--json")
    assert (code, err) == (0, "")
    results = json.loads(out)
    assert list(results) == [str(run), str(other)]
    assert list(results[str(other)]["sets"]) == ["clean", "typos_1", "typos_2"]
    after = tiny_run.snapshot(run / "predictions")
    made_of = str(run / "predictions/fingerprints.json")  # which lists the new sets too
    del before[made_of]
    assert before.items() < after.items()

    monkeypatch.setattr(opened, "predict", None)
    monkeypatch.setattr(evaluate, "checked_data", None)
    code, out, _ = rosetune("evaluate", run, "--sets", "clean,noise")
    assert code == 0
    assert "typing errors 2" in out
    assert tiny_run.snapshot(run / "predictions") == after
    (run / "metrics.json").write_text('{"labels": ["bad", "good"], "sets": {}}')  # as a kill may leave it
    rosetune("evaluate", run)
    assert tiny_run.metrics(run) == tiny_run.metrics(other)


def test_a_moved_run_is_evaluated_and_predicts(run: Path, library: Library, tmp_path: Path, rosetune: Any) -> None:
    data = shutil.copy(library.home / "my.csv", tmp_path / "moved.csv")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(library.home), "/gone"))
    shutil.rmtree(run / "predictions")
    (run / "metrics.json").write_text('{"labels": [], "sets": {}}')
    one_line(rosetune("evaluate", run), "there is no file or folder /gone/my.csv")
    code, out, _ = rosetune("evaluate", run, "--task", data, "--json", "--sets", "clean")
    assert code == 0
    assert json.loads(out)[str(run)]["sets"]["clean"] == tiny_run.metrics(library.learned())["sets"]["clean"]
    code, out, _ = rosetune("predict", run, "--text", "the film was great", "--json")
    assert json.loads(out)["label"] == "good"


def test_changed_data_is_refused(run: Path, tmp_path: Path, rosetune: Any) -> None:
    shutil.rmtree(run / "predictions")
    other = tiny_run.write_csv(tmp_path / "other.csv", seed=3)
    one_line(rosetune("evaluate", run, "--task", other), f"the data of {other} is not what {run} was trained on")


def test_another_labelled_file_is_a_set_of_its_name(run: Path, tmp_path: Path, rosetune: Any) -> None:
    other = tiny_run.write_csv(tmp_path / "reviews.csv", rows=20, seed=3)
    code, out, err = rosetune("evaluate", run, "--test_file", other)
    assert code == 0
    assert "in the training data" in err
    assert "reviews" in out
    rows = Run.open(run).rows("file_reviews")
    golds = [line.rpartition(",")[2] for line in other.read_text().splitlines()[1:]]
    assert [row["gold"] for row in rows] == golds
    before = tiny_run.snapshot(run)
    assert rosetune("evaluate", run, "--test_file", other)[:2] == (0, out)
    assert tiny_run.snapshot(run) == before
    tiny_run.write_csv(other, rows=20, seed=4)
    one_line(rosetune("evaluate", run, "--test_file", other), "was evaluated on another file called reviews.csv")


def test_sets_beside_a_further_file_are_evaluated_too(run: Path, tmp_path: Path, rosetune: Any) -> None:
    other = tiny_run.write_csv(tmp_path / "reviews.csv", rows=20, seed=3)
    words = ("--along_training", "--test_file", other)
    one_line(rosetune("evaluate", run, *words), "evaluate on --test_file in a call of its own")
    assert rosetune("evaluate", run, "--test_file", other)[0] == 0
    assert Run.open(run).sets() == ["clean", "file_reviews"]  # the default of --sets is not asked for
    code, out, _ = rosetune("evaluate", run, "--test_file", other, "--sets", "noise", "--json")
    assert code == 0
    assert list(json.loads(out)[str(run)]["sets"]) == ["typos_1", "typos_2", "file_reviews"]


def test_noises_are_added_to_the_noise_curve_one_by_one(
    run: Path, tmp_path: Path, rosetune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("evaluate", run, "--sets", "noise_curve", "--noises")
    code, out, _ = rosetune(*words, "leetspeak", "--json")
    assert code == 0
    strengths = ("0.1", "0.25", "0.5", "1")
    assert list(json.loads(out)[str(run)]["sets"]) == [f"leetspeak@{s}" for s in strengths]
    (lost := run / "predictions" / "leetspeak@1.jsonl").rename(kept := tmp_path / "kept")  # as a kill may leave it
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in lost.parent.glob("*.jsonl")}
    code, out, _ = rosetune(*words, "leetspeak,homoglyphs")
    assert code == 0
    assert "homoglyphs" in out
    assert all((path.stat().st_mtime_ns, path.read_bytes()) == was for path, was in before.items())
    assert len(before) == 4  # clean and three cells
    assert lost.read_bytes() == kept.read_bytes()
    cells = {f"{name}@{s}" for name in ("leetspeak", "homoglyphs") for s in strengths}
    assert json.loads((run / "predictions" / "noise_curve.json").read_text()).keys() == cells
    monkeypatch.setattr(opened, "predict", None)
    assert rosetune(*words, "homoglyphs")[0] == 0
    one_line(rosetune("evaluate", run, "--noises", "leetspeak"), "noise_curve among the sets")
    one_line(rosetune(*words, "blur"), "unknown noise 'blur'; there are typing, ocr")
    one_line(rosetune(*words, "ocr,leetspeek@0.5"), "noises: unknown noise 'leetspeek'; did you mean leetspeak?")


def test_a_run_behind_a_normalisation_is_a_run_of_its_own(
    run: Path, library: Library, tmp_path: Path, rosetune: Any
) -> None:
    task, folder = library.home / "my.csv", tmp_path / "normal"
    words = ("--model_name_or_path", run, "--task", task, "--output_dir", folder, "--sets", "clean,noise_curve")
    noises = ("--noises", "spaced_letters,repeated_letters")
    said = "texts are normalised first: nfkc, invisible, confusables, spaced, leet\n"
    code, _, err = rosetune("evaluate", *words, *noises, "--normalize", "all")
    assert code == 0, err
    assert said in err
    assert rosetune("predict", folder, "--text", "g r e a t")[2] == said
    assert rosetune("predict", run, "--text", "g r e a t")[2] == ""
    assert rosetune("evaluate", run, "--sets", "clean,noise_curve", *noises)[0] == 0
    normal, plain = Run.open(folder), Run.open(run)
    assert (normal.method, plain.method) == ("given+normalize", "vanilla")
    assert normalized_baseline(normal, [plain]).seed == plain.seed  # a control of what is claimed to be better
    logits = {name: [row["logits"] for row in normal.rows(name)] for name in normal.sets()}
    assert logits["spaced_letters@1"] == logits["clean"] != logits["repeated_letters@1"]
    assert [row["logits"] for row in plain.rows("spaced_letters@1")] != logits["clean"]
    assert [row["logits"] for row in plain.rows("clean")] == logits["clean"]
    disguised = ("--text", "the film was g r e a t")
    assert json.loads(rosetune("predict", folder, *disguised, "--json")[1])["label"] == "good"
    one_line(rosetune("evaluate", run, "--normalize", "all"), "--normalize makes a model of its own of a run")
    one_line(rosetune("evaluate", *words, "--normalize", "rot13"), "normalize: unknown normalisation rot13")


@pytest.mark.parametrize("text", ["", '{"sets": {"cl', "[1]", '{"sets": {}}'])
def test_metrics_that_are_damaged_are_computed_anew(text: str, run: Path, rosetune: Any) -> None:
    """By the very command that the error names, from what was predicted."""
    path = run / "metrics.json"
    before = path.read_bytes()
    path.write_text(text)
    one_line(rosetune("compare", run, run), f"`rosetune evaluate {run}`")
    assert rosetune("evaluate", run, "--sets", "clean")[0] == 0
    assert path.read_bytes() == before
