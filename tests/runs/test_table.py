"""Runs as two tables: every figure again from the raw files, and texts joined to their examples."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef

import tiny_run
from made_runs import ROSE, make_rows, number_rows, outcomes, write_attack, write_run
from rosetune.data.sources import load_task
from rosetune.robustness.noise import perturb
from rosetune.robustness.statistics import estimate
from rosetune.runs.run import Run, RunError
from rosetune.runs.table import EXAMPLE_COLUMNS, SCORE_COLUMNS, examples, scores

SETS = {"clean": outcomes(30, 10), "typos_1": outcomes(0, 12, 28, 0)}
STEPS = {10: {"clean": outcomes(20, 20)}}


@pytest.fixture
def runs(tmp_path):
    """One of them in the layout of the version before, one with metrics that are written down."""
    a = write_run(tmp_path / "a", SETS, {"seed": 1}, steps=STEPS, end=20, before=True)
    b = write_run(tmp_path / "b", SETS, {"seed": 2, **ROSE}, metrics=True)
    write_attack(b, ["failed", "success", "skipped", "failed"])
    return [a, b]


def raw(run, name):
    """Prediction rows from the files themselves."""
    files = [run.folder / "predictions.jsonl", *(run.folder / "predictions").glob("*.jsonl")]
    lines = [json.loads(line) for file in files if file.is_file() for line in file.read_text().splitlines()]
    return [line for line in lines if line["set"] == name]


class TestScores:
    def test_a_row_for_each_run_and_set(self, runs):
        table = scores(runs)
        assert tuple(table.columns) == SCORE_COLUMNS
        keys = [(row.run, row.method, row.seed, row.set, row.kind) for row in table.itertuples()]
        assert keys == [
            (str(runs[0]), "vanilla", 1, "clean", "clean"),
            (str(runs[0]), "vanilla", 1, "typos_1", "noise"),
            (str(runs[1]), "rose-ensemble", 2, "clean", "clean"),
            (str(runs[1]), "rose-ensemble", 2, "typos_1", "noise"),
            (str(runs[1]), "rose-ensemble", 2, "attack:pwws", "attack"),
        ]
        assert table.step.isna().all()
        assert set(table.task) == {"my"}

    def test_every_figure_from_the_raw_rows(self, runs):
        table = scores(runs).set_index(["run", "set"])
        for run in runs:
            for name in SETS:
                rows, found = raw(run, name), table.loc[(str(run), name)]
                gold, said = ([row[key] for row in rows] for key in ("gold", "prediction"))
                right = [g == s for g, s in zip(gold, said, strict=True)]
                own = estimate(right)
                assert (found.n, found.accuracy) == (40, np.mean(right))
                assert (found.low, found.high) == (own.low, own.high)
                assert found.f1 == pytest.approx(f1_score(gold, said, pos_label="good"))
                assert found.mcc == pytest.approx(matthews_corrcoef(gold, said))
                assert found.constant == 0.5
                # Every prediction has logits 2 and 0.
                confidence = 1 / (1 + np.exp(-2))
                assert found.ece == pytest.approx(abs(confidence - np.mean(right)))
                assert found.brier == pytest.approx(
                    np.mean([2 * ((1 - confidence) if ok else confidence) ** 2 for ok in right])
                )
                assert pd.isna(found.mse)

    def test_an_attack_is_a_set(self, runs):
        row = scores(runs).iloc[-1]
        own = estimate([1, 0, 0, 1])
        assert (row.n, row.accuracy, row.low, row.high) == (4, 0.5, own.low, own.high)
        assert pd.isna(row.f1)
        assert pd.isna(row.constant)

    def test_checkpoints_are_steps(self, runs):
        table = scores(runs[:1], steps=True)
        found = {(row.step, row.set): row.accuracy for row in table.itertuples() if not pd.isna(row.step)}
        assert found == {(10, "clean"): 0.5, (20, "clean"): 0.75, (20, "typos_1"): 0.7}
        ends = table[table.step.isna()]
        assert list(ends.set) == ["clean", "typos_1"]
        assert table.step.dtype == "Int64"

    def test_a_mean_over_seeds_is_a_groupby(self, runs):
        table = scores(runs)
        found = table[table.set == "clean"].groupby("method").accuracy.agg(["mean", "count"])
        assert found.loc["vanilla"].tolist() == [0.75, 1]

    def test_no_runs_no_rows(self):
        assert tuple(scores([]).columns) == SCORE_COLUMNS
        assert tuple(examples([]).columns) == EXAMPLE_COLUMNS
        assert len(scores([])) == len(examples([])) == 0

    def test_a_damaged_file_is_named(self, runs):
        file = runs[1].folder / "predictions/clean.jsonl"
        file.write_text(file.read_text()[:-9])
        with pytest.raises(RunError, match=f"{file} is damaged"):
            examples(runs)


@pytest.mark.parametrize("calibration", [5, "ece", ["ece"], True])
def test_a_foreign_calibration_is_named(tmp_path, calibration):
    run = write_run(tmp_path / "run", {"clean": outcomes(3, 1)}, metrics=True)
    metrics = json.loads((run.folder / "metrics.json").read_text())
    metrics["sets"]["clean"]["calibration"] = calibration
    (run.folder / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(RunError, match=r"run: metrics.json is damaged at clean: evaluate again"):
        scores([Run.open(run.folder)])


class TestRegression:
    GOLD, SAID = np.linspace(0, 5, 20), np.linspace(0, 5, 20)[::-1] ** 2 / 5

    @pytest.fixture
    def run(self, tmp_path):
        return write_run(tmp_path / "r", {"clean": number_rows("clean", self.GOLD, self.SAID)}, labels=())

    def test_scores(self, run):
        row = scores([run]).iloc[0]
        errors = (self.GOLD - self.SAID) ** 2
        own = estimate(errors)
        assert (row.n, row.mse) == (20, pytest.approx(errors.mean()))
        assert (row.low, row.high) == (own.low, own.high)
        assert row.constant == pytest.approx(self.GOLD.var())
        assert row.pearson == pytest.approx(pearsonr(self.GOLD, self.SAID).statistic)
        assert row.spearman == pytest.approx(spearmanr(self.GOLD, self.SAID).statistic)
        assert all(pd.isna(row[name]) for name in ("accuracy", "f1", "mcc", "ece", "brier"))

    def test_examples(self, run):
        table = examples([run])
        assert table.gold.tolist() == self.GOLD.tolist()
        assert table.prediction.tolist() == self.SAID.tolist()
        assert table.right.isna().all()  # no number is right or wrong


class TestExamples:
    def test_a_row_for_each_example(self, runs):
        table = examples(runs)
        assert tuple(table.columns) == EXAMPLE_COLUMNS
        for run in runs:
            for name in SETS:
                part = table[(table.run == str(run)) & (table.set == name)]
                rows = raw(run, name)
                for column in ("id", "gold", "prediction"):
                    assert part[column].tolist() == [row[column] for row in rows]
                assert part.right.tolist() == [row["gold"] == row["prediction"] for row in rows]
        attacked = table[table.kind == "attack"]
        assert attacked.prediction.tolist() == ["robust", "broken", "wrong", "robust"]
        assert attacked.right.tolist() == [True, False, False, True]
        assert attacked.attack.tolist() == ["pwws"] * 4

    def test_what_advglue_tells_of_its_items(self, tmp_path):
        columns = {"original_id": ["o1", None], "method": ["T3", "SCPN"], "data_construction": ["sentence"] * 2}
        rows = make_rows("advglue", [1, 0], **columns)
        rows.append({**rows[0], "id": "2", "gold": None})
        table = examples([write_run(tmp_path / "a", {"advglue": rows})])
        assert table.original_id.isna().tolist() == [False, True, False]
        assert table.original_id[0] == "o1"
        assert table.attack.tolist() == ["T3", "SCPN", "T3"]
        assert table.right[:2].tolist() == [True, False]
        assert pd.isna(table.gold[2])
        assert pd.isna(table.right[2])

    def test_checkpoints(self, runs):
        table = examples(runs[:1], steps=True)
        part = table[table.step == 10]
        assert part.right.tolist() == [bool(ok) for ok in STEPS[10]["clean"]]
        assert len(table[table.step == 20]) == 80


class TestTexts:
    @pytest.fixture
    def data(self, tmp_path):
        tiny_run.write_csv(tmp_path / "my.csv")
        return load_task(str(tmp_path / "my.csv"))

    def run(self, path, data, **identity):
        _, clean = data.clean
        ids, texts = clean["id"][:], clean["text"][:]
        rows = [
            {**row, "id": i}
            for row, i in zip(make_rows("clean", outcomes(len(ids)), labels=data.labels), ids, strict=True)
        ]
        sets = {"clean": rows[::-1], "typos_2": [{**row, "set": "typos_2"} for row in rows]}
        identity = {"data_fingerprint": data.fingerprint, "text_columns": list(data.text_columns), **identity}
        run = write_run(path / "run", sets, config={"task": str(path / "my.csv")}, labels=data.labels, **identity)
        return run, dict(zip(ids, texts, strict=True)), clean

    def test_the_texts_that_were_predicted(self, tmp_path, data):
        run, texts, clean = self.run(tmp_path, data)
        write_attack(run, ["failed", "success"])
        table = examples([run], texts=True)
        assert tuple(table.columns) == (*EXAMPLE_COLUMNS, "text")
        part = table[table.set == "clean"]
        assert part.text.tolist() == [texts[i] for i in part.id]
        noisy = perturb(clean, data.text_columns, 2, 0)
        expected = dict(zip(noisy["id"][:], noisy["text"][:], strict=True))
        part = table[table.set == "typos_2"]
        assert part.text.tolist() == [expected[i] for i in part.id]
        assert part.text.tolist() != [texts[i] for i in part.id]
        # Of an attack the adversarial text.
        assert table[table.kind == "attack"].text.tolist() == ["the film number 0", "teh film number 1"]
        assert "text" not in examples([run]).columns

    def test_a_text_column_takes_no_column_of_the_table(self, tmp_path):
        lines = tiny_run.write_csv(tmp_path / "my.csv").read_text().splitlines()
        (tmp_path / "my.csv").write_text("\n".join(["task,label", *lines[1:]]) + "\n")
        data = load_task(str(tmp_path / "my.csv"), text_columns=["task"])
        _, clean = data.clean
        rows = [{**row, "id": i} for row, i in zip(make_rows("clean", [1] * len(clean)), clean["id"][:], strict=True)]
        config = {"task": str(tmp_path / "my.csv"), "text_columns": ["task"]}
        identity = {"data_fingerprint": data.fingerprint, "text_columns": ["task"]}
        table = examples([write_run(tmp_path / "run", {"clean": rows}, config=config, **identity)], texts=True)
        assert set(table.task) == {"my"}
        assert table.text_task.tolist() == clean["task"][:]

    def test_other_data_is_refused(self, tmp_path, data):
        run, _, _ = self.run(tmp_path, data, data_fingerprint="other")
        with pytest.raises(RunError, match=f"the data of .*my.csv is not what {run} was trained on"):
            examples([run], texts=True)
        assert len(examples([run])) == 2 * len(data.clean[1])
