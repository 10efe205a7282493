"""What `rosetune compare` prints, and that its JSON holds the same."""

import json

import numpy as np
import pytest

from made_runs import LABELS, ROSE, make_rows, number_rows, outcomes, write_attack, write_json, write_run
from rosetune.cli import main
from rosetune.report.paper import table
from rosetune.runs.attacked import results_digest
from rosetune.runs.compare import compare
from rosetune.runs.gate import gate
from rosetune.runs.metrics import run_metrics
from rosetune.runs.run import Run
from rosetune.runs.table import scores


@pytest.fixture(autouse=True)
def _columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def call(capsys):
    """Call the verb; standard output."""

    def run(*words):
        main(["compare", *map(str, words)])
        return capsys.readouterr().out

    return run


def said(text):
    return " ".join(text.split())


def both(path, a, b, **options):
    return write_run(path / "a", a, **options), write_run(path / "b", b, ROSE, **options)


def test_the_verb_prints_what_json_holds(tmp_path, call):
    kinds = {"method": ["TextFooler"] * 100, "data_construction": ["word"] * 100, "original_id": [*range(50)] * 2}
    curve = {"ocr@0.1": outcomes(80, 20), "ocr@0.5": outcomes(60, 40)}
    for name, robust, training in (("a", outcomes(40, 60), {}), ("b", outcomes(70, 30), ROSE)):
        advglue = make_rows("advglue", robust, **kinds)
        run = write_run(tmp_path / name, {"clean": outcomes(90, 10), "advglue": advglue, **curve}, training)
        write_attack(run, ["failed"] * 5 + ["success"] * 5)
    runs = tmp_path / "a", tmp_path / "b"
    found = json.loads(call(*runs, "--json"))
    d = found["sets"]["advglue"]
    own = compare([Run.open(runs[0])], [Run.open(runs[1])])["advglue"]
    told = (d["n"], d["value"], d["low"], d["high"], d["p"])
    assert told == pytest.approx((100, own.value, own.low, own.high, own.p), rel=1e-11)
    assert (found["baseline"]["method"], found["claim"]["seeds"], d["verdict"]) == ("vanilla", [42], 1)
    assert found["advglue"]["advglue"]["word/TextFooler"]["value"] == pytest.approx(0.3)
    assert found["controls"]["advglue"][0]["control"] == "constant"
    assert found["common_success"]["attack:pwws"] == [10, 0.5, 0.5]
    text = call(*runs)
    assert f"{100 * d['value']:+.1f} [{100 * d['low']:+.1f},{100 * d['high']:+.1f}]" in text
    for words in (
        "A: vanilla, seed 42, ",
        "B: rose-ensemble, seed 42, ",
        "p: exact test",
        "Brier: squared error",
        "constant: always the most frequent label",
        "under pwws",
        "by kind and attack",
        "Noise curve",
        "Calibration",
        "Controls: accuracy",
        "The gain on AdvGLUE",
        "One seed",
    ):
        assert words in text
    assert "two_pass" in text.split("Controls not at hand")[1]
    assert said(found["verdicts"]["advglue"]) in said(text)
    assert all(said(line) in said(text) for line in found["not_tried"])
    assert "…" not in text


class TestVerdicts:
    def test_worse_is_said(self, tmp_path, call):
        both(
            tmp_path,
            {"clean": outcomes(190, 10), "typos_1": outcomes(150, 50)},
            {"clean": outcomes(150, 50), "typos_1": outcomes(90, 110)},
        )
        text = said(call(tmp_path / "a", tmp_path / "b"))
        assert "typing errors 1. rose-ensemble is worse: -30.0 points [-3" in text
        assert "On the clean set rose-ensemble is worse than vanilla." in text
        assert "The gain on" not in text
        text = said(call(tmp_path / "b", tmp_path / "a"))
        assert "On the clean set vanilla is better than rose-ensemble." in text
        assert "The gain on typing errors 1 beside its controls" in text

    def test_nothing_shown_and_few_examples(self, tmp_path, call):
        both(
            tmp_path,
            {"clean": outcomes(90, 10), "typos_1": outcomes(60, 60), "advglue": outcomes(20, 20)},
            {"clean": outcomes(90, 10), "typos_1": outcomes(61, 59), "advglue": outcomes(22, 18)},
        )
        text = said(call(tmp_path / "a", tmp_path / "b"))
        assert "rose-ensemble is not shown to be better or worse than vanilla on typing errors 1, AdvGLUE." in text
        assert "Few examples, on which only a large difference could show: AdvGLUE (40)." in text
        assert "is better than" not in text

    def test_on_enough_examples_none_are_called_few(self, tmp_path, call):
        both(tmp_path, {"typos_1": outcomes(60, 60)}, {"typos_1": outcomes(61, 59)})
        assert "Few examples" not in call(tmp_path / "a", tmp_path / "b")

    def test_without_a_robust_set_it_says_how_to_get_one(self, tmp_path, call):
        clean = {"clean": outcomes(90, 10)}
        runs = [run.folder for run in both(tmp_path, clean, clean)]
        text, command = call(*runs), f"`rosetune evaluate {runs[0]} {runs[1]} --sets noise` adds some."
        sentence = f"Robustness is not judged: A and B share no perturbed texts and no attack. {command}"
        assert sentence in said(text)
        assert sentence in json.loads(call(*runs, "--json"))["not_tried"]
        assert "\n\n\n" not in text

    def test_a_noise_curve_alone_leaves_no_gap(self, tmp_path, call):
        both(tmp_path, {"ocr@0.5": outcomes(60, 40)}, {"ocr@0.5": outcomes(61, 39)})
        text = call(tmp_path / "a", tmp_path / "b")
        assert "Robustness is not judged" not in text
        assert "\n\n\n" not in text

    def test_what_else_differs_and_what_is_left_out(self, tmp_path, call):
        write_run(tmp_path / "a", {"typos_1": outcomes(5, 5), "typos_2": outcomes(5, 5)}, {"learning_rate": 1})
        write_run(tmp_path / "b", {"typos_1": outcomes(5, 5)}, {"learning_rate": 2, **ROSE})
        text = said(call(tmp_path / "a", tmp_path / "b"))
        assert "A and B differ in more than the method: learning_rate." in text
        assert f"typing errors 2 is left out: not there for {tmp_path / 'b'}." in text


def test_an_attack_has_one_title_in_every_table_and_note(tmp_path, call):
    """A hash only where two attacks would have one title; also of an attack that one side alone has suffered."""
    sets = {"clean": outcomes(8, 2)}
    runs = [run.folder for run in both(tmp_path, sets, sets)]
    for folder in runs:
        about = {"recipe": "deepwordbug", "attack_class": "good"}
        write_attack(Run(folder), ["failed"] * 9 + ["success"], "deepwordbug-good-1234abcd", about=about)
    write_attack(Run(runs[1]), ["failed", "success"], "pwws-5678abcd", about={"recipe": "pwws"})
    text = call(*runs)
    assert "abcd" not in text
    assert f"under pwws is left out: not there for {runs[0]}." in said(text)
    assert "under deepwordbug on good" in text
    write_attack(Run(runs[1]), ["failed"], "deepwordbug-good-9999abcd", budget=7, about=about)
    text = said(call(*runs))
    assert f"under deepwordbug on good (budget=7) is left out: not there for {runs[0]}." in text
    assert "under deepwordbug on good (budget=100)" in text


class TestNames:
    """Two runs of one method are called by what differs; labels that were altered make another task."""

    ONE = {"update_mask": "rose", "update_mask_kwargs": {"upper": 0.4}}  # noqa: RUF012

    def sides(self, path, call, one, other, **options):
        for name, training in (("a", one), ("b", other)):
            write_run(path / name, {"clean": outcomes(8, 2), "typos_1": outcomes(5, 5)}, training, **options)
        text = said(call(path / "a", path / "b"))
        found = json.loads(call(path / "a", path / "b", "--json"))
        names = [found[side]["name"] for side in ("baseline", "claim")]
        assert f"A: {names[0]}, seed {found['baseline']['seeds'][0]}, " in text
        assert f"{names[1]} is not shown to be better or worse than {names[0]} on" in text
        return names

    def test_options(self, tmp_path, call):
        other = {"update_mask": "rose", "update_mask_kwargs": {"upper": 0.7}, "learning_rate": 1e-3}
        assert self.sides(tmp_path, call, self.ONE, other) == [
            "rose-ensemble (learning_rate=default, upper=0.4)",
            "rose-ensemble (learning_rate=0.001, upper=0.7)",
        ]

    def test_seeds(self, tmp_path, call):
        seeds = [{**self.ONE, "seed": seed} for seed in (1, 2)]
        assert self.sides(tmp_path, call, *seeds) == ["rose-ensemble seed 1", "rose-ensemble seed 2"]

    def test_folders(self, tmp_path, call):
        many = {"learning_rate": 1, "weight_decay": 1, "warmup_steps": 1, "max_steps": 3}
        names = self.sides(tmp_path, call, self.ONE, {**self.ONE, **many})
        assert names == [f"rose-ensemble in {tmp_path / name}" for name in "ab"]

    def test_the_task(self, tmp_path, call):
        for name, training in (("a", {}), ("b", ROSE)):
            write_run(tmp_path / name, {"clean": outcomes(8, 2)}, training, label_noise=0.1)
        runs = [tmp_path / name for name in "ab"]
        task = f"{Run.open(runs[0]).task} (label_noise=0.1)"
        assert said(call(*runs)).count(f", {task}; ") == 2
        assert json.loads(call(*runs, "--json"))["claim"]["task"] == task
        assert {*scores(map(Run.open, runs)).task} == {task}


class TestCalibration:
    def test_a_temperature_is_withheld_where_there_is_no_error(self, tmp_path, call):
        both(tmp_path, {"clean": outcomes(20)}, {"clean": outcomes(14, 6)})
        text = said(call(tmp_path / "a", tmp_path / "b"))
        none = "T of the clean set: none for A, which makes no error on one of these halves, "
        assert f"for the clean set and noise on the other half of them, else on all. {none}" in text
        assert " for B." in text.split(none)[1]
        found = json.loads(call(tmp_path / "a", tmp_path / "b", "--json"))["calibration"]
        assert found["baseline"]["clean"]["temperature"] is found["baseline"]["clean"]["after"] is None
        assert found["claim"]["clean"]["temperature"] > 0

    def test_of_several_seeds_one_of_which_makes_none(self, tmp_path, call):
        for name, training in (("a", {}), ("b", ROSE)):
            for seed, right in ((1, outcomes(20)), (2, outcomes(14, 6))):
                write_run(tmp_path / f"{name}{seed}", {"clean": right}, {"seed": seed, **training})
        groups = (f"{tmp_path / name}1,{tmp_path / name}2" for name in "ab")
        assert "T of the clean set: none for A, which makes no error on one of these halves, none for B" in said(
            call(*groups)
        )

    def test_a_model_with_errors_on_one_half_alone_is_not_said_to_make_none(self, tmp_path, call):
        """Its only error is in the half that T of the other half is fitted to; on that T there is none."""
        both(tmp_path, {"clean": outcomes(19, 1)}, {"clean": outcomes(19, 1)})
        text = said(call(tmp_path / "a", tmp_path / "b"))
        assert "clean 20 95.0 95.0" in text
        halves = "makes no error on one of these halves"
        assert f"T of the clean set: none for A, which {halves}, none for B, which {halves}." in text


class TestOtherTexts:
    """Sets that two runs have, but of other texts, are not set side by side in any table."""

    def runs(self, path, alike=()):
        sets = {"clean": outcomes(14, 6), "typos_1": outcomes(12, 8)}
        runs = both(path, sets, sets)
        for run in runs:
            made_of = {name: name if name in alike else f"{name} of {run.folder.name}" for name in sets}
            write_json(run.folder / "predictions/fingerprints.json", made_of)
        return [run.folder for run in runs]

    def test_calibration_is_of_what_is_compared(self, tmp_path, call):
        runs = self.runs(tmp_path, alike=("clean",))
        assert [*json.loads(call(*runs, "--json"))["calibration"]["claim"]] == ["clean"]
        text = call(*runs)
        assert "Calibration" in text
        assert text.count("typing errors 1") == 1
        assert "typing errors 1 is left out: not the same texts" in said(text)

    @pytest.mark.parametrize("more", [(), ("--json",)])
    def test_runs_without_a_common_set_are_refused(self, tmp_path, capsys, more):
        runs = self.runs(tmp_path)
        with pytest.raises(SystemExit, match="2"):
            main(["compare", *map(str, runs), *more])
        out, error = capsys.readouterr()
        assert out == ""
        assert error.count("\n") == 1
        assert "have no labelled set in common (clean, typing errors 1: not the same texts: other data, or" in error
        assert all(f"`rosetune evaluate {run} --test_file FILE`" in error for run in runs)


class TestRegression:
    @pytest.fixture
    def text(self, tmp_path, call):
        gold = np.linspace(0, 5, 120)
        spread = np.tile([0.9, -1.1], 60)
        names = ("clean", "typos_1", "ocr@0.5")
        both(
            tmp_path,
            {name: number_rows(name, gold, gold + spread) for name in names},
            {name: number_rows(name, gold, gold + 0.5 * spread) for name in names},
            labels=(),
        )
        sets = {name: number_rows(name, gold, gold + spread) for name in names}
        write_run(tmp_path / "c", sets, {"objective": "smart"}, labels=())
        return call(tmp_path / "a", tmp_path / "b", "--controls", f"smart={tmp_path / 'c'}")

    def test_everything_is_in_units_of_squared_error(self, text):
        """Squared errors of 1.01 and a quarter of it, never a hundred times as much."""
        assert "Mean squared error; above 0: B has less" in text
        assert "1.010" in text
        assert "0.253" in text or "0.252" in text
        assert "+0.758" in text
        for wrong in ("101.0", "25.2", "25.3", "75.8", "%\n", " points"):
            assert wrong not in text, wrong
        assert "accuracy" not in text.split("Better or worse is said")[0].lower()

    def test_each_table(self, text):
        assert "Controls: mean squared error" in text
        assert "The gain on typing errors 1 beside its controls" in text
        assert "Noise curve: mean squared error of A and B" in text
        assert "typing errors 1. rose-ensemble gains +0.758 of squared error" in said(text)
        assert "On the clean set rose-ensemble is better than vanilla." in said(text)
        assert "Calibration" not in text


def test_what_fooled_one_tried_on_the_other(tmp_path, call):
    """Of several pairs of seeds pooled; where nobody has tried, nothing is said."""
    cells = {1: (6, 0.5), 2: (4, 1.0)}
    for name, training in (("a", {}), ("b", ROSE)):
        for seed in cells:
            run = write_run(tmp_path / f"{name}{seed}", {"clean": outcomes(8, 2)}, {"seed": seed, **training})
            write_attack(run, ["success"] * 10)
    for seed, (n, value) in cells.items():
        source, target = (Run.open(tmp_path / f"{name}{seed}") for name in "ab")
        fooled = {"n": n, "value": value, "low": 0.0, "high": 1.0}
        kept = {results_digest(source.attacks["pwws"][1]): {"fooled": fooled, "accuracy": None}}
        (target.folder / "attacks/transfer.json").write_text(json.dumps(kept))
    sides = [",".join(str(tmp_path / f"{name}{seed}") for seed in cells) for name in "ab"]
    found = json.loads(call(*sides, "--json"))["transfer"]
    assert found == {"attack:pwws": {"found_on_a": 0.7, "found_on_b": None}}  # 3 of 6 and 4 of 4
    text = call(*sides)
    line = next(line for line in text.splitlines() if line.strip().startswith("under pwws") and "100.0" in line)
    assert line.split()[-2:] == ["70.0", "-"]
    assert "tried on B %" in text


def test_a_further_file_is_neither_clean_nor_robust(tmp_path, call):
    sets = {"clean": outcomes(80, 20), "file_other": outcomes(40, 60)}
    runs = both(tmp_path, sets, {**sets, "file_other": outcomes(80, 20)})
    found = json.loads(call(*runs, "--json"))
    assert found["sets"]["file_other"]["verdict"] == 1
    assert found["controls"] == found["verdicts"] == {}
    assert "On other rose-ensemble is better than vanilla." in said(call(*runs))


def test_a_mistake_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["compare", str(tmp_path / "none"), str(tmp_path)])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "there is no folder" in error


def test_texts_that_a_side_was_trained_on_are_said(tmp_path, call):
    """Of the side that was; in a table, where runs differ, the most. A set without such texts has no note."""
    sets = {"clean": outcomes(30, 10), "file_reviews": outcomes(30, 10), "file_new": outcomes(30, 10)}
    runs = both(tmp_path, sets, sets, metrics=True)
    for run, shared in zip(runs, (7, 0), strict=True):
        write_json(run.folder / "predictions/file_reviews.json", {"file": "x", "sha256": "x", "shared": shared})
        write_json(run.folder / "metrics.json", run_metrics(run.folder, LABELS))
    out, sentence = (
        said(call(*(run.folder for run in runs))),
        "7 of 40 texts of reviews also occur in the training data",
    )
    assert f"A: {sentence}" in out
    assert (out.count("also occur"), out.count("B: 7")) == (1, 0)
    told = json.loads(call(*(run.folder for run in runs), "--json"))["trained_on"]
    assert [note.split(":")[0] for note in told.pop("baseline")] == [sentence]
    assert told == {"claim": []}
    for run, expected in zip(runs, ([sentence], []), strict=True):
        notes = gate(run.folder, min_robust_accuracy=0.5, sets=["file"]).notes
        assert [note.split(":")[0] for note in notes if "also occur" in note] == expected
    found = table([Run.open(run.folder) for run in runs], sets=("file",))
    expected = "Up to 7 of 40 texts of reviews (my) also occur in the training data"
    assert [note.split(":")[0] for note in found.notes if "also occur" in note] == [expected]
