"""Two methods on the same examples: known outcomes, controls, attacks, seeds, calibration."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import binomtest, ttest_rel

from rosetune.cli import main
from rosetune.experiments.compare import by_attack, common_success, compare_sets, paired_sides, read_side
from rosetune.experiments.config import RunError
from rosetune.experiments.verdict import beside, calibrations, sentences, trained_controls

LABELS = ("bad", "good")
ROSE = {"update_mask": "rose", "update_mask_kwargs": {"order": "ensemble"}}


def outcomes(right, wrong, *more):
    """1 for right ones, then 0 for wrong ones, and so on in turns."""
    return np.concatenate([np.full(n, 1 - i % 2) for i, n in enumerate((right, wrong, *more))])


def make_rows(name, right, logit=2.0, **columns):
    rows = []
    for i, ok in enumerate(right):
        gold = i % 2
        said = gold if ok else 1 - gold
        logits = [logit * (said == 0), logit * (said == 1)]
        extra = {column: values[i] for column, values in columns.items()}
        rows.append(
            {"set": name, "id": i, "gold": LABELS[gold], "prediction": LABELS[said], "logits": logits, **extra}
        )
    return rows


def write_run(folder: Path, sets: dict[str, Any], training: dict[str, Any] | None = None, **identity: Any) -> str:
    """The files of a finished run, as far as they are read without its model."""
    training = training or {}
    folder.mkdir(parents=True)
    rows = [row for name, part in sets.items() for row in (part if isinstance(part, list) else make_rows(name, part))]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "metrics.json").write_text(json.dumps({"labels": LABELS, "sets": {}}))
    described = {"task": "my", "text_columns": ["text"], "data_fingerprint": "x", "training": training, **identity}
    (folder / "run.json").write_text(json.dumps(described))
    config = {"task": "my.csv", "model_name_or_path": "model", "sets": ["clean"], **training}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(
        json.dumps({"model_type": "bert", "id2label": dict(enumerate(LABELS))})
    )
    return str(folder)


def write_attack(
    run: str, statuses: list[str], name: str = "pwws", budget: int = 100, rows: int | None = None
) -> None:
    folder = Path(run) / "attacks"
    folder.mkdir(exist_ok=True)
    header = {"attack": {"type": "Recipe", "name": name}, "budget": budget, "seed": 0, "column": 0, "model": run}
    results = [{"id": i, "status": status} for i, status in enumerate(statuses)]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (header, *results)))
    (folder / f"{name}.json").write_text(json.dumps({"recipe": name, "rows": rows or len(statuses)}))


def both(path: Path, a: dict[str, Any], b: dict[str, Any]):
    return paired_sides(read_side(write_run(path / "a", a)), read_side(write_run(path / "b", b, ROSE)))


def test_one_pair_of_runs(tmp_path):
    a, b = both(tmp_path, {"clean": outcomes(60, 40)}, {"clean": outcomes(50, 10, 25, 15)})
    assert (a.title, b.title) == ("vanilla", "rose-ensemble")
    c = compare_sets(a, b)["clean"]
    assert (c.n, c.seeds, c.a, c.b, c.only_a, c.only_b) == (100, 1, 0.6, 0.75, 10, 25)
    assert c.difference == pytest.approx(0.15)
    assert c.p_value == pytest.approx(binomtest(10, 35).pvalue)
    assert c.p_b_better == pytest.approx(binomtest(25, 35, alternative="greater").pvalue)
    assert c.low < 0.15 < c.high


def test_several_seeds_are_paired_by_seed(tmp_path):
    rng = np.random.default_rng(0)
    right = {name: rng.random((3, 200)) < p for name, p in (("a", 0.6), ("b", 0.7))}
    for name, table in right.items():
        for seed in range(3):
            training = {"seed": seed, **(ROSE if name == "b" else {})}
            write_run(tmp_path / f"{name}{seed}", {"clean": table[seed]}, training)
    folders = {name: [str(tmp_path / f"{name}{seed}") for seed in (0, 1, 2)] for name in right}
    a, b = paired_sides(read_side(",".join(folders["a"])), read_side(",".join(reversed(folders["b"]))))
    assert b.seeds == (0, 1, 2)
    c = compare_sets(a, b)["clean"]
    means = right["b"].mean(axis=1), right["a"].mean(axis=1)
    assert c.difference == pytest.approx(right["b"].mean() - right["a"].mean())
    assert c.p_value == pytest.approx(ttest_rel(*means).pvalue)
    assert c.p_b_better == pytest.approx(
        ttest_rel(*(right[s].mean(axis=1) for s in "ba"), alternative="greater").pvalue
    )
    assert len(c.per_seed) == 3


def test_attack_by_kind_needs_the_annotations(tmp_path):
    right = outcomes(4, 4)
    kinds = {"method": ["TextFooler", "SCPN"] * 4, "data_construction": ["word", "sentence"] * 4}
    a, b = both(
        tmp_path,
        {"advglue": make_rows("advglue", right, **kinds), "clean": right},
        {"advglue": make_rows("advglue", outcomes(8, 0), **kinds), "clean": right},
    )
    groups = by_attack(a, b, "advglue")
    assert groups.keys() == {"word", "word/TextFooler", "sentence", "sentence/SCPN"}
    assert {(c.n, c.a, c.b) for c in groups.values()} == {(4, 0.5, 1.0)}
    assert by_attack(a, b, "clean") == {}


class TestAttacks:
    def test_rows_that_stay_right_and_success_on_common_ground(self, tmp_path):
        a, b = (
            write_run(tmp_path / "a", {"clean": outcomes(1, 0)}),
            write_run(tmp_path / "b", {"clean": outcomes(1, 0)}, ROSE),
        )
        write_attack(a, ["failed", "success", "success", "skipped", "failed"])
        write_attack(b, ["failed", "failed", "success", "failed", "skipped"])
        sides = paired_sides(read_side(a), read_side(b))
        c = compare_sets(*sides)["attack:pwws"]
        assert (c.n, c.a, c.b, c.only_a, c.only_b) == (5, 0.4, 0.6, 1, 2)
        assert common_success(*sides, "attack:pwws") == (3, pytest.approx(2 / 3), pytest.approx(1 / 3))

    def test_other_budgets_and_unfinished_attacks_are_not_compared(self, tmp_path):
        a, b = (
            write_run(tmp_path / "a", {"clean": outcomes(1, 0)}),
            write_run(tmp_path / "b", {"clean": outcomes(1, 0)}, ROSE),
        )
        write_attack(a, ["failed"], "pwws", budget=100)
        write_attack(b, ["failed"], "pwws", budget=200)
        write_attack(a, ["failed"], "textfooler")
        write_attack(b, ["failed"], "textfooler", rows=2)
        assert compare_sets(*paired_sides(read_side(a), read_side(b))).keys() == {"clean"}


class TestControls:
    """The claim gains 30 of 100 points on typos_1 and loses 4 on the clean set."""

    CLEAN = outcomes(90, 10)
    PLAIN, BETTER = outcomes(40, 60), outcomes(70, 30)

    def sides(self, path):
        return both(
            path,
            {"clean": self.CLEAN, "typos_1": self.PLAIN},
            {"clean": outcomes(86, 14), "typos_1": self.BETTER},
        )

    def found(self, path, **controls):
        a, b = self.sides(path)
        for name, right in controls.items():
            write_run(path / "b" / "controls" / name, {"clean": self.CLEAN, "typos_1": right}, {"objective": name})
        found = beside(a, b, {name: str(path / "b" / "controls" / name) for name in controls})
        return {c.control: c for c in found["typos_1"]}, sentences(a.title, b.title, compare_sets(a, b), found)

    def test_who_shows_the_gain_too(self, tmp_path):
        found, said = self.found(tmp_path, as_good=self.BETTER, hardly_worse=outcomes(69, 31), plain=self.PLAIN)
        assert {name for name, c in found.items() if c.shows_it_too} == {"as_good", "hardly_worse"}
        assert found["plain"].difference == pytest.approx(0.3)
        assert "a gain, +30.0 points" in said["typos_1"]
        assert "Not shown to be more than as_good, hardly_worse give." in said["typos_1"]
        assert "More than constant, flip, plain." in said["typos_1"]

    def test_computed_controls(self, tmp_path):
        found, _ = self.found(tmp_path)
        assert found.keys() == {"constant", "flip"}
        assert found["constant"].accuracy == 0.5
        # 4 points of clean accuracy, a tenth of what lies above chance, take a tenth of the way from 0.4 to chance.
        assert found["flip"].accuracy == pytest.approx(0.41)

    def test_early_stopping_is_the_checkpoint_of_the_nearest_clean_accuracy(self, tmp_path):
        a, b = self.sides(tmp_path)
        points = {10: (50, 50), 20: (85, 65), 30: (90, 40)}
        rows = [
            {"step": step, "epoch": step / 30, "end": step == 30, **row}
            for step, (clean, robust) in points.items()
            for name, n in (("clean", clean), ("typos_1", robust))
            for row in make_rows(name, outcomes(n, 100 - n))
        ]
        (tmp_path / "a" / "along_training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        found = {c.control: c for c in beside(a, b, {})["typos_1"]}
        assert (found["early_stopping"].clean, found["early_stopping"].accuracy) == (0.85, 0.65)
        assert found["early_stopping"].difference == pytest.approx(0.05)

    def test_without_a_gain_no_control_is_asked(self, tmp_path):
        a, b = both(
            tmp_path,
            {"clean": self.CLEAN, "typos_1": self.BETTER, "typos_2": self.BETTER},
            {"clean": self.CLEAN, "typos_1": self.BETTER, "typos_2": self.PLAIN},
        )
        comparisons = compare_sets(a, b)
        said = sentences("vanilla", "ROSE", comparisons, beside(a, b, {}))
        assert said["typos_1"].startswith("ROSE: no gain that is more than noise, +0.0 points")
        assert said["typos_2"].startswith("ROSE: worse, -30.0 points")

    def test_folders_and_named_ones(self, tmp_path):
        a, b = self.sides(tmp_path)
        write_run(tmp_path / "b" / "controls" / "uniform", {"clean": self.CLEAN}, {"update_mask": "uniform"})
        assert trained_controls(b) == {"uniform": str(tmp_path / "b" / "controls" / "uniform")}
        assert trained_controls(b, [f"mine={a.runs[0]}"])["mine"] == a.runs[0]
        with pytest.raises(RunError, match="NAME=RUN, not 'mine'"):
            trained_controls(b, ["mine"])


def test_temperature_is_found_and_mends_calibration(tmp_path):
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 4000)
    right = rng.random(4000) < p
    rows = make_rows("clean", right)
    for row, share in zip(rows, p, strict=True):  # calibrated logits, three times too large
        row["logits"] = [3 * np.log(share / (1 - share)) * (row["prediction"] == label) for label in LABELS]
    a, _ = both(tmp_path, {"clean": rows}, {"clean": right})
    found = calibrations(a)["clean"]
    assert found["temperature"] == pytest.approx(3, rel=0.1)
    assert found["after"]["ece"] < 0.03 < 0.1 < found["before"]["ece"]


class TestRefusals:
    def test_runs_that_do_not_belong_together(self, tmp_path):
        a = write_run(tmp_path / "a", {"clean": outcomes(1, 1)}, {"seed": 1})
        b = write_run(tmp_path / "b", {"clean": outcomes(1, 1)}, {"seed": 2, **ROSE})
        other = write_run(tmp_path / "other", {"clean": outcomes(1, 1)}, task="another")
        with pytest.raises(RunError, match="compare runs of one task"):
            paired_sides(read_side(a), read_side(other))
        with pytest.raises(RunError, match="several seeds of one method"):
            read_side(f"{a},{b}")
        with pytest.raises(RunError, match="at least one run"):
            read_side(" , ")
        a2 = write_run(tmp_path / "a2", {"clean": outcomes(1, 1)}, {"seed": 3})
        with pytest.raises(RunError, match="none is on both sides: 1, 3 and 2"):
            paired_sides(read_side(f"{a},{a2}"), read_side(b))
        with pytest.raises(RunError, match="two runs have the same seed"):
            read_side(f"{a},{a}")
        (tmp_path / "b" / "metrics.json").unlink()
        with pytest.raises(RunError, match="no finished run"):
            read_side(b)

    def test_other_examples(self, tmp_path):
        a, b = both(tmp_path, {"clean": outcomes(3, 1)}, {"clean": outcomes(3, 2)})
        with pytest.raises(RunError, match=r"clean: .* not hold the same examples: 0 only in the first, 1"):
            compare_sets(a, b)


def test_the_verb_prints_what_json_holds(tmp_path, capsys):
    kinds = {"method": ["TextFooler"] * 100, "data_construction": ["word"] * 100, "original_id": [*range(50)] * 2}
    curve = {"ocr@0.1": outcomes(80, 20), "ocr@0.5": outcomes(60, 40)}
    for name, robust, training in (("a", outcomes(40, 60), {}), ("b", outcomes(70, 30), ROSE)):
        advglue = make_rows("advglue", robust, **kinds)
        run = write_run(tmp_path / name, {"clean": outcomes(90, 10), "advglue": advglue, **curve}, training)
        write_attack(run, ["failed"] * 5 + ["success"] * 5)
    arguments = ["compare", str(tmp_path / "a"), str(tmp_path / "b")]
    main([*arguments, "--json"])
    found = json.loads(capsys.readouterr().out)
    c = found["sets"]["advglue"]
    assert (found["baseline"]["method"], found["claim"]["seeds"], c["n"]) == ("vanilla", [42], 100)
    assert found["advglue"]["advglue"]["word/TextFooler"]["difference"] == pytest.approx(0.3)
    assert found["controls"]["advglue"][0]["control"] == "constant"
    main(arguments)
    text = capsys.readouterr().out
    assert f"{100 * c['difference']:+.1f} [{100 * c['low']:+.1f},{100 * c['high']:+.1f}]" in text
    for words in (
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


def test_a_mistake_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["compare", str(tmp_path / "none"), str(tmp_path)])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "there is no folder" in error
