"""Two methods on the same examples: known outcomes, controls, attacks, seeds, calibration."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rosetune.experiments.compare import by_attack, common_success, compare_sets, not_compared
from rosetune.experiments.config import RunError
from rosetune.experiments.sides import paired_sides, read_side
from rosetune.experiments.temperature import calibrations
from rosetune.experiments.verdict import beside, not_tried, sentences, trained_controls
from scipy.stats import binomtest, ttest_rel

from rosetune.cli import main
from rosetune.data.tasks import find_task
from rosetune.experiments.evaluate import evaluate_again, over_tasks
from rosetune.robustness.calibration import fit_temperature, negative_log_likelihood
from rosetune.robustness.statistics import difference, estimate, sign_test

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
    results = [{"id": i, "status": status, "gold": i % 2} for i, status in enumerate(statuses)]
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
    own = estimate(outcomes(60, 40))
    assert c.a_interval == (own.low, own.high)


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
    own = estimate(right["b"])
    assert c.b_interval == (own.low, own.high)


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

    def test_what_is_left_out_is_said(self, tmp_path):
        a, b = write_run(tmp_path / "a", {"clean": outcomes(1, 0)}), write_run(tmp_path / "b", {}, ROSE)
        write_attack(a, ["failed"], "pwws", budget=100)
        write_attack(b, ["failed"], "pwws", budget=200)
        write_attack(a, ["failed"], "textfooler")
        write_attack(b, ["failed"], "textfooler", rows=2)
        sides = paired_sides(read_side(a), read_side(b))
        assert compare_sets(*sides) == {}
        assert not_compared(*sides) == {
            "clean": f"not there for {b}",
            "attack:pwws": "not the same attack: it differs in budget",
            "attack:textfooler": f"not finished for {b}",
        }

    def test_more_examples_on_one_side_hold_those_of_the_other(self, tmp_path):
        a, b = write_run(tmp_path / "a", {}), write_run(tmp_path / "b", {}, ROSE)
        write_attack(a, ["failed", "success", "success"])
        write_attack(b, ["failed", "failed"])
        c = compare_sets(*paired_sides(read_side(a), read_side(b)))["attack:pwws"]
        assert (c.n, c.a, c.b) == (2, 0.5, 1.0)

    def test_a_constant_keeps_its_label_under_any_attack(self, tmp_path):
        a, b = write_run(tmp_path / "a", {}), write_run(tmp_path / "b", {}, ROSE)
        for run in (a, b):
            write_attack(run, ["success"] * 5)  # of the labels 0, 1, 0, 1, 0
        [constant] = beside(*paired_sides(read_side(a), read_side(b)), {})["attack:pwws"]
        assert (constant.control, constant.accuracy) == ("constant", 0.6)


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
            write_run(path / name, {"clean": self.CLEAN, "typos_1": right}, {"objective": name})
        found = beside(a, b, {name: [str(path / name)] for name in controls})
        return {c.control: c for c in found["typos_1"]}, sentences(a, b, compare_sets(a, b), found)

    def test_who_shows_the_gain_too(self, tmp_path):
        found, said = self.found(
            tmp_path,
            as_good=self.BETTER,
            half=outcomes(55, 45),
            plain=self.PLAIN,
            other_rows=outcomes(0, 38, 62, 0),
        )
        answers = {name: c.answer for name, c in found.items()}
        assert answers == {
            "constant": "no",  # ten points more, on other examples
            "flip": "in part",
            "as_good": "yes",
            "half": "in part",
            "plain": "no",
            "other_rows": "yes",
        }
        assert (found["half"].gain, found["half"].difference) == (pytest.approx(0.15), pytest.approx(0.15))
        assert "gains +30.0 points" in said["typos_1"]
        assert "Shown as well by as_good (+30.0), other_rows (+22.0)." in said["typos_1"]
        assert "Not shown by constant (+10.0), plain (+0.0)." in said["typos_1"]

    def test_a_control_without_a_gain_shows_none_however_wide_its_interval(self, tmp_path):
        a, b = both(
            tmp_path,
            {"clean": outcomes(60, 20), "advglue": outcomes(24, 16)},
            {"clean": outcomes(60, 20), "advglue": outcomes(30, 10)},
        )
        run = write_run(tmp_path / "c", {"clean": outcomes(60, 20), "advglue": outcomes(0, 16, 23, 1)})
        found = {c.control: c for c in beside(a, b, {"c": [run]})["advglue"]}["c"]
        assert found.gain < 0
        assert found.low < 0 < found.difference
        assert found.answer == "not told apart"

    def test_without_any_control_that_is_said(self, tmp_path):
        a, b = self.sides(tmp_path)
        comparisons = compare_sets(a, b)
        assert sentences(a, b, comparisons, {"typos_1": []})["typos_1"].endswith("No control was tried on it.")

    def test_what_was_not_tried_is_said(self, tmp_path):
        a, b = self.sides(tmp_path)
        run = write_run(tmp_path / "c", {"clean": self.CLEAN})
        said = " ".join(not_tried(a, b, {"uniform": [run]}, beside(a, b, {"uniform": [run]})))
        assert "Controls not at hand: two_pass, reversed" in said
        assert "Not evaluated on typos_1 (`rosetune evaluate`, `rosetune attack`): uniform." in said
        assert "No early stopping on typos_1" in said

    def test_controls_of_several_seeds(self, tmp_path):
        rng = np.random.default_rng(0)
        right = {name: rng.random((2, 300)) < p for name, p in (("a", 0.5), ("b", 0.8), ("c", 0.8))}
        for seed in (1, 2):
            for name, training in (("a", {}), ("b", ROSE), ("c", {"update_mask": "random"})):
                density = {"update_mask_kwargs": {"upper": 0.3 + seed / 100}} if name == "c" else {}
                sets = {"clean": right[name][seed - 1], "typos_1": right[name][seed - 1]}
                write_run(tmp_path / f"{name}{seed}", sets, {"seed": seed, **training, **density})
        a, b = (read_side(f"{tmp_path / name}1,{tmp_path / name}2") for name in "ab")
        controls = {"random_fresh": [str(tmp_path / "c1"), str(tmp_path / "c2")], "one": [str(tmp_path / "c2")]}
        found = {c.control: c for c in beside(a, b, controls)["typos_1"]}
        assert (found["random_fresh"].seeds, found["one"].seeds) == (2, 1)
        assert found["random_fresh"].difference == pytest.approx(right["b"].mean() - right["c"].mean())
        assert found["one"].difference == pytest.approx(right["b"][1].mean() - right["c"][1].mean())
        # a = 1/2 + (0.5 - 1/2) ... of each pair, then the mean
        flipped = [
            0.5 + (x.mean() - 0.5) * min(1, (y.mean() - 0.5) / (x.mean() - 0.5)) if x.mean() > 0.5 else None
            for x, y in zip(right["a"], right["b"], strict=True)
        ]
        assert ("flip" in found) == (None not in flipped)

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

    def test_a_checkpoint_of_another_clean_accuracy_is_no_early_stopping(self, tmp_path):
        a, b = self.sides(tmp_path)
        rows = [
            {"step": 10, "epoch": 1, "end": True, **row}
            for name in ("clean", "typos_1")
            for row in make_rows(name, outcomes(88, 12))  # the claim has 86
        ]
        (tmp_path / "a" / "along_training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert "early_stopping" not in {c.control for c in beside(a, b, {})["typos_1"]}

    def test_without_a_gain_no_control_is_asked(self, tmp_path):
        a, b = both(
            tmp_path,
            {"clean": self.CLEAN, "typos_1": self.BETTER, "typos_2": self.BETTER},
            {"clean": self.CLEAN, "typos_1": self.BETTER, "typos_2": self.PLAIN},
        )
        said = sentences(a, b, compare_sets(a, b), beside(a, b, {}))
        assert said["typos_1"].startswith("rose-ensemble is not shown to be better: +0.0 points")
        assert said["typos_2"].startswith("rose-ensemble is worse: -30.0 points")

    def test_named_ones(self, tmp_path):
        a, b = self.sides(tmp_path)
        assert trained_controls(a, b, [f"mine={a.runs[0]}"]) == {"mine": [a.runs[0]]}
        with pytest.raises(RunError, match="NAME=RUN, not 'mine'"):
            trained_controls(a, b, ["mine"])
        other = write_run(tmp_path / "other", {"clean": self.CLEAN}, {"learning_rate": 1}, data_fingerprint="y")
        with pytest.raises(RunError, match="it differs in data_fingerprint, learning_rate"):
            trained_controls(a, b, [f"mine={other}"])


class TestClusters:
    """Forty items from four originals: what looks like ten independent pairs each is one."""

    RIGHT = outcomes(0, 40), outcomes(40, 0)
    ORIGINAL = tuple(f"o{i // 10}" for i in range(40))

    @pytest.mark.parametrize("told", ["both", "a", "b"])
    def test_items_of_one_original_count_once(self, tmp_path, told):
        known = {"original_id": self.ORIGINAL}
        sets = [
            {"advglue": make_rows("advglue", right, **(known if told in (name, "both") else {}))}
            for name, right in zip("ab", self.RIGHT, strict=True)
        ]
        c = compare_sets(*both(tmp_path, *sets))["advglue"]
        assert c.p_b_better == pytest.approx(1 / 16)
        assert c.p_a_better == pytest.approx(1)
        assert c.p_b_better == pytest.approx(sign_test(*self.RIGHT, clusters=self.ORIGINAL).b_better)
        assert c.verdict == 0
        assert c.low == pytest.approx(difference(*self.RIGHT, clusters=self.ORIGINAL).low)

    def test_over_seeds_too(self, tmp_path):
        rng = np.random.default_rng(0)
        noisy = np.repeat(rng.random((2, 20)) < 0.6, 10, axis=1)
        originals = np.repeat(np.arange(20), 10).tolist()
        widths = {}
        for name, columns in (("plain", {}), ("clustered", {"original_id": originals})):
            for seed in (1, 2):
                for side, right in (("a", outcomes(100, 100)), ("b", noisy[seed - 1])):
                    rows = make_rows("advglue", right, **columns)
                    write_run(
                        tmp_path / name / f"{side}{seed}",
                        {"advglue": rows},
                        {"seed": seed} | (ROSE if side == "b" else {}),
                    )
            sides = [read_side(",".join(str(tmp_path / name / f"{side}{seed}") for seed in (1, 2))) for side in "ab"]
            c = compare_sets(*sides)["advglue"]
            widths[name] = c.high - c.low
        assert widths["clustered"] > 1.5 * widths["plain"]


def test_two_seeds_with_one_sign_are_no_proof(tmp_path):
    """Both differences positive, but of very different size: the bootstrap interval is above 0, the t-test is not."""
    for seed, better in ((1, 330), (2, 420)):
        write_run(tmp_path / f"a{seed}", {"clean": outcomes(300, 300)}, {"seed": seed})
        write_run(tmp_path / f"b{seed}", {"clean": outcomes(better, 600 - better)}, {"seed": seed, **ROSE})
    sides = [read_side(f"{tmp_path / side}1,{tmp_path / side}2") for side in "ab"]
    c = compare_sets(*sides)["clean"]
    assert c.low > 0
    assert c.p_b_better > 0.025
    assert c.verdict == 0


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


def test_temperature_is_fitted_on_other_examples(tmp_path):
    """Few examples: a temperature that had seen them would fit them better than any other."""
    rng = np.random.default_rng(1)
    rows = make_rows("clean", rng.random(12) < 0.5)
    for row in rows:
        row["logits"] = (rng.exponential(4) * np.array([row["prediction"] == label for label in LABELS])).tolist()
    a, _ = both(tmp_path, {"clean": rows}, {"clean": outcomes(12, 0)})
    scored, gold = np.array([row["logits"] for row in rows]), [LABELS.index(row["gold"]) for row in rows]
    on_itself = fit_temperature(scored, gold)
    found = calibrations(a)["clean"]
    assert found["after"]["nll"] > negative_log_likelihood(scored / on_itself, gold)


class TestRefusals:
    def test_runs_that_do_not_belong_together(self, tmp_path):
        a = write_run(tmp_path / "a", {"clean": outcomes(1, 1)}, {"seed": 1})
        b = write_run(tmp_path / "b", {"clean": outcomes(1, 1)}, {"seed": 2, **ROSE})
        other = write_run(tmp_path / "other", {"clean": outcomes(1, 1)}, task="another")
        with pytest.raises(RunError, match="compare runs of one task"):
            paired_sides(read_side(a), read_side(other))
        with pytest.raises(RunError, match="stands on both sides"):
            paired_sides(read_side(a), read_side(a))
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


def test_mismatched_sets_are_judged_by_the_mismatched_clean_set(tmp_path):
    """MNLI: three labels, two clean sets, two AdvGLUE sets."""
    right = {
        "a": {"clean": outcomes(90, 10), "clean_mismatched": outcomes(80, 20), "advglue_mismatched": outcomes(30, 70)},
        "b": {"clean": outcomes(90, 10), "clean_mismatched": outcomes(60, 40), "advglue_mismatched": outcomes(60, 40)},
    }
    a, b = both(tmp_path, right["a"], right["b"])
    a, b = (dataclasses.replace(side, labels=("yes", "maybe", "no")) for side in (a, b))
    found = {c.control: c for c in beside(a, b, {})["advglue_mismatched"]}
    # Of three labels chance is a third: clean accuracy sinks from 80 to 60, toward it.
    kept = (0.6 - 1 / 3) / (0.8 - 1 / 3)
    assert found["flip"].accuracy == pytest.approx(1 / 3 + (0.3 - 1 / 3) * kept)
    assert found["flip"].clean == pytest.approx(0.6)


class TestMetricsOfARun:
    """What `rosetune evaluate` makes of prediction rows that are there already."""

    def run(self, path, name, task, clean, advglue):
        kinds = {"method": ["SCPN", "T3"] * 5, "data_construction": ["sentence"] * 10}
        originals = make_rows("advglue_originals", outcomes(9, 1), **kinds)
        sets = {"clean": clean, "advglue": make_rows("advglue", advglue, **kinds), "advglue_originals": originals}
        folder = write_run(path / name, sets, task=task)
        names = dict(zip(LABELS, find_task(task).labels, strict=True))
        for file in (path / name / "predictions.jsonl", path / name / "model" / "config.json"):
            text = file.read_text()
            for ours, theirs in names.items():
                text = text.replace(f'"{ours}"', f'"{theirs}"')
            file.write_text(text)
        config = {"task": task, "model_name_or_path": "model", "sets": ["clean", "advglue"]}
        (path / name / "config.yaml").write_text(yaml.safe_dump(config))
        return folder

    def test_advglue(self, tmp_path):
        run = self.run(tmp_path, "a", "qqp", outcomes(8, 2), outcomes(4, 6))
        found = evaluate_again(run, "clean,advglue")["advglue"]
        # Right are the items 0 to 3; the others are said to be the other label. Positives are the odd items.
        positive = {1, 3, 4, 6, 8}
        f1 = 2 * len(positive & {1, 3, 5, 7, 9}) / (len(positive) + 5)
        assert found["official_score"] == pytest.approx((0.4 + f1) / 2)
        assert found["drop"] == pytest.approx(0.8 - 0.4)
        total = found["sets"]["advglue"]["total"]
        assert (total["change"]["only_a"], total["change"]["only_b"], total["success_rate"]) == (5, 0, 5 / 9)
        assert found["sets"]["advglue"]["by_method"]["sentence/T3"]["adversarial"]["n"] == 5

    def test_over_tasks(self, tmp_path, capsys):
        runs = [
            self.run(tmp_path, "a", "qqp", outcomes(8, 2), outcomes(4, 6)),
            self.run(tmp_path, "b", "sst2", outcomes(9, 1), outcomes(7, 3)),
        ]
        main(["evaluate", *runs, "--sets", "clean,advglue"])
        out = " ".join(capsys.readouterr().out.split())
        assert "Over 2 tasks: average 70.0 of clean and AdvGLUE's accuracy, drop 30.0 points" in out
        assert over_tasks({"qqp": {"sets": {"clean": {"accuracy": 1.0}}}}) is None

    def test_tables_fit_eighty_columns(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        main(["evaluate", self.run(tmp_path, "a", "qqp", outcomes(8, 2), outcomes(4, 6)), "--sets", "clean,advglue"])
        out = capsys.readouterr().out
        assert "…" not in out
        for words in ("AdvGLUE by kind and attack", "Calibration", "official score", "AdvGLUE's originals"):
            assert words in out


def test_the_verb_prints_what_json_holds(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
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
    assert found["sets"]["advglue"]["verdict"] == 1
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
    assert "…" not in text


def test_a_mistake_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["compare", str(tmp_path / "none"), str(tmp_path)])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "there is no folder" in error
